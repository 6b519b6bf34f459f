"""What a receiver would see of measured qubits: a plausible model, made from the bits, not a simulation of readout."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

SPREAD: Final = 0.3
"""Standard deviation of both coordinates, in units of the distance of a cloud's centre from the origin."""


def points(bits: NDArray[np.bool_], seeds: NDArray[np.uint64]) -> NDArray[np.complex128]:
    """Return a point in the plane for each bit: in a cloud around -1 for 0, around 1 for 1.

    Errors of reading are in the bits already, so the sign of the real part always is the bit: what a receiver would
    take for the other one is reflected.

    Args:
        bits: Shape ``(rows, ...)``.
        seeds: Shape ``(rows,)``.
    """
    found = np.empty(bits.shape, dtype=np.complex128)
    for row, seed in enumerate(seeds.tolist()):
        along, across = np.random.default_rng(seed).normal(scale=SPREAD, size=(2, *bits.shape[1:]))
        found[row].real = np.where(bits[row], 1, -1) * np.abs(1 + along)
        found[row].imag = across
    return found
