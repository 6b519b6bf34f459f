"""States on NumPy: what the tests of everything above the port run on, and the twin that GPUs are compared with.

A matrix of k qubits acts on their axes of an array of shape ``(2, ..., 2)``, a product of matrices once these axes are
in front (Haener, Steiger, 2017, https://arxiv.org/abs/1704.01127):

    state of 3 qubits, cx on 0 and 2      (2, 2, 2) -> axes of 2 and 0 in front -> (4, 2) -> matrix @ it -> back
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from qiskit_runtime_server.errors import OutOfMemoryError
from qiskit_runtime_server.simulation.statevector import gates
from qiskit_runtime_server.simulation.statevector.memory import shortage
from qiskit_runtime_server.simulation.statevector.state_port import (
    Batch,
    Device,
    Floats,
    Integers,
    Matrices,
    Queue,
    State,
    States,
)

Amplitudes = NDArray[Any]
_Operation = Callable[["NumPyState", Iterator[float]], None]


class NumPyStates(States):
    """States in this process's memory."""

    def __init__(
        self,
        *,
        memory_bytes: int,
        batch_bytes: int | None = None,
        single: bool = False,
        free_bytes: int | None = None,
    ) -> None:
        """Describe the memory.

        Args:
            memory_bytes: What is said to be there.
            batch_bytes: What states that are evolved together may take of it; by default all.
            single: Whether amplitudes are complex64 instead of complex128.
            free_bytes: What really is there, as if somebody else used the device; by default the same.
        """
        self._memory_bytes = memory_bytes
        self._batch_bytes = memory_bytes if batch_bytes is None else batch_bytes
        self._free_bytes = memory_bytes if free_bytes is None else free_bytes
        self._dtype: np.dtype[Any] = np.dtype(np.complex64 if single else np.complex128)

    def device(self) -> Device:
        """See `States.device`."""
        return Device(name="NumPy", memory_bytes=self._memory_bytes, batch_bytes=self._batch_bytes)

    @contextmanager
    def state(self, num_qubits: int) -> Iterator[State]:
        """See `States.state`."""
        self._check(num_qubits, 1)
        yield NumPyState(num_qubits, self._dtype)

    @contextmanager
    def queue(self) -> Iterator[Queue]:
        """See `States.queue`."""
        yield NumPyQueue()

    @contextmanager
    def batch(self, num_qubits: int, room: int) -> Iterator[Batch]:
        """See `States.batch`."""
        self._check(num_qubits, room)
        yield NumPyBatch(num_qubits, room, self._dtype)

    def _check(self, num_qubits: int, room: int) -> None:
        size = room * self._dtype.itemsize << num_qubits
        if size > self._free_bytes:
            raise OutOfMemoryError(shortage(room, num_qubits, size, self._free_bytes))


class NumPyQueue(Queue):
    """Operations as functions."""

    def __init__(self) -> None:
        """Begin with none."""
        self._operations: list[_Operation] = []
        self._draws = 0

    def matrix(self, matrix: Matrices, qubits: Sequence[int]) -> None:
        """See `Queue.matrix`."""
        self._operations.append(lambda state, _: state.apply(matrix, qubits))

    def mixture(self, probabilities: Floats, unitaries: Matrices, qubits: Sequence[int]) -> None:
        """See `Queue.mixture`."""
        edges = np.cumsum(probabilities)

        def operation(state: "NumPyState", draws: Iterator[float]) -> None:
            kind = int(np.searchsorted(edges, next(draws), side="right"))
            if kind < len(unitaries):
                state.apply(unitaries[kind], qubits)

        self._operations.append(operation)
        self._draws += 1

    def channel(self, operators: Matrices, qubits: Sequence[int]) -> None:
        """See `Queue.channel`."""

        def operation(state: "NumPyState", draws: Iterator[float]) -> None:
            candidates = [_applied(state.vector[None], operator[None], qubits)[0] for operator in operators]
            norms = np.array([np.vdot(candidate, candidate).real for candidate in candidates])
            kind = _drawn(norms, next(draws))
            state.vector = (candidates[kind] / np.sqrt(norms[kind])).astype(state.vector.dtype)

        self._operations.append(operation)
        self._draws += 1

    def num_draws(self) -> int:
        """See `Queue.num_draws`."""
        return self._draws

    def apply(self, state: State, draws: Floats) -> None:
        """See `Queue.apply`."""
        numbers = iter(draws.tolist())
        for operation in self._operations:
            operation(cast("NumPyState", state), numbers)


