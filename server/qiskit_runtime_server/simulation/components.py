"""Splits a circuit as wide as a device into small circuits that know nothing of each other.

Two qubits belong together if a gate joins them, or if one's instructions depend on what was measured of the other.
What cannot influence any classical bit is left out.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, field
from typing import Any, Final
from uuid import UUID

import numpy as np
from numpy.typing import NDArray
from qiskit.circuit import (
    BreakLoopOp,
    CircuitError,
    CircuitInstruction,
    ClassicalRegister,
    Clbit,
    ContinueLoopOp,
    ControlFlowOp,
    ControlledGate,
    Delay,
    ForLoopOp,
    IfElseOp,
    Instruction,
    Measure,
    Parameter,
    ParameterExpression,
    QuantumCircuit,
    QuantumRegister,
    Qubit,
    Reset,
    Store,
    SwitchCaseOp,
    WhileLoopOp,
)
from qiskit.circuit.classical import expr, types

from qiskit_runtime_server.errors import InvalidInputError
from qiskit_runtime_server.simulation.noise import Use, error_name

MAX_INSTRUCTIONS: Final = 1_000_000
"""For a circuit with its loops unrolled."""

# Stands for all real-time variables together among the numbers of classical bits.
_VARIABLES: Final = -1


@dataclass(frozen=True, slots=True, kw_only=True)
class Component:
    """A part of a circuit that is independent of all others.

    Attributes:
        qubits: Their numbers in the whole circuit, in the order of `circuit.qubits`.
        clbits: Their numbers in the whole circuit, in the order of `circuit.clbits`, which may have further bits at
            its end.
        circuit: Has no barriers, no boxes, no for loops without jumps; control flow covers all of its bits. Angles are
            numbers or bare parameters.
        angles: What the parameters stand for, in the order of `circuit.parameters`, in parameters of the whole circuit.
        uses: The instructions in `circuit`, control flow looked into.
    """

    qubits: tuple[int, ...]
    clbits: tuple[int, ...]
    circuit: QuantumCircuit
    angles: tuple[ParameterExpression, ...]
    uses: frozenset[Use]


def split(circuit: QuantumCircuit, labels: frozenset[str] = frozenset()) -> list[Component]:
    """Return the components of `circuit` that write classical bits, in the order of their first qubits.

    Args:
        circuit: Its qubits are the first ones of the device.
        labels: Those that mean something to the noise, which instructions keep; all others are names for drawings.

    Raises:
        InvalidInputError: If it has more than `MAX_INSTRUCTIONS`, or a construct that cannot be simulated.
    """
    if circuit.num_stretches or circuit.num_input_vars:
        message = "Circuits with stretches or input variables cannot be simulated: give all of them values first."
        raise InvalidInputError(message)
    steps = _Reader().steps(circuit, range(circuit.num_qubits), range(circuit.num_clbits))
    groups = _groups(_effective(steps))
    written = [group for group in groups if any(bit >= 0 for step in group for bit in step.writes)]
    return [_Writer(circuit, group, labels).component() for group in written]


def terminal_measurements(circuit: QuantumCircuit) -> dict[int, int] | None:
    """Return the clbit that each measured qubit ends in; None if the measurements are not all at the end."""
    qubits = {qubit: i for i, qubit in enumerate(circuit.qubits)}
    clbits = {clbit: i for i, clbit in enumerate(circuit.clbits)}
    found: dict[int, int] = {}
    for instruction in circuit.data:
        if instruction.is_control_flow() or instruction.name == "store":
            return None
        if any(qubits[qubit] in found for qubit in instruction.qubits):
            return None
        if instruction.name == "measure":
            found[qubits[instruction.qubits[0]]] = clbits[instruction.clbits[0]]
    return found if len(set(found.values())) == len(found) else None


def evaluated(
    expressions: Sequence[ParameterExpression], parameters: Iterable[Parameter], values: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the values of `expressions`, shape ``(n, len(expressions))``.

    Args:
        expressions: In `parameters`.
        parameters: Name the columns of `values`.
        values: Shape ``(n, len(parameters))``.

    Raises:
        InvalidInputError: If an expression has no real, finite value.
    """
    columns = {parameter: i for i, parameter in enumerate(parameters)}
    result = np.empty((len(values), len(expressions)))
    for i, expression in enumerate(expressions):
        result[:, i] = _evaluated(expression, columns, values)
    if not np.isfinite(result).all():
        message = "An angle of a circuit has no finite value."
        raise InvalidInputError(message)
    return result


