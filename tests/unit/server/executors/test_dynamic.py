"""Circuits that measure and decide on their way, against what one can work out by hand."""

import io
from collections.abc import Callable

import numpy as np
import pytest
from qiskit import ClassicalRegister, QuantumCircuit, QuantumRegister, qpy
from qiskit.circuit import Parameter
from qiskit.circuit.classical import expr, types

from kit.quantum.dynamic_circuits import CASES, Case
from qiskit_runtime_server.errors import CircuitTooLargeError, InvalidInputError
from qiskit_runtime_server.executors.aer import executor


def sent(circuit: QuantumCircuit) -> QuantumCircuit:
    """Return `circuit` as it arrives: blocks have bits of their own then."""
    file = io.BytesIO()
    qpy.dump(circuit, file)
    file.seek(0)
    return qpy.load(file)[0]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
@pytest.mark.parametrize("through", [QuantumCircuit.copy, sent], ids=["built", "sent"])
@pytest.mark.parametrize("by_aer", [False, True], ids=["interpreted", "by-aer-where-it-can"])
def test_control_flow_gives_what_it_says(
    shots_of: Callable[..., np.ndarray],
    expect: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
    case: Callable[[], Case],
    through: Callable[[QuantumCircuit], QuantumCircuit],
    by_aer: bool,  # noqa: FBT001 - a case of the test
) -> None:
    circuit, distribution = case()
    if by_aer:
        monkeypatch.setattr(executor, "_INTERPRETED_QUBITS", 0)
        monkeypatch.setattr(executor, "_INTERPRETED_IDEAL_QUBITS", 0)
    expect(shots_of(through(circuit)), distribution)


def test_a_parameter_of_the_circuit_and_one_of_a_loop_can_meet(
    shots_of: Callable[..., np.ndarray], expect: Callable[..., None]
) -> None:
    index, angle = Parameter("index"), Parameter("angle")
    circuit = QuantumCircuit(2, 2)
    with circuit.for_loop((0, 1, 2), index):
        circuit.rx(index * angle, 0)
        circuit.measure(0, 0)
        with circuit.if_test((circuit.clbits[0], 1)):
            circuit.break_loop()
        circuit.rx(angle, 1)
    circuit.measure(1, 1)
    expect(shots_of(circuit, values=(np.pi,)), {0b11: 1})
    with circuit.for_loop((1, 3), index):
        circuit.rx(index * angle, 1)
    circuit.measure(1, 1)
    expect(shots_of(circuit, values=(np.pi,)), {0b11: 1})


@pytest.mark.parametrize("body", ["empty", "gate", "jump", "parameter"])
def test_a_loop_that_never_seems_to_end_is_refused(shots_of: Callable[..., np.ndarray], body: str) -> None:
    index = Parameter("index")
    circuit = QuantumCircuit(1, 1)
    with circuit.for_loop(range(10**9), index if body == "parameter" else None):
        if body == "parameter":
            circuit.rx(index, 0)
        elif body != "empty":
            circuit.x(0)
        if body == "jump":
            with circuit.if_test((circuit.clbits[0], 1)):
                circuit.break_loop()
    circuit.measure(0, 0)
    with pytest.raises(InvalidInputError, match="1000000 instructions"):
        shots_of(circuit)


def test_stretches_and_parametric_delays_are_refused(shots_of: Callable[..., np.ndarray]) -> None:
    stretched = QuantumCircuit(1, 1)
    stretched.delay(stretched.add_stretch("long"), 0)
    stretched.measure(0, 0)
    with pytest.raises(InvalidInputError, match="stretches"):
        shots_of(stretched)
    delayed = QuantumCircuit(1, 1)
    delayed.delay(Parameter("t"), 0)
    delayed.measure(0, 0)
    with pytest.raises(InvalidInputError, match="delay"):
        shots_of(delayed, values=(1.0,))


@pytest.mark.parametrize("width", [1, 8, 40])
@pytest.mark.parametrize(
    ("condition", "holds"),
    [
        (lambda u: expr.cast(u, types.Bool()), True),
        (lambda u: expr.equal(u, 1), True),
        (lambda u: expr.not_equal(u, 1), False),
        (lambda u: expr.less(u, 1), False),
        (lambda u: expr.greater_equal(u, 1), True),
        (lambda u: expr.equal(expr.bit_and(u, 1), 1), True),
    ],
)
def test_variables_of_many_bits_are_compared(
    shots_of: Callable[..., np.ndarray],
    expect: Callable[..., None],
    width: int,
    condition: Callable[[expr.Var], expr.Expr],
    holds: bool,  # noqa: FBT001 - a case of the test
) -> None:
    circuit = QuantumCircuit(1, 1)
    variable = circuit.add_var("u", expr.lift(1, types.Uint(width)))
    with circuit.if_test(condition(variable)):
        circuit.x(0)
    circuit.measure(0, 0)
    expect(shots_of(circuit), {int(holds): 1})


def test_a_large_number_is_true(shots_of: Callable[..., np.ndarray], expect: Callable[..., None]) -> None:
    circuit = QuantumCircuit(1, 1)
    variable = circuit.add_var("u", expr.lift(4, types.Uint(8)))
    with circuit.if_test(expr.cast(variable, types.Bool())):
        circuit.x(0)
    circuit.measure(0, 0)
    expect(shots_of(circuit), {1: 1})


@pytest.mark.parametrize(
    ("condition", "words"),
    [
        (lambda u: expr.equal(expr.cast(u, types.Uint(2)), 1), "Cast"),
        (lambda u: expr.equal(expr.add(u, 1), 6), "ADD"),
        (lambda u: expr.equal(expr.sub(u, 6), 255), "SUB"),
        (lambda u: expr.equal(expr.mul(u, 52), 4), "MUL"),
        (lambda u: expr.equal(expr.div(u, 2), 2), "DIV"),
        (lambda u: expr.equal(expr.shift_left(u, 7), 128), "SHIFT_LEFT"),
        (lambda u: expr.equal(expr.shift_right(u, 2), 1), "SHIFT_RIGHT"),
        (lambda u: expr.index(u, 2), "Index"),
        (lambda u: expr.cast(u, types.Bool()), "Cast"),
    ],
)
def test_expressions_that_aer_does_not_know_are_evaluated_without_it(
    shots_of: Callable[..., np.ndarray],
    expect: Callable[..., None],
    condition: Callable[[expr.Var], expr.Expr],
    words: str,
) -> None:
    """Each holds for a number of eight bits that is 5; for states that only Aer has room for, it is refused."""
    circuit = QuantumCircuit(QuantumRegister(2, "q"), ClassicalRegister(8, "number"), ClassicalRegister(2, "c"))
    circuit.x(0)
    circuit.measure([0, 0], [0, 2])
    with circuit.if_test(condition(expr.lift(circuit.cregs[0]))):
        circuit.x(1)
    circuit.cx(0, 1)
    circuit.measure([0, 1], circuit.cregs[1])
    expect(shots_of(circuit), {5 | 0b01 << 8: 1})
    with pytest.raises(CircuitTooLargeError, match=rf"circuits with .*\b{words}\b.* there is room for 1\."):
        shots_of(circuit, executor=executor.AerExecutor(memory_bytes=160))


def test_a_delay_that_a_loop_makes_negative_is_refused(shots_of: Callable[..., np.ndarray]) -> None:
    index = Parameter("index")
    circuit = QuantumCircuit(1, 1)
    with circuit.for_loop((1, -3), index):
        circuit.delay(index, 0)
    circuit.measure(0, 0)
    with pytest.raises(InvalidInputError, match=r"index = -3.*must be positive"):
        shots_of(circuit)
