"""CuPy and cuStateVec on the host, as their headers and docstrings describe them, for the few calls that are made.

This shows that the calls fit the descriptions: arguments in their order, pointers to what they should point to, what
was made is destroyed. It does not show that the descriptions are right, nor anything about a GPU. A test compares
names, signatures and numbers with the library where that is installed.

Work is done as late as the descriptions allow: calls for a handle when their stream has come so far, those for a state
when it is synchronized or exposed. Memory that nobody refers to is overwritten, in the order of CuPy's stream.
"""

import ctypes
import itertools
import weakref
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from functools import partial, wraps
from types import SimpleNamespace
from typing import Any, ParamSpec, TypeVar

import numpy as np
from numpy.typing import NDArray

from qiskit_runtime_server.executors.custatevec.device_library import Library

MEMORY = 2**28
DTYPES: dict[int, np.dtype[Any]] = {4: np.dtype(np.complex64), 5: np.dtype(np.complex128)}
PAULIS = np.array([[[1, 0], [0, 1]], [[0, 1], [1, 0]], [[0, -1j], [1j, 0]], [[1, 0], [0, -1]]])


Operation = Callable[[], object]
Arguments = ParamSpec("Arguments")
Returned = TypeVar("Returned")

# A stream that waits for no other, as with CUPY_CUDA_PER_THREAD_DEFAULT_STREAM=1. That of a new handle is 0.
CURRENT_STREAM = 2


class Streams:
    """What was handed to the device and has not been done."""

    def __init__(self) -> None:
        self._queued: dict[int, list[Operation]] = defaultdict(list)

    def queue(self, stream: int, operation: Operation) -> None:
        self._queued[stream].append(operation)

    def synchronize(self, stream: int) -> None:
        while queued := self._queued.pop(stream, []):
            for operation in queued:
                operation()


STREAMS = Streams()


