"""Writes a Clifford circuit and its errors as a program of levels: what happens to all qubits at a time.

An instruction stands on the level behind the last one of each of its bits, so a level's instructions share no bits and
are done together. Gates of one qubit wait until something else happens to it, and become one; Pauli gates only count
in the reference, as they change frames by signs alone (Knill, 2005, https://doi.org/10.1038/nature03350):

    rz(pi/2) q0; sx q0; rz(pi/2) q0; x q1; cz q0, q1      level 0: one gate on q0; level 1: cz
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray
from qiskit.circuit import CircuitInstruction, Delay, IfElseOp, Instruction, ParameterExpression, QuantumCircuit, Qubit
from qiskit_aer.noise import NoiseModel

from qiskit_runtime_server.errors import InternalError
from qiskit_runtime_server.simulation.clifford.feed_forward import Condition, condition_of, flips_of
from qiskit_runtime_server.simulation.clifford.pauli_noise import PauliChannel, PauliErrors
from qiskit_runtime_server.simulation.clifford.recognition import CliffordGate, clifford_gate, with_values

Action = NDArray[np.bool_]
_Part: TypeAlias = "CliffordGate | Instruction"
_ONE: Final = np.eye(2, dtype=np.bool_).tobytes()
_KEPT: Final = 4096

ALWAYS: Final = -1
"""The number of the condition that always holds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Gates:
    """Gates of one level that do the same.

    Attributes:
        action: Shape ``(2k, 2k)``; see `CliffordGate`.
        qubits: Shape ``(k, gates)``.
    """

    action: Action
    qubits: NDArray[np.intp]


@dataclass(slots=True, kw_only=True)
class Level:
    """What happens at a time.

    Attributes:
        gates: Of all kinds.
        resets: Qubits.
        measured: Numbers of measurements in the program.
        decided: Numbers of conditions in the program, which are evaluated before all else.
        flips: Pauli operators under conditions, which come with the errors.
    """

    gates: list[Gates] = field(default_factory=list)
    resets: list[int] = field(default_factory=list)
    measured: list[int] = field(default_factory=list)
    decided: list[int] = field(default_factory=list)
    flips: list["Flip"] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class Flip:
    """A Pauli operator that happens where a condition of the program holds: X, Z, or both for Y."""

    condition: int
    qubit: int
    x: bool
    z: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """A measurement.

    Attributes:
        misread: The chances that 0 is read as 1, and 1 as 0.
        last: Whether nothing happens to the qubit afterwards.
    """

    qubit: int
    clbit: int
    misread: tuple[float, float]
    last: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Error:
    """A Pauli channel, before all else on its level.

    Attributes:
        condition: The number of the one under which it happens; `ALWAYS` without one.
    """

    qubits: tuple[int, ...]
    channel: PauliChannel
    level: int
    condition: int = ALWAYS


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """A circuit with numbers for angles, ready to run.

    Attributes:
        errors: Sorted by their levels.
        conditions: Of classical bits.
        reference: The circuit without errors, for Stim.
    """

    num_qubits: int
    num_clbits: int
    levels: Sequence[Level]
    measurements: Sequence[Measurement]
    errors: Sequence[Error]
    conditions: Sequence[Condition]
    reference: str


def is_exact(circuit: QuantumCircuit, noise: NoiseModel | None) -> bool:
    """Return whether all errors of a circuit are Pauli channels, so that its `Lowering` twirls none.

    Args:
        circuit: As for `Lowering`.
        noise: As there.
    """
    errors = PauliErrors(noise)
    qubits = {qubit: number for number, qubit in enumerate(circuit.qubits)}
    return noise is None or all(_all_exact(errors, part, qubits) for part in circuit.data)


def _all_exact(errors: PauliErrors, part: CircuitInstruction, qubits: Mapping[Qubit, int]) -> bool:
    """Return the same of an instruction and of those in its blocks."""
    operation, own = part.operation, tuple(qubits[qubit] for qubit in part.qubits)
    if isinstance(operation, IfElseOp):
        return all(
            _all_exact(errors, inner, dict(zip(block.qubits, own, strict=True)))
            for block in operation.blocks
            for inner in block.data
        )
    channel = errors.of(operation, own)
    return channel is None or channel.exact


