"""Statistics of the estimator: means and variances of observables from shots in several bases.

The shots of a basis give the mean of every observable's part in it and the part's variance, correlations of its terms
included; bases are independent of each other, so their variances add up (McClean et al.,
https://arxiv.org/abs/1509.04279). All terms share the calibration of TREX, whose part follows from slopes.
"""

import math
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import count
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray

from qiskit_runtime_server.programs.estimator.bases import Basis, Observable, Term, bases_of
from qiskit_runtime_server.simulation.contract import BitTensor

MAX_HISTOGRAM_BITS: Final = 12
"""Outcomes of more bits are not counted, but kept shot by shot."""

_PAULIS: Final = "XYZ"
_ONE_PROJECTORS: Final = "-l1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
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
    parts: Mapping[Basis, Mapping[int, Sequence[tuple[Term, float]]]]
    evs: NDArray[np.float64]
    variances: NDArray[np.float64]
    spreads: NDArray[np.float64]
    slopes: Mapping[int, dict[int, NDArray[np.float64]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """What TREX scales a term by, for each of its qubits, and the variances of the logarithms of these factors."""

    factors: Mapping[int, float] = field(default_factory=dict)
    variances: Mapping[int, float] = field(default_factory=dict)


def grouped(observables: Sequence[Observable], elements: NDArray[np.intp], *, apart: bool = False) -> list[Group]:
    """Group parameter sets by the observables asked for them.

    Args:
        observables: As `distinct_observables` returns them.
        elements: Likewise.
        apart: Whether terms share a basis only if their parities can be drawn together; see `bases_of`.
    """
    counter = count() if apart else None
    wanted: dict[int, list[int]] = {}
    for element in np.unique(elements).tolist():
        wanted.setdefault(element // len(observables), []).append(element % len(observables))
    rows: dict[tuple[int, ...], list[int]] = {}
    for row, numbers in wanted.items():
        rows.setdefault(tuple(numbers), []).append(row)
    return [_group(members, numbers, observables, counter) for numbers, members in rows.items()]


def _group(
    rows: Sequence[int], numbers: tuple[int, ...], observables: Sequence[Observable], apart: Iterator[int] | None
) -> Group:
    constants = [sum(c for term, c in observables[number] if not term.qubits) for number in numbers]
    terms = dict.fromkeys(term for number in numbers for term, _ in observables[number] if term.qubits)
    bases = bases_of(terms, apart)
    parts: dict[Basis, dict[int, list[tuple[Term, float]]]] = {}
    for place, number in enumerate(numbers):
        for term, coefficient in observables[number]:
            if term.qubits:
                parts.setdefault(bases[term], {}).setdefault(place, []).append((term, coefficient))
    return Group(
        rows=np.array(rows, dtype=np.intp),
        observables=numbers,
        parts=parts,
        evs=np.tile(np.array(constants, dtype=np.float64), (len(rows), 1)),
        variances=np.zeros((len(rows), len(numbers))),
        spreads=np.zeros((len(rows), len(numbers))),
        slopes={place: {} for place in range(len(numbers))},
    )


@dataclass(frozen=True)
class Outcomes:
    """What the shots of some rows showed.

    Attributes:
        words: The bits of outcomes, 64 in a word, little-endian; shapes (rows, shots), or (1, outcomes) with `counts`.
        counts: How often each outcome occurred, shape (rows, outcomes), or None if each shot stands for itself.
    """

    words: Sequence[NDArray[np.uint64]]
    counts: NDArray[np.int64] | None

    @classmethod
    def of(cls, bits: BitTensor) -> Self:
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
        """How many each row has."""
        return self.words[0].shape[1] if self.counts is None else int(self.counts[0].sum())

    def moments(
        self, terms: Iterable[tuple[Term, float]], places: Mapping[int, int], rows: NDArray[np.intp]
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
        terms: Iterable[tuple[Term, float]],
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


def _eigenvalues(term: Term, words: Sequence[NDArray[np.uint64]], places: Mapping[int, int]) -> NDArray[np.float64]:
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


def add_outcomes(  # noqa: PLR0913 - what was measured, and what to make of it
    group: Group,
    basis: Basis,
    rows: NDArray[np.intp],
    outcomes: Outcomes,
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


def _calibration_variances(group: Group, variances: Mapping[int, float]) -> NDArray[np.float64]:
    """Return what the calibration adds to the variances of a group's values, in their shape.

    All terms, in whatever bases, share the calibration of a qubit; that of another qubit is independent of it.
    """
    added = np.zeros_like(group.evs)
    for column, slopes in group.slopes.items():
        for qubit, slope in slopes.items():
            added[:, column] += variances[qubit] * slope**2
    return added


def collected(
    groups: Sequence[Group], elements: NDArray[np.intp], num_observables: int, calibration: Calibration
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
