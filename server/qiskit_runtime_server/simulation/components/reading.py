"""Reads a circuit as a list of steps on numbered bits: boxes opened, loops unrolled where nothing jumps out of them.

What loops and branches mean is what OpenQASM 3 says (Cross et al., 2022, https://doi.org/10.1145/3505636).

    for i in range(2): h q0      h 0, h 0
    box: cx q0, q1               cx 0 1
    if c0: x q1                  a step that reads bit 0, with x 1 as its body
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final
from uuid import UUID

from qiskit.circuit import (
    BreakLoopOp,
    CircuitError,
    CircuitInstruction,
    Clbit,
    ContinueLoopOp,
    ControlFlowOp,
    ForLoopOp,
    IfElseOp,
    Measure,
    Parameter,
    QuantumCircuit,
    Qubit,
    Store,
    SwitchCaseOp,
    WhileLoopOp,
)
from qiskit.circuit.classical import expr

from qiskit_runtime_server.errors import InvalidInputError
from qiskit_runtime_server.simulation.components.component import VARIABLES, Step

MAX_INSTRUCTIONS: Final = 1_000_000
"""For a circuit with its loops unrolled."""


class Reader:
    """Reads a circuit, with boxes opened and loops unrolled where nothing jumps out of them."""

    def __init__(self) -> None:
        self._left = MAX_INSTRUCTIONS

    def steps(self, circuit: QuantumCircuit, qubits: Sequence[int], clbits: Sequence[int]) -> list[Step]:
        """Return the steps of `circuit`, whose bits have the numbers `qubits` and `clbits`."""
        qubit_of = dict(zip(circuit.qubits, qubits, strict=True))
        scope = dict(zip(circuit.clbits, clbits, strict=True))
        found: list[Step] = []
        for instruction in circuit.data:
            found.extend(self._read(instruction, qubit_of, scope))
        return found

    def _read(
        self, instruction: CircuitInstruction, qubit_of: Mapping[Qubit, int], scope: Mapping[Clbit, int]
    ) -> Iterable[Step]:
        name = instruction.name
        if name == "barrier":
            return ()
        self._count(1)
        operation = instruction.operation
        qubits = tuple(qubit_of[qubit] for qubit in instruction.qubits)
        clbits = tuple(scope[clbit] for clbit in instruction.clbits)
        if name == "box":
            return self.steps(operation.blocks[0], qubits, clbits)
        if instruction.is_control_flow():
            return self._control_flow(operation, qubits, clbits, scope)
        if isinstance(operation, Store):
            return [self._store(operation, scope)]
        if name.startswith("measure") and len(qubits) == len(clbits) == 1:
            # Devices have further kinds, as measure_2, with the same effect.
            return [Step(operation=Measure(), qubits=qubits, writes=clbits)]
        return [Step(operation=operation, qubits=qubits, writes=clbits)]

    def _store(self, operation: Store, scope: Mapping[Clbit, int]) -> Step:
        written = tuple(_bits_of(operation.lvalue, scope))
        return Step(
            operation=operation, writes=written, reads=frozenset(_bits_of(operation.rvalue, scope)), scope=scope
        )

    def _control_flow(
        self, operation: ControlFlowOp, qubits: Sequence[int], clbits: Sequence[int], scope: Mapping[Clbit, int]
    ) -> list[Step]:
        if isinstance(operation, BreakLoopOp | ContinueLoopOp):
            return [Step(operation=operation)]
        if isinstance(operation, ForLoopOp):
            return self._for_loop(operation, qubits, clbits, scope)
        if not isinstance(operation, IfElseOp | WhileLoopOp | SwitchCaseOp):
            raise InvalidInputError(f"Control flow of the kind {operation.name} cannot be simulated.")
        bodies = [self.steps(block, qubits, clbits) for block in operation.blocks]
        condition = operation.target if isinstance(operation, SwitchCaseOp) else operation.condition
        return [_control(operation, bodies, _bits_of(condition, scope), scope)]

    def _for_loop(
        self, loop: ForLoopOp, qubits: Sequence[int], clbits: Sequence[int], scope: Mapping[Clbit, int]
    ) -> list[Step]:
        indices, parameter, body = loop.params
        if not isinstance(indices, range | tuple | list) or not isinstance(parameter, Parameter | None):
            raise InvalidInputError("For loops over run-time values cannot be simulated.")
        if not _has_jump(body):
            return self._unrolled(body, indices, parameter, qubits, clbits)
        steps = self.steps(body, qubits, clbits)
        self._count((len(indices) - 1) * (len(steps) + 1))
        return [_control(loop, [steps], (), scope)] if len(indices) else []

    def _unrolled(
        self,
        body: QuantumCircuit,
        indices: Sequence[int],
        parameter: Parameter | None,
        qubits: Sequence[int],
        clbits: Sequence[int],
    ) -> list[Step]:
        self._count(len(indices))
        if parameter is None or parameter not in body.parameters:
            steps = self.steps(body, qubits, clbits) if len(indices) else []
            self._count(len(steps) * max(0, len(indices) - 1))
            return steps * len(indices)
        return [step for index in indices for step in self._round(body, parameter, index, qubits, clbits)]

    def _round(
        self, body: QuantumCircuit, parameter: Parameter, index: int, qubits: Sequence[int], clbits: Sequence[int]
    ) -> list[Step]:
        try:
            # Some mistakes show only when an operation is looked at.
            return self.steps(body.assign_parameters({parameter: index}), qubits, clbits)
        except (CircuitError, ArithmeticError, TypeError, ValueError) as error:
            raise InvalidInputError(f"The body of a loop is invalid for {parameter.name} = {index}: {error}") from error

    def _count(self, number: int) -> None:
        self._left -= number
        if self._left < 0:
            raise InvalidInputError(f"The circuit has more than {MAX_INSTRUCTIONS} instructions, loops unrolled.")


def _control(
    operation: ControlFlowOp, bodies: Sequence[Sequence[Step]], reads: Iterable[int], scope: Mapping[Clbit, int]
) -> Step:
    inner = [step for body in bodies for step in body]
    return Step(
        operation=operation,
        qubits=tuple(sorted({qubit for step in inner for qubit in step.qubits})),
        writes=tuple(sorted({bit for step in inner for bit in step.writes})),
        reads=frozenset(reads).union(*(step.reads for step in inner)),
        bodies=tuple(tuple(body) for body in bodies),
        scope=scope,
    )


def _has_jump(body: QuantumCircuit) -> bool:
    """Whether something in `body` breaks or continues the loop that it is the body of."""
    for instruction in body.data:
        if instruction.name in {"break_loop", "continue_loop"}:
            return True
        inner = instruction.is_control_flow() and instruction.name not in {"for_loop", "while_loop"}
        if inner and any(_has_jump(block) for block in instruction.operation.blocks):
            return True
    return False


def _bits_of(condition: Any, scope: Mapping[Clbit, int]) -> Iterator[int]:  # noqa: ANN401 - four kinds of them
    """Yield the numbers of the classical bits in a condition, a target or an expression."""
    if isinstance(condition, expr.Expr):
        for variable in expr.iter_vars(condition):
            yield from (VARIABLES,) if isinstance(variable.var, UUID) else _bits_of(variable.var, scope)
    elif isinstance(condition, tuple):
        yield from _bits_of(condition[0], scope)
    else:
        yield from (scope[bit] for bit in ([condition] if isinstance(condition, Clbit) else condition))
