"""States on NVIDIA GPUs: which devices hold them, and how they are spread."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import Final

from qiskit_runtime_server.errors import StartupError
from qiskit_runtime_server.executors.custatevec import device_library
from qiskit_runtime_server.executors.custatevec.device_batch import SCRATCH_BYTES, DeviceBatch, stride
from qiskit_runtime_server.executors.custatevec.device_library import Library
from qiskit_runtime_server.executors.custatevec.device_state import DeviceQueue, DeviceState
from qiskit_runtime_server.executors.custatevec.options import Options
from qiskit_runtime_server.machine import qubits_in, usable_bytes
from qiskit_runtime_server.simulation.statevector.state_port import Batch, Device, Queue, State, States

# Of a GPU's memory; the rest is for workspaces and for CUDA itself.
_SHARE: Final = 0.9
_TRANSFER_BYTES: Final = 2**26


class DeviceStates(States):
    """States on GPUs; small ones on the first device."""

    def __init__(self, options: Options, library: Library | None = None, host_bytes: int | None = None) -> None:
        """Take options; the GPU is not touched yet.

        Args:
            options: Which devices, and how.
            library: By default what is installed.
            host_bytes: What migrated qubits may take of the host's memory; by default what the machine has.
        """
        self._options = options
        self._given = library
        self._host_bytes = usable_bytes() if host_bytes is None else host_bytes

    def device(self) -> Device:
        """See `States.device`.

        Raises:
            StartupError: If there is no usable GPU.
        """
        return self._device

    @contextmanager
    def state(self, num_qubits: int) -> Iterator[State]:
        """See `States.state`."""
        library = self._library
        local = self._local_qubits(num_qubits)
        size = library.amplitude_bytes << local
        library.check_free(1, num_qubits, size)
        with library.allocating(1, num_qubits, size):
            address = self._created(num_qubits, local)
        try:
            with library.allocating(1, num_qubits, size):
                yield DeviceState(library, address, num_qubits, on_one_device=local == num_qubits)
        finally:
            library.ex.state_vector_destroy(address)

    @contextmanager
    def queue(self) -> Iterator[Queue]:
        """See `States.queue`."""
        library, ex = self._library, self._library.ex
        names, options = ex.SVUpdaterConfigName, self._options
        wanted = {
            names.MAX_NUM_HOST_THREADS: options.host_threads,
            names.DENSE_FUSION_SIZE: options.dense_fusion,
            names.DIAGONAL_FUSION_SIZE: options.diagonal_fusion,
        }
        items = [ex.SVUpdaterConfigItem(name, value) for name, value in wanted.items() if value is not None]
        with self._dictionary(ex.configure_sv_updater(library.data_type, items)) as config:
            address = ex.sv_updater_create(config, 0)
        try:
            yield DeviceQueue(library, address)
        finally:
            ex.sv_updater_destroy(address)

    @contextmanager
    def batch(self, num_qubits: int, room: int) -> Iterator[Batch]:
        """See `States.batch`."""
        library = self._library
        size = room * stride(library, num_qubits) * library.amplitude_bytes
        library.check_free(room, num_qubits, size)
        library.sv.set_stream(self._handle, library.stream())
        with library.allocating(room, num_qubits, size):
            yield DeviceBatch(library, self._handle, num_qubits, room)

    @cached_property
    def _library(self) -> Library:
        library = self._given or device_library.load(single=self._options.precision == "single")
        count = library.cupy.cuda.runtime.getDeviceCount()
        for number in self._options.devices:
            if not 0 <= number < count:
                raise StartupError(f"There is no GPU {number}: the driver shows {count}.")
        library.cupy.cuda.Device(self._options.devices[0]).use()
        return library

    @cached_property
    def _handle(self) -> int:
        """Return a handle of cuStateVec for batches; it lives as long as the process."""
        return int(self._library.sv.create())

    @cached_property
    def _device(self) -> Device:
        library, number = self._library, self._options.devices[0]
        properties = library.cupy.cuda.runtime.getDeviceProperties(number)
        name: str = properties["name"].decode()
        count = len(self._options.devices) * self._num_processes
        usable = self._usable
        return Device(
            name=name if count == 1 else f"{count} x {name}",
            memory_bytes=self._with_host() * count,
            batch_bytes=max(usable // 2, usable - SCRATCH_BYTES),
            compute_capability=f"{properties['major']}.{properties['minor']}",
        )

    @cached_property
    def _usable(self) -> int:
        """Return what states may take of one device."""
        return int(self._library.cupy.cuda.runtime.memGetInfo()[1] * _SHARE)

    def _with_host(self) -> int:
        """Return what a state may take on one device, the host's memory added."""
        usable = self._usable
        if self._options.host_qubits == 0:
            return usable
        largest = self._library.amplitude_bytes << qubits_in(usable, self._library.amplitude_bytes)
        return min(largest << self._options.host_qubits, usable + self._host_bytes)

    def _local_qubits(self, num_qubits: int) -> int:
        """Return how many qubits of a state lie within the memory of each device."""
        spread = (len(self._options.devices) * self._num_processes).bit_length() - 1
        if self._options.host_qubits:
            return min(num_qubits, qubits_in(self._usable, self._library.amplitude_bytes))
        return num_qubits - spread

    def _created(self, num_qubits: int, local: int) -> int:
        """Return the address of a new instance."""
        library, ex, devices = self._library, self._library.ex, self._options.devices
        streams: tuple[int, ...] = ()
        shape = (library.data_type, num_qubits, local)
        if self._communicator is not None:
            with self._dictionary(self._multi_process(shape)) as config:
                return int(ex.state_vector_create_multi_process(config, 0, self._communicator, 0))
        if len(devices) > 1:
            network = library.sv.DeviceNetworkType.SWITCH
            config = ex.configure_state_vector_multi_device(*shape, devices, len(devices), network, 0)
        else:
            config = ex.configure_state_vector_single_device(*shape, devices[0], 0)
            # That of the array which a checkpoint is copied to.
            streams = (library.stream(),)
        with self._dictionary(config):
            return int(ex.state_vector_create_single_process(config, streams, len(streams), 0))

    def _multi_process(self, shape: tuple[int, int, int]) -> int:
        ex = self._library.ex
        layers = (ex.GlobalIndexBitClass.COMMUNICATOR,), (self._num_processes.bit_length() - 1,), 1
        sharing = ex.MemorySharingMethod.NONE
        return int(ex.configure_state_vector_multi_process(*shape, -1, sharing, *layers, _TRANSFER_BYTES, 0, 0))

    @cached_property
    def _communicator(self) -> int | None:
        """Return the connection to the other processes of an MPI launcher; it lives as long as the process."""
        if not self._options.processes:
            return None
        library = self._library
        already = library.sv.Status.ALREADY_INITIALIZED
        try:
            library.ex.communicator_initialize(library.sv.CommunicatorType.OPENMPI)
        except library.sv.cuStateVecError as error:
            if error.status != already:
                raise StartupError(f"The executor's option processes needs Open MPI: {error}.") from error
        return int(library.ex.communicator_create())

    @cached_property
    def _num_processes(self) -> int:
        if self._communicator is None:
            return 1
        count, _, _ = self._library.ex.communicator_get_size_and_rank()
        if count < 2 or count & (count - 1):  # noqa: PLR2004 - more than one
            raise StartupError(
                f"The executor's option processes needs an MPI launcher with 2, 4, 8, ... processes, not {count}."
            )
        return int(count)

    @contextmanager
    def _dictionary(self, config: int) -> Iterator[int]:
        try:
            yield config
        finally:
            self._library.ex.dictionary_destroy(config)
