"""Circuits that measure and decide on their way, with what one can work out by hand."""

from collections.abc import Mapping

import numpy as np
from qiskit import ClassicalRegister, QuantumCircuit, QuantumRegister
from qiskit.circuit import Clbit, Parameter, Qubit
from qiskit.circuit.classical import expr, types

Case = tuple[QuantumCircuit, Mapping[int, float]]

FALSE, TRUE = map(expr.lift, (False, True))


def while_loop_beside_other_qubits() -> Case:
    circuit = QuantumCircuit(3, 3)
    circuit.h(0)
    circuit.measure(0, 0)
    with circuit.while_loop((circuit.clbits[0], 1)):
        circuit.h(0)
        circuit.measure(0, 0)
    circuit.x(1)
    circuit.cx(1, 2)
    circuit.measure([1, 2], [1, 2])
    return circuit, {0b110: 1}


def while_loop_around_some_qubits_of_a_larger_state() -> Case:
    """Bit 2 tells whether there was a round at all; if so, their number is odd twice as often as even."""
    circuit = QuantumCircuit(3, 3)
    circuit.h(0)
    circuit.cx(0, 2)
    circuit.measure(0, 0)
    with circuit.while_loop((circuit.clbits[0], 1)):
        circuit.h(0)
        circuit.measure(0, 0)
        circuit.x(1)
    circuit.measure(1, 1)
    circuit.measure(2, 2)
    return circuit, {0b000: 1 / 2, 0b110: 1 / 3, 0b100: 1 / 6}


def for_loop_with_a_conditional_break() -> Case:
    circuit = QuantumCircuit(2, 2)
    with circuit.for_loop(range(3)):
        circuit.h(0)
        circuit.measure(0, 0)
        with circuit.if_test((circuit.clbits[0], 1)):
            circuit.break_loop()
        circuit.x(1)
    circuit.measure(1, 1)
    return circuit, {0b01: 1 / 2 + 1 / 8, 0b11: 1 / 4, 0b10: 1 / 8}


def for_loop_with_a_conditional_continue() -> Case:
    circuit = QuantumCircuit(2, 2)
    with circuit.for_loop(range(2)):
        circuit.h(0)
        circuit.measure(0, 0)
        with circuit.if_test((circuit.clbits[0], 1)):
            circuit.continue_loop()
        circuit.x(1)
    circuit.measure(1, 1)
    return circuit, {0b00: 1 / 4, 0b01: 1 / 4, 0b10: 1 / 4, 0b11: 1 / 4}


def break_out_of_the_inner_loop_only() -> Case:
    circuit = QuantumCircuit(3, 2)
    with circuit.for_loop(range(3)):
        with circuit.for_loop(range(5)):
            circuit.reset(0)
            circuit.x(0)
            circuit.measure(0, 0)
            with circuit.if_test((circuit.clbits[0], 1)):
                circuit.break_loop()
            circuit.x(2)
        circuit.x(1)
    circuit.cx(2, 1)
    circuit.measure(1, 1)
    return circuit, {0b11: 1}


def while_loop_in_a_for_loop() -> Case:
    circuit = QuantumCircuit(2, 2)
    with circuit.for_loop(range(3)):
        with circuit.while_loop((circuit.clbits[0], 0)):
            circuit.h(0)
            circuit.measure(0, 0)
        circuit.reset(0)
        circuit.measure(0, 0)
        circuit.x(1)
    circuit.measure(1, 1)
    return circuit, {0b10: 1}


def switch() -> Case:
    circuit = QuantumCircuit(QuantumRegister(3, "q"), ClassicalRegister(2, "a"), ClassicalRegister(1, "b"))
    circuit.h([0, 1])
    circuit.measure([0, 1], [0, 1])
    with circuit.switch(circuit.cregs[0]) as case:
        with case(0):
            circuit.x(2)
        with case(1, 2):
            circuit.id(2)
        with case(case.DEFAULT):
            circuit.x(2)
    circuit.measure(2, 2)
    return circuit, {0b100: 1 / 4, 0b001: 1 / 4, 0b010: 1 / 4, 0b111: 1 / 4}


