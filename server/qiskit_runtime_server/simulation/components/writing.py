"""Writes steps on numbered bits as a circuit of their own, with bare parameters for angles and bits for variables.

Qubits come in the order in which gates join them: the bonds of a matrix product state depend on it (Vidal, 2003,
https://doi.org/10.1103/PhysRevLett.91.147902).

    rz(2*theta) 5; cx 5 7; measure 7 -> 3      q0 is 5, q1 is 7, c0 is 3; rz(a) q0, where a stands for 2*theta
"""

from collections.abc import Iterable, Mapping, Sequence
from copy import copy
from typing import Any
from uuid import UUID

from qiskit.circuit import (
    BreakLoopOp,
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
    Parameter,
    ParameterExpression,
    QuantumCircuit,
    QuantumRegister,
    Qubit,
    Store,
    SwitchCaseOp,
    WhileLoopOp,
)
from qiskit.circuit.classical import expr, types

from qiskit_runtime_server.errors import InvalidInputError
from qiskit_runtime_server.simulation.components.component import VARIABLES, Component, Step
from qiskit_runtime_server.simulation.noise import Use, error_name


class Writer:
    """Writes a group of steps as a circuit of its own."""

    def __init__(self, whole: QuantumCircuit, steps: Sequence[Step], labels: frozenset[str]) -> None:
        self._outer = frozenset(whole.parameters)
        self._labels = labels
        self._steps = steps
        # A circuit needs a qubit, even where values are only stored.
        self._qubits = _in_order_of_gates(steps) or [0]
        self._clbits = sorted({bit for step in steps for bit in (*step.writes, *step.reads)} - {VARIABLES})
        self._qubit_of = dict(zip(self._qubits, QuantumRegister(len(self._qubits), "q"), strict=True))
        self._clbit_of = dict(zip(self._clbits, ClassicalRegister(len(self._clbits), "c"), strict=True))
        # Variables become bits, which is all that simulators need to know of.
        named = _variables(whole) if any(VARIABLES in (*s.writes, *s.reads) for s in steps) else []
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

    def _circuit(self, steps: Iterable[Step]) -> QuantumCircuit:
        instructions = [self._instruction(step) for step in steps]
        qubits, clbits = self._everything()
        circuit = QuantumCircuit.from_instructions(instructions, qubits=qubits, clbits=clbits)
        for register in (*self._registers.values(), *self._variables.values()):
            circuit.add_register(register)
        return circuit

    def _everything(self) -> tuple[list[Qubit], list[Clbit]]:
        variables = [clbit for register in self._variables.values() for clbit in register]
        return list(self._qubit_of.values()), [*self._clbit_of.values(), *variables]

    def _instruction(self, step: Step) -> CircuitInstruction:
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

    def _control_flow(self, step: Step) -> ControlFlowOp:
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
            raise InvalidInputError(f"The delay {operation.duration} has no value: delays need numbers.")
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


def _in_order_of_gates(steps: Sequence[Step]) -> list[int]:
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
        raise InvalidInputError(f"Expressions with {type(node).__name__} cannot be simulated.")


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
    raise InvalidInputError(f"Variables of the type {variable.type} cannot be simulated.")