def in_order(function: Callable[Arguments, Returned]) -> Callable[Arguments, Returned]:
    """Return a function of CuPy's, for which its stream comes so far."""

    @wraps(function)
    def called(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Returned:
        STREAMS.synchronize(CURRENT_STREAM)
        return function(*args, **kwargs)

    return called


class Memory:
    """A piece of CuPy's pool: when nobody refers to it, whoever gets it next on that stream overwrites it."""

    def __init__(self, size: int) -> None:
        self.bytes = np.full(size, 0xFF, np.uint8)
        ending = weakref.finalize(self, STREAMS.queue, CURRENT_STREAM, partial(self.bytes.fill, 0xFF))
        ending.atexit = False


class HostArray(np.ndarray):
    """An array with an address where CuPy has it, all of whose views keep its memory."""

    memory: Memory | None = None

    def __array_finalize__(self, source: object) -> None:
        self.memory = getattr(source, "memory", None)

    @in_order
    def __getitem__(self, index: Any) -> Any:
        return super().__getitem__(index)

    @in_order
    def __setitem__(self, index: Any, value: Any) -> None:
        super().__setitem__(index, value)

    @property
    def data(self) -> SimpleNamespace:  # type: ignore[override] # CuPy has a pointer where NumPy has a buffer
        return SimpleNamespace(ptr=self.ctypes.data)


class CUDARuntimeError(RuntimeError):
    """As CuPy's."""

    def __init__(self, status: int) -> None:
        super().__init__(f"error {status}")
        self.status = status


class OutOfMemoryError(MemoryError):
    """As CuPy's."""


@in_order
def _empty(shape: int | tuple[int, ...], dtype: Any) -> HostArray:
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    if size > MEMORY:
        raise OutOfMemoryError
    memory = Memory(size)
    made: HostArray = memory.bytes.view(dtype).reshape(shape).view(HostArray)
    made.memory = memory
    return made


def _asarray(values: NDArray[Any]) -> HostArray:
    made = _empty(values.shape, values.dtype)
    made[...] = values
    return made


def _alloc(size: int) -> SimpleNamespace:
    """Return a pointer that keeps its memory."""
    memory = Memory(size)
    return SimpleNamespace(ptr=memory.bytes.ctypes.data if size else 0, mem=memory)


def _copy(dst: int, src: int, size: int, kind: int, stream: int) -> None:
    assert kind == 3
    STREAMS.queue(stream, partial(ctypes.memmove, dst, src, size))


CUPY = SimpleNamespace(
    empty=_empty,
    asarray=_asarray,
    asnumpy=in_order(np.array),
    cumsum=in_order(np.cumsum),
    get_default_memory_pool=lambda: SimpleNamespace(free_all_blocks=lambda: None),
    cuda=SimpleNamespace(
        Device=lambda number: SimpleNamespace(use=lambda: None),
        alloc=_alloc,
        get_current_stream=lambda: SimpleNamespace(ptr=CURRENT_STREAM),
        memory=SimpleNamespace(OutOfMemoryError=OutOfMemoryError),
        runtime=SimpleNamespace(
            CUDARuntimeError=CUDARuntimeError,
            getDeviceCount=lambda: 2,
            getDeviceProperties=lambda number: {"name": b"Emulated", "major": 9, "minor": 0},
            memGetInfo=lambda: (MEMORY, MEMORY),
            memcpyAsync=_copy,
        ),
    ),
)


def at(address: int, shape: tuple[int, ...], dtype: Any) -> NDArray[Any]:
    """Return what lies at an address."""
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    return np.frombuffer((ctypes.c_char * size).from_address(address), dtype).reshape(shape)


def on_bits(vector: NDArray[Any], matrix: NDArray[Any], bits: Sequence[int]) -> NDArray[Any]:
    """Return a vector after a matrix whose lowest index bit is the first of `bits`."""
    after = np.zeros_like(vector)
    indices = np.arange(len(vector))
    column = sum((indices >> bit & 1) << place for place, bit in enumerate(bits))
    rest = indices & ~sum(1 << bit for bit in bits)
    for row in range(len(matrix)):
        target = rest | sum((row >> place & 1) << bit for place, bit in enumerate(bits))
        np.add.at(after, target, matrix[row, column].astype(vector.dtype) * vector)
    return after


class Status(IntEnum):
    """Those that the code asks for."""

    ALLOC_FAILED = 2
    INVALID_VALUE = 3
    DEVICE_ALLOCATOR_ERROR = 11
    ALREADY_INITIALIZED = 15
    RESOURCES_NOT_ACCESSIBLE = 20


class CuStateVecError(Exception):
    """As the bindings'."""

    def __init__(self, status: int) -> None:
        super().__init__(Status(status).name)
        self.status = status


class MatrixMapType(IntEnum):
    BROADCAST = 0
    MATRIX_INDEXED = 1


class MatrixLayout(IntEnum):
    COL = 0
    ROW = 1


class ComputeType(IntEnum):
    COMPUTE_DEFAULT = 0


class CollapseOp(IntEnum):
    NORMALIZE_AND_ZERO = 1
    RESET = 2


class SamplerOutput(IntEnum):
    RANDNUM_ORDER = 0


class Pauli(IntEnum):
    I = 0  # noqa: E741 - its name
    X = 1
    Y = 2
    Z = 3


class DeviceNetworkType(IntEnum):
    SWITCH = 1


class CommunicatorType(IntEnum):
    OPENMPI = 1


class MatrixType(IntEnum):
    DENSE = 1
    DIAGONAL = 2
    ANTI_DIAGONAL = 4


class StateVectorProperty(IntEnum):
    WIRE_ORDERING = 3


class PermutationType(IntEnum):
    SCATTER = 0


class SVUpdaterConfigName(IntEnum):
    MAX_NUM_HOST_THREADS = 0
    DENSE_FUSION_SIZE = 1
    DIAGONAL_FUSION_SIZE = 2


class GlobalIndexBitClass(IntEnum):
    COMMUNICATOR = 2


class MemorySharingMethod(IntEnum):
    NONE = 1


class ExposeResources(IntEnum):
    ACCESSIBLE = 0


@dataclass
class SVUpdaterConfigItem:
    name: int
    value: int


ConfigItems = Sequence[SVUpdaterConfigItem]


class EmulatedCuStateVec:
    """`cuquantum.bindings.custatevec`."""

    Status, MatrixMapType, MatrixLayout, ComputeType = Status, MatrixMapType, MatrixLayout, ComputeType
    CollapseOp, SamplerOutput, Pauli = CollapseOp, SamplerOutput, Pauli
    DeviceNetworkType, CommunicatorType = DeviceNetworkType, CommunicatorType
    cuStateVecError = CuStateVecError  # noqa: N815 - its name

    _stream = 0

    @classmethod
    def create(cls) -> int:
        cls._stream = 0
        return 77

    @classmethod
    def set_stream(cls, handle: int, stream_id: int) -> None:
        assert handle == 77
        cls._stream = stream_id

    @classmethod
    def get_stream(cls, handle: int) -> int:
        assert handle == 77
        return cls._stream

    @classmethod
    def _queue(cls, operation: Operation) -> None:
        """Have an operation done when the handle's stream has come so far; it has to find all by addresses."""
        STREAMS.queue(cls._stream, operation)

    @staticmethod
    def apply_matrix_batched_get_workspace_size(
        handle: int, sv_data_type: int, n_index_bits: int, n_svs: int, sv_stride: int, map_type: int,
        matrix_indices: int, matrices: int, matrix_data_type: int, layout: int, adjoint: int, n_matrices: int,
        n_targets: int, n_controls: int, compute_type: int,
    ) -> int:  # fmt: skip
        assert (handle, layout, adjoint, n_controls, compute_type) == (77, MatrixLayout.ROW, 0, 0, 0)
        assert matrix_data_type == sv_data_type
        return 64 * n_targets

    @staticmethod
    def apply_matrix_batched(
        handle: int, batched_sv: int, sv_data_type: int, n_index_bits: int, n_svs: int, sv_stride: int, map_type: int,
        matrix_indices: int, matrices: int, matrix_data_type: int, layout: int, adjoint: int, n_matrices: int,
        targets: Sequence[int], n_targets: int, controls: Sequence[int], control_bit_values: Sequence[int],
        n_controls: int, compute_type: int, extra_workspace: int, extra_workspace_size_in_bytes: int,
    ) -> None:  # fmt: skip
        assert (handle, layout, adjoint, controls, n_controls, compute_type) == (77, MatrixLayout.ROW, 0, (), 0, 0)
        assert extra_workspace_size_in_bytes == 64 * n_targets
        assert len(targets) == n_targets

        def operation() -> None:
            vectors = at(batched_sv, (n_svs, sv_stride), DTYPES[sv_data_type])[:, : 1 << n_index_bits]
            table = at(matrices, (n_matrices, 1 << n_targets, 1 << n_targets), DTYPES[matrix_data_type])
            index = np.zeros(n_svs, np.int32)
            if map_type == MatrixMapType.MATRIX_INDEXED:
                index = at(matrix_indices, (n_svs,), np.int32)
            for vector, number in zip(vectors, index, strict=True):
                vector[:] = on_bits(vector, table[number], targets)

        EmulatedCuStateVec._queue(operation)

    @staticmethod
    def abs2sum_array_batched(
        handle: int, batched_sv: int, sv_data_type: int, n_index_bits: int, n_svs: int, sv_stride: int,
        abs2sum_arrays: int, abs2sum_array_stride: int, bit_ordering: Sequence[int], bit_ordering_len: int,
        mask_bit_strings: Sequence[int], mask_ordering: Sequence[int], mask_len: int,
    ) -> None:  # fmt: skip
        assert (handle, mask_len) == (77, 0)
        assert len(bit_ordering) == bit_ordering_len

        def operation() -> None:
            vectors = at(batched_sv, (n_svs, sv_stride), DTYPES[sv_data_type])[:, : 1 << n_index_bits]
            found = at(abs2sum_arrays, (n_svs, abs2sum_array_stride), np.float64)
            for vector, row in zip(vectors, found, strict=True):
                row[: 1 << bit_ordering_len] = weights(vector, bit_ordering)

        EmulatedCuStateVec._queue(operation)

    @staticmethod
    def compute_expectation_batched_get_workspace_size(
        handle: int, sv_data_type: int, n_index_bits: int, n_svs: int, sv_stride: int, matrices: int,
        matrix_data_type: int, layout: int, n_matrices: int, n_basis_bits: int, compute_type: int,
    ) -> int:  # fmt: skip
        assert (handle, layout, compute_type) == (77, MatrixLayout.ROW, 0)
        return 0

    @staticmethod
    def compute_expectation_batched(
        handle: int, batched_sv: int, sv_data_type: int, n_index_bits: int, n_svs: int, sv_stride: int,
        expectation_values: int, matrices: int, matrix_data_type: int, layout: int, n_matrices: int,
        basis_bits: Sequence[int], n_basis_bits: int, compute_type: int, extra_workspace: int,
        extra_workspace_size_in_bytes: int,
    ) -> None:  # fmt: skip
        assert (handle, layout, compute_type, extra_workspace_size_in_bytes) == (77, MatrixLayout.ROW, 0, 0)

        def operation() -> None:
            vectors = at(batched_sv, (n_svs, sv_stride), DTYPES[sv_data_type])[:, : 1 << n_index_bits]
            table = at(matrices, (n_matrices, 1 << n_basis_bits, 1 << n_basis_bits), DTYPES[matrix_data_type])
            values = at(expectation_values, (n_svs, n_matrices), np.complex128)
            for vector, row in zip(vectors, values, strict=True):
                row[:] = [np.vdot(vector, on_bits(vector, matrix, basis_bits)) for matrix in table]

        EmulatedCuStateVec._queue(operation)


def weights(vector: NDArray[Any], bits: Sequence[int]) -> NDArray[np.float64]:
    """Return the weights of the outcomes of some index bits."""
    indices = np.arange(len(vector))
    outcome = sum((indices >> bit & 1) << place for place, bit in enumerate(bits))
    sums = np.bincount(outcome, np.abs(vector.astype(np.complex128)) ** 2, minlength=1 << len(bits))
    return np.asarray(sums, dtype=np.float64)


@dataclass
class Instance:
    """A state vector.

    Attributes:
        order: The wire of each index bit.
        stream: In which everything is done.
        deferred: What has yet to be done.
    """

    vector: NDArray[Any]
    order: list[int]
    stream: int
    deferred: list[Operation] = field(default_factory=list)

    def flush(self) -> None:
        STREAMS.synchronize(self.stream)
        for operation in self.deferred:
            operation()
        self.deferred.clear()

    def clear(self) -> None:
        self.vector[:] = 0
        self.vector[0] = 1

    def bits(self, wires: Sequence[int]) -> list[int]:
        assert len(set(wires)) == len(wires)
        return [self.order.index(wire) for wire in wires]

    def permute(self, order: Sequence[int]) -> None:
        """Move index bits so that they have the wires of `order`."""
        indices = np.arange(len(self.vector))
        source = sum((indices >> place & 1) << self.order.index(wire) for place, wire in enumerate(order))
        self.vector[:] = self.vector[source]
        self.order = list(order)


@dataclass
class Updater:
    """An SVUpdater: operations that take an iterator of draws."""

    operations: list[Callable[[Instance, Any], None]] = field(default_factory=list)
    draws: int = 0


class EmulatedEx:
    """`cuquantum.bindings.custatevecEx`; what is alive is in `alive`."""

    MatrixType, StateVectorProperty, PermutationType = MatrixType, StateVectorProperty, PermutationType
    SVUpdaterConfigName, SVUpdaterConfigItem = SVUpdaterConfigName, SVUpdaterConfigItem
    GlobalIndexBitClass, MemorySharingMethod = GlobalIndexBitClass, MemorySharingMethod
    ExposeResources = ExposeResources

    def __init__(self) -> None:
        self.alive: dict[int, Any] = {}
        self.configured: list[tuple[Any, ...]] = []
        self._numbers = itertools.count(1000)
        self._shuffle = np.random.default_rng(1)

    def _keep(self, thing: Any) -> int:
        number = next(self._numbers)
        self.alive[number] = thing
        return number

    def dictionary_destroy(self, dictionary: int) -> None:
        del self.alive[dictionary]

    def configure_state_vector_single_device(
        self, sv_data_type: int, num_wires: int, num_device_wires: int, device_id: int, capability: int
    ) -> int:
        assert capability == 0
        self.configured.append((num_wires, num_device_wires, device_id))
        return self._keep((sv_data_type, num_wires))

    def configure_state_vector_multi_device(
        self, sv_data_type: int, num_wires: int, num_device_wires: int, device_ids: Sequence[int], num_devices: int,
        network_type: int, capability: int,
    ) -> int:  # fmt: skip
        assert (len(device_ids), capability) == (num_devices, 0)
        self.configured.append((num_wires, num_device_wires, device_ids))
        return self._keep((sv_data_type, num_wires))

    def configure_state_vector_multi_process(
        self, sv_data_type: int, num_wires: int, num_device_wires: int, device_id: int, memory_sharing_method: int,
        global_index_bit_classes: Sequence[int], num_global_index_bits_per_layer: Sequence[int],
        num_global_index_bit_layers: int, transfer_workspace_size_in_bytes: int, aux_config: int, capability: int,
    ) -> int:  # fmt: skip
        assert num_wires == num_device_wires + sum(num_global_index_bits_per_layer)
        assert len(global_index_bit_classes) == num_global_index_bit_layers == 1
        assert (device_id, aux_config, capability) == (-1, 0, 0)
        self.configured.append((num_wires, num_device_wires, "processes"))
        return self._keep((sv_data_type, num_wires))

    def communicator_initialize(self, communicator_type: int, library_path: str | None = None) -> int:
        if "communicator" in self.__dict__:
            raise CuStateVecError(Status.ALREADY_INITIALIZED)
        self.communicator = 5
        return 0

    def communicator_create(self) -> int:
        return self.communicator

    def communicator_get_size_and_rank(self) -> tuple[int, int, int]:
        return 4, 0, 0

    def state_vector_create_single_process(
        self, sv_config: int, streams: Sequence[int], num_streams: int, resource_manager: int
    ) -> int:
        assert (len(streams), resource_manager) == (num_streams, 0)
        data_type, num_wires = self.alive[sv_config]
        instance = Instance(
            np.zeros(1 << num_wires, DTYPES[data_type]), list(range(num_wires)), streams[0] if streams else 0
        )
        instance.vector[0] = 1
        return self._keep(instance)

    def state_vector_create_multi_process(
        self, sv_config: int, stream: int, ex_communicator: int, resource_manager: int
    ) -> int:
        assert (stream, ex_communicator, resource_manager) == (0, 5, 0)
        return self.state_vector_create_single_process(sv_config, (), 0, 0)

    def state_vector_destroy(self, state_vector: int) -> None:
        STREAMS.synchronize(self.alive[state_vector].stream)
        del self.alive[state_vector]

    def state_vector_set_zero_state(self, state_vector: int) -> None:
        instance = self.alive[state_vector]
        instance.deferred.append(instance.clear)

    def state_vector_get_property(self, state_vector: int, property: int, value: int, size_in_bytes: int) -> None:  # noqa: A002 - its name
        instance = self.alive[state_vector]
        assert property == StateVectorProperty.WIRE_ORDERING
        assert size_in_bytes == 4 * len(instance.order)
        at(value, (len(instance.order),), np.int32)[:] = instance.order

    def state_vector_reassign_wire_ordering(
        self, state_vector: int, wire_ordering: Sequence[int], wire_ordering_len: int
    ) -> None:
        assert sorted(wire_ordering) == list(range(wire_ordering_len))
        instance = self.alive[state_vector]
        instance.deferred.append(partial(setattr, instance, "order", list(wire_ordering)))

    def state_vector_permute_index_bits(
        self, state_vector: int, permutation: Sequence[int], permutation_len: int, permutation_type: int
    ) -> None:
        instance = self.alive[state_vector]
        assert (len(permutation), permutation_type) == (permutation_len, PermutationType.SCATTER)

        def operation() -> None:
            order = [0] * permutation_len
            for source, target in enumerate(permutation):
                order[target] = instance.order[source]
            instance.permute(order)

        instance.deferred.append(operation)

    def state_vector_get_state(
        self, state_vector: int, state: int, data_type: int, begin: int, end: int, max_num_concurrent_copies: int
    ) -> None:
        instance = self.alive[state_vector]
        vector = instance.vector
        assert DTYPES[data_type] == vector.dtype
        instance.deferred.append(lambda: np.copyto(at(state, (end - begin,), vector.dtype), vector[begin:end]))

    def state_vector_synchronize(self, state_vector: int) -> None:
        self.alive[state_vector].flush()

    def state_vector_expose_resources(self, state_vector: int, expose_resources: int) -> None:
        assert expose_resources == ExposeResources.ACCESSIBLE
        self.alive[state_vector].flush()

    def state_vector_get_resources_from_device_sub_sv(
        self, state_vector: int, sub_sv_index: int
    ) -> tuple[int, int, int, int]:
        assert sub_sv_index == 0
        instance = self.alive[state_vector]
        if instance.deferred:
            raise CuStateVecError(Status.RESOURCES_NOT_ACCESSIBLE)
        return 0, instance.vector.ctypes.data, instance.stream, 77

    def measure(
        self, state_vector: int, bit_string_ordering: Sequence[int], bit_string_ordering_len: int, randnum: float,
        collapse: int, reserved: int,
    ) -> int:  # fmt: skip
        instance = self.alive[state_vector]
        assert (bit_string_ordering_len, reserved) == (1, 0)
        instance.flush()
        (bit,) = instance.bits(bit_string_ordering)
        chances = weights(instance.vector, (bit,))
        outcome = int(randnum * chances.sum() >= chances[0])
        operator = np.zeros((2, 2))
        operator[0 if collapse == CollapseOp.RESET else outcome, outcome] = chances[outcome] ** -0.5
        instance.vector[:] = on_bits(instance.vector, operator, (bit,))
        return outcome

    def sample(
        self, state_vector: int, bit_strings: int, bit_string_ordering: Sequence[int], bit_string_ordering_len: int,
        randnums: int, num_shots: int, output: int, abs2sums: int,
    ) -> None:  # fmt: skip
        instance = self.alive[state_vector]
        assert (len(bit_string_ordering), output, abs2sums) == (bit_string_ordering_len, 0, 0)
        draws = at(randnums, (num_shots,), np.float64).copy() if num_shots else np.empty(0)

        def operation() -> None:
            cumulative = np.cumsum(weights(instance.vector, instance.bits(bit_string_ordering)))
            found = np.searchsorted(cumulative, draws * cumulative[-1], side="right")
            at(bit_strings, (num_shots,), np.int64)[:] = np.minimum(found, np.searchsorted(cumulative, cumulative[-1]))

        instance.deferred.append(operation)

    def compute_expectation_on_pauli_basis(
        self, state_vector: int, expectation_values: int, pauli_operator_arrays: Sequence[Sequence[int]],
        num_pauli_operator_arrays: int, basis_wires_array: Sequence[Sequence[int]],
        num_basis_wires_array: Sequence[int],
    ) -> None:  # fmt: skip
        instance = self.alive[state_vector]

        def operation() -> None:
            values = at(expectation_values, (num_pauli_operator_arrays,), np.float64)
            rows = zip(pauli_operator_arrays, basis_wires_array, num_basis_wires_array, strict=True)
            for place, (letters, wires, count) in enumerate(rows):
                assert len(letters) == len(wires) == count
                other = instance.vector
                for letter, bit in zip(letters, instance.bits(wires), strict=True):
                    other = on_bits(other, PAULIS[letter], (bit,))
                values[place] = np.vdot(instance.vector, other).real

        instance.deferred.append(operation)

    def configure_sv_updater(self, data_type: int, config_items: ConfigItems = ()) -> int:
        assert all(isinstance(item, SVUpdaterConfigItem) for item in config_items)
        self.configured.append(tuple((item.name, item.value) for item in config_items))
        return self._keep(data_type)

    def sv_updater_create(self, sv_updater_config: int, resource_manager: int) -> int:
        assert sv_updater_config in self.alive
        assert resource_manager == 0
        return self._keep(Updater())

    def sv_updater_destroy(self, sv_updater: int) -> None:
        del self.alive[sv_updater]

    def sv_updater_enqueue_matrix(
        self, sv_updater: int, matrix: int, matrix_data_type: int, ex_matrix_type: int, layout: int, adjoint: int,
        targets: Sequence[int], num_targets: int, controls: Sequence[int], control_bit_values: Sequence[int],
        num_controls: int,
    ) -> None:  # fmt: skip
        assert (matrix_data_type, layout, adjoint, num_controls) == (5, MatrixLayout.ROW, 0, 0)
        whole = self._whole(matrix, ex_matrix_type, targets, num_targets)

        def operation(instance: Instance, _: Any) -> None:
            instance.vector[:] = on_bits(instance.vector, whole, instance.bits(targets))

        self.alive[sv_updater].operations.append(operation)

    def sv_updater_enqueue_unitary_channel(
        self, sv_updater: int, unitaries: Sequence[int], unitaries_data_type: int, ex_matrix_types: Sequence[int],
        num_unitaries: int, layout: int, probabilities: Sequence[float], channel_wires: Sequence[int],
        num_channel_wires: int,
    ) -> None:  # fmt: skip
        assert (unitaries_data_type, layout) == (5, MatrixLayout.ROW)
        assert len(unitaries) == len(ex_matrix_types) == len(probabilities) == num_unitaries > 0
        if min(probabilities) <= 0 or sum(probabilities) > 1:
            raise CuStateVecError(Status.INVALID_VALUE)
        kinds = zip(unitaries, ex_matrix_types, strict=True)
        table = [self._whole(matrix, kind, channel_wires, num_channel_wires) for matrix, kind in kinds]

        def operation(instance: Instance, draws: Any) -> None:
            kind = int(np.searchsorted(np.cumsum(probabilities), next(draws), side="right"))
            if kind < num_unitaries:
                instance.vector[:] = on_bits(instance.vector, table[kind], instance.bits(channel_wires))

        self._channel(sv_updater, operation)

    def sv_updater_enqueue_general_channel(
        self, sv_updater: int, matrices: Sequence[int], matrix_data_type: int, ex_matrix_types: Sequence[int],
        num_matrices: int, layout: int, channel_wires: Sequence[int], num_channel_wires: int,
    ) -> None:  # fmt: skip
        assert (matrix_data_type, layout) == (5, MatrixLayout.ROW)
        assert len(matrices) == len(ex_matrix_types) == num_matrices > 0
        kinds = zip(matrices, ex_matrix_types, strict=True)
        table = [self._whole(matrix, kind, channel_wires, num_channel_wires) for matrix, kind in kinds]
        complete = np.sum([matrix.conj().T @ matrix for matrix in table], axis=0)
        assert np.allclose(complete, np.eye(len(complete)), atol=1e-12)

        def operation(instance: Instance, draws: Any) -> None:
            bits = instance.bits(channel_wires)
            candidates = [on_bits(instance.vector, matrix, bits) for matrix in table]
            norms = np.array([np.vdot(candidate, candidate).real for candidate in candidates])
            kind = int(np.searchsorted(np.cumsum(norms), next(draws) * norms.sum(), side="right"))
            instance.vector[:] = candidates[kind] / np.sqrt(norms[kind])

        self._channel(sv_updater, operation)

    def sv_updater_get_max_num_required_randnums(self, sv_updater: int) -> int:
        return int(self.alive[sv_updater].draws)

    def sv_updater_apply(self, sv_updater: int, state_vector: int, randnums: int, num_randnums: int) -> None:
        updater, instance = self.alive[sv_updater], self.alive[state_vector]
        assert num_randnums >= updater.draws
        draws = iter(at(randnums, (num_randnums,), np.float64).tolist() if num_randnums else [])
        instance.deferred += [partial(operation, instance, draws) for operation in updater.operations]
        # The library may move wires to other index bits.
        instance.deferred.append(lambda: instance.permute(self._shuffle.permutation(len(instance.order)).tolist()))

    def _channel(self, sv_updater: int, operation: Callable[[Instance, Any], None]) -> None:
        updater = self.alive[sv_updater]
        updater.operations.append(operation)
        updater.draws += 1

    def _whole(self, address: int, kind: int, wires: Sequence[int], count: int) -> NDArray[np.complex128]:
        assert len(wires) == count
        size = 1 << count
        if kind == MatrixType.DENSE:
            return at(address, (size, size), np.complex128).copy()
        elements = at(address, (size,), np.complex128).copy()
        return np.diag(elements) if kind == MatrixType.DIAGONAL else np.diag(elements)[:, ::-1]


def library(*, single: bool) -> Library:
    """Return an emulated library."""
    return Library.of(CUPY, EmulatedCuStateVec, EmulatedEx(), single=single)
