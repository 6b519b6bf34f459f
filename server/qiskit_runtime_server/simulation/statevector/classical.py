"""Conditions and expressions over measured bits, for many shots at once.

Integers have no signs and are taken modulo 2^width, as OpenQASM 3 (https://doi.org/10.1145/3505636) and Qiskit
(`qiskit.circuit.classical.expr`) say. A shift by
the width or more leaves 0, for zeros fill in what becomes free. What has no value there has none here: a division by
zero and an index beyond the last bit end the job with `InvalidInputError`, as any number would be an invention. They do
so only where a shot comes to them: the right side of `logic_and` and `logic_or` is left alone where the left one has
decided, so a circuit can look before it divides.

    uint[2] a = 3, b = 2      a + b is 1, a << 2 is 0, ~a is 0
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from qiskit.circuit import ClassicalRegister, Clbit
from qiskit.circuit.classical import expr, types

from qiskit_runtime_server.errors import InvalidInputError
from qiskit_runtime_server.simulation.statevector.state_port import Integers

Bits = NDArray[np.bool_]
Scope = Mapping[Clbit, int]
"""The columns of the bits that a condition may speak of."""

Value = Callable[[Sequence[bool]], int]
"""Evaluates something for one shot's bits."""


def _divided(left: int, right: int) -> int:
    if right == 0:
        raise InvalidInputError("A circuit divides by zero.")
    return left // right


_BINARY: Final[Mapping[expr.Binary.Op, Callable[[int, int], int]]] = {
    expr.Binary.Op.BIT_AND: lambda left, right: left & right,
    expr.Binary.Op.BIT_OR: lambda left, right: left | right,
    expr.Binary.Op.BIT_XOR: lambda left, right: left ^ right,
    expr.Binary.Op.EQUAL: lambda left, right: left == right,
    expr.Binary.Op.NOT_EQUAL: lambda left, right: left != right,
    expr.Binary.Op.LESS: lambda left, right: left < right,
    expr.Binary.Op.LESS_EQUAL: lambda left, right: left <= right,
    expr.Binary.Op.GREATER: lambda left, right: left > right,
    expr.Binary.Op.GREATER_EQUAL: lambda left, right: left >= right,
    expr.Binary.Op.SHIFT_RIGHT: lambda left, right: left >> right,
    expr.Binary.Op.ADD: lambda left, right: left + right,
    expr.Binary.Op.SUB: lambda left, right: left - right,
    expr.Binary.Op.MUL: lambda left, right: left * right,
    expr.Binary.Op.DIV: _divided,
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
        try:
            self._value = self._compiled(source)
        except RecursionError as error:
            raise InvalidInputError("A classical expression is nested too deeply to be simulated.") from error

    def holds(self, bits: Bits) -> Bits:
        """Return for each row of `bits`, of which there may be none, whether the value is not 0.

        Args:
            bits: Shape ``(shots, clbits)``.

        Raises:
            InvalidInputError: If there is no value for a row, as for all methods here.
        """
        values, places = self._distinct(bits)
        return np.array([value != 0 for value in values], dtype=np.bool_)[places]

    def number(self, bits: Bits, of: Callable[[int], int] = int) -> Integers:
        """Return a number for each row of `bits`: what `of` makes of the value, which may be wider than 63 bits."""
        values, places = self._distinct(bits)
        return np.array([of(value) for value in values], dtype=np.int64)[places]

    def digits(self, bits: Bits, count: int) -> Bits:
        """Return the lowest `count` bits of the value for each row of `bits`, shape ``(shots, count)``."""
        values, places = self._distinct(bits)
        table = [[value >> place & 1 for place in range(count)] for value in values]
        return np.array(table, dtype=np.bool_).reshape(len(values), count)[places]

    def _distinct(self, bits: Bits) -> tuple[list[int], Integers]:
        """Return the values that occur, a truth value as 0 or 1, and for each row which of them it has."""
        rows, places = np.unique(bits[:, list(self._columns)], axis=0, return_inverse=True)
        return [int(self._value(row)) for row in rows.tolist()], places.ravel()

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
        if not isinstance(node.var, Clbit | ClassicalRegister):
            return self.visit_generic(node)
        return self._resource(node.var)

    def visit_value(self, node: expr.Value, /) -> Value:
        if not isinstance(node.value, int):
            return self.visit_generic(node)
        value = int(node.value)
        return lambda _: value

    def visit_cast(self, node: expr.Cast, /) -> Value:
        operand = self._whole(node.operand)
        if isinstance(node.type, types.Bool):
            return lambda row: operand(row) != 0
        mask = self._mask(node)
        return lambda row: operand(row) & mask

    def visit_unary(self, node: expr.Unary, /) -> Value:
        operand = self._whole(node.operand)
        if node.op is expr.Unary.Op.NEGATE:
            # Qiskit negates floats and durations alone.
            return self.visit_generic(node)
        if isinstance(node.type, types.Bool):
            return lambda row: not operand(row)
        mask = self._mask(node)
        return lambda row: ~operand(row) & mask

    def visit_binary(self, node: expr.Binary, /) -> Value:
        left, right = self._whole(node.left), self._whole(node.right)
        mask = self._mask(node)
        if node.op is expr.Binary.Op.LOGIC_AND:
            return lambda row: bool(left(row)) and bool(right(row))
        if node.op is expr.Binary.Op.LOGIC_OR:
            return lambda row: bool(left(row)) or bool(right(row))
        if node.op is expr.Binary.Op.SHIFT_LEFT:
            # A larger shift than the width must not be carried out: it may be as large as a number can be.
            return lambda row: left(row) << min(right(row), mask.bit_length()) & mask
        operation = _BINARY[node.op]
        return lambda row: operation(left(row), right(row)) & mask

    def visit_index(self, node: expr.Index, /) -> Value:
        target, index = self._whole(node.target), self._whole(node.index)
        width: int = node.target.type.width
        return lambda row: target(row) >> checked_index(index(row), width) & 1

    def visit_generic(self, node: expr.Expr, /) -> Value:
        raise InvalidInputError(f"Expressions with {type(node).__name__} of the type {node.type} cannot be simulated.")

    def _whole(self, node: expr.Expr) -> Value:
        """Return an operand, which must be a truth value or an integer."""
        self._mask(node)
        value: Value = node.accept(self)
        return value

    def _mask(self, node: expr.Expr) -> int:
        if isinstance(node.type, types.Bool):
            return 1
        if not isinstance(node.type, types.Uint):
            self.visit_generic(node)
        width: int = node.type.width
        return (1 << width) - 1


def checked_index(index: int, width: int) -> int:
    """Return `index` if an integer of `width` bits has such a bit.

    Raises:
        InvalidInputError: If it has not.
    """
    if index >= width:
        raise InvalidInputError(
            f"A circuit asks for bit {index} of an integer of {width} bits: there are bits 0 to {width - 1}."
        )
    return index
