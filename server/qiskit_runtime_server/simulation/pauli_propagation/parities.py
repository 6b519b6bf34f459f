"""Bits of which some parities are right: those that observables are made of.

An observable that is measured shot by shot only asks for parities of bits. Those in the span of a few independent ones,
b of them, have a joint distribution that their 2^b expectation values fix (a Walsh-Hadamard transform; Flammia and
Wallman, 2020, https://arxiv.org/abs/1907.12976):

    p(s) = sum over t of (-1)^(s . t) <Z_t> / 2^b

So shots of these parities are drawn exactly, and each shot is written as bits that have them. What else the bits show
means nothing. Where more than a few independent parities are asked for, and nothing but them, each is drawn for itself,
as if it were measured in shots of its own: values are as they should be, and correlations between them are left out.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from qiskit_runtime_server.errors import CircuitTooLargeError
from qiskit_runtime_server.simulation.contract import BitTensor, Parities

MOST_TOGETHER: Final = 5
"""Independent parities whose joint distribution is computed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Parities that are drawn together.

    Attributes:
        generators: The independent ones, as bit masks over classical bits.
        products: What each sum of them is, in the order of the number whose bits say which; the first one is 0.
    """

    generators: tuple[int, ...]
    products: tuple[int, ...]


class TooManyParitiesError(CircuitTooLargeError):
    """So many parities depend on each other that they are not drawn together; fewer can be."""


class ParityBits:
    """Draws bits with given expectation values of their parities.

    Attributes:
        masks: The parities whose expectation values are needed, as bit masks over classical bits.
        wanted: The numbers of those that were asked for.
    """

    def __init__(self, parities: Parities, num_clbits: int) -> None:
        """Take the parities that are to be right; errors as in `check`."""
        asked = _masks(parities)
        self._num_clbits = num_clbits
        self._groups = _grouped(asked)
        self.masks = tuple(dict.fromkeys(mask for group in self._groups for mask in group.products[1:]))
        numbers = {mask: number for number, mask in enumerate(self.masks)}
        self.wanted = tuple(numbers[mask] for mask in asked)
        self._numbers = [[numbers[mask] for mask in group.products[1:]] for group in self._groups]
        generators = [mask for group in self._groups for mask in group.generators]
        self._pivots, self._reduced, self._sums = _reduced(generators, num_clbits)

    def draw(self, means: NDArray[np.float64], shots: int, seed: int) -> tuple[BitTensor, float]:
        """Return bits of shape ``(shots, num_clbits)``, and how far the parities' values had to be changed.

        Values that are approximate may belong to no distribution: its negative chances are taken to be 0.

        Args:
            means: The expectation values of `masks`.
            shots: How many.
            seed: Fixes the bits.
        """
        rng = np.random.default_rng(seed)
        signs, changed = [], 0.0
        for group, numbers in zip(self._groups, self._numbers, strict=True):
            chances, change = _distribution(np.concatenate([[1.0], means[numbers]]))
            outcomes = np.searchsorted(np.cumsum(chances)[:-1], rng.random(shots), side="right")
            signs += [(outcomes >> place & 1).astype(np.bool_) for place in range(len(group.generators))]
            changed = max(changed, change)
        bits = rng.random((shots, self._num_clbits)) < 0.5  # noqa: PLR2004 - a fair coin
        if signs:
            wanted = np.stack(signs, axis=1).astype(np.uint8) @ self._sums % 2
            bits[:, self._pivots] = False
            shown = bits.astype(np.uint8) @ self._reduced.T % 2
            bits[:, self._pivots] = (shown ^ wanted).astype(np.bool_)
        return bits, changed


def check(parities: Parities) -> None:
    """See whether bits can have these parities.

    Raises:
        TooManyParitiesError: If more than `MOST_TOGETHER` independent ones have sums among them.
    """
    _grouped(_masks(parities))


def _masks(parities: Iterable[Sequence[int]]) -> list[int]:
    """Return the different parities that are not empty."""
    return [mask for mask in dict.fromkeys(sum(1 << bit for bit in parity) for parity in parities) if mask]


def _grouped(masks: Sequence[int]) -> list[Group]:
    # Those of few bits first, neighbours together.
    order = sorted(masks, key=lambda mask: (mask.bit_count(), mask & -mask))
    generators: list[int] = []
    echelon: dict[int, int] = {}
    for mask in order:
        rest = mask
        while rest and (high := rest.bit_length()) in echelon:
            rest ^= echelon[high]
        if rest:
            echelon[rest.bit_length()] = rest
            generators.append(mask)
    size = MOST_TOGETHER
    if len(generators) > MOST_TOGETHER:
        if len(generators) < len(masks):
            raise TooManyParitiesError(
                f"{len(generators)} independent terms of the observables, which have products among them, are measured"
                f" together; Pauli propagation takes {MOST_TOGETHER} of this kind. Use fewer terms in a pub."
            )
        size = 1
    return [_group(generators[start : start + size]) for start in range(0, len(generators), size)]


def _group(generators: Sequence[int]) -> Group:
    products = [0]
    for mask in generators:
        products += [product ^ mask for product in products]
    return Group(generators=tuple(generators), products=tuple(products))


def _reduced(
    generators: Sequence[int], num_clbits: int
) -> tuple[NDArray[np.intp], NDArray[np.uint8], NDArray[np.uint8]]:
    """Return the generators in reduced echelon form (Gauss and Jordan) over two elements.

    Returns:
        For each row the bit that no other row has; the rows, shape ``(generators, num_clbits)``; and which generators
        are summed up in a row, those of a row being a column.
    """
    rows = np.array([[mask >> bit & 1 for bit in range(num_clbits)] for mask in generators], dtype=np.uint8)
    rows = rows.reshape(len(generators), num_clbits)
    sums = np.eye(len(generators), dtype=np.uint8)
    pivots = []
    for number in range(len(generators)):
        pivot = int(np.flatnonzero(rows[number])[0])
        others = np.flatnonzero(rows[:, pivot])
        others = others[others != number]
        rows[others] ^= rows[number]
        sums[others] ^= sums[number]
        pivots.append(pivot)
    return np.array(pivots, dtype=np.intp), rows, sums.T


def _distribution(means: NDArray[np.float64]) -> tuple[NDArray[np.float64], float]:
    """Return the chances of all outcomes of a few parities, and by how much the largest change of a value is."""
    chances = _walsh(means) / len(means)
    if chances.min() >= 0:
        return chances / chances.sum(), 0.0
    chances = chances.clip(min=0.0)
    chances /= chances.sum()
    return chances, float(np.abs(_walsh(chances) - means).max())


def _walsh(numbers: NDArray[np.float64]) -> NDArray[np.float64]:
    size = len(numbers)
    signs = 1.0 - 2.0 * (np.bitwise_count(np.arange(size)[:, None] & np.arange(size)) & 1)
    found: NDArray[np.float64] = signs @ numbers
    return found
