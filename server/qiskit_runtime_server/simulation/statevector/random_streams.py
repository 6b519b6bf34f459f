"""Random numbers for many shots at once, each of which has a stream of its own.

A shot's numbers follow from its seed and its place in its row alone, so it does not matter with which others it is run.
NumPy's generators are sequential objects: making one for each of a million shots takes ten seconds. This is SplitMix64
(Steele, Lea, Flood: Fast splittable pseudorandom number generators, 2014, https://doi.org/10.1145/2660193.2660195) with
a start of its own for each shot.

    state(k) = start + k * gamma      the k-th number is the upper 53 bits of mix(state(k))
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

_GAMMA: Final = np.uint64(0x9E3779B97F4A7C15)
_FIRST: Final = np.uint64(0xBF58476D1CE4E5B9)
_SECOND: Final = np.uint64(0x94D049BB133111EB)


class RandomStreams:
    """Hands out numbers in [0, 1)."""

    def __init__(self, seeds: NDArray[np.uint64], places: NDArray[np.uint64]) -> None:
        """Begin the streams of some shots.

        Args:
            seeds: Of the shots' rows.
            places: Of the shots in their rows.
        """
        self._states = _mixed(_mixed(seeds) + (places + np.uint64(1)) * _GAMMA)

    def take(self, shots: NDArray[np.int64] | slice = slice(None)) -> NDArray[np.float64]:
        """Return the next number of each of these shots."""
        self._states[shots] += _GAMMA
        return _fractions(self._states[shots])

    def of(self, shot: int) -> "RandomStreams":
        """Return the stream of one shot, as it is now."""
        stream = object.__new__(RandomStreams)
        stream._states = self._states[shot : shot + 1].copy()
        return stream

    def take_many(self, shot: int, count: int) -> NDArray[np.float64]:
        """Return the next `count` numbers of one shot."""
        steps = np.arange(1, count + 1, dtype=np.uint64) * _GAMMA
        states = self._states[shot] + steps
        self._states[shot] = states[-1] if count else self._states[shot]
        return _fractions(states)


def _fractions(states: NDArray[np.uint64]) -> NDArray[np.float64]:
    """Return the upper 53 bits of mixed words, in parts of 1."""
    return (_mixed(states) >> np.uint64(11)).astype(np.float64) * 2.0**-53


def _mixed(words: NDArray[np.uint64]) -> NDArray[np.uint64]:
    words = (words ^ (words >> np.uint64(30))) * _FIRST
    words = (words ^ (words >> np.uint64(27))) * _SECOND
    return words ^ (words >> np.uint64(31))
