"""What a circuit does, exactly: a density matrix for each content of the classical memory.

The engine is tested against this module, so nothing of it may be used here. A run keeps *branches*: for each classical
memory that is possible so far (all bits and all variables) an unnormalised density matrix, whose trace is the
probability of that memory. A gate, an error or a delay acts on each matrix; a measurement splits each branch in two,
and a bit that may be misread mixes them; what the memory decides (if, switch, loops) parts the branches, runs each part
and joins them again. Branches with the same memory are added: nothing can tell them apart any more.

Six qubits and a few hundred branches take about a second, ten qubits and a few branches half a minute.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import reduce
from math import prod
from uuid import UUID

import numpy as np
from numpy.typing import NDArray
from qiskit.circuit import (
    BoxOp,
    BreakLoopOp,
    ClassicalRegister,
    Clbit,
    ContinueLoopOp,
    ControlFlowOp,
    Delay,
    ForLoopOp,
    IfElseOp,
    Instruction,
    QuantumCircuit,
    Reset,
    Store,
    SwitchCaseOp,
    WhileLoopOp,
)
from qiskit.circuit.controlflow import CASE_DEFAULT
from qiskit.exceptions import QiskitError
from qiskit.quantum_info import Operator

from kit.quantum.exact_expressions import Memory, Value
from kit.quantum.exact_noise import Channel, Errors, Matrix
from kit.quantum.kronecker import kronecker_product

MAX_QUBITS = 10
MAX_ROUNDS = 2000
"""Of a while loop."""
NEGLIGIBLE = 1e-12
"""The weight that a while loop may still have when it is left."""

Key = tuple[int, tuple[tuple[UUID, Value], ...]]
"""A classical memory: all bits in one int, the first one lowest, and the variables, sorted by their identifiers."""

Branches = dict[Key, Matrix]

Observable = Mapping[str, float]
"""Coefficients of products of Pauli matrices and projectors (0, 1, +, -, r, l); qubit 0 is the rightmost letter."""

_PROJECTORS = tuple(np.diag(diagonal).astype(complex) for diagonal in ([1, 0], [0, 1]))
_RESET = Channel(kraus=(_PROJECTORS[0], np.array([[0, 1], [0, 0]], dtype=complex)))
_LETTERS: Mapping[str, Matrix] = {
    "I": np.eye(2, dtype=complex),
    "X": np.array([[0, 1], [1, 0]], dtype=complex),
    "Y": np.array([[0, -1j], [1j, 0]], dtype=complex),
    "Z": np.array([[1, 0], [0, -1]], dtype=complex),
    "+": np.array([[0.5, 0.5], [0.5, 0.5]], dtype=complex),
    "-": np.array([[0.5, -0.5], [-0.5, 0.5]], dtype=complex),
    "r": np.array([[0.5, -0.5j], [0.5j, 0.5]], dtype=complex),
    "l": np.array([[0.5, 0.5j], [-0.5j, 0.5]], dtype=complex),
    "0": _PROJECTORS[0],
    "1": _PROJECTORS[1],
}


class EndlessLoopError(RuntimeError):
    """A while loop has not ended after `MAX_ROUNDS`."""


def distribution(circuit: QuantumCircuit, errors: Errors | None = None) -> dict[int, float]:
    """Return the probability of each content of the circuit's classical bits, the first bit lowest.

    Args:
        circuit: Has no unbound parameters. Its qubits are the first ones that `errors` knows; idle ones cost nothing.
        errors: What goes wrong; by default nothing.

    Raises:
        EndlessLoopError: If a while loop does not end.
        UndefinedError: If an expression has no value.
        NotImplementedError: If an instruction is none that this module knows.
    """
    found: dict[int, float] = defaultdict(float)
    for (bits, _), matrix in _final(circuit, errors, _used(circuit)).items():
        found[bits] += float(np.trace(matrix).real)
    return dict(found)


def state(circuit: QuantumCircuit, errors: Errors | None = None) -> Matrix:
    """Return the density matrix of all qubits at the end, the classical memory traced out, shape ``(2^n, 2^n)``.

    Arguments and errors as in `distribution`; no qubit is left out.
    """
    branches = _final(circuit, errors, range(circuit.num_qubits))
    mixture: Matrix = np.sum(list(branches.values()), axis=0)
    return mixture


def expectation_value(matrix: Matrix, observable: Observable) -> float:
    """Return the value of `observable` in a state."""
    return float(np.trace(matrix @ _matrix(observable)).real)


def shot_variance(matrix: Matrix, observable: Observable) -> float:
    """Return the variance of one shot that measures all terms of `observable` at once; they must commute."""
    operator = _matrix(observable)
    return float(np.trace(matrix @ operator @ operator).real) - expectation_value(matrix, observable) ** 2


def measured_values(
    circuit: QuantumCircuit,
    terms: Observable,
    errors: Errors | None = None,
    rotations: Mapping[str, Sequence[Instruction]] | None = None,
) -> tuple[float, float]:
    """Return mean and variance of one shot that measures `terms` as a device does, its errors included.

    Args:
        circuit: As in `distribution`.
        terms: Agree on the basis of every qubit. Labels have a letter for each qubit of the circuit.
        errors: Also of the rotations and of the measurements.
        rotations: What turns X and Y into Z.
    """
    bases = _bases(terms)
    shown = circuit.copy()
    register = ClassicalRegister(len(bases), "shown")
    shown.add_register(register)
    for clbit, (qubit, basis) in zip(register, bases.items(), strict=True):
        for gate in (rotations or {}).get(basis, ()):
            shown.append(gate, [qubit])
        shown.measure(qubit, clbit)
    places = {qubit: circuit.num_clbits + place for place, qubit in enumerate(bases)}
    outcomes = distribution(shown, errors)
    values = np.array([_value(terms, bits, places) for bits in outcomes])
    chances = np.array(list(outcomes.values()))
    mean = float(chances @ values)
    return mean, float(chances @ (values - mean) ** 2)


def _bases(terms: Observable) -> dict[int, str]:
    """Return X, Y or Z for each qubit that a term looks at."""
    kinds = {"X": "X", "+": "X", "-": "X", "Y": "Y", "r": "Y", "l": "Y", "Z": "Z", "0": "Z", "1": "Z"}
    found: dict[int, str] = {}
    for label in terms:
        for qubit, letter in _letters(label):
            if found.setdefault(qubit, kinds[letter]) != kinds[letter]:
                message = f"{', '.join(terms)} need more than one measurement."
                raise ValueError(message)
    return found


def _value(terms: Observable, bits: int, places: Mapping[int, int]) -> float:
    """Return what one shot says; `places` are those of the measured bits of each qubit."""
    return sum(
        c * prod(_factor(letter, bits >> places[qubit] & 1) for qubit, letter in _letters(label))
        for label, c in terms.items()
    )


def _letters(label: str) -> list[tuple[int, str]]:
    return [(qubit, letter) for qubit, letter in enumerate(reversed(label)) if letter != "I"]


def _factor(letter: str, bit: int) -> int:
    if letter in "XYZ":
        return 1 - 2 * bit
    return bit if letter in "-l1" else 1 - bit


def _matrix(observable: Observable) -> Matrix:
    terms = (c * kronecker_product(_LETTERS[letter] for letter in label) for label, c in observable.items())
    matrix: Matrix = np.sum(list(terms), axis=0)
    return matrix


def _used(circuit: QuantumCircuit) -> list[int]:
    """Return the qubits that something happens to."""
    found: set[int] = set()
    for instruction in circuit.data:
        if instruction.name == "barrier":
            continue
        qubits = [circuit.find_bit(qubit).index for qubit in instruction.qubits]
        blocks = getattr(instruction.operation, "blocks", None)
        places = range(len(qubits)) if blocks is None else {place for block in blocks for place in _used(block)}
        found |= {qubits[place] for place in places}
    return sorted(found)


def _final(circuit: QuantumCircuit, errors: Errors | None, qubits: Iterable[int]) -> Branches:
    qubits = list(qubits)
    if len(qubits) > MAX_QUBITS:
        message = f"{len(qubits)} qubits are too many for density matrices; the most are {MAX_QUBITS}."
        raise ValueError(message)
    if circuit.num_input_vars or circuit.num_stretches or circuit.parameters:
        message = "The circuit has parameters, input variables or stretches without values."
        raise ValueError(message)
    ground = np.zeros((2 ** len(qubits),) * 2, dtype=complex)
    ground[0, 0] = 1
    run = _Run(errors or Errors(), {qubit: place for place, qubit in enumerate(qubits)})
    flow = run.block(circuit, range(circuit.num_qubits), range(circuit.num_clbits), {(0, ()): ground})
    return flow.on


@dataclass(kw_only=True)
class _Flow:
    """Branches by where they go next: on, or out of the loop by break, or to its next round by continue."""

    on: Branches
    broken: Branches = field(default_factory=dict)
    continued: Branches = field(default_factory=dict)

    def jumps(self, other: "_Flow") -> None:
        """Take over the branches of a part that leave the loop."""
        self.broken = _joined(self.broken, other.broken)
        self.continued = _joined(self.continued, other.continued)


@dataclass(frozen=True, kw_only=True)
class _Scope:
    """What a block calls its bits.

    Attributes:
        qubits: Numbers in the whole circuit, in the order of the block's own.
        clbits: The number in the whole circuit of each bit of the block.
    """

    qubits: Mapping[object, int]
    clbits: Mapping[Clbit, int]

    def memory(self, key: Key) -> Memory:
        bits, variables = key
        return Memory(bits, dict(variables), self.clbits)


def _joined(*parts: Branches) -> Branches:
    found: Branches = {}
    for part in parts:
        for key, matrix in part.items():
            found[key] = found[key] + matrix if key in found else matrix
    return found


def _weight(branches: Branches) -> float:
    return sum(float(np.trace(matrix).real) for matrix in branches.values())


class _Run:
    """Runs blocks; `places` are the axes of the qubits that are simulated."""

    def __init__(self, errors: Errors, places: Mapping[int, int]) -> None:
        self._errors = errors
        self._places = places

    def block(self, body: QuantumCircuit, qubits: Sequence[int], clbits: Sequence[int], branches: Branches) -> _Flow:
        scope = _Scope(
            qubits=dict(zip(body.qubits, qubits, strict=True)), clbits=dict(zip(body.clbits, clbits, strict=True))
        )
        flow = _Flow(on=branches)
        for instruction in body.data:
            if not flow.on:
                break
            numbers = tuple(scope.qubits[qubit] for qubit in instruction.qubits)
            written = tuple(scope.clbits[clbit] for clbit in instruction.clbits)
            after = self._instruction(instruction.operation, numbers, written, scope, flow.on)
            flow.on = after.on
            flow.jumps(after)
        own = {variable.var for variable in body.iter_declared_vars()}
        return _Flow(
            on=_without(flow.on, own), broken=_without(flow.broken, own), continued=_without(flow.continued, own)
        )

    def _instruction(
        self,
        operation: Instruction,
        qubits: tuple[int, ...],
        clbits: tuple[int, ...],
        scope: _Scope,
        branches: Branches,
    ) -> _Flow:
        if isinstance(operation, ControlFlowOp | BreakLoopOp | ContinueLoopOp):
            return self._control_flow(operation, qubits, clbits, scope, branches)
        if isinstance(operation, Store):
            return _Flow(on=_stored(operation, scope, branches))
        if operation.name == "barrier":
            return _Flow(on=branches)
        if operation.name.startswith("measure"):
            return _Flow(on=self._measured(operation, qubits, clbits, branches))
        return _Flow(on=self._evolved(operation, qubits, branches))

    def _control_flow(
        self,
        operation: Instruction,
        qubits: tuple[int, ...],
        clbits: tuple[int, ...],
        scope: _Scope,
        branches: Branches,
    ) -> _Flow:
        if isinstance(operation, BreakLoopOp):
            return _Flow(on={}, broken=branches)
        if isinstance(operation, ContinueLoopOp):
            return _Flow(on={}, continued=branches)
        if isinstance(operation, ForLoopOp):
            return self._for(operation, qubits, clbits, branches)
        if isinstance(operation, WhileLoopOp):
            return self._while(operation, qubits, clbits, scope, branches)
        return self._chosen(operation, qubits, clbits, scope, branches)

    def _evolved(self, operation: Instruction, qubits: tuple[int, ...], branches: Branches) -> Branches:
        channels = [] if isinstance(operation, Delay) else [_channel(operation)]
        return self._applied([*channels, *self._errors.beside(operation, qubits)], qubits, branches)

    def _applied(self, channels: Sequence[Channel], qubits: Sequence[int], branches: Branches) -> Branches:
        if not channels:
            return branches
        # One after another is one map of these qubits, which is small beside the matrices.
        together = reduce(_then, (channel.superoperator for channel in channels))
        stack = _act(together, [self._places[qubit] for qubit in qubits], np.stack(list(branches.values())))
        return dict(zip(branches, stack, strict=True))

    def _measured(
        self, operation: Instruction, qubits: tuple[int, ...], clbits: tuple[int, ...], branches: Branches
    ) -> Branches:
        (qubit,), (clbit,) = qubits, clbits
        before = self._errors.beside(operation, qubits)
        misread = self._errors.misread(qubit)
        found: list[Branches] = []
        for there, projector in enumerate(_PROJECTORS):
            seen = self._applied([*before, Channel(kraus=(projector,))], qubits, branches)
            for read, chance in enumerate(misread[there].tolist()):
                found += [{(_with_bit(bits, clbit, read), v): chance * m} for (bits, v), m in seen.items()]
        return {key: matrix for key, matrix in _joined(*found).items() if np.trace(matrix).real > 0}

    def _chosen(
        self,
        operation: BoxOp | IfElseOp | SwitchCaseOp,
        qubits: tuple[int, ...],
        clbits: tuple[int, ...],
        scope: _Scope,
        branches: Branches,
    ) -> _Flow:
        """Run the block that each branch chooses, or none."""
        parts: dict[int | None, Branches] = defaultdict(dict)
        for key, matrix in branches.items():
            parts[_choice(operation, scope.memory(key))][key] = matrix
        flow = _Flow(on=parts.pop(None, {}))
        for place, part in parts.items():
            after = self.block(operation.blocks[place], qubits, clbits, part)
            flow.on = _joined(flow.on, after.on)
            flow.jumps(after)
        return flow

    def _for(self, loop: ForLoopOp, qubits: tuple[int, ...], clbits: tuple[int, ...], branches: Branches) -> _Flow:
        indices, parameter, body = loop.params
        left: Branches = {}
        for index in indices:
            if not branches:
                break
            bound = parameter is not None and parameter in body.parameters
            this = body.assign_parameters({parameter: index}) if bound else body
            after = self.block(this, qubits, clbits, branches)
            branches, left = _joined(after.on, after.continued), _joined(left, after.broken)
        return _Flow(on=_joined(branches, left))

    def _while(
        self, loop: WhileLoopOp, qubits: tuple[int, ...], clbits: tuple[int, ...], scope: _Scope, branches: Branches
    ) -> _Flow:
        left: Branches = {}
        for _ in range(MAX_ROUNDS):
            inside = {key: m for key, m in branches.items() if scope.memory(key).holds(loop.condition)}
            left = _joined(left, {key: m for key, m in branches.items() if key not in inside})
            if _weight(inside) < NEGLIGIBLE:
                return _Flow(on=left)
            after = self.block(loop.blocks[0], qubits, clbits, inside)
            branches, left = _joined(after.on, after.continued), _joined(left, after.broken)
        message = f"A while loop still has the weight {_weight(branches)} after {MAX_ROUNDS} rounds."
        raise EndlessLoopError(message)


def _choice(operation: BoxOp | IfElseOp | SwitchCaseOp, memory: Memory) -> int | None:
    """Return the number of the block that runs."""
    if isinstance(operation, BoxOp):
        return 0
    if isinstance(operation, IfElseOp):
        return 0 if memory.holds(operation.condition) else (1 if len(operation.blocks) > 1 else None)
    value = memory.classical(operation.target)
    for place, (values, _) in enumerate(operation.cases_specifier()):
        if any(case is CASE_DEFAULT or int(case) == value for case in values):
            return place
    return None


def _stored(operation: Store, scope: _Scope, branches: Branches) -> Branches:
    found = []
    for key, matrix in branches.items():
        memory = scope.memory(key)
        memory.store(operation.lvalue, memory.value(operation.rvalue))
        found.append({(memory.bits, _ordered(memory.variables.items())): matrix})
    return _joined(*found)


def _without(branches: Branches, variables: set[UUID]) -> Branches:
    """Return branches after the end of a block, whose variables nothing can read any more."""
    if not variables:
        return branches
    parts = [
        {(bits, _ordered((name, value) for name, value in values if name not in variables)): matrix}
        for (bits, values), matrix in branches.items()
    ]
    return _joined(*parts)


def _ordered(variables: Iterable[tuple[UUID, Value]]) -> tuple[tuple[UUID, Value], ...]:
    return tuple(sorted(variables, key=lambda pair: pair[0].int))


def _with_bit(bits: int, place: int, value: int) -> int:
    return bits & ~(1 << place) | value << place


def _channel(operation: Instruction) -> Channel:
    if isinstance(operation, Reset):
        return _RESET
    try:
        return Channel(kraus=(np.asarray(Operator(operation).data),))
    except QiskitError as error:
        message = f"The reference does not know {operation.name}."
        raise NotImplementedError(message) from error


def _then(first: Matrix, second: Matrix) -> Matrix:
    """Return the superoperator of one map after another, shapes as in `Channel.superoperator`."""
    size = first.shape[0] ** 2
    after: Matrix = second.reshape(size, size) @ first.reshape(size, size)
    return after.reshape(first.shape)


def _act(superoperator: Matrix, places: Sequence[int], stack: NDArray[np.complex128]) -> NDArray[np.complex128]:
    """Apply a superoperator to some qubits of each matrix of `stack`, shape ``(m, 2^n, 2^n)``."""
    width, size = stack.shape[1].bit_length() - 1, len(places)
    # The highest qubit has the first axis.
    rows = [width - place for place in reversed(places)]
    axes = [*rows, *(width + row for row in rows)]
    tensor = stack.reshape(len(stack), *(2,) * 2 * width)
    parted = superoperator.reshape((2,) * 4 * size)
    acted = np.tensordot(parted, tensor, axes=(range(2 * size, 4 * size), axes))
    return np.moveaxis(acted, range(2 * size), axes).reshape(stack.shape)
