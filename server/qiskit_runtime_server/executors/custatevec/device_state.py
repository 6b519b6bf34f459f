"""One large state on one or more GPUs, by cuStateVec's extended functions."""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np

from qiskit_runtime_server.executors.custatevec.device_library import Library
from qiskit_runtime_server.simulation.statevector.state_port import Floats, Integers, Matrices, Queue, State

_DEVICE_TO_DEVICE: Final = 3
_COPIES: Final = 8


class DeviceState(State):
    """A state vector instance of cuStateVec.

    Attributes:
        address: Of the instance; it belongs to whoever made it.
    """

    def __init__(self, library: Library, address: int, num_qubits: int, *, on_one_device: bool) -> None:
        """Take an instance.

        Args:
            library: CuPy and cuStateVec.
            address: Of the instance.
            num_qubits: How many it has.
            on_one_device: Whether all of it lies in the memory of one GPU.
        """
        self.address = address
        self._library = library
        self._num_qubits = num_qubits
        self._on_one_device = on_one_device
        self._kept: Any = None
        self._kept_order: tuple[int, ...] = ()

    def clear(self) -> None:
        """See `State.clear`."""
        self._library.ex.state_vector_set_zero_state(self.address)

    def checkpoint(self) -> bool:
        """See `State.checkpoint`."""
        size = self._library.amplitude_bytes << self._num_qubits
        if not self._on_one_device:
            return False
        if self._kept is None:
            if size > self._library.free_bytes():
                return False
            self._kept = self._library.cupy.empty(1 << self._num_qubits, dtype=self._library.dtype)
        self._expose()
        self._kept_order = self._order()
        source, stream = self._memory()
        self._library.cupy.cuda.runtime.memcpyAsync(self._kept.data.ptr, source, size, _DEVICE_TO_DEVICE, stream)
        return True

    def restore(self) -> None:
        """See `State.restore`."""
        self._expose()
        target, stream = self._memory()
        size = self._library.amplitude_bytes << self._num_qubits
        self._library.cupy.cuda.runtime.memcpyAsync(target, self._kept.data.ptr, size, _DEVICE_TO_DEVICE, stream)
        self._library.ex.state_vector_reassign_wire_ordering(self.address, self._kept_order, self._num_qubits)

    def measure(self, qubit: int, draw: float, *, reset: bool) -> int:
        """See `State.measure`."""
        operations = self._library.sv.CollapseOp
        collapse = operations.RESET if reset else operations.NORMALIZE_AND_ZERO
        return int(self._library.ex.measure(self.address, (qubit,), 1, draw, collapse, 0))

    def sample(self, qubits: Sequence[int], draws: Floats) -> Integers:
        """See `State.sample`."""
        outcomes = np.empty(len(draws), dtype=np.int64)
        numbers = np.ascontiguousarray(draws, dtype=np.float64)
        self._library.ex.sample(
            self.address,
            outcomes.ctypes.data,
            tuple(qubits),
            len(qubits),
            numbers.ctypes.data,
            len(numbers),
            self._library.sv.SamplerOutput.RANDNUM_ORDER,
            0,
        )
        self._library.ex.state_vector_synchronize(self.address)
        return outcomes

    def expectations(self, paulis: Sequence[tuple[str, Sequence[int]]]) -> Floats:
        """See `State.expectations`."""
        values = np.empty(len(paulis), dtype=np.float64)
        letters = [[int(self._library.sv.Pauli[letter]) for letter in word] for word, _ in paulis]
        wires = [list(qubits) for _, qubits in paulis]
        self._library.ex.compute_expectation_on_pauli_basis(
            self.address, values.ctypes.data, letters, len(letters), wires, [len(group) for group in wires]
        )
        self._library.ex.state_vector_synchronize(self.address)
        return values

    def amplitudes(self) -> Matrices:
        """See `State.amplitudes`."""
        ex = self._library.ex
        self._expose()
        order = self._order()
        if order != tuple(range(self._num_qubits)):
            # An index bit goes where its wire's number says.
            ex.state_vector_permute_index_bits(self.address, order, self._num_qubits, ex.PermutationType.SCATTER)
        vector = np.empty(1 << self._num_qubits, dtype=self._library.dtype)
        ex.state_vector_get_state(self.address, vector.ctypes.data, self._library.data_type, 0, len(vector), _COPIES)
        ex.state_vector_synchronize(self.address)
        return vector.astype(np.complex128)

    def _expose(self) -> None:
        """Have the library do what it has put off: until then, amplitudes may not be where their wires say."""
        ex = self._library.ex
        ex.state_vector_expose_resources(self.address, ex.ExposeResources.ACCESSIBLE)

    def _order(self) -> tuple[int, ...]:
        """Return the wire of each index bit; updates and copies between devices change it, when they are done."""
        order = np.empty(self._num_qubits, dtype=np.int32)
        ex = self._library.ex
        ex.state_vector_get_property(
            self.address, ex.StateVectorProperty.WIRE_ORDERING, order.ctypes.data, order.nbytes
        )
        return tuple(order.tolist())

    def _memory(self) -> tuple[int, int]:
        """Return where the amplitudes are once they are exposed, and the stream that all work on them goes through."""
        _, address, stream, _ = self._library.ex.state_vector_get_resources_from_device_sub_sv(self.address, 0)
        return address, stream


