"""Standard errors of mitigated expectation values, from the bits that they are made of.

A mitigated value is a function of many means: of each term at each noise factor, and of the flip rates that TREX
calibrates. Whatever that function is (a sum, a rescaling, a fit with a choice among models), a small change of a mean
moves the value in proportion, by a *slope*. So each randomization has a share in the value's error: the sum, over all
means, of the slope times how far that randomization is off the mean. Randomizations are independent, so the variance of
the value is the variance of these shares over the number of randomizations, summed over what is drawn independently:
noise factors, measurement bases, and the calibration. Terms that are read from the same shots are correlated, and so
are all terms and noise factors through the calibration they share; both are counted, as shares are added up before they
are squared. This is the delta method, in the form of the infinitesimal jackknife (B. Efron, Biometrika 68, 589 (1981),
https://doi.org/10.1093/biomet/68.3.589).

    value          v = f(x_1, ..., x_n), with slopes v_i = df / dx_i
    a share        u_r = sum_i v_i * (x_ir - x_i), of randomization r
    its variance   sum_r u_r^2 / (R * (R - 1)), of R randomizations

The slopes of extrapolations come from `extrapolation`.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray
from qiskit.primitives.containers.observables_array import ObservablesArray
from qiskit_ibm_runtime.results import QuantumProgramResult
from qiskit_mitigation import PEA, PEC, MitigationTask
from qiskit_mitigation.utils.utils import load_tasks_from_result
from samplomatic.quantum_program import QuantumProgram

from qiskit_runtime_server.programs.estimator.bases import Term, parities_of
from qiskit_runtime_server.programs.mitigation.extrapolation import Means, Model
from qiskit_runtime_server.programs.mitigation.measurement_twirling import trex_factors
from qiskit_runtime_server.simulation.contract import Parities

Floats = NDArray[np.float64]

BLOCK_SHOTS: Final = 2**18
"""How many shots of a term are looked at at once."""

_MEASURED_AS: Final = str.maketrans("01+-rl", "ZZXXYY")


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """The flip rates that TREX divides by.

    Attributes:
        factors: For each qubit, what the value of a term is multiplied with if it acts on the qubit: ``1 / (1 - 2p)``.
        covariance: Of the measured flip rates ``p``, shape (qubits, qubits).
    """

    factors: Floats
    covariance: Floats

    @classmethod
    def of(cls, misread: NDArray[np.bool_]) -> Self:
        """Return what a calibration showed; `misread` has shape (randomizations, shots, qubits).

        Rates are spread over randomizations, as a flip decides which of a qubit's two errors is seen.
        """
        randomizations, shots, _ = misread.shape
        samples = misread.mean(axis=1) if randomizations > 1 else misread[0].astype(np.float64)
        rates = misread.mean(axis=(0, 1))
        off = samples - rates
        covariance = off.T @ off / (len(samples) * max(1, len(samples) - 1))
        # Rates above 1/2 would turn values over; the library's rates cannot say so.
        factors = np.maximum(trex_factors(rates, randomizations * shots), 1)
        return cls(factors=factors, covariance=covariance)

    def variances(self, slopes: Floats) -> Floats:
        """Return what the calibration adds to the variances of values: ``m^T C m``, ``m = 2 f * slopes``.

        Args:
            slopes: Shape (qubits, values): how much each value changes, in the sum over its terms, with the logarithm
                of each qubit's factor. A factor ``f`` changes by ``2f`` of itself for each unit of the rate.
        """
        moved = 2 * self.factors[:, None] * slopes
        return np.asarray(np.einsum("ik,ij,jk->k", moved, self.covariance, moved))


@dataclass(frozen=True, slots=True, kw_only=True)
class Errors:
    """Values and standard errors of all elements of a pub, in C order.

    `values` and `stds` have an axis for what is estimated: the value itself; with extrapolation followed by what each
    model says at each point, in C order, and by the value at each noise factor.

    Attributes:
        values: What the means give, shape (elements, estimates).
        stds: Of `values`: from how far randomizations are apart, and from the calibration.
        twirl_stds: The same without the calibration.
        ensemble_stds: As if all shots of a noise factor were alike, without the calibration; shape (elements, factors).
    """

    values: Floats
    stds: Floats
    twirl_stds: Floats
    ensemble_stds: Floats


@dataclass(frozen=True, slots=True, kw_only=True)
class _Term:
    """What the shots of a configuration say about a term.

    Attributes:
        means: Of its eigenvalues at each noise factor.
        values: All estimates, with the factor of the calibration.
        slopes: Of `values`, with the means; shape (factors, estimates).
        factor: Of the calibration.
    """

    means: Floats
    values: Floats
    slopes: Floats
    factor: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Shots:
    """What the shots of a pub showed.

    Attributes:
        bits: Shape (factors, randomizations, configurations, shots, qubits), flips undone.
        signs: What the eigenvalues of a randomization are multiplied with, shape (factors, randomizations,
            configurations); None for 1.
    """

    bits: NDArray[np.bool_]
    signs: Floats | None

    @classmethod
    def of(cls, task: MitigationTask, result: QuantumProgramResult) -> Self:
        """Return the shots of a program with one task; the calibration, if there is one, is the last item."""
        items = list(result)[: -1 if task.trex is not None else None]
        read = [item["_meas"] ^ item.get("measurement_flips._meas", np.False_) for item in items]
        signs = None
        if isinstance(task, PEC):
            odd = np.sum(items[0]["pauli_signs"], axis=-1) % 2
            signs = task.gamma * (1.0 - 2.0 * odd)[None]
        return cls(bits=read[0] if isinstance(task, PEA) else np.stack(read), signs=signs)

    @property
    def randomizations(self) -> int:
        """How many were drawn of each configuration at each factor."""
        return int(self.bits.shape[1])

    @property
    def samples(self) -> int:
        """How many independent samples there are of a factor: randomizations or, of a single one, shots."""
        return self.randomizations if self.randomizations > 1 else int(self.bits.shape[3])

    def blocks(self) -> Iterator[tuple[slice, slice]]:
        """Yield slices of randomizations and of their shots that hold few shots together."""
        _, randomizations, _, shots, _ = self.bits.shape
        if randomizations == 1:
            yield from ((slice(0, 1), slice(i, i + BLOCK_SHOTS)) for i in range(0, shots, BLOCK_SHOTS))
        else:
            step = max(1, BLOCK_SHOTS // max(1, shots))
            yield from ((slice(i, i + step), slice(None)) for i in range(0, randomizations, step))

    def eigenvalues(self, term: str, number: int, configuration: int, block: tuple[slice, slice]) -> Floats:
        """Return the value of `term` for each shot of a block at a factor; shape (randomizations, shots)."""
        bits = self.bits[number, block[0], configuration, block[1]]
        odd = np.zeros(bits.shape[:-1], dtype=np.bool_)
        kept = np.ones(bits.shape[:-1], dtype=np.bool_)
        for place, letter in enumerate(reversed(term)):
            if letter in "XYZ":
                odd ^= bits[..., place]
            elif letter != "I":
                kept &= bits[..., place] == (letter in "1-l")
        values: Floats = kept * (1.0 - 2.0 * odd)
        return values if self.signs is None else values * self.signs[number, block[0], configuration, None]

    def sampled(self, values: Floats) -> Floats:
        """Return the independent samples in what `eigenvalues` returns."""
        return np.asarray(values.mean(axis=1) if self.randomizations > 1 else values[0])

    def means(self, term: str, configuration: int) -> Means:
        """Return the means of a term at all factors."""
        sums = np.zeros((len(self.bits), 3))
        count = self.randomizations * self.bits.shape[3]
        for number in range(len(self.bits)):
            for block in self.blocks():
                values = self.eigenvalues(term, number, configuration, block)
                sampled = self.sampled(values)
                sums[number] += [values.sum() / count, (values**2).sum() / count, (sampled**2).sum() / self.samples]
        means, squares, spread = sums.T
        errors = np.sqrt(np.clip(spread - means**2, 0, None) / max(1, self.samples - 1))
        return Means(values=means, squares=squares, errors=errors)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Evaluation:
    """The shots of a pub, and what is made of them; remembers terms that several observables share."""

    shots: Shots
    model: Model
    calibration: Calibration | None
    terms: dict[tuple[str, int], _Term] = field(default_factory=dict)

    def term(self, term: str, configuration: int, selected: str) -> _Term:
        known = self.terms.get((term, configuration))
        if known is None:
            means = self.shots.means(term, configuration)
            values, slopes = self.model.estimates(term, means, selected)
            factor = 1.0
            if self.calibration is not None:
                factor = math.prod(self.calibration.factors[_support(term)].tolist())
            known = _Term(means=means.values, values=factor * values, slopes=factor * slopes, factor=factor)
            self.terms[term, configuration] = known
        return known

    def variances(self, terms: Mapping[str, tuple[float, _Term]], configuration: int) -> tuple[Floats, Floats]:
        """Return the variances of all estimates of terms that are read from the same shots.

        Args:
            terms: Their coefficients, and what the shots say about them.
            configuration: A parameter set and a basis.

        Returns:
            From the spread of the samples, shape (estimates,), and as if all shots of a factor were alike,
            shape (factors,).
        """
        shots = self.shots
        spread, pooled = np.zeros(len(self.model)), np.zeros(len(shots.bits))
        count = shots.randomizations * shots.bits.shape[3]
        for number in range(len(shots.bits)):
            for block in shots.blocks():
                shares: Floats | float = 0.0
                sums: Floats | float = 0.0
                for term, (coefficient, known) in terms.items():
                    off = shots.eigenvalues(term, number, configuration, block) - known.means[number]
                    shares = shares + coefficient * shots.sampled(off)[:, None] * known.slopes[number]
                    sums = sums + coefficient * known.factor * off
                spread += np.sum(np.square(shares), axis=0)
                pooled[number] += np.sum(np.square(sums))
        return spread / (shots.samples * max(1, shots.samples - 1)), pooled / (count * max(1, count - 1))

    def calibrated(self, terms: Mapping[str, tuple[float, _Term]]) -> Floats:
        """Return what the calibration adds to the variances of all estimates."""
        if self.calibration is None:
            return np.zeros(len(self.model))
        slopes = np.zeros((len(self.calibration.factors), len(self.model)))
        for term, (coefficient, known) in terms.items():
            slopes[_support(term)] += coefficient * known.values
        return self.calibration.variances(slopes)


def errors_of(
    task: MitigationTask,
    result: QuantumProgramResult,
    calibration: Calibration | None,
    selected: Sequence[Sequence[str]] | None,
) -> Errors:
    """Return the standard errors of everything that the library makes of `result`.

    Args:
        task: The only one of the program.
        result: Of all items; the calibration of TREX, if there is one, is the last.
        calibration: What came out of it.
        selected: The extrapolators that the library took for each term of each element; None if it took none.
    """
    model = Model.of(task)
    evaluation = _Evaluation(shots=Shots.of(task, result), model=model, calibration=calibration)
    rows, observables = _elements(task.param_shape, task.observables)
    values, spreads, sums = (np.zeros((len(rows), len(model))) for _ in range(3))
    ensembles = np.zeros((len(rows), len(model.factors)))
    bases = _numbered_bases(task)
    for element, (row, observable) in enumerate(zip(rows, observables, strict=True)):
        names = [""] * len(observable) if selected is None else selected[element]
        parts: dict[int, dict[str, tuple[float, _Term]]] = {}
        for (term, coefficient), name in zip(observable.items(), names, strict=True):
            if not _support(term):
                # It is 1 in every state, though shots of PEC with their signs are no more than 1 on average.
                values[element] += coefficient
                continue
            configuration = _configuration(term, bases[row])
            known = evaluation.term(term, configuration, name)
            parts.setdefault(configuration, {})[term] = coefficient, known
            values[element] += coefficient * known.values
        for configuration, terms in parts.items():
            spread, pooled = evaluation.variances(terms, configuration)
            spreads[element] += spread
            ensembles[element] += pooled
        every = {term: found for terms in parts.values() for term, found in terms.items()}
        sums[element] = spreads[element] + evaluation.calibrated(every)
    # What no model could be fitted to is as uncertain as can be.
    stds, twirl_stds = (np.nan_to_num(np.sqrt(variances), nan=np.inf) for variances in (sums, spreads))
    return Errors(values=values, stds=stds, twirl_stds=twirl_stds, ensemble_stds=np.sqrt(ensembles))


def asked_parities(program: QuantumProgram) -> list[Parities]:
    """Return the qubits of the parities that are made of the bits of each configuration, which are all that count.

    Args:
        program: With one task, before it is run.
    """
    (task,) = load_tasks_from_result(QuantumProgramResult([], passthrough_data=program.passthrough_data))
    asked: list[dict[Term, None]] = [{} for _ in task.param_basis_pairs]
    bases = _numbered_bases(task)
    for row, observable in zip(*_elements(task.param_shape, task.observables), strict=True):
        for label in observable:
            if support := _support(label):
                letters = "".join(label[-1 - place] for place in support)
                asked[_configuration(label, bases[row])][Term(letters, tuple(support))] = None
    return [parities_of(terms) for terms in asked]


def _numbered_bases(task: MitigationTask) -> dict[tuple[int, ...], list[tuple[str, int]]]:
    """Return the bases of each parameter set, with the numbers of their configurations."""
    bases: dict[tuple[int, ...], list[tuple[str, int]]] = {}
    for number, (index, basis) in enumerate(task.param_basis_pairs):
        bases.setdefault(tuple(index), []).append((basis, number))
    return bases


def _elements(
    shape: tuple[int, ...], observables: ObservablesArray
) -> tuple[list[tuple[int, ...]], list[Mapping[str, float]]]:
    """Return the index of the parameter set and the observable of each element of a pub, in C order."""
    full = np.broadcast_shapes(shape, observables.shape)
    rows = np.broadcast_to(np.arange(math.prod(shape)).reshape(shape), full).ravel()
    which = np.broadcast_to(np.arange(observables.size).reshape(observables.shape), full).ravel()
    distinct = [dict(observable) for observable in observables.ravel()]
    indices = list(np.ndindex(*shape))
    return [indices[row] for row in rows.tolist()], [distinct[number] for number in which.tolist()]


def _configuration(term: str, bases: Sequence[tuple[str, int]]) -> int:
    """Return the first configuration that shows `term`, which is the one that the library takes."""
    letters = term.translate(_MEASURED_AS)
    return next(
        number
        for basis, number in bases
        if all(letter in ("I", other) for letter, other in zip(letters, basis, strict=True))
    )


def _support(term: str) -> list[int]:
    return [place for place, letter in enumerate(reversed(term)) if letter != "I"]
