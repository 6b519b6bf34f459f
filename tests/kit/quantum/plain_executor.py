"""An executor with nothing but Aer behind it, for tests of the programs."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from qiskit.circuit import QuantumCircuit
from qiskit.primitives import PrimitiveResult
from qiskit_aer import AerSimulator

from qiskit_runtime_server.executors.base import BaseExecutor, BitTensor, SampleTask
from qiskit_runtime_server.messages.messages import Capabilities

Run = Callable[..., PrimitiveResult[Any]]
"""Runs pubs: (pubs, backend, **options)."""


class PlainExecutor(BaseExecutor):
    """Runs each row by itself, and remembers what it was asked for."""

    def __init__(self) -> None:
        self.tasks: list[SampleTask] = []

    def capabilities(self) -> Capabilities:
        return Capabilities(num_qubits=20)

    def sample(self, task: SampleTask) -> BitTensor:
        self.tasks.append(task)
        rows = zip(task.parameter_values, task.seeds, strict=True)
        return np.stack([_bits(task, row, int(seed % 2**31)) for row, seed in rows])


def _bits(task: SampleTask, values: NDArray[np.float64], seed: int) -> BitTensor:
    circuit: QuantumCircuit = task.circuit.assign_parameters(values) if values.size else task.circuit
    simulator = AerSimulator(noise_model=task.noise)
    result = simulator.run(circuit, shots=task.shots, memory=True, seed_simulator=seed).result()
    return np.array(
        [[bool(int(shot, 16) >> bit & 1) for bit in range(circuit.num_clbits)] for shot in result.data()["memory"]]
    )