class DeviceQueue(Queue):
    """An SVUpdater, which fuses what is put into it. It copies matrices, as it takes them."""

    def __init__(self, library: Library, address: int) -> None:
        """Take an updater; it belongs to whoever made it."""
        self._library = library
        self._address = address

    def matrix(self, matrix: Matrices, qubits: Sequence[int]) -> None:
        """See `Queue.matrix`."""
        kind, elements = self._elements(matrix)
        ex, sv = self._library.ex, self._library.sv
        ex.sv_updater_enqueue_matrix(
            self._address,
            elements.ctypes.data,
            _COMPLEX128,
            kind,
            sv.MatrixLayout.ROW,
            0,
            tuple(qubits),
            len(qubits),
            (),
            (),
            0,
        )

    def mixture(self, probabilities: Floats, unitaries: Matrices, qubits: Sequence[int]) -> None:
        """See `Queue.mixture`."""
        kinds, elements = zip(*map(self._elements, unitaries), strict=True)
        # More than 1 in all is refused, which rounding can make of 1.
        chances = probabilities * min(1.0, (1 - 1e-15) / probabilities.sum())
        self._library.ex.sv_updater_enqueue_unitary_channel(
            self._address,
            tuple(part.ctypes.data for part in elements),
            _COMPLEX128,
            kinds,
            len(kinds),
            self._library.sv.MatrixLayout.ROW,
            tuple(chances.tolist()),
            tuple(qubits),
            len(qubits),
        )

    def channel(self, operators: Matrices, qubits: Sequence[int]) -> None:
        """See `Queue.channel`."""
        kinds, elements = zip(*map(self._elements, operators), strict=True)
        self._library.ex.sv_updater_enqueue_general_channel(
            self._address,
            tuple(part.ctypes.data for part in elements),
            _COMPLEX128,
            kinds,
            len(kinds),
            self._library.sv.MatrixLayout.ROW,
            tuple(qubits),
            len(qubits),
        )

    def num_draws(self) -> int:
        """See `Queue.num_draws`."""
        return int(self._library.ex.sv_updater_get_max_num_required_randnums(self._address))

    def apply(self, state: State, draws: Floats) -> None:
        """See `Queue.apply`."""
        assert isinstance(state, DeviceState)  # noqa: S101 - the port says so
        numbers = np.ascontiguousarray(draws, dtype=np.float64)
        self._library.ex.sv_updater_apply(self._address, state.address, numbers.ctypes.data, len(numbers))

    def _elements(self, matrix: Matrices) -> tuple[int, Matrices]:
        """Return the kind of a matrix and the elements that cuStateVec wants of it."""
        kinds = self._library.ex.MatrixType
        size = len(matrix)
        places = np.arange(size)
        if np.count_nonzero(matrix) == np.count_nonzero(matrix[places, places]):
            return int(kinds.DIAGONAL), np.ascontiguousarray(matrix[places, places], dtype=np.complex128)
        across = matrix[places, size - 1 - places]
        if np.count_nonzero(matrix) == np.count_nonzero(across):
            return int(kinds.ANTI_DIAGONAL), np.ascontiguousarray(across, dtype=np.complex128)
        return int(kinds.DENSE), np.ascontiguousarray(matrix, dtype=np.complex128)


# Whatever states are made of: an updater multiplies its matrices in double precision.
_COMPLEX128: Final = 5
