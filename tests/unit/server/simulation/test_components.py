"""A circuit falls into the parts that know nothing of each other, and nothing else gets lost."""

import numpy as np
import pytest
from qiskit import ClassicalRegister, QuantumCircuit, QuantumRegister
from qiskit.circuit import Instruction, Parameter, ParameterExpression

from qiskit_runtime_server.errors import InvalidInputError
from qiskit_runtime_server.simulation.angles import evaluated
from qiskit_runtime_server.simulation.components import split
from qiskit_runtime_server.simulation.measurements import terminal_measurements

A, B = Parameter("a"), Parameter("b")


def parts(circuit: QuantumCircuit) -> list[tuple[set[int], tuple[int, ...]]]:
    return [(set(component.qubits), component.clbits) for component in split(circuit)]


def test_gates_join_qubits_and_barriers_do_not() -> None:
    circuit = QuantumCircuit(6, 6)
    circuit.cx(0, 3)
    circuit.barrier()
    circuit.cz(4, 5)
    circuit.x(1)
    circuit.measure(range(6), range(6))
    assert parts(circuit) == [({0, 3}, (0, 3)), ({1}, (1,)), ({2}, (2,)), ({4, 5}, (4, 5))]
    assert all("barrier" not in component.circuit.count_ops() for component in split(circuit))


def test_a_condition_joins_what_it_reads_with_what_it_decides() -> None:
    circuit = QuantumCircuit(QuantumRegister(6, "q"), ClassicalRegister(2, "a"), ClassicalRegister(4, "b"))
    circuit.h([0, 1, 2, 3])
    circuit.measure([0, 1], [0, 1])
    with circuit.if_test((circuit.cregs[0], 2)):
        circuit.x(4)
    circuit.measure([2, 3, 4], [2, 3, 4])
    assert parts(circuit) == [({0, 1, 4}, (0, 1, 4)), ({2}, (2,)), ({3}, (3,))]


def test_control_flow_joins_only_the_qubits_that_its_blocks_use() -> None:
    circuit = QuantumCircuit(4, 4)
    body = QuantumCircuit(4, 4)
    body.barrier()
    body.x(2)
    circuit.measure(0, 0)
    circuit.if_test((circuit.clbits[0], 1), body, range(4), range(4))
    circuit.measure([1, 2, 3], [1, 2, 3])
    assert parts(circuit) == [({0, 2}, (0, 2)), ({1}, (1,)), ({3}, (3,))]


def test_a_loop_without_jumps_joins_nothing_by_itself() -> None:
    circuit = QuantumCircuit(2, 2)
    with circuit.for_loop(range(3)):
        circuit.x([0, 1])
    circuit.measure([0, 1], [0, 1])
    assert parts(circuit) == [({0}, (0,)), ({1}, (1,))]
    assert split(circuit)[0].circuit.count_ops() == {"x": 3, "measure": 1}


def test_two_qubits_measured_into_one_clbit_belong_together() -> None:
    circuit = QuantumCircuit(2, 1)
    circuit.measure(0, 0)
    circuit.measure(1, 0)
    assert parts(circuit) == [({0, 1}, (0,))]


def test_what_influences_no_clbit_is_left_out() -> None:
    circuit = QuantumCircuit(5, 1)
    circuit.x(4)
    circuit.cx(0, 1)
    circuit.h(1)
    circuit.measure(1, 0)
    circuit.cx(1, 2)
    circuit.x(0)
    circuit.delay(100, 3)
    (component,) = split(circuit)
    assert component.qubits == (0, 1)
    assert component.circuit.count_ops() == {"cx": 1, "h": 1, "measure": 1}


def test_what_happened_to_a_qubit_before_its_reset_is_left_out() -> None:
    circuit = QuantumCircuit(2, 1)
    circuit.h(0)
    circuit.sx(0)
    circuit.reset(0)
    circuit.x(0)
    circuit.measure(0, 0)
    (component,) = split(circuit)
    assert component.circuit.count_ops() == {"reset": 1, "x": 1, "measure": 1}
    circuit = QuantumCircuit(2, 1)
    circuit.h(0)
    circuit.cx(0, 1)
    circuit.reset(0)
    circuit.measure(1, 0)
    (component,) = split(circuit)
    assert component.circuit.count_ops() == {"h": 1, "cx": 1, "measure": 1}


def test_chains_keep_their_order() -> None:
    circuit = QuantumCircuit(10, 4)
    circuit.h(range(10))
    for a, b in ((7, 2), (2, 9), (9, 0)):
        circuit.cx(a, b)
    circuit.measure([0, 2, 7, 9], range(4))
    (component,) = split(circuit)
    assert component.qubits == (7, 2, 9, 0)


