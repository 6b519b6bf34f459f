"""An executor that remembers what it was asked for."""

from qiskit_runtime_server.executors.aer import AerExecutor
from qiskit_runtime_server.executors.base import BitTensor, SampleTask


class RecordingExecutor(AerExecutor):
    """The Aer executor with a memory of its tasks."""

    def __init__(self) -> None:
        super().__init__()
        self.tasks: list[SampleTask] = []

    def sample(self, task: SampleTask) -> BitTensor:
        self.tasks.append(task)
        return super().sample(task)

    def count(self, name: str) -> int:
        """How many instructions of that name all circuits had together."""
        return sum(task.circuit.count_ops().get(name, 0) for task in self.tasks)
