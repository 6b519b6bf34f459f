"""Diagonal gates that wait for each other do what they do one after the other."""

import numpy as np
import pytest
from numpy.typing import NDArray
from qiskit import QuantumCircuit
from qiskit.circuit.library import UnitaryGate
from qiskit.quantum_info import random_unitary

from kit.quantum.qsim_alone import needs_qsim
from qiskit_runtime_server.executors.qsim.library import Operation, library
from qiskit_runtime_server.executors.qsim.stars import in_stars
from qiskit_runtime_server.simulation.statevector import lowering
from qiskit_runtime_server.simulation.statevector.program import Gate, Run


def operations(circuit: QuantumCircuit) -> list[Operation] | None:
    return in_stars(gates(circuit))


def gates(circuit: QuantumCircuit) -> list[tuple[tuple[int, ...], NDArray[np.complex128]]]:
    parts = [part for step in lowering.program(circuit, None).steps if isinstance(step, Run) for part in step.steps]
    return [(gate.qubits, gate.fixed[0]) for gate in parts if isinstance(gate, Gate) and gate.fixed is not None]


def evolved(made: list[Operation], num_qubits: int) -> NDArray[np.complex64]:
    return library().evolved(None, made, num_qubits, threads=1, max_fused_gate_size=3)


def any_gates(seed: int, num_qubits: int) -> QuantumCircuit:
    """Return gates of which most are diagonal, some of them by a matrix alone."""
    rng = np.random.default_rng(seed)
    circuit = QuantumCircuit(num_qubits)
    circuit.h(range(num_qubits))
    for _ in range(120):
        one, other, third = rng.permutation(num_qubits)[:3].tolist()
        match rng.integers(8):
            case 0:
                circuit.ry(0.3, one)
            case 1:
                circuit.rz(0.7, one)
            case 2:
                circuit.rzz(0.4, one, other)
            case 3:
                circuit.append(UnitaryGate(np.diag(np.exp(1j * rng.uniform(0, 6, 4)))), [one, other])
            case 4 if rng.random() < 0.3:
                circuit.append(UnitaryGate(random_unitary(8, rng)), [one, other, third])
            case _:
                circuit.cp(rng.uniform(0, 6), one, other)
    return circuit


@needs_qsim
@pytest.mark.parametrize("seed", range(8))
def test_stars_do_what_their_gates_do(seed: int) -> None:
    circuit = any_gates(seed, 9)
    made = operations(circuit)
    assert made is not None
    plain = evolved([Operation.of(matrix, qubits) for qubits, matrix in gates(circuit)], 9)
    assert evolved(made, 9) == pytest.approx(plain, abs=3e-6)


def fourier(num_qubits: int) -> QuantumCircuit:
    circuit = QuantumCircuit(num_qubits)
    for target in reversed(range(num_qubits)):
        circuit.h(target)
        for control in range(target):
            circuit.cp(np.pi / 2 ** (target - control), control, target)
    return circuit


def test_of_the_fourier_transform_most_gates_are_in_stars() -> None:
    circuit = fourier(20)
    made = operations(circuit)
    assert made is not None
    widths = [len(operation.qubits) for operation in made if operation.control is not None]
    assert sum(widths) == sum(gates - 2 for gates in range(5, 20))
    assert len(widths) < sum(widths) / 2


def test_a_circuit_without_stars_stays_as_it_is() -> None:
    circuit = QuantumCircuit(6)
    for layer in range(6):
        circuit.rx(0.3, range(6))
        for qubit in range(layer % 2, 5, 2):
            circuit.rzz(0.2, qubit, qubit + 1)
    assert operations(circuit) is None
