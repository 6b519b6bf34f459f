"""Writes circuits in such a way that Aer runs them rightly.

Aer 0.18 samples what it is given well, but not all that it can be given:

- It turns all errors into Kraus operators as soon as one of them is none but a mixture of unitaries, and fails for some
  channels with equal eigenvalues, such as depolarisation. So errors are instructions of the circuit here, those with
  Kraus operators of our own, and the noise model has nothing but errors of reading.
- It draws from mixtures of unitaries before a shot begins, once for all rounds of a while loop; from Kraus operators it
  draws when it comes to them.
- Of all measurements into one bit at the end of a circuit it applies the errors of reading to the last one's outcome.
  So those that are overwritten get a bit of their own.
- It makes room for a shot's classical bits up to the last one that is measured into when errors differ between shots,
  and ends the process when an instruction reads a bit behind that. So the last bit is always measured into.
- Of classical expressions it knows some, and of some it takes the wrong bits, as of all with more than 32 of them.
  `obstacle` tells which these are.
"""

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Any, Final

from qiskit.circuit import (
    ClassicalRegister,
    ControlFlowOp,
    ForLoopOp,
    Gate,
    Instruction,
    QuantumCircuit,
    SwitchCaseOp,
)
from qiskit.circuit.classical import expr, types
from qiskit.circuit.library import UnitaryGate
from qiskit.quantum_info import Kraus
from qiskit_aer.noise import NoiseModel, QuantumError

from qiskit_runtime_server.simulation.noise import errors_of
from qiskit_runtime_server.simulation.noise_models import readout_error
from qiskit_runtime_server.simulation.statevector.channels import channel

Steps = Sequence[tuple[Instruction, Sequence[int]]]
"""Instructions, and for each the places of its qubits among those of the instruction that they make together."""

_OPERATORS: Final = frozenset(
    {
        expr.Unary.Op.BIT_NOT,
        expr.Unary.Op.LOGIC_NOT,
        expr.Binary.Op.BIT_AND,
        expr.Binary.Op.BIT_OR,
        expr.Binary.Op.BIT_XOR,
        expr.Binary.Op.LOGIC_AND,
        expr.Binary.Op.LOGIC_OR,
        expr.Binary.Op.EQUAL,
        expr.Binary.Op.NOT_EQUAL,
        expr.Binary.Op.LESS,
        expr.Binary.Op.LESS_EQUAL,
        expr.Binary.Op.GREATER,
        expr.Binary.Op.GREATER_EQUAL,
    }
)
CLIFFORD_GATES: Final = frozenset(
    {"id", "x", "y", "z", "h", "s", "sdg", "sx", "sxdg", "cx", "cy", "cz", "swap", "ecr", "pauli"}
)
"""Those that Aer's stabilizer method knows by their names."""

# What an error may consist of to be drawn without a look at the state.
_MIXED: Final = CLIFFORD_GATES | {"reset", "unitary"}
_MOST_BITS: Final = 32


def written_out(circuit: QuantumCircuit, noise: NoiseModel | None) -> QuantumCircuit:
    """Return `circuit` with its errors, other than those of reading, as instructions.

    Args:
        circuit: What Aer has no `obstacle` to run.
        noise: Errors of its qubits, or None.

    Returns:
        A circuit of the same qubits and classical bits, with further bits at its end.
    """
    # Errors have unique ids, but no hash.
    known: dict[str, Instruction] = {}
    mixtures = not has_loop(circuit)

    def steps(operation: Instruction, qubits: tuple[int, ...]) -> Steps:
        errors = [] if noise is None else errors_of(noise, operation, qubits)
        for error in errors:
            if error.id not in known:
                known[error.id] = _instruction_of(error, mixtures=mixtures)
        found = [known[error.id] for error in errors]
        parts = [*found, operation] if operation.name == "measure" else [operation, *found]
        return [(part, range(len(qubits))) for part in parts]

    written = rewritten(circuit, range(circuit.num_qubits), steps)
    if not any(instruction.is_control_flow() for instruction in written.data):
        return _with_a_bit_for_each_measurement(written)
    written.add_register(ClassicalRegister(1, "last"))
    written.measure(0, written.num_clbits - 1)
    return written


def has_loop(circuit: QuantumCircuit) -> bool:
    """Whether there is a loop in `circuit` or in one of its blocks."""
    return any(
        instruction.name in {"while_loop", "for_loop"} or any(map(has_loop, instruction.operation.blocks))
        for instruction in circuit.data
        if instruction.is_control_flow()
    )


def _with_a_bit_for_each_measurement(circuit: QuantumCircuit) -> QuantumCircuit:
    """Return a circuit without control flow in which only the last measurement into a bit goes there."""
    measured = [instruction.clbits[0] for instruction in circuit.data if instruction.name == "measure"]
    spare = ClassicalRegister(len(measured) - len(set(measured)), "overwritten")
    if not spare:
        return circuit
    written = circuit.copy_empty_like()
    written.add_register(spare)
    free = iter(spare)
    left = Counter(measured)
    for instruction in circuit.data:
        if instruction.name == "measure":
            (clbit,) = instruction.clbits
            left[clbit] -= 1
            written.append(instruction.operation, instruction.qubits, [next(free) if left[clbit] else clbit])
        else:
            written.append(instruction)
    return written


