"""What is read from the amplitudes of a state: weights of outcomes, samples, reduced density matrices.

Sums go over blocks of fixed size one after the other, so they are the same for any number of threads; beyond some
hundred squares they are added up in double precision. Qubit 0 is the lowest bit of an index, as in Qiskit.

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
# Of the amplitudes whose weights are added up in single precision.
_ROW_QUBITS: Final = 9
# 8 MiB for the squares of those that are looked into at a time.
_MOST_ROWS: Final = 2**10


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
    """Return an index for each draw in [0, 1): the first whose cumulative weight, in parts of all, exceeds it.

    The state is read once, for the weights of rows of amplitudes, which are right to some 1e-7 of their own; then the
    rows that draws fall into are, in double precision.
    """
    numbers = state.view(np.float32).reshape(-1, 2 * min(len(state), 1 << _ROW_QUBITS))
    # Without BLAS, whose sums depend on threads.
    sums = np.einsum("ij,ij->i", numbers, numbers, optimize=False).astype(np.float64)
    ends = np.cumsum(sums)
    # Rounding must not make an outcome of weight 0 at the end possible.
    last = int(np.flatnonzero(sums)[-1])
    points = draws * ends[-1]
    rows = np.minimum(np.searchsorted(ends, points, side="right"), last)
    points -= np.concatenate([[0.0], ends[:-1]])[rows]
    order = np.argsort(rows, kind="stable")
    used, firsts = np.unique(rows[order], return_index=True)
    found = np.empty(len(draws), dtype=np.int64)
    for start in range(0, len(used), _MOST_ROWS):
        some = used[start : start + _MOST_ROWS]
        shots = order[firsts[start] : np.append(firsts, len(draws))[start + len(some)]]
        found[shots] = _within(numbers[some], np.searchsorted(some, rows[shots]), points[shots], some)
    return found


def _within(
    numbers: NDArray[np.float32], rows: NDArray[np.intp], points: Floats, names: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Return the indices in a state of the amplitudes that points fall on, each counted from its row's beginning.

    Args:
        numbers: Real and imaginary parts by turns, shape ``(rows, 2 * amplitudes)``.
        rows: Of the points.
        points: In weights.
        names: What the rows are in the state.
    """
    squares = np.square(numbers, dtype=np.float64)
    cumulative = np.cumsum(squares[:, ::2] + squares[:, 1::2])
    width = numbers.shape[1] // 2
    ends = cumulative[width - 1 :: width]
    begins = np.concatenate([[0.0], ends[:-1]])
    found = np.searchsorted(cumulative, begins[rows] + points, side="right")
    # Rounding must not choose what is behind the row, or has a weight of 0 at its end.
    found = np.minimum(found, np.searchsorted(cumulative, ends)[rows])
    indices: NDArray[np.int64] = found + (names[rows] - rows) * width
    return indices


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
