"""Sums of Pauli operators, and what an instruction makes of them in the Heisenberg picture.

A channel E with the Pauli transfer matrix R takes the operator P_i of its qubits to ``sum over j of R[i, j] P_j``, as
``<P_i>`` after the channel is that sum of ``<P_j>`` before it (Greenbaum, 2015, https://arxiv.org/abs/1509.02921). A
product of Pauli operators on n qubits is 2n bits; those of 64 qubits are a machine word, and a sum is a table of words
with a column for each product.

    cz                          XI becomes XZ
    rx(t)                       Z becomes cos(t) Z + sin(t) Y
    amplitude damping, g        Z becomes (1 - g) Z + g I, and X becomes sqrt(1 - g) X

Products whose coefficients are small may be left out. No expectation value of a product is larger than 1, whatever
happened before, so a value is off by no more than the sum of the magnitudes that were left out (Rudolph et al., 2025,
https://arxiv.org/abs/2505.21606).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

Words = NDArray[np.uint64]

WORD: Final = 64
_ONE: Final = np.uint64(1)
# What is added without being joined with its equals before all of them are.
_SCATTERED: Final = 0.25
_START: Final = 1024


@dataclass(frozen=True, slots=True, eq=False)
class Operation:
    """A channel of a few qubits.

    Products of its k qubits have the number ``sum over q of (x_q + 2 z_q) 4^q``: I, X, Z, Y of each qubit.

    Attributes:
        qubits: The first one varies fastest.
        matrix: Shape ``(4^k, 4^k)``: the product of the row becomes the sum of those of the columns.
        main: For each product, the one that most of it becomes; shape ``(4^k,)``.
        factors: Their coefficients.
        branches: Pairs of other products that come of it, and their coefficients, if all are small and no two products
            have the same main one; else None.
    """

    qubits: tuple[int, ...]
    matrix: NDArray[np.float64]
    main: NDArray[np.intp]
    factors: NDArray[np.float64]
    branches: tuple[tuple[int, int, float], ...] | None


class TooManyTermsError(Exception):
    """The sum has more terms, or takes more work, than it may."""


@dataclass(slots=True)
class Limits:
    """What a propagation may take.

    Attributes:
        terms: At a time.
        work: Terms that operations may still look at.
    """

    terms: int
    work: float

    def spend(self, terms: int, looked_at: float) -> None:
        """Take work off what is left.

        Raises:
            TooManyTermsError: If there is none left, or there are too many terms.
        """
        self.work -= looked_at
        if terms > self.terms or self.work < 0:
            raise TooManyTermsError


class Terms:
    """Several sums of Pauli operators that are propagated together, each for itself.

    Attributes:
        dropped: The sum of the magnitudes that were left out of each.
        squares: The sum of their squares.
    """

    def __init__(
        self, num_qubits: int, observables: Sequence[Sequence[int]], cuts: NDArray[np.float64], limits: Limits
    ) -> None:
        """Begin with a product of Z for each observable.

        Args:
            num_qubits: Of the circuit.
            observables: The qubits of each.
            cuts: Coefficients of each up to this magnitude are left out.
            limits: Of these sums; its work is spent.
        """
        count = len(observables)
        self._half = -(-num_qubits // WORD)
        self._number = count
        self._cuts = cuts
        self._limits = limits
        # Words of X, words of Z, and the number of the sum.
        self._words = np.zeros((2 * self._half + 1, max(_START, 2 * count)), dtype=np.uint64)
        self._coefficients = np.zeros(self._words.shape[1])
        self._size = count
        for number, qubits in enumerate(observables):
            for qubit in qubits:
                self._words[self._half + qubit // WORD, number] |= np.uint64(1 << qubit % WORD)
        self._words[-1, :count] = np.arange(count)
        self._coefficients[:count] = 1.0
        self._scattered = 0
        self.dropped = np.zeros(count)
        self.squares = np.zeros(count)

    def __len__(self) -> int:
        """Return how many terms there are, equal ones and empty ones counted."""
        return self._size

    def apply(self, operation: Operation) -> None:
        """Put an operation before all that was applied so far.

        Raises:
            TooManyTermsError: If the limits are reached.
        """
        touched = self._touched(operation.qubits)
        self._limits.spend(self._size, len(touched) + self._size / 16)
        if not len(touched):
            return
        words = self._words[:, touched]
        codes = self._codes(words, operation.qubits)
        if operation.branches is None:
            self._mix(operation, touched, words, codes)
        else:
            self._move(operation, operation.branches, touched, words, codes)
        if self._scattered > _SCATTERED * self._size:
            self._join()

    def values(self) -> NDArray[np.float64]:
        """Return the expectation value of each sum if all qubits are 0, shape ``(observables,)``."""
        self._join()
        of_z = ~self._words[: self._half, : self._size].any(axis=0)
        owners = self._words[-1, : self._size][of_z].astype(np.intp)
        return _sums(owners, self._coefficients[: self._size][of_z], self._number)

    def _touched(self, qubits: Sequence[int]) -> NDArray[np.intp]:
        """Return the columns of terms that act on one of `qubits`."""
        masks: dict[int, int] = {}
        for qubit in qubits:
            masks[qubit // WORD] = masks.get(qubit // WORD, 0) | 1 << qubit % WORD
        found = np.zeros(self._size, dtype=np.bool_)
        for word, mask in masks.items():
            both = self._words[word, : self._size] | self._words[self._half + word, : self._size]
            found |= (both & np.uint64(mask)) != 0
        return np.flatnonzero(found)

    def _codes(self, words: Words, qubits: Sequence[int]) -> NDArray[np.intp]:
        codes = np.zeros(words.shape[1], dtype=np.uint64)
        for place, qubit in enumerate(qubits):
            word, bit = qubit // WORD, np.uint64(qubit % WORD)
            x = words[word] >> bit & _ONE
            z = words[self._half + word] >> bit & _ONE
            codes |= (x | z << _ONE) << np.uint64(2 * place)
        return codes.astype(np.intp)

    def _flip(self, words: Words, qubits: Sequence[int], codes: NDArray[np.intp]) -> None:
        """Multiply terms by the products `codes`, but for signs; in place."""
        bits = codes.astype(np.uint64)
        for place, qubit in enumerate(qubits):
            word, bit = qubit // WORD, np.uint64(qubit % WORD)
            words[word] ^= (bits >> np.uint64(2 * place) & _ONE) << bit
            words[self._half + word] ^= (bits >> np.uint64(2 * place + 1) & _ONE) << bit

    def _move(
        self,
        operation: Operation,
        branches: Sequence[tuple[int, int, float]],
        touched: NDArray[np.intp],
        words: Words,
        codes: NDArray[np.intp],
    ) -> None:
        """Apply an operation that mostly takes products to products."""
        coefficients = self._coefficients[touched]
        for code, other, factor in branches:
            here = np.flatnonzero(codes == code)
            if len(here):
                branched = words[:, here]
                self._flip(branched, operation.qubits, np.full(len(here), code ^ other))
                self._scattered += self._add(branched, coefficients[here] * factor)
        self._flip(words, operation.qubits, codes ^ operation.main[codes])
        self._words[:, touched] = words
        self._coefficients[touched] = coefficients * operation.factors[codes]

    def _mix(self, operation: Operation, touched: NDArray[np.intp], words: Words, codes: NDArray[np.intp]) -> None:
        """Apply an operation to all terms that differ in its qubits only at once."""
        self._flip(words, operation.qubits, codes)
        first, places = _distinct(words)
        width = len(operation.matrix)
        table = _sums(places * width + codes, self._coefficients[touched], len(first) * width)
        table = table.reshape(-1, width) @ operation.matrix
        groups, others = np.nonzero(table)
        mixed = words[:, first[groups]]
        self._flip(mixed, operation.qubits, others)
        self._coefficients[touched] = 0.0
        # Where nothing is left of an operator on these qubits, others may be equal to it.
        self._scattered += int((others == 0).sum()) + self._add(mixed, table[groups, others], reuse=touched)

    def _add(self, words: Words, coefficients: NDArray[np.float64], reuse: NDArray[np.intp] | None = None) -> int:
        """Add terms that are large enough, into the columns `reuse` first; return how many columns are new or empty."""
        kept = self._kept(words, coefficients)
        words, coefficients = words[:, kept], coefficients[kept]
        count = len(coefficients)
        reused = 0 if reuse is None else min(count, len(reuse))
        if reuse is not None and reused:
            self._words[:, reuse[:reused]] = words[:, :reused]
            self._coefficients[reuse[:reused]] = coefficients[:reused]
        if count > reused:
            end = self._size + count - reused
            self._limits.spend(end, 0)
            self._reserve(end)
            self._words[:, self._size : end] = words[:, reused:]
            self._coefficients[self._size : end] = coefficients[reused:]
            self._size = end
        return count if reuse is None else len(reuse) - reused

    def _kept(self, words: Words, coefficients: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Return which terms are large enough, and count what the others leave out."""
        owners = words[-1].astype(np.intp)
        kept: NDArray[np.bool_] = np.abs(coefficients) > self._cuts[owners]
        if not kept.all():
            owners, left_out = owners[~kept], coefficients[~kept]
            self.dropped += _sums(owners, np.abs(left_out), self._number)
            self.squares += _sums(owners, left_out**2, self._number)
        return kept

    def _reserve(self, size: int) -> None:
        if size > len(self._coefficients):
            more = size + size // 2 - len(self._coefficients)
            self._words = np.concatenate([self._words, np.zeros((len(self._words), more), np.uint64)], axis=1)
            self._coefficients = np.concatenate([self._coefficients, np.zeros(more)])

    def _join(self) -> None:
        """Add up the coefficients of equal terms."""
        words = self._words[:, : self._size]
        first, places = _distinct(words)
        coefficients = _sums(places, self._coefficients[: self._size], len(first))
        words = words[:, first]
        kept = self._kept(words, coefficients)
        self._size = int(kept.sum())
        self._words[:, : self._size] = words[:, kept]
        self._coefficients[: self._size] = coefficients[kept]
        self._scattered = 0


