"""Whether circuits, parameter values and shots fit a device, by the rules that clients apply before they send a job."""

import keyword
import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain, islice, product
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from qiskit.circuit import ClassicalRegister, ForLoopOp, Gate, Parameter, ParameterExpression, QuantumCircuit, Qubit
from qiskit.primitives.containers.bindings_array import BindingsArray

from qiskit_runtime_server.errors import InvalidInputError, NotIsaError, TooManyShotsError, UnsupportedOptionError
from qiskit_runtime_server.programs.device.boxes import check_box
from qiskit_runtime_server.programs.device.device import Device
from qiskit_runtime_server.programs.options.options import Options
from qiskit_runtime_server.simulation.angles import evaluated
from qiskit_runtime_server.simulation.components import MAX_INSTRUCTIONS

MAX_RZZ_ANGLE: Final = np.pi / 2 + 1e-10

# These act on no qubits of their own; a device that runs the loop around it can leave it.
_ALWAYS: Final = frozenset({"barrier", "store", "break_loop", "continue_loop"})
# What basis_gates does not list as it is no gate.
_NO_GATES: Final = _ALWAYS | {"measure", "reset", "delay", "if_else", "for_loop", "while_loop", "switch_case", "box"}
# What users call the control flow that only some devices have.
_CONTROL_FLOW: Final = {
    "if_else": "if statements",
    "for_loop": "for loops",
    "while_loop": "while loops",
    "switch_case": "switch statements",
}
# Attributes of the result's data bin.
_RESERVED: Final = frozenset({"keys", "values", "items", "shape", "ndim", "size", "_data", "_shape"})


def check_circuit(circuit: QuantumCircuit, device: Device, options: Options, where: str) -> None:
    """Check that every instruction of `circuit`, also in control flow, is one of the device that the options allow.

    Boxes run on every device: only what is in them has to be of the device.

    Raises:
        NotIsaError: If one is not; the message names it and its qubits.
        InvalidInputError: If a box asks for more than to run its contents, or the circuit is damaged.
    """
    if circuit.num_qubits > device.num_qubits:
        raise NotIsaError(
            f"{where}: the circuit has {circuit.num_qubits} qubits, {device.name} has {device.num_qubits}. "
            + _advice(device)
        )
    seen: set[tuple[str, tuple[int, ...]]] = set()
    for name, qubits, operation in _instructions(circuit, {qubit: i for i, qubit in enumerate(circuit.qubits)}):
        if name == "box" and operation is not None:
            check_box(operation, where)
            continue
        if operation is not None and name == "rzz":
            _check_rzz(operation.params[0], qubits, device, where)
        if isinstance(operation, Gate):
            _check_own_gate(operation, qubits, device, where)
        if (name, qubits) not in seen:
            seen.add((name, qubits))
            _check_instruction(name, qubits, device, where)
            _check_restrictions(name, qubits, options, where)


def check_rzz_values(circuit: QuantumCircuit, values: BindingsArray, device: Device, where: str) -> None:
    """Check that no angle of an rzz gate leaves its range for any parameter set, in any round of a loop.

    Raises:
        NotIsaError: If one does; the message names the values that lead to it.
        InvalidInputError: If an angle has no value, or loops have too many rounds to tell.
    """
    if not _calibrated(device):
        return
    numbers = {qubit: i for i, qubit in enumerate(circuit.qubits)}
    angles = {
        operation.params[0]
        for name, _, operation in _instructions(circuit, numbers)
        if name == "rzz" and operation is not None and isinstance(operation.params[0], ParameterExpression)
    }
    if not angles:
        return
    loops = _loop_values(circuit)
    for angle in angles:
        parameters = sorted(angle.parameters, key=lambda parameter: str(parameter.name))
        table = _combinations(parameters, values, loops, where)
        for row, value in zip(table.tolist(), _values(angle, parameters, table, where).tolist(), strict=True):
            if not 0 <= value <= MAX_RZZ_ANGLE:
                given = ", ".join(f"{p.name}={v}" for p, v in zip(parameters, row, strict=True))
                raise NotIsaError(
                    f"{where}: rzz takes angles from 0 to pi/2 on {device.name}, but {given} makes it {value}."
                )


