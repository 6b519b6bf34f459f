"""The program `estimator`: expectation values from shots in as few measurement bases as needed.

For each parameter set, the terms of the observables that are asked for it are grouped into bases of qubit-wise
commuting terms. A basis is measured once; its shots give the mean of every observable's part in it, and that part's
variance, correlations of its terms included. Measurements that the circuit itself ends in are left out
(`final_measurements`). Mitigation of readout errors (TREX, level 1) is done here as well: it only twirls measurements,
and scales terms. `mitigation` does all that changes circuits beyond that.
"""

import math
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from qiskit.circuit import ClassicalRegister, QuantumCircuit
from qiskit.primitives import DataBin, PrimitiveResult, PubResult
from qiskit.primitives.containers.estimator_pub import EstimatorPub

from qiskit_runtime_server.errors import InvalidInputError, NotIsaError, TooManyShotsError
from qiskit_runtime_server.programs.device import isa
from qiskit_runtime_server.programs.device.boxes import opened
from qiskit_runtime_server.programs.device.device import Device
from qiskit_runtime_server.programs.device.shots import ShotSource
from qiskit_runtime_server.programs.mitigation.decoupling import decoupled
from qiskit_runtime_server.programs.mitigation.final_measurements import without_final_measurements
from qiskit_runtime_server.programs.mitigation.measurement_twirling import flip_rates, trex_factors
from qiskit_runtime_server.programs.mitigation.plan import Plan, plan_for, target
from qiskit_runtime_server.programs.mitigation.rewritten import LayerNoise, layer_noise, mitigated
from qiskit_runtime_server.programs.options.mitigation import AUTO
from qiskit_runtime_server.programs.options.options import Options, estimator_methods
from qiskit_runtime_server.programs.prepared import PreparedDevice
from qiskit_runtime_server.simulation.contract import BitTensor
from qiskit_runtime_server.simulation.seeds import SeedPath

MAX_SHOTS: Final = 1_000_000
"""For one basis, where the device allows fewer: the shots of a basis need not be taken in one run."""
MAX_HISTOGRAM_BITS: Final = 12

# The basis that shows each letter of an observable: bit 0 for X, bit 1 for Z, both for Y.
_BASIS: Final = {"X": 1, "+": 1, "-": 1, "Y": 3, "r": 3, "l": 3, "Z": 2, "0": 2, "1": 2}
_PAULIS: Final = "XYZ"
_ONE_PROJECTORS: Final = "-l1"

# Gates that turn a basis into Z, for the instruction sets there are; the first that the qubit has is taken.
_ROTATIONS: Final[Mapping[int, Sequence[Sequence[tuple[str, Sequence[float]]]]]] = {
    1: (
        (("rz", (math.pi / 2,)), ("sx", ())),
        (("h", ()),),
        (("ry", (-math.pi / 2,)),),
        (("u", (math.pi / 2, 0.0, math.pi)),),
        (("u3", (math.pi / 2, 0.0, math.pi)),),
    ),
    3: (
        (("sx", ()),),
        (("sdg", ()), ("h", ())),
        (("rx", (math.pi / 2,)),),
        (("u", (math.pi / 2, 0.0, math.pi / 2)),),
        (("u3", (math.pi / 2, 0.0, math.pi / 2)),),
    ),
    2: ((),),
}


def execute(
    source: ShotSource, pubs: Sequence[EstimatorPub], options: Options, backend_name: str
) -> PrimitiveResult[PubResult]:
    """Run `pubs` with shots from `source`; other arguments and errors as in `BaseExecutor.execute_estimator`."""
    prepared = PreparedDevice.of(source, options, backend_name)
    pubs = [EstimatorPub.coerce(pub) for pub in pubs]
    for index, pub in enumerate(pubs):
        _check(pub, prepared.device, prepared.options, f"pubs[{index}]")
    pubs = [EstimatorPub(opened(pub.circuit), pub.observables, pub.parameter_values, pub.precision) for pub in pubs]
    plans = [plan_for(prepared, pub, f"pubs[{index}]") for index, pub in enumerate(pubs)]
    if prepared.options.twirling.product is not None:
        for index, plan in enumerate(plans):
            most = max(MAX_SHOTS, prepared.device.max_shots)
            isa.check_shots(plan.randomizations.total, most, prepared.device, f"pubs[{index}]")
    layered = [plan.pub for plan in plans if plan.methods.needs_layers]
    noise = layer_noise(prepared, layered) if layered else None
    results = [_run(prepared, plan, noise, index) for index, plan in enumerate(plans)]
    return PrimitiveResult(results, _job_metadata(prepared.options))