@pytest.mark.parametrize(("labels", "name"), [(frozenset({"mine"}), "mine"), (frozenset(), "x")])
def test_uses_name_every_instruction_of_every_block_by_its_label_if_it_means_something(
    labels: frozenset[str], name: str
) -> None:
    circuit = QuantumCircuit(3, 2)
    labelled = QuantumCircuit(1).x(0)[0].operation.to_mutable()
    labelled.label = "mine"
    circuit.append(labelled, [2])
    circuit.measure(2, 0)
    with circuit.if_test((circuit.clbits[0], 1)) as otherwise:
        circuit.sx(1)
    with otherwise:
        circuit.delay(10, 1)
    circuit.measure(1, 1)
    (component,) = split(circuit, labels)
    place = {qubit: i for i, qubit in enumerate(component.qubits)}
    assert component.uses == {
        (name, (place[2],)),
        ("measure", (place[2],)),
        ("sx", (place[1],)),
        ("delay", (place[1],)),
        ("measure", (place[1],)),
    }


def test_other_kinds_of_measurement_are_measurements() -> None:
    circuit = QuantumCircuit(1, 1)
    circuit.append(Instruction("measure_2", 1, 1, []), [0], [0])
    (component,) = split(circuit)
    assert component.circuit.count_ops() == {"measure": 1}


def test_angles_become_bare_parameters_in_the_order_of_the_new_circuit() -> None:
    a, b = Parameter("a"), Parameter("b")
    circuit = QuantumCircuit(2, 2)
    circuit.rz(b, 0)
    circuit.rz(2 * a + 1, 0)
    circuit.rz(b, 0)
    circuit.rx(a, 1)
    circuit.measure([0, 1], [0, 1])
    first, second = split(circuit)
    assert set(first.angles) == {b, 2 * a + 1}
    assert first.circuit.num_parameters == 2
    assert second.angles == (a,)
    values = np.array([[0.5, 3.0], [1.5, 4.0]])
    table = dict(zip(first.circuit.parameters, evaluated(first.angles, circuit.parameters, values).T, strict=True))
    bound = [table[instruction.params[0]].tolist() for instruction in first.circuit.data if instruction.name == "rz"]
    assert bound == [[3.0, 4.0], [2.0, 4.0], [3.0, 4.0]]


@pytest.mark.parametrize(
    "angle",
    [A, 2 * A - B / 3 + 1, A * B, (A + B).sin(), B**2, A - A + B],
    ids=str,
)
def test_expressions_have_the_values_that_qiskit_gives_them(angle: ParameterExpression) -> None:
    values = np.random.default_rng(1).uniform(-3, 3, (20, 2))
    found = evaluated([angle], [A, B], values)
    bound = [float(angle.bind({A: x, B: y}, allow_unknown_parameters=True)) for x, y in values.tolist()]
    np.testing.assert_allclose(found[:, 0], bound, atol=1e-12)


def test_an_expression_without_derivative_has_values() -> None:
    np.testing.assert_array_equal(evaluated([A.sign()], [A], np.array([[-2.0], [3.0]]))[:, 0], [-1, 1])


@pytest.mark.parametrize("angle", [1 / A, A.log(), (A - 1) ** 0.5], ids=str)
def test_angles_without_a_real_value_are_refused(angle: ParameterExpression) -> None:
    with pytest.raises(InvalidInputError, match="value"):
        evaluated([angle], [A], np.array([[0.0]]))


def test_values_that_are_not_finite_are_refused() -> None:
    with pytest.raises(InvalidInputError, match="finite"):
        evaluated([A], [A], np.array([[np.nan]]))


def test_measurements_are_terminal_unless_something_follows() -> None:
    circuit = QuantumCircuit(2, 2)
    circuit.cx(0, 1)
    circuit.measure([0, 1], [1, 0])
    assert terminal_measurements(circuit) == {0: 1, 1: 0}
    circuit.measure(0, 0)
    assert terminal_measurements(circuit) is None
    overwritten = QuantumCircuit(2, 1)
    overwritten.measure([0, 1], [0, 0])
    assert terminal_measurements(overwritten) is None


def test_a_circuit_stays_as_it_was() -> None:
    angle = Parameter("angle")
    circuit = QuantumCircuit(2, 2)
    circuit.rz(2 * angle, 0)
    circuit.crx(3 * angle, 0, 1)
    circuit.u(angle, angle + 1, 0.3, 1)
    circuit.measure([0, 1], [0, 1])
    before = circuit.copy()
    (component,) = split(circuit)
    assert len(component.angles) == 4
    assert circuit == before
