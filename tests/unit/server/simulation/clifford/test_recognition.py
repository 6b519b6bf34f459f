"""Which gates and rows of values count as Clifford gates, but for rounding, and how few matrices are looked at."""

import math

import numpy as np
import pytest
from qiskit import QuantumCircuit
from qiskit.circuit import Gate, Instruction, Parameter
from qiskit.circuit.library import (
    CRXGate,
    RXGate,
    RXXGate,
    RYGate,
    RZGate,
    RZZGate,
    UGate,
    UnitaryGate,
    XXPlusYYGate,
    get_standard_gate_name_mapping,
)

from qiskit_runtime_server.executors.aer.clifford import clifford_steps
from qiskit_runtime_server.executors.aer.executor import AerExecutor
from qiskit_runtime_server.simulation.clifford.recognition import clifford_gate, clifford_rows, with_angles
from qiskit_runtime_server.testing import sample_task

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


def off_by(angle: float) -> list[Gate]:
    """Return gates that are Clifford gates if `angle` is a multiple of pi."""
    return [
        RXGate(angle),
        RYGate(angle),
        RZGate(angle),
        UGate(angle, math.pi / 2, -math.pi / 2),
        RXXGate(angle),
        RZZGate(angle),
        CRXGate(2 * angle),
        XXPlusYYGate(angle),
        UnitaryGate(RYGate(angle).to_matrix()),
    ]


@pytest.mark.parametrize("angle", [0.0, math.pi])
@pytest.mark.parametrize("off", [1e-3, 1e-4, 1e-6])
def test_a_gate_that_is_a_little_off_is_none(angle: float, off: float) -> None:
    for gate in off_by(angle + off):
        assert clifford_gate(gate) is None, gate
        assert clifford_steps(gate) is None, gate


@pytest.mark.parametrize("off", [0.0, 1e-9, -1e-9])
def test_rounding_does_not_count(off: float) -> None:
    for quarters in range(-4, 5):
        for gate in (RXGate(quarters * math.pi / 2 + off), RZZGate(quarters * math.pi / 2 + off)):
            assert clifford_gate(gate) is not None, gate
            assert clifford_steps(gate) is not None, gate


def test_many_small_turns_make_a_large_one() -> None:
    """As in a Trotter circuit of small steps: 1,000 of them turn a qubit by 0.9, and 19 % of its bits are 1."""
    circuit = QuantumCircuit(12, 12)
    for qubit in range(11):
        circuit.cx(qubit, qubit + 1)
    for _ in range(1000):
        circuit.rx(0.0009, 0)
    circuit.measure(range(12), range(12))
    ones = AerExecutor(threads=1, memory_bytes=2**28).sample(sample_task(circuit))[0, :, 0].mean()
    # Five standard errors.
    assert abs(ones - math.sin(0.45) ** 2) < 5 * np.sqrt(0.19 * 0.81 / 4096)
