"""When the instructions of a circuit happen on a device."""

import pytest
from qiskit.circuit import Parameter, QuantumCircuit
from qiskit.transpiler import Target

from qiskit_runtime_server.backends.catalog import Catalog
from qiskit_runtime_server.errors import InvalidInputError
from qiskit_runtime_server.programs.device.device import load_device
from qiskit_runtime_server.programs.device.timing import Schedule, schedule


@pytest.fixture(scope="module")
def target() -> Target:
    return load_device(Catalog(), "fake_sherbrooke", ideal_qubits=5).target


def steps(plan: Schedule) -> list[tuple[str, int, int, int]]:
    return [(event.name, event.qubit, event.start, event.duration) for event in plan.events]


def length(target: Target, name: str, *qubits: int) -> int:
    return round(float(target[name][qubits].duration / target.dt))


def test_an_instruction_starts_as_soon_as_all_its_qubits_are_free(target: Target) -> None:
    circuit = QuantumCircuit(2, 1)
    circuit.x(0)
    circuit.rz(Parameter("a"), 1)
    circuit.ecr(1, 0)
    circuit.delay(16, 1)
    circuit.measure(0, 0)
    x, ecr, measure = length(target, "x", 0), length(target, "ecr", 1, 0), length(target, "measure", 0)
    plan = schedule(circuit, target)
    assert steps(plan) == [
        ("x", 0, 0, x),
        ("rz", 1, 0, 0),
        ("ecr", 1, x, ecr),
        ("ecr", 0, x, ecr),
        ("delay", 1, x + ecr, 16),
        ("measure", 0, x + ecr, measure),
    ]
    assert plan.duration == x + ecr + measure


def test_barriers_hold_qubits_back_and_delays_have_units(target: Target) -> None:
    circuit = QuantumCircuit(2)
    circuit.delay(1, 0, unit="us")
    circuit.barrier()
    circuit.x(1)
    plan = schedule(circuit, target)
    microsecond = round(1e-6 / target.dt)
    assert steps(plan)[-1] == ("x", 1, microsecond, length(target, "x", 1))
    assert ("barrier", 1, microsecond, 0) in steps(plan)


def test_alternatives_are_branches_and_the_longest_counts(target: Target) -> None:
    circuit = QuantumCircuit(2, 1)
    circuit.measure(0, 0)
    with circuit.if_test((circuit.clbits[0], 1)) as otherwise:
        circuit.x(1)
    with otherwise:
        circuit.delay(5000, 1)
    circuit.x(1)
    plan = schedule(circuit, target)
    branches = [(event.branch, event.name) for event in plan.events]
    assert branches == [("main", "measure"), ("then", "x"), ("else", "delay"), ("main", "x")]
    assert plan.events[1].start == plan.events[2].start
    assert plan.events[3].start == plan.events[2].start + 5000


def test_a_for_loop_takes_all_its_rounds(target: Target) -> None:
    circuit = QuantumCircuit(1)
    with circuit.for_loop(range(3)):
        circuit.x(0)
    assert schedule(circuit, target).duration == 3 * length(target, "x", 0)


def test_delays_may_depend_on_the_round(target: Target) -> None:
    index = Parameter("index")
    circuit = QuantumCircuit(1)
    with circuit.for_loop((1, 2, 5), index):
        circuit.delay(100 * index, 0)
    plan = schedule(circuit, target)
    assert [event.duration for event in plan.events] == [100, 200, 500]
    assert plan.duration == 800


@pytest.mark.parametrize("body", ["empty", "gate", "barrier", "parameter", "nested"])
def test_a_loop_that_never_seems_to_end_is_refused(target: Target, body: str) -> None:
    index = Parameter("index")
    circuit = QuantumCircuit(1)
    with circuit.for_loop(range(10**9), index if body == "parameter" else None):
        if body == "gate":
            circuit.x(0)
        elif body == "barrier":
            circuit.barrier()
        elif body == "parameter":
            circuit.rz(index, 0)
        elif body == "nested":
            with circuit.for_loop(range(10**9)):
                circuit.x(0)
    with pytest.raises(InvalidInputError, match="1000000 instructions"):
        schedule(circuit, target)


def test_a_delay_that_a_loop_makes_negative_has_no_schedule(target: Target) -> None:
    index = Parameter("index")
    circuit = QuantumCircuit(1)
    with circuit.for_loop((1, -3), index):
        circuit.delay(index, 0)
    with pytest.raises(InvalidInputError, match="must be positive"):
        schedule(circuit, target)


def test_the_text_has_the_six_columns_that_the_client_draws(target: Target) -> None:
    circuit = QuantumCircuit(2, 1)
    circuit.x(0)
    circuit.rz(0.1, 0)
    circuit.barrier()
    circuit.measure(0, 0)
    x, measure = length(target, "x", 0), length(target, "measure", 0)
    # Branch, instruction, channel, start, duration, pulse: qiskit_ibm_runtime/visualization/circuit_schedule.py.
    assert schedule(circuit, target).text().splitlines() == [
        f"main,x,Qubit 0,0,{x},play",
        f"main,rz,Qubit 0,{x},0,shift_phase",
        f"main,barrier,Qubit 0,{x},0,barrier",
        f"main,barrier,Qubit 1,{x},0,barrier",
        f"main,measure,Qubit 0,{x},{measure},play",
    ]


def test_a_delay_without_a_length_has_no_schedule(target: Target) -> None:
    circuit = QuantumCircuit(1)
    circuit.delay(Parameter("t"), 0)
    with pytest.raises(InvalidInputError, match="has no value"):
        schedule(circuit, target)
