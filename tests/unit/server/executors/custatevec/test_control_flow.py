"""Random nested control flow and expressions, shot by shot against an interpreter that knows no circuits."""

import itertools
import random

import numpy as np
import pytest
from hypothesis import given, reject, settings
from hypothesis import strategies as st
from qiskit import ClassicalRegister, QuantumCircuit
from qiskit.circuit import Duration
from qiskit.circuit.classical import expr, types

from kit.quantum.decided_programs import (
    BITS,
    COINS,
    REGISTERS,
    Programs,
    TooLong,
    Undefined,
    Values,
    circuit_of,
    outcome,
)
from qiskit_runtime_server.errors import InvalidInputError
from qiskit_runtime_server.executors.base import SampleTask
from qiskit_runtime_server.executors.custatevec.executor import CuStateVecExecutor
from qiskit_runtime_server.simulation.statevector.classical import Expression
from qiskit_runtime_server.simulation.statevector.numpy_states import NumPyStates

SHOTS = 24
"""So few that all four outcomes of the coins are there with the seed of the tests, and groups of shots are small."""
RANDOM = st.integers(0, 2**64 - 1).map(random.Random)


def ran(circuit: QuantumCircuit, batched_qubits: int) -> np.ndarray:
    executor = CuStateVecExecutor(
        states=NumPyStates(memory_bytes=2**26), precision="double", batched_qubits=batched_qubits
    )
    seeds = np.array([5], dtype=np.uint64)
    bits: np.ndarray = executor.sample(
        SampleTask(circuit=circuit, parameter_values=np.empty((1, 0)), shots=SHOTS, noise=None, seeds=seeds)
    )[0]
    return bits


@pytest.mark.parametrize("batched_qubits", [20, pytest.param(0, marks=pytest.mark.slow)], ids=["batched", "one by one"])
@given(random_=RANDOM)
@settings(max_examples=150, deadline=None)
def test_every_shot_goes_the_way_that_its_bits_say(random_: random.Random, batched_qubits: int) -> None:
    program = Programs(random_).block(3, loop=False, least=2)
    expected = {}
    defined = True
    for coins in itertools.product([False, True], repeat=COINS):
        try:
            expected[coins] = outcome(program, coins)
        except Undefined:
            defined = False
        except TooLong:
            reject()
    circuit = circuit_of(program)
    if not defined:
        with pytest.raises(InvalidInputError, match=r"divides by zero|asks for bit"):
            ran(circuit, batched_qubits)
        return
    shots = ran(circuit, batched_qubits).tolist()
    assert {tuple(shot[:COINS]) for shot in shots} == expected.keys()
    for shot in shots:
        assert shot == expected[tuple(shot[:COINS])]


@given(random_=RANDOM, width=st.sampled_from([0, 1, 3, 8, 62, 63, 64, 65, 130]))
@settings(max_examples=300, deadline=None)
def test_every_expression_has_its_value_or_none(random_: random.Random, width: int) -> None:
    values = Values(random_, widths=(1, 2, 3, 8, 63, 64, 65, 130))
    value = values.integer(width, 3) if width else values.truth(3)
    circuit = circuit_of([])
    expression = Expression(value.written(circuit), {bit: place for place, bit in enumerate(circuit.clbits)})
    for row in np.random.default_rng(random_.getrandbits(60)).integers(0, 2, (6, BITS)).astype(bool):
        try:
            expected = int(value.of(row.tolist()))
        except Undefined:
            with pytest.raises(InvalidInputError, match=r"divides by zero|asks for bit"):
                expression.holds(row[None])
            continue
        assert expression.holds(row[None]).tolist() == [expected != 0]
        assert expression.digits(row[None], 140).tolist() == [[bool(expected >> place & 1) for place in range(140)]]
        assert expression.number(row[None], lambda number: number % 1000).tolist() == [expected % 1000]


@pytest.mark.parametrize("columns", [0, 1, 5])
def test_expressions_have_no_values_where_there_are_no_shots(columns: int) -> None:
    circuit = circuit_of([])
    scope = {bit: place for place, bit in enumerate(circuit.clbits)}
    register = circuit.cregs[1]
    sources = [
        expr.lift(7, types.Uint(3)),
        expr.div(register, expr.sub(register, register)),
        (circuit.clbits[4], True),
        (register, 3),
        register,
    ]
    for source in sources:
        none = np.zeros((0, BITS), dtype=bool)
        expression = Expression(source, scope)
        assert expression.holds(none).shape == expression.number(none).shape == (0,)
        assert expression.digits(none, columns).shape == (0, columns)


def test_what_has_no_value_does_not_matter_where_nobody_asks_for_it() -> None:
    circuit = circuit_of([])
    register = circuit.cregs[1]
    inverse = expr.div(expr.lift(6, types.Uint(3)), register)
    guarded = expr.logic_and(expr.not_equal(register, 0), expr.equal(inverse, 3))
    bits = np.zeros((2, BITS), dtype=bool)
    bits[1, REGISTERS[1][0] + 1] = True
    scope = {bit: place for place, bit in enumerate(circuit.clbits)}
    assert Expression(guarded, scope).holds(bits).tolist() == [False, True]
    either = expr.logic_or(expr.equal(register, 0), expr.equal(inverse, 3))
    assert Expression(either, scope).holds(bits).tolist() == [True, True]


