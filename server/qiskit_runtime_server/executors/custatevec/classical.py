"""Conditions and expressions over measured bits, for many shots at once."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from qiskit.circuit import ClassicalRegister, Clbit
from qiskit.circuit.classical import expr, types

from qiskit_runtime_server.errors import InvalidInputError
from qiskit_runtime_server.executors.custatevec.port import Integers

Bits = NDArray[np.bool_]
Scope = Mapping[Clbit, int]
"""The columns of the bits that a condition may speak of."""

Value = Callable[[Sequence[bool]], int]
"""Evaluates something for one shot's bits."""

_BINARY: Final[Mapping[expr.Binary.Op, Callable[[int, int], int]]] = {
    expr.Binary.Op.BIT_AND: lambda left, right: left & right,
    expr.Binary.Op.BIT_OR: lambda left, right: left | right,
    expr.Binary.Op.BIT_XOR: lambda left, right: left ^ right,
    expr.Binary.Op.LOGIC_AND: lambda left, right: bool(left and right),
    expr.Binary.Op.LOGIC_OR: lambda left, right: bool(left or right),
    expr.Binary.Op.EQUAL: lambda left, right: left == right,
    expr.Binary.Op.NOT_EQUAL: lambda left, right: left != right,
    expr.Binary.Op.LESS: lambda left, right: left < right,
    expr.Binary.Op.LESS_EQUAL: lambda left, right: left <= right,
    expr.Binary.Op.GREATER: lambda left, right: left > right,
    expr.Binary.Op.GREATER_EQUAL: lambda left, right: left >= right,
    # A larger shift than the width leaves nothing; it must not be carried out.
    expr.Binary.Op.SHIFT_LEFT: lambda left, right: left << min(right, 4096),
    expr.Binary.Op.SHIFT_RIGHT: lambda left, right: left >> right,
    expr.Binary.Op.ADD: lambda left, right: left + right,
    expr.Binary.Op.SUB: lambda left, right: left - right,
    expr.Binary.Op.MUL: lambda left, right: left * right,
}


class Expression:
    """A condition, a target or an expression of a circuit."""

    def __init__(self, source: Any, scope: Scope) -> None:  # noqa: ANN401 - four kinds of them
        """Compile `source`.

        Args:
            source: A bit or a register, or one of them with the value that it is compared with, or an expression.
            scope: Of the block that it stands in.

        Raises:
            InvalidInputError: If it has a part that cannot be evaluated.
        """
        self._columns: dict[int, int] = {}
        self._scope = scope
        self._value = self._compiled(source)

    def __call__(self, bits: Bits) -> Integers:
        """Return the value for each row of bits; a truth value is 0 or 1.

        Raises:
            InvalidInputError: If a value does not fit into 63 bits.
        """
        read = bits[:, list(self._columns)]
        rows, places = np.unique(read, axis=0, return_inverse=True)
        try:
            values = np.array([int(self._value(row)) for row in rows.tolist()], dtype=np.int64)
        except OverflowError as error:
            message = "A classical value of more than 63 bits cannot be simulated."
            raise InvalidInputError(message) from error
        return values[places.ravel()]

    def _compiled(self, source: Any) -> Value:  # noqa: ANN401 - see above
        if isinstance(source, expr.Expr):
            value: Value = source.accept(_Compiler(self._resource))
            return value
        if isinstance(source, tuple):
            resource, wanted = self._resource(source[0]), int(source[1])
            return lambda row: resource(row) == wanted
        return self._resource(source)

    def _resource(self, resource: Clbit | ClassicalRegister) -> Value:
        if isinstance(resource, Clbit):
            column = self._column(resource)
            return lambda row: row[column]
        columns = [self._column(bit) for bit in resource]
        return lambda row: sum(row[column] << place for place, column in enumerate(columns))

    def _column(self, bit: Clbit) -> int:
        """Return where `bit` is among those that are read."""
        return self._columns.setdefault(self._scope[bit], len(self._columns))


class _Compiler(expr.ExprVisitor):  # type: ignore[misc]  # Qiskit has no types
    """Turns an expression into a function of a shot's bits."""

    def __init__(self, resource: Callable[[Clbit | ClassicalRegister], Value]) -> None:
        self._resource = resource

    def visit_var(self, node: expr.Var, /) -> Value:
        return self._resource(node.var)

    def visit_value(self, node: expr.Value, /) -> Value:
        if not isinstance(node.value, int):
            return self.visit_generic(node)
        value = int(node.value)
        return lambda _: value

    def visit_cast(self, node: expr.Cast, /) -> Value:
        operand = node.operand.accept(self)
        if isinstance(node.type, types.Bool):
            return lambda row: operand(row) != 0
        mask = self._mask(node)
        return lambda row: operand(row) & mask

    def visit_unary(self, node: expr.Unary, /) -> Value:
        operand = node.operand.accept(self)
        if node.op is expr.Unary.Op.LOGIC_NOT or isinstance(node.type, types.Bool):
            return lambda row: not operand(row)
        mask = self._mask(node)
        if node.op is expr.Unary.Op.BIT_NOT:
            return lambda row: ~operand(row) & mask
        return lambda row: -operand(row) & mask

    def visit_binary(self, node: expr.Binary, /) -> Value:
        left, right = node.left.accept(self), node.right.accept(self)
        mask = self._mask(node)
        if node.op is expr.Binary.Op.DIV:
            return lambda row: _divided(left(row), right(row))
        operation = _BINARY[node.op]
        return lambda row: operation(left(row), right(row)) & mask

    def visit_index(self, node: expr.Index, /) -> Value:
        target, index = node.target.accept(self), node.index.accept(self)
        return lambda row: target(row) >> index(row) & 1

    def visit_generic(self, node: expr.Expr, /) -> Value:
        message = f"Expressions with {type(node).__name__} of the type {node.type} cannot be simulated."
        raise InvalidInputError(message)

    def _mask(self, node: expr.Expr) -> int:
        if isinstance(node.type, types.Bool):
            return 1
        if not isinstance(node.type, types.Uint):
            self.visit_generic(node)
        width: int = node.type.width
        return (1 << width) - 1


def _divided(left: int, right: int) -> int:
    if right == 0:
        message = "A circuit divides by zero."
        raise InvalidInputError(message)
    return left // right