def _run(prepared: PreparedDevice, plan: Plan, noise: LayerNoise | None, index: int) -> PubResult:
    if plan.direct:
        return PubResult(_estimate_pub(prepared, plan, index), plan.metadata(plan.randomizations, {}))
    made = mitigated(prepared, plan, noise, index)
    return PubResult(made.data, plan.metadata(made.randomizations, made.resilience))


def num_configurations(pub: EstimatorPub) -> int:
    """Return how many pairs of a parameter set and a measurement basis the pub takes shots for."""
    return sum(len(group.rows) * len(group.parts) for group in _groups(*_observables(pub)))


def _job_metadata(options: Options) -> dict[str, Any]:
    methods = estimator_methods(options)
    twirling: dict[str, Any] = {"enable_gates": methods.twirl_gates, "enable_measure": methods.twirl_measure}
    if methods.twirls:
        twirling = asdict(options.twirling) | twirling
    resilience: dict[str, Any] = {
        "measure_mitigation": methods.trex,
        "zne_mitigation": methods.zne,
        "pec_mitigation": methods.pec,
    }
    chosen = options.resilience
    if methods.trex:
        resilience["measure_noise_learning"] = asdict(chosen.measure_noise_learning)
    if methods.zne:
        resilience["zne"] = asdict(chosen.zne)
    if methods.pec:
        resilience["pec"] = asdict(chosen.pec)
    return {
        "dynamical_decoupling": asdict(options.decoupling) if methods.decouple else {"enable": False},
        "twirling": twirling,
        "resilience": resilience,
        "resilience_level": methods.level,
        "version": 2,
        **options.noise_metadata,
    }


def _check(pub: EstimatorPub, device: Device, options: Options, where: str) -> None:
    if pub.precision is not None and not (math.isfinite(pub.precision) and pub.precision > 0):
        raise InvalidInputError(f"{where}: precision must be greater than 0, not {pub.precision}.")
    if (pub.precision or options.default_precision or 1) < 1e-9:  # noqa: PLR2004 - its square must not overflow
        raise TooManyShotsError(f"{where}: a precision below 1e-9 cannot be reached with shots.")
    precision, shots = target(pub, options)
    most = max(MAX_SHOTS, device.max_shots)
    if shots > most:
        raise TooManyShotsError(
            f"{where}: precision {precision} takes {shots} shots; {device.name} allows at most {most}, that is"
            f" precision {1 / math.sqrt(most):.2g}."
        )
    isa.check_circuit(pub.circuit, device, options, where)
    isa.check_rzz_values(pub.circuit, pub.parameter_values, device, where)


@dataclass(frozen=True, slots=True)
class _Basis:
    """A letter for each of some qubits, as bit masks over all qubits: X is in `x`, Z in `z`, Y in both."""

    x: int = 0
    z: int = 0

    @property
    def support(self) -> int:
        return self.x | self.z

    def agrees(self, other: "_Basis") -> bool:
        """Whether one measurement can show both."""
        return not ((self.x ^ other.x) | (self.z ^ other.z)) & self.support & other.support

    def merged(self, other: "_Basis") -> "_Basis":
        return _Basis(self.x | other.x, self.z | other.z)

    def qubits(self) -> list[int]:
        support = self.support
        return [qubit for qubit in range(support.bit_length()) if support >> qubit & 1]

    def letter(self, qubit: int) -> int:
        return (self.x >> qubit & 1) | (self.z >> qubit & 1) << 1


@dataclass(frozen=True, slots=True)
class _Term:
    """A product of Pauli matrices and projectors: a letter for each of its qubits."""

    letters: str
    qubits: tuple[int, ...]

    @property
    def basis(self) -> _Basis:
        kinds = [(_BASIS[letter], 1 << qubit) for letter, qubit in zip(self.letters, self.qubits, strict=True)]
        return _Basis(sum(bit for kind, bit in kinds if kind & 1), sum(bit for kind, bit in kinds if kind & 2))


