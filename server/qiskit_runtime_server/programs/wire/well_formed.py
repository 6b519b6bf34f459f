"""Whether the instructions of a circuit fit their operations: Qiskit's own reader lets through what its methods do not.

Nothing behind this meets a gate with too few angles, a body of another width than its loop, a condition on bits of no
circuit, an expression whose types contradict each other. Circuits made with Qiskit's methods have none of that.
"""

import math
from collections.abc import Mapping
from functools import cache
from typing import Any, Final
from uuid import UUID

from qiskit.circuit import (
    CircuitInstruction,
    ClassicalRegister,
    Clbit,
    ControlFlowOp,
    ForLoopOp,
    Gate,
    IfElseOp,
    ParameterExpression,
    QuantumCircuit,
    Store,
    SwitchCaseOp,
    WhileLoopOp,
)
from qiskit.circuit.classical import expr, types
from qiskit.circuit.library import get_standard_gate_name_mapping

_JUMPS: Final = frozenset({"break_loop", "continue_loop"})
_LOGIC: Final = frozenset({expr.Binary.Op.LOGIC_AND, expr.Binary.Op.LOGIC_OR})
_BITWISE: Final = frozenset({expr.Binary.Op.BIT_AND, expr.Binary.Op.BIT_OR, expr.Binary.Op.BIT_XOR})
_EQUALITY: Final = frozenset({expr.Binary.Op.EQUAL, expr.Binary.Op.NOT_EQUAL})
_ORDER: Final = frozenset(
    {expr.Binary.Op.LESS, expr.Binary.Op.LESS_EQUAL, expr.Binary.Op.GREATER, expr.Binary.Op.GREATER_EQUAL}
)
_SHIFTS: Final = frozenset({expr.Binary.Op.SHIFT_LEFT, expr.Binary.Op.SHIFT_RIGHT})


def check_instructions(circuit: QuantumCircuit) -> None:
    """Check every instruction of `circuit`, also in control flow.

    Raises:
        ValueError, TypeError: If one does not fit; the message names it.
        Exception: Whatever Qiskit raises when it makes operations out of parts that contradict each other.
    """
    if circuit.num_captured_vars or circuit.num_captured_stretches:
        raise ValueError("the circuit captures variables, and there is nothing around it.")
    _check_block(circuit, in_loop=False)


def check_units(circuit: QuantumCircuit) -> None:
    """Check that no delay of a circuit that comes from QPY was in another unit than dt.

    QPY keeps no units (https://github.com/Qiskit/qiskit/issues/8293): 100 ns would be taken for 100 dt. What was in dt
    is an integer in it, and everything else is a floating-point number.

    Raises:
        ValueError: If one was.
    """
    for instruction in circuit.data:
        if instruction.name == "delay" and isinstance(instruction.params[0], float):
            raise ValueError(
                f"a delay of {instruction.params[0]} has lost its unit, as QPY keeps none but dt: transpile the circuit"
                " for the device, or give delays in dt."
            )
        for block in instruction.operation.blocks if instruction.is_control_flow() else ():
            check_units(block)


def _check_block(circuit: QuantumCircuit, *, in_loop: bool) -> None:
    for instruction in circuit.data:
        qubits, clbits = instruction.qubits, instruction.clbits
        if len(set(qubits)) != len(qubits) or len(set(clbits)) != len(clbits):
            raise ValueError(f"{instruction.name} has a bit twice.")
        if instruction.is_standard_gate():
            _check_gate(instruction)
            continue
        if instruction.name in _JUMPS and not in_loop:
            raise ValueError(f"{instruction.name} stands outside of any loop.")
        # Making the operation raises if its parts contradict each other.
        operation = instruction.operation
        if (operation.num_qubits, operation.num_clbits) != (len(qubits), len(clbits)):
            raise ValueError(
                f"{instruction.name} is for {operation.num_qubits} qubits and {operation.num_clbits} classical bits,"
                f" and has {len(qubits)} and {len(clbits)}."
            )
        if isinstance(operation, ControlFlowOp):
            _check_control_flow(operation, circuit, in_loop=in_loop)
        elif isinstance(operation, Store):
            for part in operation.params:
                _check_condition(part, circuit)


def _check_gate(instruction: CircuitInstruction) -> None:
    angles = instruction.params
    if (len(instruction.qubits), len(angles)) != _shapes().get(instruction.name) or instruction.clbits:
        raise ValueError(
            f"{instruction.name} has {len(instruction.qubits)} qubits, {len(instruction.clbits)} classical bits and"
            f" {len(angles)} angles."
        )
    for angle in angles:
        if not isinstance(angle, ParameterExpression) and not (isinstance(angle, int | float) and math.isfinite(angle)):
            raise ValueError(f"{instruction.name} has the angle {str(angle)[:100]}: angles are finite real numbers.")


@cache
def _shapes() -> Mapping[str, tuple[int, int]]:
    """Return how many qubits and angles each standard gate has."""
    return {
        name: (gate.num_qubits, len(gate.params))
        for name, gate in get_standard_gate_name_mapping().items()
        if isinstance(gate, Gate)
    }


