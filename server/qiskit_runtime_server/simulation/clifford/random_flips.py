"""Random numbers for many shots at once, and which shots rare events hit; the same on every processor.

Only the words of PCG64 (O'Neill, 2014, https://www.pcg-random.org/paper.html; NumPy keeps their stream, NEP 19), exact
divisions and comparisons are used: no logarithm, whose last bit may differ between processors. Of `width` shots an
event of the chance p hits K, which is binomial: ``P(K = 0) = (1-p)^width`` and ``P(K = k+1) = P(K = k) (width-k) p /
((k+1) (1-p))`` (Devroye, 1986, Non-uniform random variate generation, section X.4,
https://doi.org/10.1007/978-1-4613-8643-8); which K of them, is a uniformly random set: the first K different ones of a
row of shots drawn one by one.

    chance 0.001, 4,096 shots      K is 4, say; shots 17, 530, 2044 and 3998: five numbers, not 4,096
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

Words = NDArray[np.uint64]
Floats = NDArray[np.float64]
Integers = NDArray[np.intp]

_OFTEN: Final = 0.0625
"""Chances above this are drawn shot by shot: the first terms of their distribution would be 0 for a computer."""


class Source:
    """A stream of random words."""

    def __init__(self, seed: int, block: int) -> None:
        """Begin the stream of a block of the shots that have this seed."""
        self._generator = np.random.PCG64(np.random.SeedSequence(entropy=seed, spawn_key=(block,)))

    def words(self, *shape: int) -> Words:
        """Return words of 64 random bits."""
        count = int(np.prod(shape))
        return np.asarray(self._generator.random_raw(count), dtype=np.uint64).reshape(shape)

    def fractions(self, *shape: int) -> Floats:
        """Return multiples of 2^-53 in [0, 1)."""
        return (self.words(*shape) >> np.uint64(11)).astype(np.float64) * 2.0**-53


class Table:
    """Distributions over 0, 1, 2, ..., of which many draws are made at once."""

    def __init__(self, cumulative: Floats) -> None:
        """Take cumulative probabilities, shape ``(distributions, outcomes)``; the last column counts as 1."""
        self._outcomes = cumulative.shape[1]
        rows = cumulative.clip(max=1.0)
        rows[:, -1] = 1.0
        # One rising list: each row is moved behind the one before it.
        self._flat = (rows + 2.0 * np.arange(len(rows))[:, None]).ravel()

    def draw(self, distributions: Integers, source: Source) -> Integers:
        """Return an outcome of each of these distributions."""
        points = 2.0 * distributions + source.fractions(len(distributions))
        found: Integers = np.searchsorted(self._flat, points, side="right") - distributions * self._outcomes
        return found.clip(max=self._outcomes - 1)


class Events:
    """Independent events, each of which hits every shot with a chance of its own."""

    def __init__(self, chances: Floats, width: int) -> None:
        """Prepare to draw.

        Args:
            chances: For each event.
            width: How many shots there are, a power of two.
        """
        self._width = width
        self._shift = np.uint64(64 - (width.bit_length() - 1))
        often = chances > _OFTEN
        self._often = np.flatnonzero(often)
        self._rare = np.flatnonzero(~often & (chances > 0))
        self._often_chances = chances[self._often]
        distinct, self._kinds = np.unique(chances[self._rare], return_inverse=True)
        self._counts = Table(_binomial(distinct, width)) if len(distinct) else None

    def draw(self, source: Source) -> tuple[Integers, Integers]:
        """Return pairs of an event and a shot that it hits, sorted by both."""
        events, shots = self._drawn_rare(source)
        hits = [np.flatnonzero(source.fractions(self._width) < chance) for chance in self._often_chances.tolist()]
        if not hits:
            return events, shots
        often = np.repeat(self._often, [len(hit) for hit in hits])
        keys = np.sort(np.concatenate([events * self._width + shots, often * self._width + np.concatenate(hits)]))
        return keys // self._width, keys % self._width

    def _drawn_rare(self, source: Source) -> tuple[Integers, Integers]:
        if self._counts is None:
            nothing = np.empty(0, dtype=np.intp)
            return nothing, nothing
        counts = self._counts.draw(self._kinds.ravel(), source)
        keys = self._in_random_shots(np.repeat(np.arange(len(counts)), counts), source)
        keys.sort()
        while (again := np.flatnonzero(keys[1:] == keys[:-1])).size:
            # What an event has hit already is drawn once more.
            keys[again] = self._in_random_shots(keys[again] // self._width, source)
            keys.sort()
        return self._rare[keys // self._width], keys % self._width

    def _in_random_shots(self, events: Integers, source: Source) -> Integers:
        """Return a number for each event and a shot that is drawn for it."""
        keys: Integers = events * self._width + (source.words(len(events)) >> self._shift).astype(np.intp)
        return keys


def _binomial(chances: Floats, width: int) -> Floats:
    """Return the cumulative distributions of how many of `width` shots are hit, shape ``(chances, columns)``."""
    most = float(chances.max())
    mean = most * width
    columns = min(width, int(mean + 12 * np.sqrt(mean) + 30)) + 1
    table = np.empty((len(chances), columns))
    first = 1 - chances
    for _ in range(width.bit_length() - 1):
        first = first * first
    odds = chances / (1 - chances)
    table[:, 0] = first
    for hit in range(columns - 1):
        table[:, hit + 1] = table[:, hit] * (odds * ((width - hit) / (hit + 1)))
    return np.cumsum(table, axis=1)
