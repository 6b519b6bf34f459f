"""What is read from the amplitudes of a state: weights of outcomes, samples, reduced density matrices.

Sums go over blocks of fixed size one after the other, so they are the same for any number of threads; squares are
added up in double precision. Qubit 0 is the lowest bit of an index, as in Qiskit.

    weights of qubit 1 of (a, b, c, d)      |a|^2 + |b|^2, |c|^2 + |d|^2
"""

from collections.abc import Sequence
from string import ascii_lowercase
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

Amplitudes = NDArray[np.complex64]
Floats = NDArray[np.float64]

# 1 MiB for the squares of a block.
_BLOCK_QUBITS: Final = 17


def weights(state: Amplitudes, qubit: int) -> Floats:
    """Return the weights of the outcomes 0 and 1 of a qubit, shape ``(2,)``; their sum is the state's norm squared."""
    found = np.zeros(2)
    for number, squares in enumerate(map(_squares, _blocks(state))):
        width = len(squares).bit_length() - 1
        if qubit >= width:
            found[number >> (qubit - width) & 1] += squares.sum()
        else:
            found += squares.reshape(-1, 2, 1 << qubit).sum(axis=(0, 2))
    return found


def sampled(state: Amplitudes, draws: Floats) -> NDArray[np.int64]:
    """Return an index for each draw in [0, 1): the first whose cumulative weight, in parts of all, exceeds it."""
    blocks = _blocks(state)
    sums = np.array([_squares(block).sum() for block in blocks])
    ends = np.cumsum(sums)
    points = draws * ends[-1]
    # Rounding must not make an outcome of weight 0 at the end possible.
    last = int(np.flatnonzero(sums)[-1])
    chosen = np.minimum(np.searchsorted(ends, points, side="right"), last)
    found = np.empty(len(draws), dtype=np.int64)
    for number in np.unique(chosen).tolist():
        here = np.flatnonzero(chosen == number)
        cumulative = np.cumsum(_squares(blocks[number]))
        inner = np.searchsorted(cumulative, points[here] - (ends[number - 1] if number else 0.0), side="right")
        most = np.searchsorted(cumulative, cumulative[-1])
        found[here] = number * blocks.shape[1] + np.minimum(inner, most)
    return found


def reduced(state: Amplitudes, qubits: Sequence[int]) -> NDArray[np.complex128]:
    """Return the density matrix of some qubits, shape ``(2^k, 2^k)``, whose trace is the state's norm squared.

    The first of `qubits` is the lowest bit of a row and a column (Nielsen, Chuang, section 2.4.3,
    https://doi.org/10.1017/CBO9780511976667).
    """
    ordered = sorted(qubits, reverse=True)
    edges = [len(state).bit_length() - 1, *ordered]
    shape = [size for upper, qubit in zip(edges, ordered, strict=False) for size in (1 << (upper - qubit - 1), 2)]
    tensor = state.reshape(*shape, 1 << ordered[-1])
    # Axes by turns: the qubits between two of ours, then ours.
    axes = ascii_lowercase[: tensor.ndim]
    other = "".join(axis.upper() if place % 2 else axis for place, axis in enumerate(axes))
    rows = "".join(axes[2 * ordered.index(qubit) + 1] for qubit in reversed(qubits))
    subscripts = f"{axes},{other}->{rows}{rows.upper()}"
    real, imaginary = tensor.real, tensor.imag

    def summed(left: NDArray[np.float32], right: NDArray[np.float32]) -> Floats:
        # Without BLAS, whose sums depend on threads, and without a copy of the state.
        found: Floats = np.einsum(subscripts, left, right, dtype=np.float64, optimize=False)
        return found.reshape(1 << len(qubits), 1 << len(qubits))

    crossed = summed(imaginary, real)
    return summed(real, real) + summed(imaginary, imaginary) + 1j * (crossed - crossed.T)


def _blocks(state: Amplitudes) -> Amplitudes:
    return state.reshape(-1, min(len(state), 1 << _BLOCK_QUBITS))


def _squares(block: Amplitudes) -> NDArray[Any]:
    return np.square(block.real, dtype=np.float64) + np.square(block.imag, dtype=np.float64)
