"""Executors that come up and must not be let near a job; importable by worker processes."""

import numpy as np
from numpy.typing import NDArray

from qiskit_runtime_server.executors import AerExecutor, BaseExecutor, ExpectationTask, SampleTask
from qiskit_runtime_server.executors.base import BitTensor


class RaisingExecutor(BaseExecutor):
    """Cannot simulate anything."""

    def sample(self, task: SampleTask) -> BitTensor:
        raise RuntimeError("the device is not in a usable state")


class LyingExecutor(BaseExecutor):
    """Tosses a coin for every bit."""

    def sample(self, task: SampleTask) -> BitTensor:
        shape = (len(task.seeds), task.shots, task.circuit.num_clbits)
        return np.random.default_rng(int(task.seeds[0])).random(shape) < 0.5


class MirroredExecutor(AerExecutor):
    """Takes the last bit for the first."""

    def sample(self, task: SampleTask) -> BitTensor:
        return super().sample(task)[:, :, ::-1]


class SingleMindedExecutor(AerExecutor):
    """Gives every parameter set the bits of the first."""

    def sample(self, task: SampleTask) -> BitTensor:
        bits = super().sample(task)
        return np.broadcast_to(bits[:1], bits.shape)


class StubbornExecutor(AerExecutor):
    """Draws one outcome for all shots."""

    def sample(self, task: SampleTask) -> BitTensor:
        bits = super().sample(task)
        return np.broadcast_to(bits[:, :1], bits.shape)


class InexactExecutor(AerExecutor):
    """Samples rightly, and gives every observable the value 0."""

    def expectation_values(self, task: ExpectationTask) -> NDArray[np.float64]:
        return np.zeros((len(task.parameter_values), len(task.observables)))


class EmptyExecutor(BaseExecutor):
    """Has no method."""
