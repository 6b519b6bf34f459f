"""Estimates of times are near enough to tell what can run within a limit from what cannot."""

import time

import numpy as np
import pytest

from kit.server.http_jobs import long_circuit
from qiskit_runtime_server.executors.aer import AerExecutor
from qiskit_runtime_server.executors.base import SampleTask
from qiskit_runtime_server.messages.messages import PATIENCE


@pytest.mark.slow
@pytest.mark.parametrize(("num_qubits", "layers"), [(20, 20), (22, 8)])
def test_the_state_of_an_ideal_circuit_takes_about_as_long_as_expected(num_qubits: int, layers: int) -> None:
    circuit = long_circuit(layers=layers, num_qubits=num_qubits)
    seeds = np.zeros(1, dtype=np.uint64)
    task = SampleTask(circuit=circuit, parameter_values=np.empty((1, 0)), shots=100, noise=None, seeds=seeds)
    executor = AerExecutor(threads=1)
    expected = executor.offer(task).seconds
    # Of the processor, so that it does not matter what else runs.
    begin = time.process_time()
    executor.sample(task)
    took = time.process_time() - begin
    print(f"expected {expected:.2f} s, took {took:.2f} s")
    assert expected / PATIENCE < took < expected * PATIENCE