def _sums(places: NDArray[np.intp], numbers: NDArray[np.float64], size: int) -> NDArray[np.float64]:
    """Return the sum of the numbers of each place; zero where there are none."""
    return np.bincount(places, numbers, size).astype(np.float64, copy=False)


def _distinct(words: Words) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return a column of each kind, and for each column the number of its kind."""
    hashes = _hashed(words)
    order = np.argsort(hashes)
    first, places = _runs(order, hashes[order][None])
    if (words[:, first[places]] == words).all():
        return first, places
    # Two columns have the same hash.
    order = np.lexsort(words)
    return _runs(order, words[:, order])


def _runs(order: NDArray[np.intp], keys: Words) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    begins = np.ones(len(order), dtype=np.bool_)
    begins[1:] = (keys[:, 1:] != keys[:, :-1]).any(axis=0)
    places = np.empty(len(order), dtype=np.intp)
    places[order] = np.cumsum(begins) - 1
    return order[begins], places


def _hashed(words: Words) -> Words:
    """Return a hash of each column: words are mixed in by a product and a shift, as in SplitMix (Steele et al., 2014).

    https://doi.org/10.1145/2660193.2660195.
    """
    hashes = np.full(words.shape[1], 0x9E3779B97F4A7C15, dtype=np.uint64)
    for word in words:
        hashes ^= word
        hashes *= np.uint64(0xBF58476D1CE4E5B9)
        hashes ^= hashes >> np.uint64(29)
    return hashes
