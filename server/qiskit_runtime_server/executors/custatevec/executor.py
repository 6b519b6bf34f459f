"""The executor `custatevec`: state vectors on NVIDIA GPUs."""

from copy import copy
from typing import Any, Self

from qiskit_runtime_server.executors.base import BaseExecutor, BitTensor, ExpectationTask, SampleTask
from qiskit_runtime_server.executors.custatevec.described_states import DescribedStates
from qiskit_runtime_server.executors.custatevec.options import Options
from qiskit_runtime_server.messages.messages import Capabilities
from qiskit_runtime_server.simulation.contract import Offer
from qiskit_runtime_server.simulation.statevector.simulator import StateVectors
from qiskit_runtime_server.simulation.statevector.state_port import Floats, States


class CuStateVecExecutor(BaseExecutor):
    """Simulates state vectors on NVIDIA GPUs with cuStateVec."""

    def __init__(self, *, states: States | None = None, **options: Any) -> None:
        """Choose how to simulate.

        Args:
            states: What holds states; by default GPUs.
            options: See `Options`.

        Raises:
            StartupError: If an option does not take its value.
        """
        self._options = Options.of(options)
        self._given = states
        self._host_bytes: int | None = None

    def fitted(self, *, memory_bytes: int | None, threads: int) -> Self:  # noqa: ARG002 - the GPU's are many enough
        """Return an executor that takes no more of the host's memory for states than a slot has."""
        other = copy(self)
        other._host_bytes = memory_bytes
        return other

    def stand_in(self, capabilities: Capabilities) -> Self:
        """Return an executor that makes offers as if there were a device with these capabilities."""
        other = copy(self)
        other._given = DescribedStates(capabilities)
        return other

    def capabilities(self) -> Capabilities:
        """Return what fits into the device.

        Raises:
            StartupError: If there is no usable device; the message says what is missing.
        """
        return self._simulator().capabilities()

    def offer(self, task: SampleTask) -> Offer:
        """Return how a task would run; see `Simulator.offer`.

        Raises:
            CircuitTooLargeError: If the state does not fit into the device's memory.
        """
        return self._simulator().offer(task)

    def sample(self, task: SampleTask) -> BitTensor:
        """Run a task; see `BaseExecutor.sample`.

        Raises:
            CircuitTooLargeError: If the state does not fit into the device's memory.
            OutOfMemoryError: If it would, but something else uses the memory.
            InvalidInputError: If the circuit has an instruction that cannot be simulated.
        """
        return self._simulator().sample(task)

    def expectation_values(self, task: ExpectationTask) -> Floats:
        """Evaluate observables; see `BaseExecutor.expectation_values`.

        Raises:
            CircuitTooLargeError: If the state does not fit into the device's memory.
            OutOfMemoryError: If it would, but something else uses the memory.
            InvalidInputError: If the circuit has something other than gates.
        """
        return self._simulator().expectation_values(task)

    def _simulator(self) -> StateVectors:
        """Return what simulates; the GPU is first touched in the process that uses it."""
        if self._given is None:
            from qiskit_runtime_server.executors.custatevec.device_states import (  # noqa: PLC0415 - needs a GPU
                DeviceStates,
            )

            self._given = DeviceStates(self._options, host_bytes=self._host_bytes)
        return StateVectors(
            self._given,
            amplitude_bytes=8 if self._options.precision == "single" else 16,
            batched_qubits=self._options.batched_qubits,
            fusion=self._options.fusion,
        )