def _check_control_flow(operation: ControlFlowOp, circuit: QuantumCircuit, *, in_loop: bool) -> None:
    if isinstance(operation, IfElseOp | WhileLoopOp):
        _check_condition(operation.condition, circuit)
    elif isinstance(operation, SwitchCaseOp):
        _check_condition(operation.target, circuit)
    elif isinstance(operation, ForLoopOp):
        # A range may have more elements than a number can say; this raises then.
        len(operation.params[0])
    within = in_loop or isinstance(operation, WhileLoopOp | ForLoopOp)
    for block in operation.blocks:
        if (block.num_qubits, block.num_clbits) != (operation.num_qubits, operation.num_clbits):
            raise ValueError(
                f"a body of {operation.name} has {block.num_qubits} qubits and {block.num_clbits} classical bits, and"
                f" the instruction {operation.num_qubits} and {operation.num_clbits}."
            )
        if block.num_input_vars:
            raise ValueError(f"a body of {operation.name} has input variables.")
        captured = (*block.iter_captured_vars(), *block.iter_captured_stretches())
        if not all(circuit.has_identifier(variable) for variable in captured):
            raise ValueError(f"a body of {operation.name} captures a variable that is not there.")
        _check_block(block, in_loop=within)


def _check_condition(condition: Any, circuit: QuantumCircuit) -> None:  # noqa: ANN401 - four kinds of them
    if isinstance(condition, expr.Expr):
        condition.accept(_Types(circuit))
        return
    resource = condition[0] if isinstance(condition, tuple) else condition
    _check_bits(resource, circuit)
    if isinstance(condition, tuple):
        width = 1 if isinstance(resource, Clbit) else resource.size
        if not 0 <= int(condition[1]) < 1 << width:
            raise ValueError(f"a condition compares {width} bits with {condition[1]}.")


def _check_bits(resource: Clbit | ClassicalRegister, circuit: QuantumCircuit) -> None:
    bits = [resource] if isinstance(resource, Clbit) else resource
    for bit in bits:
        # Raises if it is not there.
        circuit.find_bit(bit)


class _Types(expr.ExprVisitor):  # type: ignore[misc]  # Qiskit has no types
    """Checks that the types in an expression agree, as Qiskit's functions make them."""

    def __init__(self, circuit: QuantumCircuit) -> None:
        self._circuit = circuit

    def visit_var(self, node: expr.Var, /) -> None:
        if isinstance(node.var, UUID):
            self._check(node, self._circuit.has_identifier(node))
            return
        _check_bits(node.var, self._circuit)
        wanted = types.Bool() if isinstance(node.var, Clbit) else types.Uint(node.var.size)
        self._check(node, node.type == wanted)

    def visit_stretch(self, node: expr.Stretch, /) -> None:
        self._check(node, self._circuit.has_identifier(node))

    def visit_value(self, node: expr.Value, /) -> None:
        value = node.value
        if isinstance(node.type, types.Bool):
            # Read from QPY, they are the numbers 0 and 1.
            self._check(node, isinstance(value, int) and value in {0, 1})
        elif isinstance(node.type, types.Uint):
            self._check(node, isinstance(value, int) and 0 <= value < 1 << node.type.width)

    def visit_cast(self, node: expr.Cast, /) -> None:
        node.operand.accept(self)

    def visit_unary(self, node: expr.Unary, /) -> None:
        node.operand.accept(self)
        kinds = {
            expr.Unary.Op.BIT_NOT: (types.Bool, types.Uint),
            expr.Unary.Op.LOGIC_NOT: (types.Bool,),
            expr.Unary.Op.NEGATE: (types.Float, types.Duration),
        }
        self._check(node, node.type == node.operand.type and isinstance(node.type, kinds[node.op]))

    def visit_binary(self, node: expr.Binary, /) -> None:
        node.left.accept(self)
        node.right.accept(self)
        self._check(node, _agree(node.op, node.left.type, node.right.type, node.type))

    def visit_index(self, node: expr.Index, /) -> None:
        node.target.accept(self)
        node.index.accept(self)
        integers = isinstance(node.target.type, types.Uint) and isinstance(node.index.type, types.Uint)
        self._check(node, integers and isinstance(node.type, types.Bool))

    def _check(self, node: expr.Expr, agrees: bool) -> None:  # noqa: FBT001 - reads well where it is called
        if not agrees:
            raise ValueError(f"an expression is invalid: {str(node)[:200]}")


def _agree(op: expr.Binary.Op, left: types.Type, right: types.Type, result: types.Type) -> bool:
    """Return whether an operator takes these types and has that result.

    Only Bool and Uint are told apart; nothing here computes with floats and durations, so it does not matter.
    """
    if not {left.kind, right.kind, result.kind} <= {types.Bool, types.Uint}:
        return True
    boolean, integer = types.Bool(), isinstance(left, types.Uint)
    if op in _SHIFTS:
        return integer and isinstance(right, types.Uint) and bool(result == left)
    if op in _LOGIC:
        fits = result == left == boolean
    elif op in _BITWISE:
        fits = result == left
    elif op in _EQUALITY:
        fits = result == boolean
    elif op in _ORDER:
        fits = integer and result == boolean
    else:
        fits = integer and result == left
    return bool(fits and left == right)
