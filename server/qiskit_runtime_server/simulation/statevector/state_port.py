"""The little that the simulator needs of whatever holds its states; GPUs and NumPy implement it alike.

Qubit 0 is the lowest bit of an index, as in Qiskit, and the first of some `qubits` is the lowest bit of a matrix's
index or of an outcome. Matrices are complex128 on the host; states may be made of complex64.
Draws are numbers in [0, 1). The smallest outcome whose cumulative probability exceeds the draw is the one drawn.
What it asks for is what cuStateVec offers (Bayraktar et al., 2023, https://arxiv.org/abs/2308.01999).

    weights 0.2, 0.5, 0.3      a draw of 0.1 is outcome 0, one of 0.2 outcome 1, one of 0.9 outcome 2
"""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Matrices = NDArray[np.complex128]
Integers = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """What holds the states.

    Attributes:
        name: As a user would name it.
        memory_bytes: What one state may take, on all devices together, host memory for migrated qubits included.
        batch_bytes: What states that are evolved together may take.
        compute_capability: As in `9.0`; empty where there is none.
    """

    name: str
    memory_bytes: int
    batch_bytes: int
    compute_capability: str = ""


class Queue(Protocol):
    """Operations that are put together once and applied as often as one likes."""

    def matrix(self, matrix: Matrices, qubits: Sequence[int]) -> None:
        """Append a unitary matrix, shape ``(d, d)``."""

    def mixture(self, probabilities: Floats, unitaries: Matrices, qubits: Sequence[int]) -> None:
        """Append a channel that applies one of `unitaries`, shape ``(k, d, d)``, or nothing.

        All probabilities are positive; what they lack to 1 is that of nothing.
        """

    def channel(self, operators: Matrices, qubits: Sequence[int]) -> None:
        """Append a channel of Kraus operators, shape ``(k, d, d)``, which are complete."""

    def num_draws(self) -> int:
        """Return how many draws an application takes."""

    def apply(self, state: "State", draws: Floats) -> None:
        """Apply all operations to a state of the same implementation.

        Which draw belongs to which channel is the implementation's choice, so equal draws need not give equal
        trajectories elsewhere.
        """


class State(Protocol):
    """One state, as large as the memory allows; |0...0> at first."""

    def clear(self) -> None:
        """Return to |0...0>."""

    def checkpoint(self) -> bool:
        """Keep a copy for `restore` in place of the last one; return False if there is no room for it."""

    def restore(self) -> None:
        """Return to the last checkpoint."""

    def measure(self, qubit: int, draw: float, *, reset: bool) -> int:
        """Measure a qubit, have the state collapse, and flip the qubit to 0 if `reset`."""

    def sample(self, qubits: Sequence[int], draws: Floats) -> Integers:
        """Return an outcome of `qubits` for each draw; the state stays as it is."""

    def expectations(self, paulis: Sequence[tuple[str, Sequence[int]]]) -> Floats:
        """Return the expectation value of each product of Pauli matrices; the first letter acts on the first qubit."""

    def amplitudes(self) -> Matrices:
        """Return a copy of the state on the host, shape ``(2^n,)``."""


class Batch(Protocol):
    """Small states of as many qubits, evolved together; at first one, which is |0...0>.

    Attributes:
        size: How many there are; `branch` adds to them.
    """

    size: int

    def branch(self, sources: Integers) -> None:
        """Append copies of the states with these numbers. There is room for as many as the batch was asked for."""

    def apply(self, matrices: Matrices, index: Integers | None, qubits: Sequence[int]) -> None:
        """Apply ``matrices[index[i]]`` to state ``i``; the only one of them to all states if `index` is None."""

    def probabilities(self, qubits: Sequence[int]) -> Floats:
        """Return the weights of all outcomes of `qubits`, shape ``(size, 2^k)``; a row's sum is its state's norm."""

    def expectations(self, operators: Matrices, qubits: Sequence[int], states: range) -> Floats:
        """Return the expectation values of Hermitian operators, shape ``(k, d, d)``, in consecutive states.

        Returns:
            Shape ``(len(states), k)``, not divided by the states' norms.
        """

    def sample(self, qubits: Sequence[int], states: Integers, draws: Floats) -> Integers:
        """Return an outcome of `qubits` in ``states[i]`` for ``draws[i]``; the states stay as they are."""

    def amplitudes(self) -> Matrices:
        """Return a copy of the states on the host, shape ``(size, 2^n)``."""


class States(Protocol):
    """Makes states on one kind of device; those that do not fit raise `OutOfMemoryError`, which says their size."""

    def device(self) -> Device:
        """Return what there is; constant for a process."""

    def state(self, num_qubits: int) -> AbstractContextManager[State]:
        """Return a state whose memory is free again at the end of the context."""

    def queue(self) -> AbstractContextManager[Queue]:
        """Return an empty queue, for use within the context."""

    def batch(self, num_qubits: int, room: int) -> AbstractContextManager[Batch]:
        """Return a batch with room for so many states, whose memory is free again at the end of the context."""
