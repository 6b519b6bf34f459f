"""Estimates that are repeated with other seeds, to see whether their errors say how far they spread."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from qiskit.circuit import QuantumCircuit
from qiskit.primitives import DataBin
from qiskit.primitives.containers.estimator_pub import EstimatorPub
from qiskit.primitives.containers.observables_array import ObservablesArray
from qiskit_aer.noise import NoiseModel
from qiskit_mitigation.zne.extrapolation import _process_extrapolated_expectation_values
from scipy.stats import binom

from kit.quantum.pauli_noise import known_layer, pauli_device, symmetric
from qiskit_runtime_server.executors.aer import AerExecutor
from qiskit_runtime_server.programs.mitigation.extrapolation import Means, Model

WITHIN = ((0.65, 0.71), (0.93, 0.97))
"""What share of estimates is due within one standard error of their mean, and within two: about that of a normal
distribution, 0.683 and 0.954, and not much less, as 32 randomizations know their spread to 13 % only."""

RATES = symmetric({"XI": 0.04, "IX": 0.01, "IZ": 0.02, "YI": 0.005})
KNOWN = {"layer_noise_model": [known_layer((0, 1), RATES)]}
ACTIVE = {"strategy": "active"}
OBSERVABLES: dict[str, dict[str, float]] = {
    "Z": {"IIIZI": 1.0},
    "four terms": {"IIIZI": 0.7, "IIIIZ": -1.6, "IIIZZ": 0.4, "IIIYY": 0.3},
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A way to estimate.

    Attributes:
        options: Of the estimator.
        own_noise: Whether there are known errors on the pair of qubits 0 and 1, in place of the device's.
        extrapolators: If there are some, each is evaluated at 0.
        factors: The noise factors.
    """

    options: Mapping[str, Any]
    own_noise: bool = False
    extrapolators: Sequence[str] = ()
    factors: Sequence[float] = ()


EXTRAPOLATORS = ("exponential", "linear", "polynomial_degree_2", "fallback")


def _extrapolating(amplifier: str, factors: Sequence[float], resilience: Mapping[str, Any]) -> dict[str, Any]:
    zne = {"amplifier": amplifier, "extrapolator": EXTRAPOLATORS, "noise_factors": factors}
    return {**resilience, "zne_mitigation": True, "zne": {**zne, "extrapolated_noise_factors": [0.0]}}


def _folding(amplifier: str, factors: Sequence[float] = (1, 3, 5)) -> Case:
    options = {"resilience_level": 2, "resilience": _extrapolating(amplifier, factors, {}), "twirling": ACTIVE}
    return Case(options=options, extrapolators=EXTRAPOLATORS, factors=factors)


def _amplifying() -> Case:
    resilience = _extrapolating("pea", (1, 2, 3), KNOWN)
    # Errors are drawn once for each randomization.
    twirling = {**ACTIVE, "num_randomizations": 256, "shots_per_randomization": 16}
    options = {"resilience": resilience, "twirling": twirling}
    return Case(options=options, own_noise=True, extrapolators=EXTRAPOLATORS, factors=(1, 2, 3))


CASES = {
    "level 0": Case(options={"resilience_level": 0}),
    "TREX (level 1)": Case(options={"resilience_level": 1}),
    "gate twirling, TREX": Case(options={"twirling": {**ACTIVE, "enable_gates": True}}),
    "ZNE, gate_folding (level 2)": _folding("gate_folding"),
    "ZNE, gate_folding_front": _folding("gate_folding_front", (1, 2, 3)),
    "ZNE, gate_folding_back": _folding("gate_folding_back", (1, 2, 3)),
    "PEA": _amplifying(),
    "PEC": Case(options={"resilience": {**KNOWN, "pec_mitigation": True}, "twirling": ACTIVE}, own_noise=True),
}


def circuit() -> QuantumCircuit:
    """Return gates of fake_manila that turn two qubits a little, and four of cx."""
    made = QuantumCircuit(5)
    for qubit, angle in ((0, 0.5), (1, 0.4)):
        made.rz(-math.pi / 2, qubit)
        made.sx(qubit)
        made.rz(math.pi - angle, qubit)
        made.sx(qubit)
        made.rz(-math.pi / 2, qubit)
    for _ in range(4):
        made.cx(0, 1)
        made.barrier(0, 1)
    return made


