"""Batches of small states on a GPU, by cuStateVec's batched functions.

Nothing here waits for the GPU but what returns numbers: weights, expectation values, outcomes. Arrays of matrices and
indices are freed before they have been read: the handle's stream is CuPy's, in whose order their memory is used again.
"""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np

from qiskit_runtime_server.executors.custatevec.device_library import Library
from qiskit_runtime_server.simulation.statevector.numpy_states import bisected
from qiskit_runtime_server.simulation.statevector.state_port import Batch, Floats, Integers, Matrices

# On Blackwell every state of a batch has to begin at a multiple of this.
_ALIGNMENT: Final = 128
SCRATCH_BYTES: Final = 2**29
"""What a batch takes beside its states, for copies and for weights of outcomes, or what one state needs of these."""


class DeviceBatch(Batch):
    """One array on the device."""

    def __init__(self, library: Library, handle: int, num_qubits: int, room: int) -> None:
        """Begin with one state.

        Args:
            library: CuPy and cuStateVec.
            handle: Of cuStateVec; its stream is that of CuPy.
            num_qubits: Of each state.
            room: For so many states.
        """
        self.size = 1
        self._library = library
        self._handle = handle
        self._num_qubits = num_qubits
        self._stride = stride(library, num_qubits)
        self._vectors = library.cupy.empty((room, self._stride), dtype=library.dtype)
        self._vectors[0] = 0
        self._vectors[0, 0] = 1

    def branch(self, sources: Integers) -> None:
        """See `Batch.branch`."""
        step = max(1, SCRATCH_BYTES // (self._library.amplitude_bytes * self._stride))
        for start in range(0, len(sources), step):
            part = self._library.cupy.asarray(sources[start : start + step])
            self._vectors[self.size : self.size + len(part)] = self._vectors[part]
            self.size += len(part)

    def apply(self, matrices: Matrices, index: Integers | None, qubits: Sequence[int]) -> None:
        """See `Batch.apply`."""
        library, sv = self._library, self._library.sv
        on_device = self._matrices(matrices if index is not None else matrices[:1])
        chosen = None if index is None else library.cupy.asarray(index.astype(np.int32))
        chosen_at = 0 if chosen is None else chosen.data.ptr
        map_type = sv.MatrixMapType.BROADCAST if index is None else sv.MatrixMapType.MATRIX_INDEXED
        matrix = (on_device.data.ptr, library.data_type, sv.MatrixLayout.ROW, 0, len(on_device))
        size = sv.apply_matrix_batched_get_workspace_size(
            self._handle,
            *self._shape(self.size),
            map_type,
            chosen_at,
            *matrix,
            len(qubits),
            0,
            sv.ComputeType.COMPUTE_DEFAULT,
        )
        workspace = self._workspace(size)
        sv.apply_matrix_batched(
            self._handle,
            self._vectors.data.ptr,
            *self._shape(self.size),
            map_type,
            chosen_at,
            *matrix,
            tuple(qubits),
            len(qubits),
            (),
            (),
            0,
            sv.ComputeType.COMPUTE_DEFAULT,
            workspace.ptr,
            size,
        )

    def probabilities(self, qubits: Sequence[int]) -> Floats:
        """See `Batch.probabilities`."""
        return np.asarray(self._library.cupy.asnumpy(self._weights(qubits, range(self.size))))

    def expectations(self, operators: Matrices, qubits: Sequence[int], states: range) -> Floats:
        """See `Batch.expectations`."""
        library, sv = self._library, self._library.sv
        on_device = self._matrices(operators)
        values = library.cupy.empty((len(states), len(operators)), dtype="complex128")
        matrix = (on_device.data.ptr, library.data_type, sv.MatrixLayout.ROW, len(on_device))
        size = sv.compute_expectation_batched_get_workspace_size(
            self._handle, *self._shape(len(states)), *matrix, len(qubits), sv.ComputeType.COMPUTE_DEFAULT
        )
        workspace = self._workspace(size)
        sv.compute_expectation_batched(
            self._handle,
            self._vectors[states.start :].data.ptr,
            *self._shape(len(states)),
            values.data.ptr,
            *matrix,
            tuple(qubits),
            len(qubits),
            sv.ComputeType.COMPUTE_DEFAULT,
            workspace.ptr,
            size,
        )
        return np.asarray(library.cupy.asnumpy(values).real, dtype=np.float64)

    def sample(self, qubits: Sequence[int], states: Integers, draws: Floats) -> Integers:
        """See `Batch.sample`."""
        cupy = self._library.cupy
        outcomes = np.empty(len(states), dtype=np.int64)
        # Weights and their sums, in double precision.
        step = max(1, SCRATCH_BYTES // (16 << len(qubits)))
        for start in range(0, self.size, step):
            near = range(start, min(start + step, self.size))
            shots = np.flatnonzero((near.start <= states) & (states < near.stop))
            cumulative = cupy.cumsum(self._weights(qubits, near), axis=1)
            lanes, numbers = cupy.asarray(states[shots] - start), cupy.asarray(draws[shots])
            outcomes[shots] = cupy.asnumpy(bisected(cumulative, lanes, numbers))
        return outcomes

    def amplitudes(self) -> Matrices:
        """See `Batch.amplitudes`."""
        vectors = self._library.cupy.asnumpy(self._vectors[: self.size, : 1 << self._num_qubits])
        return np.asarray(vectors, dtype=np.complex128)

    def _weights(self, qubits: Sequence[int], states: range) -> Any:  # noqa: ANN401 - an array of CuPy
        """Return the weights of outcomes in an array on the device, shape ``(len(states), 2^k)``."""
        weights = self._library.cupy.empty((len(states), 1 << len(qubits)), dtype="float64")
        self._library.sv.abs2sum_array_batched(
            self._handle,
            self._vectors[states.start :].data.ptr,
            *self._shape(len(states)),
            weights.data.ptr,
            weights.shape[1],
            tuple(qubits),
            len(qubits),
            0,
            0,
            0,
        )
        return weights

    def _shape(self, count: int) -> tuple[int, int, int, int]:
        """Return the data type, the qubits, the number and the distance of states, as all functions take them."""
        return self._library.data_type, self._num_qubits, count, self._stride

    def _matrices(self, matrices: Matrices) -> Any:  # noqa: ANN401 - an array of CuPy
        return self._library.cupy.asarray(np.ascontiguousarray(matrices, dtype=self._library.dtype))

    def _workspace(self, size: int) -> Any:  # noqa: ANN401 - memory of CuPy
        """Return memory that must be kept until it has been handed over; CuPy gives it out again in stream order."""
        return self._library.cupy.cuda.alloc(size)


def stride(library: Library, num_qubits: int) -> int:
    """Return the distance of the states of a batch, in amplitudes."""
    return max(1 << num_qubits, _ALIGNMENT // library.amplitude_bytes)
