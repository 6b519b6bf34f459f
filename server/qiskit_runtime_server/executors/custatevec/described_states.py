"""States of a device that is elsewhere: it is known what it is, and none can be had here."""

from contextlib import AbstractContextManager

from qiskit_runtime_server.errors import StartupError
from qiskit_runtime_server.messages.messages import Capabilities
from qiskit_runtime_server.simulation.statevector.state_port import Batch, Device, Queue, State


class DescribedStates:
    """`States` that only say on what device they would be."""

    def __init__(self, capabilities: Capabilities) -> None:
        """Take what an executor on that device says of itself."""
        self._device = Device(
            name=capabilities.device,
            memory_bytes=capabilities.memory_bytes,
            batch_bytes=capabilities.memory_bytes,
            compute_capability=capabilities.compute_capability,
        )

    def device(self) -> Device:
        """See `States.device`."""
        return self._device

    def state(self, num_qubits: int) -> AbstractContextManager[State]:
        """See `States.state`."""
        raise self._refusal(num_qubits)

    def queue(self) -> AbstractContextManager[Queue]:
        """See `States.queue`."""
        raise self._refusal(0)

    def batch(self, num_qubits: int, room: int) -> AbstractContextManager[Batch]:  # noqa: ARG002 - as in the protocol
        """See `States.batch`."""
        raise self._refusal(num_qubits)

    def _refusal(self, num_qubits: int) -> StartupError:
        return StartupError(f"{self._device.name} is not here: no state of {num_qubits} qubits can be made.")