def check_registers(circuit: QuantumCircuit, where: str) -> None:
    """Check that every classical register can be a field of the result.

    Raises:
        InvalidInputError: If one cannot; the message names it.
    """
    for register in circuit.cregs:
        if register.size == 0:
            raise InvalidInputError(f"{where}: classical register {register.name!r} has no bits.")
        if not _is_field(register):
            raise InvalidInputError(
                f"{where}: classical register {register.name!r} cannot be a field of the result: its name must be a"
                f" Python identifier without two underscores in front, and none of {', '.join(sorted(_RESERVED))}."
            )


def check_shots(shots: int, most: int, device: Device, where: str) -> None:
    """Check that `shots` are allowed.

    Raises:
        TooManyShotsError: If there are more than `most`.
    """
    if shots > most:
        raise TooManyShotsError(f"{where}: {shots} shots; {device.name} allows at most {most}.")


def check_rep_delay(options: Options, device: Device) -> None:
    """Check that the device can wait `options.rep_delay` between shots.

    Raises:
        UnsupportedOptionError: If its delay is fixed.
        InvalidInputError: If the delay is out of its range.
    """
    if options.rep_delay is None:
        return
    if not device.configuration.get("dynamic_reprate_enabled"):
        raise UnsupportedOptionError(
            f"Option execution.rep_delay is not supported: {device.name} has a fixed repetition delay."
        )
    microseconds: Sequence[float] = device.configuration.get("rep_delay_range") or (0.0, np.inf)
    if not microseconds[0] <= options.rep_delay * 1e6 <= microseconds[1]:
        raise InvalidInputError(
            f"Option execution.rep_delay: {options.rep_delay} s is out of the range of {device.name},"
            f" {microseconds[0] * 1e-6} to {microseconds[1] * 1e-6} s."
        )


def _instructions(
    circuit: QuantumCircuit, numbers: Mapping[Qubit, int]
) -> Iterator[tuple[str, tuple[int, ...], Any | None]]:
    """Yield all instructions, blocks included: name, qubits and, where more than these matters, the operation."""
    for instruction in circuit.data:
        qubits = tuple(numbers[qubit] for qubit in instruction.qubits)
        name = instruction.name
        # Making the Python object of an operation costs more than all the rest here.
        block = instruction.is_control_flow()
        own = not (block or instruction.is_standard_gate() or name in _NO_GATES)
        operation = instruction.operation if block or own or name == "rzz" else None
        yield name, qubits, operation
        for body in operation.blocks if block and operation is not None else ():
            if body.num_qubits != len(qubits):
                raise InvalidInputError(
                    f"A block of {name} has {body.num_qubits} qubits; the instruction acts on {len(qubits)}."
                )
            yield from _instructions(body, dict(zip(body.qubits, qubits, strict=True)))


def _check_instruction(name: str, qubits: tuple[int, ...], device: Device, where: str) -> None:
    if name in _ALWAYS or device.target.instruction_supported(name, qubits):
        return
    if name in _CONTROL_FLOW:
        raise NotIsaError(f"{where}: {device.name} has no {_CONTROL_FLOW[name]} ({name}): {_control_flow_of(device)}")
    if name not in device.target.operation_names:
        known = ", ".join(sorted(device.target.operation_names))
        reason = f"{device.name} has no {name}, only {known}."
    elif len(qubits) > 1:
        reason = f"{device.name} does not connect these qubits in this way, or the connection is faulty."
    else:
        reason = f"the qubit is faulty, or {device.name} does not have it there."
    raise NotIsaError(f"{where}: {_spelled(name, qubits)} is not supported: {reason} {_advice(device)}")


def _control_flow_of(device: Device) -> str:
    """Return what to do with control flow that a device does not have."""
    known = [words for name, words in _CONTROL_FLOW.items() if name in device.target.operation_names]
    if not known:
        return "it runs no control flow at all. Choose a device that does: backend.target.operation_names lists it."
    return (
        f"of control flow, it has {' and '.join(known)}. Write the circuit with what it has, or choose another device:"
        " backend.target.operation_names lists what each one has."
    )


def _check_own_gate(gate: Gate, qubits: tuple[int, ...], device: Device, where: str) -> None:
    """Check that a gate is not just called like one of the device's."""
    if gate.name not in device.target.operation_names:
        return
    known = device.target.operation_from_name(gate.name)
    if isinstance(known, Gate) and gate.base_class is not known.base_class:
        raise NotIsaError(
            f"{where}: {_spelled(gate.name, qubits)} is a gate that the circuit defines itself, and only has the name"
            f" of one of {device.name}. {_advice(device)}"
        )