class Lowering:
    """A circuit whose angles are numbers or bare parameters, as far as it can be written without their values."""

    def __init__(self, circuit: QuantumCircuit, noise: NoiseModel | None) -> None:
        """Read a circuit, without control flow other than `is_carried` allows.

        Args:
            circuit: As in `SampleTask`.
            noise: Errors of its qubits, or None.
        """
        self.num_qubits, self.num_clbits = circuit.num_qubits, circuit.num_clbits
        self._columns: Mapping[object, int] = {p: column for column, p in enumerate(circuit.parameters)}
        self._noise = PauliErrors(noise)
        self._next = [0] * circuit.num_qubits
        self._next_of_bit = [0] * circuit.num_clbits
        self._waiting: list[list[_Part]] = [[] for _ in range(circuit.num_qubits)]
        self._gates: list[tuple[int, tuple[int, ...], tuple[_Part, ...]]] = []
        self._resets: list[tuple[int, int]] = []
        self._measurements: list[tuple[int, Measurement]] = []
        # The last measurement of each qubit to which nothing has happened since.
        self._measured: dict[int, int] = {}
        self._errors: list[Error] = []
        self._conditions: list[tuple[int, Condition]] = []
        self._flips: list[tuple[int, Flip]] = []
        self._reference: list[tuple[_Part | str, tuple[int, ...]]] = []
        qubits = {qubit: number for number, qubit in enumerate(circuit.qubits)}
        clbits = {clbit: number for number, clbit in enumerate(circuit.clbits)}
        self._numbers = clbits
        for instruction in circuit.data:
            own = tuple(qubits[qubit] for qubit in instruction.qubits)
            self._read(instruction.operation, own, [clbits[clbit] for clbit in instruction.clbits])
        self._errors.sort(key=lambda error: error.level)

    @property
    def depth(self) -> int:
        """How many levels there are; errors and decisions may stand behind the last gate."""
        places = [place for place, _ in (*self._conditions, *self._flips)]
        return max(*self._next, *(place + 1 for place in places), 0)

    @property
    def num_gates(self) -> int:
        """How many gates and errors there are."""
        return len(self._gates) + len(self._errors)

    def program(self, values: Sequence[float]) -> Program:
        """Return the program for some values of the parameters, with which all gates are Clifford gates."""
        levels = [Level() for _ in range(self.depth)]
        groups: list[dict[bytes, tuple[Action, list[tuple[int, ...]]]]] = [{} for _ in levels]
        bound: dict[int, CliffordGate] = {}
        for level, qubits, parts in self._gates:
            action = _product(tuple(self._bound(part, values, bound).action.tobytes() for part in parts))
            groups[level].setdefault(action.tobytes(), (action, []))[1].append(qubits)
        for every, group in zip(levels, groups, strict=True):
            every.gates = [Gates(action=action, qubits=np.array(qubits).T) for action, qubits in group.values()]
        for number, (place, _) in enumerate(self._measurements):
            levels[place].measured.append(number)
        for place, qubit in self._resets:
            levels[place].resets.append(qubit)
        for number, (place, _) in enumerate(self._conditions):
            levels[place].decided.append(number)
        for place, flip in self._flips:
            levels[place].flips.append(flip)
        lines = [
            part.format(*qubits) if isinstance(part, str) else self._bound(part, values, bound).stim.format(*qubits)
            for part, qubits in self._reference
        ]
        return Program(
            num_qubits=self.num_qubits,
            num_clbits=self.num_clbits,
            levels=levels,
            measurements=[measurement for _, measurement in self._measurements],
            errors=self._errors,
            conditions=[condition for _, condition in self._conditions],
            reference="\n".join(lines),
        )

    def _bound(self, part: _Part, values: Sequence[float], known: dict[int, CliffordGate]) -> CliffordGate:
        if isinstance(part, CliffordGate):
            return part
        if id(part) not in known:
            operation = with_values(part, self._columns, values)
            gate = clifford_gate(operation)
            if gate is None:
                raise InternalError(f"{part.name} with the angles {operation.params} is no Clifford gate.")
            known[id(part)] = gate
        return known[id(part)]

    def _read(self, operation: Instruction, qubits: tuple[int, ...], clbits: Sequence[int]) -> None:
        name = operation.name
        if name == "barrier":
            return
        if name == "measure":
            self._measure(qubits[0], clbits[0])
            return
        if isinstance(operation, IfElseOp):
            self._decide(operation, qubits)
            return
        if name.startswith("reset") and len(qubits) == 1:
            # Devices have further kinds, as reset_2, with the same effect.
            self._waiting[qubits[0]].clear()
            self._resets.append((self._level(qubits), qubits[0]))
            self._reference.append(("R {0}", qubits))
        elif not isinstance(operation, Delay):
            self._gate(operation, qubits)
        self._err(self._noise.of(operation, qubits), qubits)

    def _decide(self, operation: IfElseOp, qubits: tuple[int, ...]) -> None:
        """Read Pauli operators, and their errors, that happen under a condition."""
        condition = condition_of(operation.condition, self._numbers)
        level = max((self._next_of_bit[bit] for bit in condition.bits), default=0)
        for bit in condition.bits:
            self._next_of_bit[bit] = level
        for block, own in zip(operation.blocks, (condition, condition.negated()), strict=False):
            number = len(self._conditions)
            self._conditions.append((level, own))
            places = dict(zip(block.qubits, qubits, strict=True))
            for part in block.data:
                if part.name != "barrier":
                    self._happen(part.operation, tuple(places[qubit] for qubit in part.qubits), number)

    def _happen(self, operation: Instruction, qubits: tuple[int, ...], number: int) -> None:
        """Read an instruction that happens under the condition of this number."""
        level, _ = self._conditions[number]
        gate = None if isinstance(operation, Delay) else clifford_gate(operation)
        for place, x, z in [] if gate is None else flips_of(gate, len(qubits)):
            self._flush((qubits[place],))
            self._next[qubits[place]] = max(level, self._next[qubits[place]])
            flip = Flip(condition=number, qubit=qubits[place], x=x, z=z)
            self._flips.append((self._next[qubits[place]], flip))
        self._err(self._noise.of(operation, qubits), qubits, condition=number, at_least=level)

    def _gate(self, operation: Instruction, qubits: tuple[int, ...]) -> None:
        varies = any(isinstance(angle, ParameterExpression) for angle in operation.params)
        part: _Part | None = operation if varies else clifford_gate(operation)
        if part is None:
            raise InternalError(f"{operation.name} is no Clifford gate.")
        self._reference.append((part, qubits))
        if isinstance(part, CliffordGate) and part.keeps:
            return
        if len(qubits) == 1:
            self._waiting[qubits[0]].append(part)
        else:
            self._flush(qubits)
            self._gates.append((self._level(qubits), qubits, (part,)))

    def _err(
        self, channel: PauliChannel | None, qubits: tuple[int, ...], *, condition: int = ALWAYS, at_least: int = 0
    ) -> None:
        if channel is not None:
            self._flush(qubits)
            # Errors come first on their level, so they may stand where the next gates do.
            level = max(at_least, *(self._next[qubit] for qubit in qubits))
            for qubit in qubits:
                self._next[qubit] = level
            self._errors.append(Error(qubits=qubits, channel=channel, level=level, condition=condition))

    def _measure(self, qubit: int, clbit: int) -> None:
        channel, misread = self._noise.of_measurement(qubit)
        self._err(channel, (qubit,))
        self._flush((qubit,))
        level = self._level((qubit,), at_least=self._next_of_bit[clbit])
        self._next_of_bit[clbit] = level + 1
        self._measured[qubit] = len(self._measurements)
        self._measurements.append((level, Measurement(qubit=qubit, clbit=clbit, misread=misread, last=True)))
        self._reference.append(("M {0}", (qubit,)))

    def _level(self, qubits: tuple[int, ...], *, at_least: int = 0) -> int:
        level = max(at_least, *(self._next[qubit] for qubit in qubits))
        for qubit in qubits:
            self._next[qubit] = level + 1
            if qubit in self._measured:
                number = self._measured.pop(qubit)
                place, measurement = self._measurements[number]
                self._measurements[number] = place, replace(measurement, last=False)
        return level

    def _flush(self, qubits: tuple[int, ...]) -> None:
        for qubit in qubits:
            parts = tuple(self._waiting[qubit])
            self._waiting[qubit].clear()
            fixed = [part.action.tobytes() for part in parts if isinstance(part, CliffordGate)]
            if len(fixed) == len(parts) and (not parts or _product(tuple(fixed)).tobytes() == _ONE):
                continue
            self._gates.append((self._level((qubit,)), (qubit,), parts))


# Circuits are made of few different gates.
@lru_cache(maxsize=_KEPT)
def _product(actions: tuple[bytes, ...]) -> Action:
    """Return what gates of the same qubits do one after the other, given by the elements of their actions."""
    first, *others = (np.frombuffer(action, dtype=np.bool_) for action in actions)
    size = math.isqrt(len(first))
    product = first.reshape(size, size).astype(np.uint8)
    for action in others:
        product = action.reshape(size, size).astype(np.uint8) @ product % 2
    return product.astype(np.bool_)