def repeated(case: Case, count: int, *, seed: int, **options: Any) -> list[DataBin]:
    """Return the data of `count` pubs of one job, which differ in nothing but their random numbers."""
    noise: NoiseModel | None = pauli_device({(0, 1): RATES}, misread=0.03) if case.own_noise else None
    observables = ObservablesArray([OBSERVABLES[name] for name in OBSERVABLES])
    pubs = [EstimatorPub.coerce((circuit(), observables))] * count
    simulator = {"seed_simulator": seed, "noise_model": noise}
    result = AerExecutor().execute_estimator(pubs, {**case.options, **options, "simulator": simulator}, "fake_manila")
    return [pub.data for pub in result]


@dataclass(frozen=True, slots=True, kw_only=True)
class Coverage:
    """How many of some estimates are within one and two standard errors of their mean."""

    count: int
    spread: float
    error: float
    within: tuple[int, int]

    @classmethod
    def of(cls, values: NDArray[np.float64], errors: NDArray[np.float64]) -> Self:
        off = np.abs(values - values.mean())
        within = (int(np.sum(off <= errors)), int(np.sum(off <= 2 * errors)))
        return cls(count=len(values), spread=float(values.std(ddof=1)), error=float(np.median(errors)), within=within)

    def chances(self) -> list[float]:
        """Return the chances of so few and of so many within one error, then two, at the limits of `WITHIN`."""
        found = []
        for number, (low, high) in zip(self.within, WITHIN, strict=True):
            found += [binom.cdf(number, self.count, low), binom.sf(number - 1, self.count, high)]
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """Values of a result, and what it says of their errors."""

    what: str
    values: str
    errors: str
    index: tuple[int, ...]

    def coverage(self, data: Sequence[DataBin]) -> Coverage:
        return Coverage.of(
            *(np.array([found[name][self.index] for found in data]) for name in (self.values, self.errors))
        )


def fields(case: Case) -> list[Field]:
    """Return the values of a result that have errors, those of single extrapolators for one observable."""
    found = []
    for number, name in enumerate(OBSERVABLES):
        found.append(Field(what=name, values="evs", errors="stds", index=(number,)))
        found += [
            Field(
                what=f"{name}, noise factor {factor:g}",
                values="evs_noise_factors",
                errors="stds_noise_factors",
                index=(number, place),
            )
            for place, factor in enumerate(case.factors)
        ]
    found += [
        Field(what=f"Z, {name}", values="evs_extrapolated", errors="stds_extrapolated", index=(0, place, 0))
        for place, name in enumerate(case.extrapolators)
    ]
    return found


FITS: dict[str, tuple[Sequence[float], int]] = {
    "linear": ((1, 3, 5), 4096),
    "exponential": ((1, 3, 5), 4096),
    "fallback": ((1, 3, 5), 4096),
    **{
        f"polynomial_degree_{degree}": (tuple(range(1, degree + 3)), 4096 if degree < 3 else 250_000)
        for degree in range(1, 8)
    },
    "double_exponential": ((1, 2, 3, 5, 7), 250_000),
}


"""Noise factors and shots for each extrapolator: so many that the value at 0 is not refused, with an error above 1."""


def fitted(name: str, count: int, *, seed: int, means: Sequence[float] | None = None) -> Coverage:
    """Return how well errors of an extrapolator alone cover: its means are those of so many shots of a Pauli term.

    Args:
        name: Of the extrapolator; as on a device, "linear" comes second.
        count: Of repetitions.
        seed: Of the shots.
        means: Their expectation values at all factors; by default the sum of two decays.
    """
    factors, shots = FITS[name]
    x = np.asarray(factors, dtype=np.float64)
    truth = 0.45 * np.exp(-0.05 * x) + 0.45 * np.exp(-0.5 * x) if means is None else np.asarray(means)
    names = list(dict.fromkeys([name, "linear"]))
    rng = np.random.default_rng(seed)
    model = Model(factors=factors, extrapolators=names)
    values, errors = np.empty((2, count))
    for number in range(count):
        drawn = 2 * rng.binomial(shots, (1 + truth) / 2) / shots - 1
        spreads = np.sqrt(1 - drawn**2)
        values[number], _, selected, _, _ = _process_extrapolated_expectation_values(
            drawn, spreads, "Z", list(factors), names
        )
        known = Means(values=drawn, squares=np.ones_like(x), errors=spreads / np.sqrt(shots - 1))
        _, slopes = model.estimates("Z", known, selected)
        errors[number] = np.sqrt(np.sum((slopes[:, 0] * known.errors) ** 2))
    return Coverage.of(values, errors)