def _evaluated(
    expression: ParameterExpression, columns: Mapping[Parameter, int], values: NDArray[np.float64]
) -> NDArray[np.float64]:
    if isinstance(expression, Parameter):
        return values[:, columns[expression]]
    used = list(expression.parameters)
    table = values[:, [columns[parameter] for parameter in used]]
    slopes = _slopes(expression, used)
    if slopes is not None:
        # Transpilers leave sums like theta + pi; thousands of them are evaluated at once here.
        return _value(expression, used, np.zeros(len(used))) + table @ slopes
    rows, places = np.unique(table, axis=0, return_inverse=True)
    return np.array([_value(expression, used, row) for row in rows])[places.ravel()]


def _slopes(expression: ParameterExpression, parameters: Sequence[Parameter]) -> NDArray[np.float64] | None:
    """Return the derivatives of `expression` if it is a linear one."""
    try:
        slopes = [expression.gradient(parameter) for parameter in parameters]
    except RuntimeError:  # sign has none
        return None
    return np.array(slopes, dtype=np.float64) if all(isinstance(slope, int | float) for slope in slopes) else None


def _value(expression: ParameterExpression, parameters: Sequence[Parameter], row: NDArray[np.float64]) -> float:
    try:
        return float(expression.bind(dict(zip(parameters, row.tolist(), strict=True))))
    except (TypeError, ValueError, ZeroDivisionError, CircuitError) as error:
        message = f"The angle {expression} has no value for {row.tolist()}: {error}"
        raise InvalidInputError(message) from error


@dataclass(frozen=True, slots=True, kw_only=True)
class _Step:
    """An instruction with the numbers of its bits in the whole circuit.

    Attributes:
        qubits: Those that it acts on, itself or in its bodies.
        writes: Classical bits that may be changed.
        reads: Classical bits that decide what happens.
        bodies: The blocks of control flow.
        scope: The numbers of the classical bits that a condition may speak of.
    """

    operation: Instruction
    qubits: tuple[int, ...] = ()
    writes: tuple[int, ...] = ()
    reads: frozenset[int] = frozenset()
    bodies: tuple[tuple["_Step", ...], ...] = ()
    scope: Mapping[Clbit, int] = field(default_factory=dict)


