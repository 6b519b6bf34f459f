"""The limit on what is simulated in one piece."""

import pytest
from qiskit import QuantumCircuit

from qiskit_runtime_server.errors import CircuitTooLargeError
from qiskit_runtime_server.programs.device.size import check_size


def pairs(count: int) -> QuantumCircuit:
    """Return a circuit of qubits that depend on each other two by two, as wide as a device and not measured."""
    circuit = QuantumCircuit(127)
    for first in range(0, 2 * count, 2):
        circuit.sx(first)
        circuit.ecr(first, first + 1)
    return circuit


def test_parts_count_and_not_how_many_there_are_or_how_wide_the_device_is() -> None:
    check_size([pairs(60)], 2)
    with pytest.raises(CircuitTooLargeError, match=r"Circuit 1 has 2 qubits that depend on each other; the limit .* 1"):
        check_size([pairs(0), pairs(1)], 1)


def test_without_a_limit_nothing_is_looked_at() -> None:
    check_size(iter([None]), None)


def test_qubits_that_depend_on_a_measurement_count() -> None:
    circuit = QuantumCircuit(3, 1)
    circuit.sx(0)
    circuit.measure(0, 0)
    with circuit.if_test((0, 1)):
        circuit.x(2)
    check_size([circuit], 2)
    with pytest.raises(CircuitTooLargeError, match="has 2 qubits"):
        check_size([circuit], 1)


def test_a_circuit_is_left_as_it_was() -> None:
    circuit = pairs(2)
    before = circuit.copy()
    check_size([circuit], 2)
    assert circuit == before
