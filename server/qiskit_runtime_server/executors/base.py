"""The contract of an executor, for ours and for plug-ins.

A plug-in registers its class under the entry point group `qiskit_runtime_server.executors`. It implements `sample`,
which gives it every program, or overrides `execute_sampler` and `execute_estimator`, which gives it those two.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from qiskit.primitives import PrimitiveResult
from qiskit.primitives.containers.estimator_pub import EstimatorPub
from qiskit.primitives.containers.sampler_pub import SamplerPub

from qiskit_runtime_server.programs import estimator, sampler
from qiskit_runtime_server.programs.device.shots import SimulatedShots
from qiskit_runtime_server.programs.options.options import estimator_options, sampler_options
from qiskit_runtime_server.simulation.contract import BitTensor, ExpectationTask, SampleTask, Simulator

__all__ = ["BaseExecutor", "BitTensor", "ExpectationTask", "SampleTask"]


class BaseExecutor(Simulator):
    """A simulator that runs programs.

    Instances are created in, or sent by pickle to, the worker process that uses them.
    """

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
        return sampler.execute(SimulatedShots(self), pubs, sampler_options(options), backend_name)

    def execute_estimator(
        self, pubs: Sequence[EstimatorPub], options: Mapping[str, Any], backend_name: str
    ) -> PrimitiveResult[Any]:
        """Run estimator pubs; arguments and errors as in `execute_sampler`, `resilience_level` being an option."""
        return estimator.execute(SimulatedShots(self), pubs, estimator_options(options), backend_name)


def replaces(executor: BaseExecutor, method: str) -> bool:
    """Return whether `executor` runs pubs in a way of its own, by overriding this method of `BaseExecutor`."""
    return overrides(type(executor), method)


def overrides(executor: type[BaseExecutor], method: str) -> bool:
    """Return whether a class has a method of its own in the place of `BaseExecutor`'s."""
    return getattr(executor, method) is not getattr(BaseExecutor, method)
