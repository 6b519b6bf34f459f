"""Decisions that frames carry: products of Pauli operators that happen only where measured bits say so.

The reference is run without them. A shot in which they happen differs from it by one more product, so they flip bits of
the frames of these shots, as an error does (Gidney, 2021, https://doi.org/10.22331/q-2021-07-06-497). Teleportation
needs no more (Bennett et al., 1993, https://doi.org/10.1103/PhysRevLett.70.1895):

    if c0 == 1: x q2        x of the frames of q2 ^= c0
    if c1 == 1: z q2        z of the frames of q2 ^= c1
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import reduce
from typing import Any, Final

import numpy as np
import stim
from numpy.typing import NDArray
from qiskit.circuit import Clbit, ControlFlowOp, IfElseOp, Instruction, ParameterExpression
from qiskit.circuit.classical import expr

from qiskit_runtime_server.simulation.clifford.recognition import CliffordGate, clifford_gate

Words = NDArray[np.uint64]
Decision = Callable[[Words], Words]
"""Takes the words of all classical bits, shape ``(bits, words)``, and returns one bit for each shot."""

_PASSED_OVER: Final = frozenset({"barrier", "delay"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """A function of classical bits.

    Attributes:
        bits: Their numbers.
        holds: Where it is true.
    """

    bits: tuple[int, ...]
    holds: Decision

    def negated(self) -> "Condition":
        """Return the condition of the else block."""
        return Condition(bits=self.bits, holds=lambda words: ~self.holds(words))


def is_carried(operation: Instruction) -> bool:
    """Return whether frames carry an instruction with blocks: if and else, with Pauli operators on both ways."""
    if not isinstance(operation, IfElseOp) or not _is_readable(operation.condition):
        return False
    parts = [part.operation for block in operation.blocks for part in block.data]
    return all(part.name in _PASSED_OVER or _is_pauli(part) for part in parts)


def condition_of(condition: Any, numbers: Mapping[Clbit, int]) -> Condition:  # noqa: ANN401 - Qiskit's three kinds
    """Return a condition that is readable, of bits with these numbers."""
    bits = tuple(sorted({numbers[bit] for bit in _bits_of(condition)}))
    return Condition(bits=bits, holds=_decision(condition, numbers))


def flips_of(gate: CliffordGate, num_qubits: int) -> list[tuple[int, bool, bool]]:
    """Return the places of qubits that a product of Pauli operators acts on, and whether by X or Y, and by Z or Y."""
    tableau = stim.Circuit(gate.stim.format(*range(num_qubits)) + f"\nI {num_qubits - 1}").to_tableau()
    signs = [
        (place, tableau.z_output(place).sign.real < 0, tableau.x_output(place).sign.real < 0)
        for place in range(num_qubits)
    ]
    return [sign for sign in signs if sign[1] or sign[2]]


def _is_pauli(operation: Instruction) -> bool:
    if isinstance(operation, ControlFlowOp) or any(isinstance(a, ParameterExpression) for a in operation.params):
        return False
    gate = clifford_gate(operation)
    return gate is not None and gate.keeps


def _is_readable(condition: Any) -> bool:  # noqa: ANN401 - as above
    if not isinstance(condition, expr.Expr):
        return True
    match condition:
        case expr.Value():
            return isinstance(condition.value, bool)
        case expr.Var():
            return isinstance(condition.var, Clbit)
        case expr.Unary():
            return condition.op in _UNARY and _is_readable(condition.operand)
        case expr.Binary():
            return condition.op in _BINARY and _is_readable(condition.left) and _is_readable(condition.right)
    return False


def _bits_of(condition: Any) -> list[Clbit]:  # noqa: ANN401 - as above
    if isinstance(condition, expr.Expr):
        return [variable.var for variable in expr.iter_vars(condition)]
    target, _ = condition
    return [target] if isinstance(target, Clbit) else list(target)


def _decision(condition: Any, numbers: Mapping[Clbit, int]) -> Decision:  # noqa: ANN401 - as above
    match condition:
        case expr.Value():
            value = np.uint64(0xFFFFFFFFFFFFFFFF if condition.value else 0)
            return lambda words: np.full(words.shape[1], value)
        case expr.Var():
            number = numbers[condition.var]
            return lambda words: words[number].copy()
        case expr.Unary():
            operand = _decision(condition.operand, numbers)
            return lambda words: ~operand(words)
        case expr.Binary():
            left, right = _decision(condition.left, numbers), _decision(condition.right, numbers)
            combine = _BINARY[condition.op]
            return lambda words: combine(left(words), right(words))
    wanted = [bool(int(condition[1]) >> place & 1) for place in range(len(_bits_of(condition)))]
    own = [numbers[bit] for bit in _bits_of(condition)]
    return lambda words: reduce(
        np.bitwise_and, [words[bit] if one else ~words[bit] for bit, one in zip(own, wanted, strict=True)]
    )


_UNARY: Final = frozenset({expr.Unary.Op.BIT_NOT, expr.Unary.Op.LOGIC_NOT})
_BINARY: Final[Mapping[expr.Binary.Op, Callable[[Words, Words], Words]]] = {
    expr.Binary.Op.BIT_AND: lambda one, other: one & other,
    expr.Binary.Op.BIT_OR: lambda one, other: one | other,
    expr.Binary.Op.BIT_XOR: lambda one, other: one ^ other,
    expr.Binary.Op.LOGIC_AND: lambda one, other: one & other,
    expr.Binary.Op.LOGIC_OR: lambda one, other: one | other,
    expr.Binary.Op.EQUAL: lambda one, other: ~(one ^ other),
    expr.Binary.Op.NOT_EQUAL: lambda one, other: one ^ other,
}
