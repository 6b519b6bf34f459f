"""Turns a circuit and a noise model into a program.

Measurements at the end are taken together, from one distribution; what happens to a bit before it is read (an error
just before its measurement, a readout error) is a stochastic matrix where coherences do not enter into it (Nielsen,
Chuang, Quantum Computation and Quantum Information, section 4.4 on deferred measurements,
https://doi.org/10.1017/CBO9780511976667).

    sx q0; measure q0 -> c0      Run(Gate sx, Noise); q0 at the end, through the map of its readout error
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from qiskit.circuit import (
    CASE_DEFAULT,
    BreakLoopOp,
    CircuitInstruction,
    ClassicalRegister,
    Clbit,
    ContinueLoopOp,
    ControlFlowOp,
    Delay,
    ForLoopOp,
    IfElseOp,
    Instruction,
    Parameter,
    QuantumCircuit,
    Store,
    SwitchCaseOp,
    WhileLoopOp,
)
from qiskit.circuit.classical import expr
from qiskit_aer.noise import NoiseModel, QuantumError

from qiskit_runtime_server.errors import InvalidInputError
from qiskit_runtime_server.simulation.noise import errors_of, gate_error, readout_matrix
from qiskit_runtime_server.simulation.statevector.channels import channel
from qiskit_runtime_server.simulation.statevector.classical import Bits, Expression, Scope
from qiskit_runtime_server.simulation.statevector.program import (
    Assign,
    BitMap,
    Block,
    Choice,
    For,
    Gate,
    Jump,
    Measure,
    Noise,
    Program,
    Reset,
    Run,
    Step,
    While,
)
from qiskit_runtime_server.simulation.statevector.state_port import Floats, Integers

_Item = Gate | Noise | Measure | Reset | Assign | Choice | While | For | Jump


def program(circuit: QuantumCircuit, noise: NoiseModel | None) -> Program:
    """Return `circuit` with its errors as a program.

    Raises:
        InvalidInputError: If it has a construct that cannot be simulated.
    """
    reader = _Reader(noise, tuple(circuit.parameters))
    items = list(reader.items(circuit, range(circuit.num_qubits), range(circuit.num_clbits)))
    ending = _Ending()
    kept = [item for item in reversed(items) if not ending.takes(item)][::-1]
    return Program(
        num_qubits=circuit.num_qubits,
        num_clbits=circuit.num_clbits,
        steps=_block(kept),
        ends=(*ending.clbit_of, *ending.others),
        clbits=tuple(ending.clbit_of.values()),
        maps=ending.maps(),
    )


@dataclass(frozen=True, slots=True)
class _Reader:
    """Reads instructions one by one."""

    noise: NoiseModel | None
    parameters: Sequence[Parameter]

    def items(self, circuit: QuantumCircuit, qubits: Sequence[int], clbits: Sequence[int]) -> Iterator[_Item]:
        """Yield what the instructions of `circuit` become, whose bits have these numbers."""
        number_of = dict(zip(circuit.qubits, qubits, strict=True))
        scope = dict(zip(circuit.clbits, clbits, strict=True))
        for instruction in circuit.data:
            yield from self._read(instruction, tuple(number_of[qubit] for qubit in instruction.qubits), scope)

    def _read(self, instruction: CircuitInstruction, qubits: tuple[int, ...], scope: Scope) -> Iterator[_Item]:
        operation = instruction.operation
        if isinstance(operation, BreakLoopOp | ContinueLoopOp):
            yield Jump(leaves=isinstance(operation, BreakLoopOp))
        elif isinstance(operation, ControlFlowOp):
            clbits = [scope[bit] for bit in instruction.clbits]
            yield from self._control_flow(operation, qubits, clbits, scope)
        elif isinstance(operation, Store):
            yield _assignment(operation, scope)
        elif instruction.name == "measure":
            yield from self._measure(qubits[0], scope[instruction.clbits[0]])
        elif instruction.name != "barrier":
            if instruction.name.startswith("reset") and len(qubits) == 1:
                # Devices have further kinds, as reset_2, with the same effect.
                yield Reset(qubit=qubits[0])
            elif not isinstance(operation, Delay):
                yield Gate.of(operation, qubits, self.parameters)
            yield from self._errors(operation, qubits)

    def _errors(self, operation: Instruction, qubits: tuple[int, ...]) -> Iterator[Noise]:
        errors = [] if self.noise is None else errors_of(self.noise, operation, qubits)
        yield from self._noise(errors, qubits)

    def _noise(self, errors: Iterable[QuantumError], qubits: tuple[int, ...]) -> Iterator[Noise]:
        for part in map(channel, errors):
            if not part.does_nothing:
                yield Noise(qubits=qubits, channel=part)

    def _measure(self, qubit: int, clbit: int) -> Iterator[_Item]:
        misread = None
        if self.noise is not None:
            error = gate_error(self.noise, ("measure", (qubit,)))
            yield from self._noise([] if error is None else [error], (qubit,))
            matrix = readout_matrix(self.noise, qubit)
            misread = None if matrix is None else BitMap(bits=(clbit,), chances=matrix.T)
        yield Measure(qubit=qubit, clbit=clbit, misread=misread)

    def _control_flow(
        self, operation: ControlFlowOp, qubits: Sequence[int], clbits: Sequence[int], scope: Scope
    ) -> Iterator[_Item]:
        def block(body: QuantumCircuit) -> Block:
            return _block(self.items(body, qubits, clbits))

        if isinstance(operation, IfElseOp):
            arms = tuple(block(body) for body in operation.blocks)
            yield Choice(arm=_first_or_second(Expression(operation.condition, scope), len(arms)), arms=arms)
        elif isinstance(operation, WhileLoopOp):
            yield While(condition=Expression(operation.condition, scope), body=block(operation.blocks[0]))
        elif isinstance(operation, ForLoopOp):
            indices, parameter, body = operation.params
            if parameter is None or parameter not in body.parameters:
                yield For(bodies=(block(body),) * len(indices))
            else:
                yield For(bodies=tuple(block(body.assign_parameters({parameter: index})) for index in indices))
        elif isinstance(operation, SwitchCaseOp):
            cases = operation.cases_specifier()
            labels, bodies = zip(*cases, strict=True) if cases else ((), ())
            yield Choice(arm=_case(Expression(operation.target, scope), labels), arms=tuple(map(block, bodies)))
        elif operation.name == "box":
            yield from self.items(operation.blocks[0], qubits, clbits)
        else:
            raise InvalidInputError(f"Control flow of the kind {operation.name} cannot be simulated.")


@dataclass(slots=True)
class _Ending:
    """What of a program is nothing but reading bits at its end; it is asked about the last instruction first.

    Attributes:
        clbit_of: The bit that a qubit is read into at the end.
        others: Qubits that are looked at because errors relate them to the former.
    """

    clbit_of: dict[int, int] = field(default_factory=dict)
    others: dict[int, None] = field(default_factory=dict)
    _found: list[tuple[tuple[int, ...], Floats]] = field(default_factory=list)
    _busy: set[int] = field(default_factory=set)
    _written: set[int] = field(default_factory=set)
    _closed: bool = False

    def takes(self, item: _Item) -> bool:
        """Whether `item` belongs to the ending; the program goes without it then."""
        if isinstance(item, Measure):
            return self._takes_measure(item)
        if isinstance(item, Noise):
            return self._takes_noise(item)
        if isinstance(item, Gate | Reset):
            self._busy.update(item.qubits if isinstance(item, Gate) else [item.qubit])
        else:
            # Decisions may read any bit.
            self._closed = True
        return False

    def maps(self) -> tuple[BitMap, ...]:
        """Return what happens to the outcomes, in order; its bits are places in an outcome."""
        places = {qubit: place for place, qubit in enumerate((*self.clbit_of, *self.others))}
        return tuple(
            BitMap(bits=tuple(places[qubit] for qubit in qubits), chances=chances)
            for qubits, chances in reversed(self._found)
        )

    def _takes_measure(self, item: Measure) -> bool:
        known = item.qubit in self.clbit_of or item.qubit in self.others or item.clbit in self._written
        self._written.add(item.clbit)
        if self._closed or known or item.qubit in self._busy:
            self._busy.add(item.qubit)
            return False
        self.clbit_of[item.qubit] = item.clbit
        if item.misread is not None:
            self._found.append(((item.qubit,), item.misread.chances))
        return True

    def _takes_noise(self, item: Noise) -> bool:
        if self._closed or not self._busy.isdisjoint(item.qubits):
            self._busy.update(item.qubits)
            return False
        if self.clbit_of.keys().isdisjoint(item.qubits) and self.others.keys().isdisjoint(item.qubits):
            # Nothing that follows looks at them.
            return True
        chances = item.channel.population_map
        if chances is None:
            self._busy.update(item.qubits)
            return False
        self.others.update(dict.fromkeys(qubit for qubit in item.qubits if qubit not in self.clbit_of))
        self._found.append((item.qubits, chances))
        return True


def _block(items: Iterable[_Item]) -> Block:
    """Return items as steps, gates and channels in a row as one run; the part before the first channel is its own."""
    steps: list[Step] = []
    row: list[Gate | Noise] = []

    def close() -> None:
        first = next((i for i, step in enumerate(row) if isinstance(step, Noise)), len(row))
        steps.extend(Run(steps=tuple(part)) for part in (row[:first], row[first:]) if part)
        row.clear()

    for item in items:
        if isinstance(item, Gate | Noise):
            row.append(item)
        else:
            close()
            steps.append(item)
    close()
    return tuple(steps)


def _first_or_second(condition: Expression, arms: int) -> Callable[[Bits], Integers]:
    def arm(bits: Bits) -> Integers:
        return np.where(condition.holds(bits), 0, 1 if arms > 1 else -1)

    return arm


def _case(target: Expression, labels: Sequence[Sequence[Any]]) -> Callable[[Bits], Integers]:
    """Return the choice of a switch: the first case with the value, or the default."""
    arm_of: dict[int, int] = {}
    default = -1
    for number, values in enumerate(labels):
        for value in values:
            if value is CASE_DEFAULT:
                default = number
            else:
                arm_of.setdefault(int(value), number)

    return lambda bits: target.number(bits, lambda value: arm_of.get(value, default))


def _assignment(store: Store, scope: Scope) -> Assign:
    """Return what a store does.

    Raises:
        InvalidInputError: If it writes to something other than bits, registers, and bits of these.
    """
    target, place = store.lvalue, None
    if isinstance(target, expr.Index):
        target, place = target.target, Expression(target.index, scope)
    resource = target.var if isinstance(target, expr.Var) else None
    if not isinstance(resource, Clbit | ClassicalRegister):
        raise InvalidInputError(f"A store into {store.lvalue} cannot be simulated.")
    clbits = (scope[resource],) if isinstance(resource, Clbit) else tuple(scope[bit] for bit in resource)
    return Assign(clbits=clbits, value=Expression(store.rvalue, scope), place=place)
