"""Real-time classical expressions, evaluated for one classical memory by the rules of `qiskit.circuit.classical`.

Part of `exact_reference`. A Uint is a number below two to its width and arithmetic keeps its lowest bits; a Bool is a
Python bool, a Float a Python float.
"""

import operator
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias
from uuid import UUID

from qiskit.circuit import ClassicalRegister, Clbit
from qiskit.circuit.classical import expr, types

Value = bool | int | float
"""What a Bool, a Uint or a Float holds."""

Resource: TypeAlias = Clbit | ClassicalRegister | expr.Expr
Condition: TypeAlias = tuple[Clbit | ClassicalRegister, int] | expr.Expr


class UndefinedError(ArithmeticError):
    """Qiskit leaves open what the expression is worth: a division by zero, or an index that is no bit's."""


_BITWISE: Mapping[Any, Callable[[Any, Any], Any]] = {
    expr.Binary.Op.BIT_AND: operator.and_,
    expr.Binary.Op.BIT_OR: operator.or_,
    expr.Binary.Op.BIT_XOR: operator.xor,
}
_COMPARED: Mapping[Any, Callable[[Any, Any], bool]] = {
    expr.Binary.Op.EQUAL: operator.eq,
    expr.Binary.Op.NOT_EQUAL: operator.ne,
    expr.Binary.Op.LESS: operator.lt,
    expr.Binary.Op.LESS_EQUAL: operator.le,
    expr.Binary.Op.GREATER: operator.gt,
    expr.Binary.Op.GREATER_EQUAL: operator.ge,
}
_ARITHMETIC: Mapping[Any, Callable[[Any, Any], Any]] = {
    expr.Binary.Op.ADD: operator.add,
    expr.Binary.Op.SUB: operator.sub,
    expr.Binary.Op.MUL: operator.mul,
    expr.Binary.Op.SHIFT_LEFT: operator.lshift,
    expr.Binary.Op.SHIFT_RIGHT: operator.rshift,
}


class Memory:
    """The values of classical bits and variables, which expressions read and stores write.

    Attributes:
        bits: One int for all of the circuit's bits, the first one lowest.
        variables: By the identifier that the variable was declared with.
    """

    def __init__(self, bits: int, variables: Mapping[UUID, Value], scope: Mapping[Clbit, int]) -> None:
        """Take values, and the number of each bit that expressions of the present block may name."""
        self.bits = bits
        self.variables = dict(variables)
        self._scope = scope

    def bit(self, clbit: Clbit) -> bool:
        return bool(self.bits >> self._scope[clbit] & 1)

    def register(self, register: ClassicalRegister) -> int:
        return sum(self.bit(clbit) << place for place, clbit in enumerate(register))

    def write_bit(self, number: int, *, value: bool) -> None:
        self.bits = self.bits & ~(1 << number) | (int(value) << number)

    def holds(self, condition: Condition) -> bool:
        """Whether a condition is true: an expression, or a pair of a bit or register and a number."""
        if isinstance(condition, expr.Expr):
            return bool(self.value(condition))
        resource, wanted = condition
        return self.classical(resource) == int(wanted)

    def classical(self, resource: Resource) -> int:
        """Return the number in a bit, a register or an expression."""
        if isinstance(resource, expr.Expr):
            return int(self.value(resource))
        return int(self.bit(resource)) if isinstance(resource, Clbit) else self.register(resource)

    def value(self, node: expr.Expr) -> Value:
        """Return what an expression is worth.

        Raises:
            UndefinedError: If Qiskit does not define it.
        """
        if isinstance(node, expr.Value):
            return _typed(node.value, node.type)
        if isinstance(node, expr.Var):
            return self._read(node)
        if isinstance(node, expr.Cast):
            return _typed(self.value(node.operand), node.type)
        if isinstance(node, expr.Index):
            return self._indexed(node)
        if isinstance(node, expr.Unary):
            return _unary(node, self.value(node.operand))
        if isinstance(node, expr.Binary):
            return _binary(node, self.value(node.left), self.value(node.right))
        message = f"There is no value of {node}."
        raise NotImplementedError(message)

    def store(self, place: expr.Expr, value: Value) -> None:
        """Write what a Store writes: a variable, a bit, a register, or one bit of a variable or register."""
        if isinstance(place, expr.Index):
            number, width = int(self.value(place.index)), place.target.type.width
            if number >= width:
                message = f"There is no bit {number} of {width}."
                raise UndefinedError(message)
            old = int(self.value(place.target))
            self.store(place.target, old & ~(1 << number) | int(value) << number)
        elif isinstance(place.var, UUID):
            self.variables[place.var] = _typed(value, place.type)
        elif isinstance(place.var, Clbit):
            self.write_bit(self._scope[place.var], value=bool(value))
        else:
            for number, clbit in enumerate(place.var):
                self.write_bit(self._scope[clbit], value=bool(int(value) >> number & 1))

    def _read(self, node: expr.Var) -> Value:
        if isinstance(node.var, UUID):
            return self.variables[node.var]
        return self.bit(node.var) if isinstance(node.var, Clbit) else self.register(node.var)

    def _indexed(self, node: expr.Index) -> bool:
        number = int(self.value(node.index))
        if number >= node.target.type.width:
            message = f"There is no bit {number} of {node.target.type}."
            raise UndefinedError(message)
        return bool(int(self.value(node.target)) >> number & 1)


def _typed(value: Value, kind: types.Type) -> Value:
    """Return `value` as `kind`: what casts do, and what keeps arithmetic within its width."""
    if isinstance(kind, types.Bool):
        return bool(value)
    if isinstance(kind, types.Uint):
        return int(value) % (1 << int(kind.width))
    if isinstance(kind, types.Float):
        return float(value)
    message = f"Values of the type {kind} are not known here."
    raise NotImplementedError(message)


def _unary(node: expr.Unary, value: Value) -> Value:
    if node.op is expr.Unary.Op.LOGIC_NOT:
        return not value
    if node.op is expr.Unary.Op.NEGATE:
        return _typed(-value, node.type)
    return not value if isinstance(node.type, types.Bool) else _typed(~int(value), node.type)


def _binary(node: expr.Binary, left: Value, right: Value) -> Value:
    if node.op is expr.Binary.Op.LOGIC_AND:
        return bool(left) and bool(right)
    if node.op is expr.Binary.Op.LOGIC_OR:
        return bool(left) or bool(right)
    if node.op in _COMPARED:
        return _COMPARED[node.op](left, right)
    if node.op is expr.Binary.Op.DIV:
        return _divided(node, left, right)
    function = _BITWISE.get(node.op) or _ARITHMETIC[node.op]
    return _typed(function(left, right), node.type)


def _divided(node: expr.Binary, left: Value, right: Value) -> Value:
    if right == 0:
        message = f"{left} cannot be divided by zero."
        raise UndefinedError(message)
    return left / right if isinstance(node.type, types.Float) else _typed(int(left) // int(right), node.type)