def _check_restrictions(name: str, qubits: tuple[int, ...], options: Options, where: str) -> None:
    if name in _NO_GATES:
        return
    if options.basis_gates is not None and name not in options.basis_gates:
        allowed = ", ".join(sorted(options.basis_gates))
        raise NotIsaError(f"{where}: {_spelled(name, qubits)} is not in the option simulator.basis_gates ({allowed}).")
    if options.coupling_map is not None and len(qubits) == 2 and qubits not in options.coupling_map:  # noqa: PLR2004
        raise NotIsaError(f"{where}: {_spelled(name, qubits)} is not in the option simulator.coupling_map.")


def _check_rzz(angle: object, qubits: tuple[int, ...], device: Device, where: str) -> None:
    if isinstance(angle, ParameterExpression) or not _calibrated(device):
        return
    if not isinstance(angle, int | float) or not 0 <= angle <= MAX_RZZ_ANGLE:
        raise NotIsaError(
            f"{where}: {_spelled('rzz', qubits)} has the angle {angle}; {device.name} takes angles from 0 to pi/2."
        )


def _loop_values(circuit: QuantumCircuit) -> dict[Parameter, set[int]]:
    """Return the values that the parameters of for loops take, those of inner blocks included."""
    found: dict[Parameter, set[int]] = {}
    for instruction in circuit.data:
        if not instruction.is_control_flow():
            continue
        operation = instruction.operation
        if isinstance(operation, ForLoopOp) and operation.params[1] is not None:
            # Not even counted: the engine says the same of longer ones.
            indices = islice(operation.params[0], MAX_INSTRUCTIONS + 1)
            found.setdefault(operation.params[1], set()).update(indices)
        for block in operation.blocks:
            for parameter, inner in _loop_values(block).items():
                found.setdefault(parameter, set()).update(inner)
    return found


def _combinations(
    parameters: Sequence[Parameter], values: BindingsArray, loops: Mapping[Parameter, set[int]], where: str
) -> NDArray[np.float64]:
    """Return all values that `parameters` have together, a column for each of them."""
    names = list(chain.from_iterable(values.data))
    looped = [i for i, parameter in enumerate(parameters) if parameter in loops]
    own = [i for i in range(len(parameters)) if i not in looped]
    rows = values.ravel().as_array()[:, [names.index(parameters[i].name) for i in own]]
    rows = np.unique(rows, axis=0)
    rounds = [sorted(loops[parameters[i]]) for i in looped]
    number = math.prod(map(len, rounds))
    if len(rows) * number > MAX_INSTRUCTIONS:
        raise InvalidInputError(f"{where}: loops with angles of rzz gates have more than {MAX_INSTRUCTIONS} rounds.")
    table = np.empty((len(rows) * number, len(parameters)))
    table[:, own] = np.repeat(rows, number, axis=0)
    table[:, looped] = np.tile(np.array(list(product(*rounds))).reshape(number, len(rounds)), (len(rows), 1))
    return table


def _values(
    angle: ParameterExpression, parameters: Sequence[Parameter], table: NDArray[np.float64], where: str
) -> NDArray[np.float64]:
    try:
        return evaluated([angle], parameters, table)[:, 0]
    except InvalidInputError as error:
        raise InvalidInputError(f"{where}: an rzz gate: {error}") from error


def _calibrated(device: Device) -> bool:
    """Whether gates have the limits of hardware; an ideal device, which connects everything, has none."""
    return bool(device.configuration.get("coupling_map"))


def _is_field(register: ClassicalRegister) -> bool:
    name: str = register.name
    return name.isidentifier() and not keyword.iskeyword(name) and name not in _RESERVED and not name.startswith("__")


def _spelled(name: str, qubits: tuple[int, ...]) -> str:
    if len(qubits) == 1:
        return f"{name} on qubit {qubits[0]}"
    return f"{name} on qubits {', '.join(map(str, qubits))}"


def _advice(device: Device) -> str:
    return (
        f"Transpile the circuit for {device.name} first:"
        " generate_preset_pass_manager(optimization_level=1, backend=backend).run(circuit)."
    )
