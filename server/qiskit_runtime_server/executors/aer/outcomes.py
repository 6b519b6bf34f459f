"""Shots out of probabilities, and out of what Aer counts."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from qiskit_runtime_server.executors.base import BitTensor


def bits_of(outcomes: NDArray[np.intp], count: int) -> NDArray[np.bool_]:
    """Return the lowest `count` bits of outcomes, shape ``(len(outcomes), count)``."""
    packed = outcomes.astype("<u8").view(np.uint8).reshape(len(outcomes), 8)
    return np.unpackbits(packed, axis=1, count=count, bitorder="little").astype(np.bool_)


def draws(cumulative: NDArray[np.float64], shots: int, seed: int) -> NDArray[np.intp]:
    """Return random outcomes, shape ``(shots,)``, as places in the cumulative sum of their probabilities."""
    points = np.random.default_rng(seed).random(shots) * cumulative[-1]
    # Rounding must not make an outcome of probability 0 at the end possible.
    last: np.intp = np.searchsorted(cumulative, cumulative[-1])
    outcomes: NDArray[np.intp] = np.minimum(np.searchsorted(cumulative, points, side="right"), last)
    return outcomes


def shuffled(counts: Mapping[str, int], num_clbits: int, seed: int) -> BitTensor:
    """Return counts as shots in random order, shape ``(shots, num_clbits)``.

    Sorted ones would seem to depend on those of other components.
    """
    width = (num_clbits + 7) // 8
    # The order in which Aer reports outcomes depends on its threads.
    ordered = sorted((int(outcome, 16), count) for outcome, count in counts.items())
    data = b"".join(outcome.to_bytes(width, "little") for outcome, _ in ordered)
    packed = np.frombuffer(data, dtype=np.uint8).reshape(len(counts), width)
    outcomes = np.unpackbits(packed, axis=1, count=num_clbits, bitorder="little").astype(np.bool_)
    order = np.repeat(np.arange(len(counts)), [count for _, count in ordered])
    shots: BitTensor = outcomes[np.random.default_rng(seed).permutation(order)]
    return shots