def test_shifts_beyond_the_width_leave_nothing_however_wide_the_integer_is() -> None:
    wide = expr.lift((1 << 5000) - 1, types.Uint(5000))
    none = np.zeros((1, 0), dtype=bool)
    for places in (4999, 5000, 1 << 62):
        for shift, left in ((expr.shift_left, True), (expr.shift_right, False)):
            digits = Expression(shift(wide, expr.lift(places, types.Uint(63))), {}).digits(none, 5000)[0]
            kept = max(0, 5000 - places)
            assert digits.sum() == kept
            assert (digits[5000 - kept :] if left else digits[:kept]).all()


@pytest.mark.parametrize(
    "source",
    [
        expr.lift(1.5),
        expr.less(expr.lift(1.5), 2.5),
        expr.cast(expr.lift(1.5), types.Uint(3)),
        expr.cast(expr.lift(1.5), types.Bool()),
        expr.greater(Duration.ns(3), Duration.dt(4)),
        expr.div(Duration.ns(3), Duration.ns(4)),
        expr.Var.new("number", types.Uint(3)),
        expr.less(expr.Stretch.new("gap"), Duration.ns(4)),
        expr.Unary(expr.Unary.Op.NEGATE, expr.lift(1, types.Uint(3)), types.Uint(3)),
    ],
    ids=lambda source: type(source).__name__,
)
def test_what_is_not_made_of_bits_and_integers_is_refused_by_name(source: expr.Expr) -> None:
    with pytest.raises(InvalidInputError, match=r"Expressions with .* cannot be simulated"):
        Expression(source, {})


def test_an_expression_that_is_nested_too_deeply_is_refused() -> None:
    deep = expr.lift(True)  # noqa: FBT003 - positional only
    for _ in range(2000):
        deep = expr.Unary(expr.Unary.Op.LOGIC_NOT, deep, types.Bool())
    with pytest.raises(InvalidInputError, match="nested too deeply"):
        Expression(deep, {})


@pytest.mark.parametrize("batched_qubits", [20, 0], ids=["batched", "one by one"])
@pytest.mark.parametrize("inner", ["break_loop", "continue_loop"])
@pytest.mark.parametrize("outer", ["while", "for"])
def test_a_loop_is_left_by_all_shots_at_once_in_whatever_way(outer: str, inner: str, batched_qubits: int) -> None:
    circuit = QuantumCircuit(2, 2)
    with circuit.while_loop((circuit.clbits[1], 0)) if outer == "while" else circuit.for_loop(range(3)):
        circuit.x(1)
        circuit.measure(1, 1)
        with circuit.while_loop((circuit.clbits[0], 0)):
            circuit.x(0)
            circuit.measure(0, 0)
            with circuit.if_test((circuit.clbits[0], 1)):
                getattr(circuit, inner)()
            circuit.x(1)
        with circuit.switch(circuit.clbits[0]) as case, case(1):
            circuit.break_loop()
        circuit.x(1)
    assert (ran_bits := ran(circuit, batched_qubits).tolist()) == [[True, True]] * SHOTS, ran_bits


def test_a_loop_of_no_rounds_and_arms_that_nobody_takes_do_nothing() -> None:
    circuit = QuantumCircuit(1, 2)
    with circuit.for_loop(range(0)):
        circuit.x(0)
    with circuit.while_loop((circuit.clbits[0], 1)):
        circuit.x(0)
        with circuit.for_loop(range(2)), circuit.switch(circuit.clbits[0]) as case, case(0):
            circuit.continue_loop()
    with circuit.if_test((circuit.clbits[0], 1)):
        circuit.store(circuit.clbits[1], expr.logic_not(circuit.clbits[0]))
    for batched_qubits in (20, 0):
        assert not ran(circuit, batched_qubits).any()


def test_control_flow_may_be_nested_as_deeply_as_circuits_arrive() -> None:
    """Qiskit reads no more than 100 circuits inside of each other."""
    body = QuantumCircuit(1, 1)
    body.x(0)
    for _ in range(99):
        around = QuantumCircuit(body.qubits, body.clbits)
        around.if_test((body.clbits[0], 0), body, body.qubits, body.clbits)
        body = around
    body.measure(0, 0)
    for batched_qubits in (20, 0):
        assert ran(body, batched_qubits).all()


def test_a_store_beyond_the_last_bit_is_refused() -> None:
    circuit = QuantumCircuit(1)
    circuit.add_register(ClassicalRegister(2, "c"))
    circuit.store(expr.index(circuit.cregs[0], 3), expr.lift(True))  # noqa: FBT003 - positional only
    with pytest.raises(InvalidInputError, match="asks for bit 3 of an integer of 2 bits"):
        ran(circuit, 20)
