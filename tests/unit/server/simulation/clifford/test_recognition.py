"""Which rows of parameter values make Clifford gates of all gates, and that most need no look at a gate's matrix."""

import numpy as np
import pytest
from qiskit import QuantumCircuit
from qiskit.circuit import Instruction, Parameter
from qiskit.circuit.library import get_standard_gate_name_mapping

from qiskit_runtime_server.simulation.clifford.recognition import clifford_gate, clifford_rows, with_angles

ONE_ANGLE = sorted(name for name, gate in get_standard_gate_name_mapping().items() if len(gate.params) == 1)
OFFS = (0.0, 1e-9, -1e-9, 1e-4, -1e-4, 5e-3, 0.4)


def turned(name: str) -> QuantumCircuit:
    gate = get_standard_gate_name_mapping()[name]
    circuit = QuantumCircuit(gate.num_qubits)
    circuit.append(with_angles(gate, [Parameter("angle")]), range(gate.num_qubits))
    return circuit


def gates(circuit: QuantumCircuit) -> list[Instruction]:
    return [part.operation for part in circuit.data]


@pytest.mark.parametrize("name", [name for name in ONE_ANGLE if name not in {"delay", "global_phase"}])
def test_a_turn_is_a_clifford_gate_in_the_rows_in_which_it_is_one_alone(name: str) -> None:
    circuit = turned(name)
    angles = np.array([quarter * np.pi / 2 + off for quarter in range(-9, 10) for off in OFFS])
    alone = [clifford_gate(with_angles(circuit.data[0].operation, [angle])) is not None for angle in angles.tolist()]
    assert clifford_rows(gates(circuit), circuit, angles[:, None]).tolist() == alone
    assert set(alone) == {True, False}


def test_rows_that_are_none_are_not_looked_at_again() -> None:
    circuit = QuantumCircuit(1)
    for number in range(40):
        circuit.rz(Parameter(f"a{number:02}"), 0)
        circuit.u(Parameter(f"b{number:02}"), 0.0, 0.0, 0)
    values = np.random.default_rng(1).uniform(0, 2 * np.pi, (50, 80))
    values[0] = np.pi / 2
    looks: list[Instruction] = []

    def looked_at(gate: Instruction) -> bool:
        looks.append(gate)
        return clifford_gate(gate) is not None

    assert clifford_rows(gates(circuit), circuit, values, looked_at).nonzero()[0].tolist() == [0]
    assert len(looks) <= 2 * 80