def reading_errors(noise: NoiseModel | None, qubits: Sequence[int]) -> NoiseModel | None:
    """Return a model with nothing but the errors of `noise` when bits are read, for a circuit of these qubits."""
    if noise is None:
        return None
    model = NoiseModel()
    for place, qubit in enumerate(qubits):
        error = readout_error(noise, qubit)
        if error is not None:
            model.add_readout_error(error, [place], warnings=False)
    return None if model.is_ideal() else model


def leaves(circuit: QuantumCircuit, qubits: Sequence[int]) -> Iterator[tuple[Instruction, tuple[int, ...]]]:
    """Yield the instructions of `circuit`, whose qubits have these numbers, and of its blocks, without the blocks."""
    numbers = dict(zip(circuit.qubits, qubits, strict=True))
    for instruction in circuit.data:
        own = tuple(numbers[qubit] for qubit in instruction.qubits)
        if instruction.is_control_flow() and instruction.operation.blocks:
            for block in instruction.operation.blocks:
                yield from leaves(block, own)
        else:
            yield instruction.operation, own


def obstacle(circuit: QuantumCircuit) -> str | None:
    """Return what in the control flow of `circuit` Aer cannot run, in a user's words; None if there is nothing."""
    for instruction in circuit.data:
        if instruction.name == "store":
            return "store"
        if not instruction.is_control_flow():
            continue
        operation = instruction.operation
        found = _own_obstacle(operation) or next(filter(None, map(obstacle, operation.blocks)), None)
        if found:
            return found
    return None


def _own_obstacle(operation: ControlFlowOp) -> str | None:
    if isinstance(operation, SwitchCaseOp):
        computed = isinstance(operation.target, expr.Expr) and not isinstance(operation.target, expr.Var)
        return "a switch on a computed value" if computed else None
    if isinstance(operation, ForLoopOp):
        # The places to continue at are named after indices.
        indices = list(operation.params[0])
        return None if len(set(indices)) == len(indices) else "a for loop that takes an index twice"
    condition = getattr(operation, "condition", None)
    return _unknown_part(condition) if isinstance(condition, expr.Expr) else None


def _unknown_part(node: expr.Expr) -> str | None:
    """Return what in an expression Aer cannot evaluate; None if there is nothing."""
    if not isinstance(node.type, types.Bool | types.Uint) or getattr(node.type, "width", 1) > _MOST_BITS:
        return f"an expression of the type {node.type}"
    match node:
        case expr.Value() | expr.Var():
            return None
        case expr.Unary(op=op) if op in _OPERATORS:
            return _unknown_part(node.operand)
        case expr.Binary(op=op) if op in _OPERATORS:
            return _unknown_part(node.left) or _unknown_part(node.right)
        case expr.Unary() | expr.Binary():
            return f"the operator {node.op.name}"
        case _:
            # Of a cast Aer takes the lowest bit, or all bits, whatever the width is.
            return f"an expression of the kind {type(node).__name__}"


def rewritten(
    circuit: QuantumCircuit, qubits: Sequence[int], steps: Callable[[Instruction, tuple[int, ...]], Steps]
) -> QuantumCircuit:
    """Return `circuit` with `steps` in the place of each of its instructions, also of those in blocks.

    Args:
        circuit: Its qubits have the numbers `qubits`.
        qubits: As above.
        steps: Returns what becomes of an instruction on some qubits. Classical bits go to the step that is the
            instruction itself.
    """
    written = circuit.copy_empty_like()
    numbers = dict(zip(circuit.qubits, qubits, strict=True))
    for instruction in circuit.data:
        operation = instruction.operation
        own = tuple(numbers[qubit] for qubit in instruction.qubits)
        if isinstance(operation, ControlFlowOp) and operation.blocks:
            blocks = [rewritten(block, own, steps) for block in operation.blocks]
            written.append(operation.replace_blocks(blocks), instruction.qubits, instruction.clbits)
            continue
        for step, places in steps(operation, own):
            clbits = instruction.clbits if step is operation else ()
            written.append(step, [instruction.qubits[place] for place in places], clbits)
    return written


def is_mixture(error: QuantumError) -> bool:
    """Whether an error is drawn without a look at the state."""
    return all(part.name in _MIXED for circuit in error.circuits for part in circuit.data)


def in_known_gates(circuit: QuantumCircuit, known: Collection[str]) -> QuantumCircuit:
    """Return a circuit, whose angles are numbers, with matrices for gates that have no name in `known`."""

    def steps(operation: Instruction, qubits: tuple[int, ...]) -> Steps:
        new = isinstance(operation, Gate) and operation.name not in known
        return [(UnitaryGate(operation.to_matrix()) if new else operation, range(len(qubits)))]

    return rewritten(circuit, range(circuit.num_qubits), steps)


def _instruction_of(error: QuantumError, *, mixtures: bool) -> Instruction:
    if mixtures and is_mixture(error):
        return error.to_instruction()
    # Aer tries one after the other: the one that is most likely comes first.
    operators: list[Any] = list(channel(error).kraus[::-1])
    return Kraus(operators).to_instruction()