class _Reader:
    """Reads a circuit, with boxes opened and loops unrolled where nothing jumps out of them."""

    def __init__(self) -> None:
        self._left = MAX_INSTRUCTIONS

    def steps(self, circuit: QuantumCircuit, qubits: Sequence[int], clbits: Sequence[int]) -> list[_Step]:
        """Return the steps of `circuit`, whose bits have the numbers `qubits` and `clbits`."""
        qubit_of = dict(zip(circuit.qubits, qubits, strict=True))
        scope = dict(zip(circuit.clbits, clbits, strict=True))
        found: list[_Step] = []
        for instruction in circuit.data:
            found.extend(self._read(instruction, qubit_of, scope))
        return found

    def _read(
        self, instruction: CircuitInstruction, qubit_of: Mapping[Qubit, int], scope: Mapping[Clbit, int]
    ) -> Iterable[_Step]:
        name = instruction.name
        if name == "barrier":
            return ()
        self._count(1)
        operation = instruction.operation
        qubits = tuple(qubit_of[qubit] for qubit in instruction.qubits)
        clbits = tuple(scope[clbit] for clbit in instruction.clbits)
        if name == "box":
            return self.steps(operation.blocks[0], qubits, clbits)
        if isinstance(operation, ControlFlowOp):
            return self._control_flow(operation, qubits, clbits, scope)
        if isinstance(operation, Store):
            return [self._store(operation, scope)]
        if name.startswith("measure") and len(qubits) == len(clbits) == 1:
            # Devices have further kinds, as measure_2, with the same effect.
            return [_Step(operation=Measure(), qubits=qubits, writes=clbits)]
        return [_Step(operation=operation, qubits=qubits, writes=clbits)]

    def _store(self, operation: Store, scope: Mapping[Clbit, int]) -> _Step:
        written = tuple(_bits_of(operation.lvalue, scope))
        return _Step(
            operation=operation, writes=written, reads=frozenset(_bits_of(operation.rvalue, scope)), scope=scope
        )

    def _control_flow(
        self, operation: ControlFlowOp, qubits: Sequence[int], clbits: Sequence[int], scope: Mapping[Clbit, int]
    ) -> list[_Step]:
        if isinstance(operation, BreakLoopOp | ContinueLoopOp):
            return [_Step(operation=operation)]
        if isinstance(operation, ForLoopOp):
            return self._for_loop(operation, qubits, clbits, scope)
        if not isinstance(operation, IfElseOp | WhileLoopOp | SwitchCaseOp):
            message = f"Control flow of the kind {operation.name} cannot be simulated."
            raise InvalidInputError(message)
        bodies = [self.steps(block, qubits, clbits) for block in operation.blocks]
        condition = operation.target if isinstance(operation, SwitchCaseOp) else operation.condition
        return [_control(operation, bodies, _bits_of(condition, scope), scope)]

    def _for_loop(
        self, loop: ForLoopOp, qubits: Sequence[int], clbits: Sequence[int], scope: Mapping[Clbit, int]
    ) -> list[_Step]:
        indices, parameter, body = loop.params
        if not isinstance(indices, range | tuple | list) or not isinstance(parameter, Parameter | None):
            message = "For loops over run-time values cannot be simulated."
            raise InvalidInputError(message)
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
    ) -> list[_Step]:
        self._count(len(indices))
        if parameter is None or parameter not in body.parameters:
            steps = self.steps(body, qubits, clbits) if len(indices) else []
            self._count(len(steps) * max(0, len(indices) - 1))
            return steps * len(indices)
        return [step for index in indices for step in self._round(body, parameter, index, qubits, clbits)]

    def _round(
        self, body: QuantumCircuit, parameter: Parameter, index: int, qubits: Sequence[int], clbits: Sequence[int]
    ) -> list[_Step]:
        try:
            # Some mistakes show only when an operation is looked at.
            return self.steps(body.assign_parameters({parameter: index}), qubits, clbits)
        except (CircuitError, ArithmeticError, TypeError, ValueError) as error:
            message = f"The body of a loop makes no sense for {parameter.name} = {index}: {error}"
            raise InvalidInputError(message) from error

    def _count(self, number: int) -> None:
        self._left -= number
        if self._left < 0:
            message = f"The circuit has more than {MAX_INSTRUCTIONS} instructions, loops unrolled."
            raise InvalidInputError(message)