_Observable = tuple[tuple[_Term, float], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Group:
    """Parameter sets that the same observables are asked for.

    Attributes:
        rows: Numbers of the parameter sets, rising.
        observables: Numbers of the observables.
        parts: For each basis, the terms of each observable (by its place in `observables`) that are measured in it.
        evs: Shape (rows, observables), filled step by step, from the identity terms on.
        variances: Of `evs`, in the same shape, as if all shots were alike.
        spreads: The same, from how far randomizations are apart.
        slopes: For each observable (by its place) and each of its qubits, how much its values change with the logarithm
            of the factor that TREX scales that qubit by: the sum of its terms that act on the qubit, for each row.
    """

    rows: NDArray[np.intp]
    observables: tuple[int, ...]
    parts: Mapping[_Basis, Mapping[int, Sequence[tuple[_Term, float]]]]
    evs: NDArray[np.float64]
    variances: NDArray[np.float64]
    spreads: NDArray[np.float64]
    slopes: Mapping[int, dict[int, NDArray[np.float64]]]


def _estimate_pub(prepared: PreparedDevice, plan: Plan, index: int) -> DataBin:
    pub = plan.pub
    observables, elements = _observables(pub)
    groups = _groups(observables, elements)
    values = pub.parameter_values.ravel().as_array(pub.circuit.parameters)
    bases = dict.fromkeys(basis for group in groups for basis in group.parts)
    seeds = prepared.options.seeds.pub(index)
    calibration = _calibrated(prepared, plan, seeds) if plan.methods.trex else _Calibration()
    for number, basis in enumerate(bases):
        users = [group for group in groups if basis in group.parts]
        rows = np.unique(np.concatenate([group.rows for group in users]))
        for part, bits in _shots_in(prepared, plan, basis, values[rows], seeds.basis(number)):
            outcomes = _Outcomes.of(bits.reshape(-1, plan.randomizations.shots, bits.shape[-1]))
            for group in users:
                _add(
                    group,
                    basis,
                    rows[part],
                    outcomes,
                    randomizations=plan.randomizations.number,
                    factors=calibration.factors,
                )
    evs, variances, spreads, calibrated = _collected(groups, elements, len(observables), calibration)
    fields = {"evs": evs, "stds": np.sqrt(spreads + calibrated), "ensemble_standard_error": np.sqrt(variances)}
    if plan.methods.twirls:
        fields["twirl_stds"] = np.sqrt(spreads)
    return DataBin(shape=pub.shape, **{name: field.reshape(pub.shape) for name, field in fields.items()})


def _shots_in(
    prepared: PreparedDevice, plan: Plan, basis: "_Basis", values: NDArray[np.float64], seeds: SeedPath
) -> Iterator[tuple[slice, BitTensor]]:
    """Yield the bits of the basis' qubits, all shots of a randomization side by side."""
    circuit, columns = _measured(without_final_measurements(plan.pub.circuit), basis, prepared.device)
    if plan.methods.decouple:
        circuit = decoupled(circuit, prepared.device, prepared.options.decoupling, plan.where)
    parts = (
        prepared.sample_twirled(
            circuit,
            values,
            plan.randomizations,
            prepared.readouts(dict(zip(basis.qubits(), columns, strict=True))) or {},
            seeds,
        )
        if plan.methods.twirls
        else prepared.sample(circuit, values, plan.randomizations.total, seeds)
    )
    for rows, bits in parts:
        yield rows, bits[..., columns]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Calibration:
    """What TREX scales a term by, for each of its qubits, and the variances of the logarithms of these factors."""

    factors: Mapping[int, float] = field(default_factory=dict)
    variances: Mapping[int, float] = field(default_factory=dict)


def _calibrated(prepared: PreparedDevice, plan: Plan, seeds: SeedPath) -> _Calibration:
    """Measure by how much readout errors shrink the expectation value of each qubit, and return what undoes it.

    A factor ``f = 1 / (1 - 2p)`` changes by ``2f`` of itself for each unit of the measured flip rate ``p``.
    """
    readouts = plan.readouts or {}
    learning = prepared.options.resilience.measure_noise_learning
    shots = (
        plan.randomizations.shots if learning.shots_per_randomization == AUTO else int(learning.shots_per_randomization)
    )
    (seed,) = seeds.calibration.rows(slice(0, 1)).tolist()
    rates, variances = flip_rates(readouts, list(readouts), learning.num_randomizations, shots, seed)
    factors = trex_factors(rates, learning.num_randomizations * shots)
    return _Calibration(
        factors=dict(zip(readouts, factors.tolist(), strict=True)),
        variances=dict(zip(readouts, (4 * factors**2 * variances).tolist(), strict=True)),
    )


def _observables(pub: EstimatorPub) -> tuple[list[_Observable], NDArray[np.intp]]:
    """Return the pub's different observables, and which one each element asks for in which row.

    Returns:
        The observables, and ``row * len(observables) + observable`` for each of the pub's elements in C order.
    """
    numbers: dict[_Observable, int] = {}
    array = pub.observables.sparse_observables_array()
    which = np.empty(array.shape, dtype=np.intp)
    for place, observable in np.ndenumerate(array):
        terms = tuple((_Term(letters, tuple(qubits)), c.real) for letters, qubits, c in observable.to_sparse_list())
        which[place] = numbers.setdefault(terms, len(numbers))
    rows = np.arange(pub.parameter_values.size).reshape(pub.parameter_values.shape)
    elements = np.broadcast_to(rows, pub.shape) * len(numbers) + np.broadcast_to(which, pub.shape)
    return list(numbers), elements.ravel()


def _groups(observables: Sequence[_Observable], elements: NDArray[np.intp]) -> list[_Group]:
    """Return parameter sets, grouped by the observables asked for them; the arguments come from `_observables`."""
    wanted: dict[int, list[int]] = {}
    for element in np.unique(elements).tolist():
        wanted.setdefault(element // len(observables), []).append(element % len(observables))
    rows: dict[tuple[int, ...], list[int]] = {}
    for row, numbers in wanted.items():
        rows.setdefault(tuple(numbers), []).append(row)
    return [_group(members, numbers, observables) for numbers, members in rows.items()]


def _group(rows: Sequence[int], numbers: tuple[int, ...], observables: Sequence[_Observable]) -> _Group:
    constants = [sum(c for term, c in observables[number] if not term.qubits) for number in numbers]
    bases = _assigned(dict.fromkeys(term for number in numbers for term, _ in observables[number] if term.qubits))
    parts: dict[_Basis, dict[int, list[tuple[_Term, float]]]] = {}
    for place, number in enumerate(numbers):
        for term, coefficient in observables[number]:
            if term.qubits:
                parts.setdefault(bases[term], {}).setdefault(place, []).append((term, coefficient))
    return _Group(
        rows=np.array(rows, dtype=np.intp),
        observables=numbers,
        parts=parts,
        evs=np.tile(np.array(constants, dtype=np.float64), (len(rows), 1)),
        variances=np.zeros((len(rows), len(numbers))),
        spreads=np.zeros((len(rows), len(numbers))),
        slopes={place: {} for place in range(len(numbers))},
    )


def _assigned(terms: Iterable[_Term]) -> dict[_Term, _Basis]:
    """Return a basis for each term; those of many qubits first, each into the first basis that it agrees with."""
    bases: list[_Basis] = []
    places: dict[_Term, int] = {}
    for term in sorted(terms, key=lambda term: len(term.qubits), reverse=True):
        own = term.basis
        place = next((i for i, basis in enumerate(bases) if basis.agrees(own)), len(bases))
        if place == len(bases):
            bases.append(_Basis())
        bases[place] = bases[place].merged(own)
        places[term] = place
    return {term: bases[place] for term, place in places.items()}


def _measured(circuit: QuantumCircuit, basis: _Basis, device: Device) -> tuple[QuantumCircuit, list[int]]:
    """Return `circuit` with a measurement of `basis` at its end, and the classical bits of the basis' qubits."""
    measured = circuit.copy()
    qubits = basis.qubits()
    register = ClassicalRegister(len(qubits), _free_name(circuit))
    measured.add_register(register)
    for qubit in qubits:
        for name, angles in _rotation(basis.letter(qubit), qubit, device):
            getattr(measured, name)(*angles, qubit)
    measured.measure(qubits, register)
    return measured, [measured.find_bit(bit).index for bit in register]


def _free_name(circuit: QuantumCircuit) -> str:
    name = "observable"
    while any(register.name == name for register in circuit.cregs):
        name += "_"
    return name


def _rotation(letter: int, qubit: int, device: Device) -> Sequence[tuple[str, Sequence[float]]]:
    for gates in _ROTATIONS[letter]:
        names = [*(name for name, _ in gates), "measure"]
        if all(device.target.instruction_supported(name, (qubit,)) for name in names):
            return gates
    raise NotIsaError(f"{device.name} has no gates to measure {'.XZY'[letter]} on qubit {qubit}.")


@dataclass(frozen=True)
class _Outcomes:
    """What the shots of some rows showed.

    Attributes:
        words: The bits of outcomes, 64 in a word, little-endian; shapes (rows, shots), or (1, outcomes) with `counts`.
        counts: How often each outcome occurred, shape (rows, outcomes), or None if each shot stands for itself.
    """

    words: Sequence[NDArray[np.uint64]]
    counts: NDArray[np.int64] | None

    @classmethod
    def of(cls, bits: BitTensor) -> "_Outcomes":
        """Return the outcomes in `bits` of shape (rows, shots, qubits)."""
        rows, shots, width = bits.shape
        words = [np.zeros((rows, shots), dtype=np.uint64) for _ in range((width + 63) // 64)]
        for place in range(width):
            words[place // 64] |= bits[..., place].astype(np.uint64) << np.uint64(place % 64)
        if width > MAX_HISTOGRAM_BITS or 2**width > shots:
            return cls(words, None)
        numbers = words[0].astype(np.int64) + (np.arange(rows) << width)[:, None]
        counts = np.bincount(numbers.ravel(), minlength=rows << width).reshape(rows, 1 << width)
        return cls([np.arange(1 << width, dtype=np.uint64)[None]], counts)

    @cached_property
    def shots(self) -> int:
        return self.words[0].shape[1] if self.counts is None else int(self.counts[0].sum())

    def moments(
        self, terms: Iterable[tuple[_Term, float]], places: Mapping[int, int], rows: NDArray[np.intp]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return mean and variance of the sum of `terms` in each of `rows`; `places` are the qubits' bits."""
        words = self._words(rows)
        sums = np.zeros(words[0].shape)
        for term, coefficient in terms:
            sums += coefficient * _eigenvalues(term, words, places)
        means = self._means(sums, rows)
        if self.counts is None:
            return means, sums.var(axis=1)
        shares = self.counts[rows] / self.shots
        return means, (shares * (sums - means[:, None]) ** 2).sum(axis=1)

    def shares(
        self,
        terms: Iterable[tuple[_Term, float]],
        places: Mapping[int, int],
        rows: NDArray[np.intp],
        qubits: Collection[int],
    ) -> dict[int, NDArray[np.float64]]:
        """Return the means of those of `terms` that act on a qubit, in each of `rows`; one for each of `qubits`."""
        words = self._words(rows)
        found: dict[int, NDArray[np.float64]] = {}
        for term, coefficient in terms:
            own = [qubit for qubit in term.qubits if qubit in qubits]
            if not own:
                continue
            values = coefficient * _eigenvalues(term, words, places)
            if self.counts is None:
                values = self._means(values, rows)
            for qubit in own:
                found[qubit] = found.get(qubit, 0.0) + values
        if self.counts is None:
            return found
        return {qubit: self._means(values, rows) for qubit, values in found.items()}

    def _words(self, rows: NDArray[np.intp]) -> Sequence[NDArray[np.uint64]]:
        return self.words if self.counts is not None else [word[rows] for word in self.words]

    def _means(self, values: NDArray[np.float64], rows: NDArray[np.intp]) -> NDArray[np.float64]:
        """Return the mean over the shots of each of `rows`, of values of shots or outcomes."""
        if self.counts is None:
            return np.asarray(values.mean(axis=1))
        return np.asarray(self.counts[rows] @ values[0] / self.shots)


def _eigenvalues(term: _Term, words: Sequence[NDArray[np.uint64]], places: Mapping[int, int]) -> NDArray[np.float64]:
    """Return the value of `term` for each outcome."""
    flips, fixed, ones = ([0] * len(words) for _ in range(3))
    for letter, qubit in zip(term.letters, term.qubits, strict=True):
        word, bit = places[qubit] // 64, 1 << places[qubit] % 64
        if letter in _PAULIS:
            flips[word] |= bit
        else:
            fixed[word] |= bit
            ones[word] |= bit * (letter in _ONE_PROJECTORS)
    values = np.ones(words[0].shape)
    for bits, mask in zip(words, flips, strict=True):
        values *= 1.0 - 2.0 * (np.bitwise_count(bits & np.uint64(mask)) & 1)
    for bits, mask, one in zip(words, fixed, ones, strict=True):
        values *= (bits & np.uint64(mask)) == np.uint64(one)
    return values


def _add(  # noqa: PLR0913 - what was measured, and what to make of it
    group: _Group,
    basis: _Basis,
    rows: NDArray[np.intp],
    outcomes: _Outcomes,
    *,
    randomizations: int,
    factors: Mapping[int, float],
) -> None:
    """Add what the terms in `basis` contribute to those rows of the group that are in `rows`.

    Args:
        group: Changed in place.
        basis: Was measured.
        rows: The parameter sets that it was measured for.
        outcomes: Their rows are all randomizations of the first of `rows`, then of the next, and so on.
        randomizations: Of each parameter set.
        factors: What the value of a term is multiplied with, for each of its qubits; 1 where there is none.
    """
    places = {qubit: place for place, qubit in enumerate(basis.qubits())}
    mine = np.flatnonzero(np.isin(group.rows, rows))
    theirs = np.searchsorted(rows, group.rows[mine])
    variants = (theirs[:, None] * randomizations + np.arange(randomizations)).ravel()
    for column, terms in group.parts[basis].items() if len(mine) else ():
        scaled = [(term, c * math.prod(factors.get(qubit, 1.0) for qubit in term.qubits)) for term, c in terms]
        means, variances = (
            moments.reshape(-1, randomizations) for moments in outcomes.moments(scaled, places, variants)
        )
        pooled = (variances.mean(axis=1) + means.var(axis=1)) / max(1, randomizations * outcomes.shots - 1)
        group.evs[mine, column] += means.mean(axis=1)
        group.variances[mine, column] += pooled
        group.spreads[mine, column] += means.var(axis=1, ddof=1) / randomizations if randomizations > 1 else pooled
        for qubit, share in outcomes.shares(scaled, places, variants, factors).items():
            slopes = group.slopes[column].setdefault(qubit, np.zeros(len(group.rows)))
            slopes[mine] += share.reshape(-1, randomizations).mean(axis=1)


def _calibration_variances(group: _Group, variances: Mapping[int, float]) -> NDArray[np.float64]:
    """Return what the calibration adds to the variances of a group's values, in their shape.

    All terms, in whatever bases, share the calibration of a qubit; that of another qubit is independent of it.
    """
    added = np.zeros_like(group.evs)
    for column, slopes in group.slopes.items():
        for qubit, slope in slopes.items():
            added[:, column] += variances[qubit] * slope**2
    return added


def _collected(
    groups: Sequence[_Group], elements: NDArray[np.intp], num_observables: int, calibration: _Calibration
) -> tuple[NDArray[np.float64], ...]:
    """Return values, both variances, and what calibration adds to them, for each element of the pub, in C order."""
    if not groups:
        return (np.empty(0),) * 4
    keys = [group.rows[:, None] * num_observables + np.array(group.observables) for group in groups]
    order = np.argsort(flat := np.concatenate([key.ravel() for key in keys]))
    places = order[np.searchsorted(flat, elements, sorter=order)]
    tables = [
        (group.evs, group.variances, group.spreads, _calibration_variances(group, calibration.variances))
        for group in groups
    ]
    return tuple(np.concatenate([table.ravel() for table in kind])[places] for kind in zip(*tables, strict=True))
