"""The contract of an executor, for ours and for plug-ins.

A plug-in registers its class under the entry point group `qiskit_runtime_server.executors`. It implements `sample`,
which gives it every program, or overrides `execute_sampler` and `execute_estimator`, which gives it those two.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from qiskit.circuit import QuantumCircuit
from qiskit.primitives import PrimitiveResult
from qiskit.primitives.containers.estimator_pub import EstimatorPub
from qiskit.primitives.containers.sampler_pub import SamplerPub
from qiskit.quantum_info import SparsePauliOp
from qiskit_aer.noise import NoiseModel

from qiskit_runtime_server.backends.catalog import Catalog
from qiskit_runtime_server.dispatch.events import Capabilities
from qiskit_runtime_server.errors import UnsupportedOptionError
from qiskit_runtime_server.worker.memory import qubits_in, usable_bytes

BitTensor = NDArray[np.bool_]

TimeLimit = Callable[[float], AbstractContextManager[None]]
"""Takes the seconds for which a simulation may run, which answers no signal."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleTask:
    """One circuit to be sampled for many parameter values.

    Attributes:
        circuit: Has no idle qubits and is as small as compaction can make it; gates of a device, measurements, resets,
            delays, control flow. Angles are numbers or bare parameters.
        parameter_values: Shape ``(n, k)``, dtype float64, columns as in ``circuit.parameters``.
        shots: For every row.
        noise: Errors for the circuit's own qubit numbers, or None for an ideal device. Includes what delays do.
        seeds: Shape ``(n,)``, dtype uint64: a row's bits depend on its own seed only, so rows may be run in any
            batches.
    """

    circuit: QuantumCircuit
    parameter_values: NDArray[np.float64]
    shots: int
    noise: NoiseModel | None
    seeds: NDArray[np.uint64]


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpectationTask:
    """Observables to be evaluated exactly, on an ideal device.

    Attributes:
        circuit: Has gates only. Angles are numbers or parameters.
        parameter_values: Shape ``(n, k)``, dtype float64, columns as in ``circuit.parameters``.
        observables: Of the circuit's qubits, with real coefficients.
    """

    circuit: QuantumCircuit
    parameter_values: NDArray[np.float64]
    observables: Sequence[SparsePauliOp]


class BaseExecutor:
    """A simulator.

    Instances are created in, or sent by pickle to, the worker process that uses them.

    Attributes:
        catalog: Where `execute_sampler` and `execute_estimator` find the device that `backend_name` names.
        time_limit: To be entered around calls into a simulator that might never return. In a worker process the job
            fails once the time is over, and the process ends; elsewhere nothing happens.
    """

    catalog: Catalog = Catalog()
    time_limit: TimeLimit = staticmethod(lambda _seconds: nullcontext())

    def fitted(self, *, memory_bytes: int | None, threads: int) -> Self:  # noqa: ARG002 - for those that need it
        """Return an executor for a slot with `memory_bytes` for jobs (None: no limit) and `threads` cores.

        Here it is the executor itself.
        """
        return self

    def capabilities(self) -> Capabilities:
        """Return what fits into this executor; cheap, and constant for a process.

        Here it is a state vector in all of the machine's memory.
        """
        return Capabilities(num_qubits=qubits_in(usable_bytes()))

    def sample(self, task: SampleTask) -> BitTensor:  # noqa: ARG002 - for those that can
        """Run `task.circuit` for every row of `task.parameter_values`.

        Returns:
            Bits of shape ``(n, shots, num_clbits)``, dtype bool; the last axis is little-endian, as in Qiskit.

        Raises:
            CircuitTooLargeError: If the state does not fit into this executor's memory.
        """
        message = f"{type(self).__name__} runs only the sampler and estimator programs."
        raise UnsupportedOptionError(message)

    def expectation_values(self, task: ExpectationTask) -> NDArray[np.float64]:  # noqa: ARG002 - for those that can
        """Return the exact value of each observable for every row of `task.parameter_values`.

        Returns:
            Shape ``(n, len(task.observables))``.

        Raises:
            CircuitTooLargeError: If the state does not fit into this executor's memory.
        """
        message = f"{type(self).__name__} does not give exact expectation values."
        raise UnsupportedOptionError(message)

    def execute_sampler(
        self, pubs: Sequence[SamplerPub], options: Mapping[str, Any], backend_name: str
    ) -> PrimitiveResult[Any]:
        """Run sampler pubs on the device that `backend_name` names (with or without `@executor`).

        Args:
            pubs: What to run; the circuits are ISA circuits of the device.
            options: The sampler's options as clients send them: nested, only those that are set, values decoded.
            backend_name: For example ``fake_manila`` or ``fake_manila@aer``.

        Raises:
            JobError: If the request cannot be run as it is; the subclass and the message say why.
        """
        from qiskit_runtime_server.programs import sampler  # noqa: PLC0415 - the programs import this module

        return sampler.execute(self, pubs, options, backend_name)

    def execute_estimator(
        self, pubs: Sequence[EstimatorPub], options: Mapping[str, Any], backend_name: str
    ) -> PrimitiveResult[Any]:
        """Run estimator pubs; arguments and errors as in `execute_sampler`, `resilience_level` being an option."""
        from qiskit_runtime_server.programs import estimator  # noqa: PLC0415 - the programs import this module

        return estimator.execute(self, pubs, options, backend_name)