def _control(
    operation: ControlFlowOp, bodies: Sequence[Sequence[_Step]], reads: Iterable[int], scope: Mapping[Clbit, int]
) -> _Step:
    inner = [step for body in bodies for step in body]
    return _Step(
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
            yield from (_VARIABLES,) if isinstance(variable.var, UUID) else _bits_of(variable.var, scope)
    elif isinstance(condition, tuple):
        yield from _bits_of(condition[0], scope)
    else:
        yield from (scope[bit] for bit in ([condition] if isinstance(condition, Clbit) else condition))


def _effective(steps: Sequence[_Step]) -> list[_Step]:
    """Return the steps that can influence a classical bit."""
    live: set[int] = set()
    kept: list[_Step] = []
    for step in reversed(steps):
        if not step.writes and live.isdisjoint(step.qubits):
            continue
        kept.append(step)
        if isinstance(step.operation, Reset):
            live.difference_update(step.qubits)
        else:
            live.update(step.qubits)
    return kept[::-1]


def _groups(steps: Sequence[_Step]) -> list[list[_Step]]:
    """Return the steps, those together that are connected, each group in order."""
    parents: dict[tuple[str, int], tuple[str, int]] = {}

    def root(node: tuple[str, int]) -> tuple[str, int]:
        while parents.setdefault(node, node) != node:
            parents[node] = parents[parents[node]]
            node = parents[node]
        return node

    for step in steps:
        first, *others = _nodes(step)
        for node in others:
            parents[root(node)] = root(first)
    groups: dict[tuple[str, int], list[_Step]] = {}
    for step in steps:
        groups.setdefault(root(_nodes(step)[0]), []).append(step)
    return sorted(groups.values(), key=lambda group: min((q for step in group for q in step.qubits), default=-1))


def _nodes(step: _Step) -> list[tuple[str, int]]:
    qubits = [("qubit", number) for number in step.qubits]
    return qubits + [("clbit", number) for number in sorted({*step.writes, *step.reads})]


class _Writer:
    """Writes a group of steps as a circuit of its own."""

    def __init__(self, whole: QuantumCircuit, steps: Sequence[_Step], labels: frozenset[str]) -> None:
        self._outer = frozenset(whole.parameters)
        self._labels = labels
        self._steps = steps
        # A circuit needs a qubit, even where values are only stored.
        self._qubits = _in_order_of_gates(steps) or [0]
        self._clbits = sorted({bit for step in steps for bit in (*step.writes, *step.reads)} - {_VARIABLES})
        self._qubit_of = dict(zip(self._qubits, QuantumRegister(len(self._qubits), "q"), strict=True))
        self._clbit_of = dict(zip(self._clbits, ClassicalRegister(len(self._clbits), "c"), strict=True))
        # Variables become bits, which is all that simulators need to know of.
        named = _variables(whole) if any(_VARIABLES in (*s.writes, *s.reads) for s in steps) else []
        self._variables = {variable.var: _storage(variable, f"variable_{i}") for i, variable in enumerate(named)}
        self._flags = {variable.var for variable in named if isinstance(variable.type, types.Bool)}
        self._place_of = {qubit: place for place, qubit in enumerate(self._qubits)}
        self._registers: dict[tuple[int, ...], ClassicalRegister] = {}
        self._angles: dict[ParameterExpression, Parameter] = {}
        self._uses: set[Use] = set()

    def component(self) -> Component:
        """Return what was written."""
        circuit = self._circuit(self._steps)
        meanings = {parameter: expression for expression, parameter in self._angles.items()}
        return Component(
            qubits=tuple(self._qubits),
            clbits=tuple(self._clbits),
            circuit=circuit,
            angles=tuple(meanings.get(parameter, parameter) for parameter in circuit.parameters),
            uses=frozenset(self._uses),
        )

    def _circuit(self, steps: Iterable[_Step]) -> QuantumCircuit:
        instructions = [self._instruction(step) for step in steps]
        qubits, clbits = self._everything()
        circuit = QuantumCircuit.from_instructions(instructions, qubits=qubits, clbits=clbits)
        for register in (*self._registers.values(), *self._variables.values()):
            circuit.add_register(register)
        return circuit

    def _everything(self) -> tuple[list[Qubit], list[Clbit]]:
        variables = [clbit for register in self._variables.values() for clbit in register]
        return list(self._qubit_of.values()), [*self._clbit_of.values(), *variables]

    def _instruction(self, step: _Step) -> CircuitInstruction:
        if step.bodies:
            # Aer jumps to the wrong place if qubits of the circuit are missing in a loop's body.
            return CircuitInstruction(self._control_flow(step), *self._everything())
        if isinstance(step.operation, BreakLoopOp | ContinueLoopOp):
            everything = self._everything()
            return CircuitInstruction(type(step.operation)(*map(len, everything)), *everything)
        if isinstance(step.operation, Store):
            lvalue, rvalue = (self._translated(part, step.scope) for part in step.operation.params)
            return CircuitInstruction(Store(lvalue, rvalue), (), ())
        operation = self._with_known_label(step.operation)
        places = tuple(self._place_of[qubit] for qubit in step.qubits)
        # Delays relax by their duration, whatever they are called.
        names = {error_name(operation), "delay"} if isinstance(operation, Delay) else {error_name(operation)}
        self._uses.update((name, places) for name in names)
        return CircuitInstruction(
            self._with_bare_angles(operation),
            [self._qubit_of[qubit] for qubit in step.qubits],
            [self._clbit_of[bit] for bit in step.writes],
        )

    def _control_flow(self, step: _Step) -> ControlFlowOp:
        operation = step.operation
        bodies = [self._circuit(body) for body in step.bodies]
        if isinstance(operation, IfElseOp):
            return IfElseOp(self._translated(operation.condition, step.scope), *bodies)
        if isinstance(operation, WhileLoopOp):
            return WhileLoopOp(self._translated(operation.condition, step.scope), *bodies)
        if isinstance(operation, ForLoopOp):
            parameter = operation.params[1] if operation.params[1] in bodies[0].parameters else None
            return ForLoopOp(operation.params[0], parameter, *bodies)
        labels = [values for values, _ in operation.cases_specifier()]
        return SwitchCaseOp(self._translated(operation.target, step.scope), zip(labels, bodies, strict=True))

    def _translated(self, condition: Any, scope: Mapping[Clbit, int]) -> Any:  # noqa: ANN401 - see _bits_of
        """Return a condition, a target or an expression in the new circuit's classical bits."""
        if isinstance(condition, expr.Expr):
            return condition.accept(_Translator(lambda resource: self._translated(resource, scope)))
        if isinstance(condition, UUID):
            register = self._variables[condition]
            return register[0] if condition in self._flags else register
        if isinstance(condition, tuple):
            return self._translated(condition[0], scope), condition[1]
        if isinstance(condition, Clbit):
            return self._clbit_of[scope[condition]]
        key = tuple(scope[bit] for bit in condition)
        if key not in self._registers:
            name = f"condition_{len(self._registers)}"
            self._registers[key] = ClassicalRegister(name=name, bits=[self._clbit_of[bit] for bit in key])
        return self._registers[key]

    def _with_known_label(self, operation: Instruction) -> Instruction:
        if operation.label is None or operation.label in self._labels:
            return operation
        plain = copy(operation)
        plain.label = None
        return plain

    def _with_bare_angles(self, operation: Instruction) -> Instruction:
        if not any(isinstance(angle, ParameterExpression | expr.Expr) for angle in operation.params):
            return operation
        if isinstance(operation, Delay):
            message = f"The delay {operation.duration} has no value: delays need numbers."
            raise InvalidInputError(message)
        # Copying in depth takes as long as all the rest here; only controlled gates keep angles in a gate of their own.
        bare = operation.copy() if isinstance(operation, ControlledGate) else copy(operation)
        bare.params = [self._bare(angle) for angle in operation.params]
        return bare

    def _bare(self, angle: Any) -> Any:  # noqa: ANN401 - whatever parameters an instruction has
        if not isinstance(angle, ParameterExpression):
            return angle
        if not angle.parameters:
            return float(angle)
        # What has a loop's own parameter in it gets its value only when the loop runs.
        if angle.parameters <= self._outer:
            return self._angles.setdefault(angle, Parameter(f"\N{ANGLE}{len(self._angles)}"))
        return angle


def _in_order_of_gates(steps: Sequence[_Step]) -> list[int]:
    """Return the qubits as gates join them, so that a chain keeps its order; this is what bonds of states depend on."""
    joined = dict.fromkeys(qubit for step in steps if len(step.qubits) > 1 for qubit in step.qubits)
    return list(joined | dict.fromkeys(qubit for step in steps for qubit in step.qubits))


class _Translator(expr.ExprVisitor):  # type: ignore[misc]  # Qiskit has no types
    """Rewrites an expression in other classical resources."""

    def __init__(self, resource: Any) -> None:  # noqa: ANN401 - a function of resources
        self._resource = resource

    def visit_var(self, node: expr.Var, /) -> expr.Var:
        return expr.Var(self._resource(node.var), node.type)

    def visit_value(self, node: expr.Value, /) -> expr.Value:
        return node

    def visit_cast(self, node: expr.Cast, /) -> expr.Cast:
        return expr.Cast(node.operand.accept(self), node.type, implicit=node.implicit)

    def visit_unary(self, node: expr.Unary, /) -> expr.Unary:
        return expr.Unary(node.op, node.operand.accept(self), node.type)

    def visit_binary(self, node: expr.Binary, /) -> expr.Binary:
        return expr.Binary(node.op, node.left.accept(self), node.right.accept(self), node.type)

    def visit_index(self, node: expr.Index, /) -> expr.Index:
        return expr.Index(node.target.accept(self), node.index.accept(self), node.type)

    def visit_generic(self, node: expr.Expr, /) -> expr.Expr:
        message = f"Expressions with {type(node).__name__} cannot be simulated."
        raise InvalidInputError(message)


def _variables(circuit: QuantumCircuit) -> list[expr.Var]:
    """Return the variables that `circuit` or one of its blocks declares."""
    found = list(circuit.iter_declared_vars())
    for instruction in circuit.data:
        if instruction.is_control_flow():
            for block in instruction.operation.blocks:
                found.extend(_variables(block))
    return found


def _storage(variable: expr.Var, name: str) -> ClassicalRegister:
    if isinstance(variable.type, types.Bool):
        return ClassicalRegister(1, name)
    if isinstance(variable.type, types.Uint):
        return ClassicalRegister(variable.type.width, name)
    message = f"Variables of the type {variable.type} cannot be simulated."
    raise InvalidInputError(message)