class NumPyState(State):
    """One array.

    Attributes:
        vector: Shape ``(2^n,)``.
    """

    def __init__(self, num_qubits: int, dtype: np.dtype[Any]) -> None:
        """Begin with |0...0>."""
        self.vector: Amplitudes = np.zeros(1 << num_qubits, dtype=dtype)
        self.clear()
        self._kept = self.vector

    def apply(self, matrix: Matrices, qubits: Sequence[int]) -> None:
        """Apply a matrix."""
        self.vector = _applied(self.vector[None], matrix[None], qubits)[0]

    def clear(self) -> None:
        """See `State.clear`."""
        self.vector[:] = 0
        self.vector[0] = 1

    def checkpoint(self) -> bool:
        """See `State.checkpoint`."""
        self._kept = self.vector.copy()
        return True

    def restore(self) -> None:
        """See `State.restore`."""
        self.vector = self._kept.copy()

    def measure(self, qubit: int, draw: float, *, reset: bool) -> int:
        """See `State.measure`."""
        weights = _weights(self.vector[None], (qubit,))[0]
        outcome = _drawn(weights, draw)
        operators = gates.resets() if reset else gates.projectors()
        self.apply(operators[outcome] / np.sqrt(weights[outcome]), (qubit,))
        return outcome

    def sample(self, qubits: Sequence[int], draws: Floats) -> Integers:
        """See `State.sample`."""
        cumulative = np.cumsum(_weights(self.vector[None], qubits)[0])
        last = np.searchsorted(cumulative, cumulative[-1])
        found = np.searchsorted(cumulative, draws * cumulative[-1], side="right")
        return np.asarray(np.minimum(found, last), dtype=np.int64)

    def expectations(self, paulis: Sequence[tuple[str, Sequence[int]]]) -> Floats:
        """See `State.expectations`."""
        values = []
        for letters, qubits in paulis:
            other = self.vector[None]
            for letter, qubit in zip(letters, qubits, strict=True):
                other = _applied(other, gates.pauli(letter)[None], (qubit,))
            values.append(np.vdot(self.vector, other[0]).real)
        return np.array(values, dtype=np.float64)

    def amplitudes(self) -> Matrices:
        """See `State.amplitudes`."""
        return self.vector.astype(np.complex128)


class NumPyBatch(Batch):
    """One array for all states."""

    def __init__(self, num_qubits: int, room: int, dtype: np.dtype[Any]) -> None:
        """Begin with one state."""
        self.size = 1
        # Memory that is never written to is never there.
        self._vectors: Amplitudes = np.empty((room, 1 << num_qubits), dtype=dtype)
        self._vectors[0] = 0
        self._vectors[0, 0] = 1

    def branch(self, sources: Integers) -> None:
        """See `Batch.branch`."""
        end = self.size + len(sources)
        self._vectors[self.size : end] = self._vectors[sources]
        self.size = end

    def apply(self, matrices: Matrices, index: Integers | None, qubits: Sequence[int]) -> None:
        """See `Batch.apply`."""
        chosen = matrices[:1] if index is None else matrices[index]
        self._vectors[: self.size] = _applied(self._vectors[: self.size], chosen, qubits)

    def probabilities(self, qubits: Sequence[int]) -> Floats:
        """See `Batch.probabilities`."""
        return _weights(self._vectors[: self.size], qubits)

    def expectations(self, operators: Matrices, qubits: Sequence[int], states: range) -> Floats:
        """See `Batch.expectations`."""
        vectors = self._vectors[states.start : states.stop]
        values = [
            np.einsum("bi,bi->b", vectors.conj(), _applied(vectors, operator[None], qubits)).real
            for operator in operators
        ]
        return np.stack(values, axis=1).astype(np.float64)

    def sample(self, qubits: Sequence[int], states: Integers, draws: Floats) -> Integers:
        """See `Batch.sample`."""
        cumulative = np.cumsum(_weights(self._vectors[: self.size], qubits), axis=1)
        return bisected(cumulative, states, draws)

    def amplitudes(self) -> Matrices:
        """See `Batch.amplitudes`."""
        return self._vectors[: self.size].astype(np.complex128)


def bisected(cumulative: Floats, rows: Integers, draws: Floats) -> Integers:
    """Return for each draw the first column of its row of cumulative weights that exceeds it, in parts of the total.

    The arguments may be arrays of CuPy as well.
    """
    total = cumulative[rows, -1]
    # Rounding must not make an outcome of weight 0 at the end possible.
    points = np.minimum(draws * total, total * (1 - 2.0**-52))
    low = 0 * rows
    width = cumulative.shape[1]
    while width > 1:
        width //= 2
        # Columns before low + width are too small if the last of them is.
        low += width * (cumulative[rows, low + (width - 1)] <= points)
    return low


def _drawn(weights: Floats, draw: float) -> int:
    cumulative = np.cumsum(weights)
    last = np.searchsorted(cumulative, cumulative[-1])
    return int(min(np.searchsorted(cumulative, draw * cumulative[-1], side="right"), last))


def _applied(vectors: Amplitudes, matrices: Matrices, qubits: Sequence[int]) -> Amplitudes:
    """Return ``matrices[i]`` (or the only one) applied to ``vectors[i]``."""
    moved, undo = _in_front(vectors, qubits)
    flat = moved.reshape(len(vectors), 1 << len(qubits), -1)
    after = matrices.astype(vectors.dtype) @ flat
    return undo(after.reshape(moved.shape)).reshape(vectors.shape)


def _weights(vectors: Amplitudes, qubits: Sequence[int]) -> Floats:
    moved, _ = _in_front(vectors, qubits)
    flat = moved.reshape(len(vectors), 1 << len(qubits), -1)
    weights: Floats = (flat.real.astype(np.float64) ** 2 + flat.imag.astype(np.float64) ** 2).sum(axis=2)
    return weights


def _in_front(vectors: Amplitudes, qubits: Sequence[int]) -> tuple[Amplitudes, Callable[[Amplitudes], Amplitudes]]:
    """Return the states as tensors with the axes of `qubits` in front, the last one first, and how to undo it."""
    width = vectors.shape[1].bit_length() - 1
    tensor = vectors.reshape(len(vectors), *(2,) * width)
    sources = [width - qubit for qubit in reversed(qubits)]
    targets = range(1, 1 + len(qubits))
    return np.moveaxis(tensor, sources, targets), lambda moved: np.moveaxis(moved, targets, sources)