def loops_with_a_parameter_of_their_own() -> Case:
    index = Parameter("index")
    circuit = QuantumCircuit(2, 2)
    with circuit.for_loop((0, 1, 2), index):
        circuit.rx(index * np.pi / 3, 0)
        with circuit.for_loop((0, 1)):
            circuit.rx(index * np.pi / 6, 1)
    circuit.measure([0, 1], [0, 1])
    return circuit, {0b11: 1}


def loop_with_a_parameter_and_a_break() -> Case:
    index = Parameter("index")
    circuit = QuantumCircuit(1, 1)
    with circuit.for_loop((0, 1, 2), index):
        circuit.rx(index * np.pi, 0)
        circuit.measure(0, 0)
        with circuit.if_test((circuit.clbits[0], 1)):
            circuit.break_loop()
    return circuit, {1: 1}


def expression() -> Case:
    circuit = QuantumCircuit(QuantumRegister(3, "q"), ClassicalRegister(2, "a"), ClassicalRegister(1, "b"))
    circuit.h([0, 1])
    circuit.measure([0, 1], [0, 1])
    with circuit.if_test(expr.logic_or(circuit.clbits[0], expr.equal(circuit.cregs[0], 2))):
        circuit.x(2)
    circuit.measure(2, 2)
    return circuit, {0b000: 1 / 4, 0b101: 1 / 4, 0b110: 1 / 4, 0b111: 1 / 4}


def variables() -> Case:
    circuit = QuantumCircuit(QuantumRegister(2, "q"), ClassicalRegister(3, "c"))
    flag = circuit.add_var("flag", FALSE)
    number = circuit.add_var("number", expr.lift(2, types.Uint(3)))
    circuit.h(0)
    circuit.measure(0, 0)
    circuit.store(flag, expr.logic_not(circuit.clbits[0]))
    with circuit.if_test(flag):
        circuit.store(number, expr.lift(5, types.Uint(3)))
    with circuit.if_test(expr.equal(number, 5)):
        circuit.x(1)
    circuit.measure(1, 1)
    circuit.store(circuit.clbits[2], flag)
    return circuit, {0b001: 1 / 2, 0b110: 1 / 2}


def nothing_but_a_store() -> Case:
    circuit = QuantumCircuit(1, 2)
    circuit.store(circuit.clbits[1], TRUE)
    return circuit, {0b10: 1}


def nested_conditions_on_bits_without_registers() -> Case:
    circuit = QuantumCircuit([Qubit() for _ in range(3)], [Clbit() for _ in range(3)])
    circuit.h(0)
    circuit.measure(0, 0)
    with circuit.if_test((circuit.clbits[0], 1)):
        circuit.h(1)
        circuit.measure(1, 1)
        with circuit.if_test((circuit.clbits[1], 1)) as otherwise:
            circuit.x(2)
        with otherwise:
            circuit.h(2)
    circuit.measure(2, 2)
    return circuit, {0b000: 1 / 2, 0b111: 1 / 4, 0b001: 1 / 8, 0b101: 1 / 8}


def box() -> Case:
    circuit = QuantumCircuit(3, 3)
    with circuit.box():
        circuit.h(2)
        with circuit.box():
            circuit.cx(2, 0)
        circuit.measure(2, 1)
    circuit.measure([0, 2], [0, 2])
    return circuit, {0b000: 1 / 2, 0b111: 1 / 2}


def measured_twice() -> Case:
    circuit = QuantumCircuit(1, 3)
    circuit.h(0)
    circuit.measure(0, 2)
    circuit.measure(0, 0)
    return circuit, {0b000: 1 / 2, 0b101: 1 / 2}


def reset_of_an_entangled_qubit() -> Case:
    circuit = QuantumCircuit(2, 2)
    circuit.h(0)
    circuit.cx(0, 1)
    circuit.reset(0)
    circuit.measure([0, 1], [0, 1])
    return circuit, {0b00: 1 / 2, 0b10: 1 / 2}


CASES = [
    while_loop_beside_other_qubits,
    while_loop_around_some_qubits_of_a_larger_state,
    for_loop_with_a_conditional_break,
    for_loop_with_a_conditional_continue,
    break_out_of_the_inner_loop_only,
    while_loop_in_a_for_loop,
    switch,
    loops_with_a_parameter_of_their_own,
    loop_with_a_parameter_and_a_break,
    expression,
    variables,
    nothing_but_a_store,
    nested_conditions_on_bits_without_registers,
    box,
    measured_twice,
    reset_of_an_entangled_qubit,
]
