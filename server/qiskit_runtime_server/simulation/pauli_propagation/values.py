"""Expectation values of products of Z at the end of a circuit, exactly or with an error that is known.

Where coefficients may be left out, all those below a cut are, and the cut is lowered until the error is small enough:

    bound       the sum of the magnitudes that were left out, below which the error must be (Rudolph et al., 2025,
                https://arxiv.org/abs/2505.21606)
    estimate    where the bound is too large: the larger one of two numbers. By how much the value changes from the last
                cut, ten times as large, to this one; and the root of the sum of the squares of what was left out, which
                is the error if the expectation values of these operators are of size 1 and independent of each other.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from qiskit_runtime_server.simulation.pauli_propagation.terms import Limits, Operation, Terms, TooManyTermsError

BYTES_PER_TERM: Final = 400
"""About what a term takes of up to 128 qubits, while it is worked on."""

MOST_TERMS: Final = 2**20
MOST_WORK: Final = 2.5e8
"""Of all cuts together, in terms that operations look at: less than a minute of one core."""

MOST_EXACT_TERMS: Final = 2**16
MOST_EXACT_WORK: Final = 5e6
"""The same where nothing may be left out: it is found out by trying whether the terms fit."""

WORK_PER_SECOND: Final = 5e6

_CUTS: Final = tuple(10.0**-power for power in range(3, 11))
# How much larger the cut is where the error does not count.
_CARELESS: Final = 10.0
# Coefficients that rounding leaves of nothing.
_ROUNDING: Final = 1e-15
_NOTHING: Final = 1e-9


@dataclass(frozen=True, slots=True, kw_only=True)
class Values:
    """Expectation values.

    Attributes:
        means: Shape ``(observables,)``.
        errors: By how much each of them may be off.
        bounded: Whether that is a bound, and no estimate.
    """

    means: NDArray[np.float64]
    errors: NDArray[np.float64]
    bounded: bool


class TruncationError(Exception):
    """The error is not small enough within the limits.

    Attributes:
        reached: The smallest error that was reached, or infinity.
    """

    def __init__(self, reached: float) -> None:
        super().__init__(reached)
        self.reached = reached


def exact_values(
    operations: Sequence[Operation], num_qubits: int, observables: Sequence[Sequence[int]], most_work: float
) -> Values:
    """Return the exact values, but for rounding; arguments as in `values_within`.

    Raises:
        TruncationError: If they take more terms or more work than they may.
    """
    limits = Limits(terms=MOST_EXACT_TERMS, work=min(MOST_EXACT_WORK, most_work))
    try:
        terms = _propagated(operations, num_qubits, observables, np.full(len(observables), _ROUNDING), limits)
    except TooManyTermsError as error:
        raise TruncationError(float("inf")) from error
    if terms.dropped.max(initial=0.0) > _NOTHING:
        raise TruncationError(float(terms.dropped.max()))
    return Values(means=terms.values(), errors=np.zeros(len(observables)), bounded=True)


def values_within(  # noqa: PLR0913 - what is propagated, and how far
    operations: Sequence[Operation],
    num_qubits: int,
    observables: Sequence[Sequence[int]],
    *,
    wanted: Sequence[int],
    error: float,
    most_work: float,
) -> Values:
    """Return values that are off by no more than `error`, as far as that is known.

    Args:
        operations: The first one is the last one of the circuit.
        num_qubits: Of the circuit.
        observables: The qubits of each product of Z.
        wanted: The numbers of those whose error counts; others only say how these are correlated.
        error: The largest that is small enough.
        most_work: In terms that operations look at, with all cuts together.

    Raises:
        TruncationError: If it takes more terms or more work than it may.
    """
    limits = Limits(terms=MOST_TERMS, work=min(MOST_WORK, most_work))
    factors = np.full(len(observables), _CARELESS)
    factors[list(wanted)] = 1.0
    before: NDArray[np.float64] | None = None
    reached = float("inf")
    for cut in _CUTS:
        try:
            terms = _propagated(operations, num_qubits, observables, cut * factors, limits)
        except TooManyTermsError:
            break
        found = _judged(terms, before, wanted, error)
        reached = min(reached, float(found.errors[list(wanted)].max(initial=0.0)))
        if reached <= error:
            return found
        before = found.means
    raise TruncationError(reached)


def _judged(terms: Terms, before: NDArray[np.float64] | None, wanted: Sequence[int], error: float) -> Values:
    means = terms.values()
    bounds = np.where(terms.dropped < _NOTHING, 0.0, terms.dropped)
    if bounds[list(wanted)].max(initial=0.0) <= error:
        return Values(means=means, errors=bounds, bounded=True)
    if before is None:
        return Values(means=means, errors=bounds, bounded=True)
    estimates = np.maximum(np.abs(means - before), np.sqrt(terms.squares))
    return Values(means=means, errors=np.minimum(bounds, estimates), bounded=False)


def _propagated(
    operations: Sequence[Operation],
    num_qubits: int,
    observables: Sequence[Sequence[int]],
    cuts: NDArray[np.float64],
    limits: Limits,
) -> Terms:
    terms = Terms(num_qubits, observables, cuts, limits)
    for operation in operations:
        terms.apply(operation)
    return terms
