"""Estimates of times are near enough to tell what can run within a limit from what cannot."""

import time

import numpy as np
import pytest
from qiskit import QuantumCircuit
from qiskit_aer.noise import NoiseModel, amplitude_damping_error

from kit.server.http_jobs import long_circuit
from qiskit_runtime_server.executors.aer import AerExecutor
from qiskit_runtime_server.executors.base import SampleTask
from qiskit_runtime_server.messages.messages import PATIENCE


def crossed(num_qubits: int, pairs: int) -> QuantumCircuit:
    """Return a long circuit of few layers, after gates of qubits that stand far apart."""
    circuit = QuantumCircuit(num_qubits, num_qubits)
    circuit.sx(range(num_qubits))
    for number in range(pairs):
        circuit.cx(number, num_qubits - 4 * number - 1)
    return circuit.compose(long_circuit(2, num_qubits))


def run_as_long_as_expected(
    circuit: QuantumCircuit, shots: int, noise: NoiseModel | None, executor: AerExecutor
) -> None:
    seeds = np.zeros(1, dtype=np.uint64)
    task = SampleTask(circuit=circuit, parameter_values=np.empty((1, 0)), shots=shots, noise=noise, seeds=seeds)
    expected = executor.offer(task).seconds
    # Of the processor, so that it does not matter what else runs.
    begin = time.process_time()
    executor.sample(task)
    took = time.process_time() - begin
    print(f"expected {expected:.2f} s, took {took:.2f} s")
    assert expected / PATIENCE < took < expected * PATIENCE


@pytest.mark.slow
@pytest.mark.parametrize(("num_qubits", "layers"), [(20, 20), (22, 8)])
def test_the_state_of_an_ideal_circuit_takes_about_as_long_as_expected(num_qubits: int, layers: int) -> None:
    circuit = long_circuit(layers=layers, num_qubits=num_qubits)
    run_as_long_as_expected(circuit, 100, None, AerExecutor(threads=1))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("circuit", "shots", "noisy"),
    [(long_circuit(12, 34), 300, False), (long_circuit(4, 40), 20, True), (crossed(30, 4), 5, True)],
    ids=["ideal", "noisy", "noisy and crossed"],
)
def test_matrix_product_states_take_about_as_long_as_expected(
    circuit: QuantumCircuit, shots: int, *, noisy: bool
) -> None:
    noise = NoiseModel() if noisy else None
    if noise is not None:
        noise.add_all_qubit_quantum_error(amplitude_damping_error(0.002), ["sx"])
    run_as_long_as_expected(circuit, shots, noise, AerExecutor(memory_bytes=2**20, threads=1))
