"""When the instructions of a circuit happen on a device: each as soon as its qubits are free."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from qiskit.circuit import BoxOp, CircuitError, CircuitInstruction, ForLoopOp, QuantumCircuit
from qiskit.transpiler import Target
from qiskit.utils import apply_prefix

from qiskit_runtime_server.errors import InvalidInputError
from qiskit_runtime_server.simulation.components import MAX_INSTRUCTIONS

_MAIN: Final = "main"


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """An instruction on a qubit.

    Attributes:
        branch: `main`, or `then` or `else` inside of control flow.
        start: In units of the device's `dt`, as `duration`.
    """

    branch: str
    name: str
    qubit: int
    start: int
    duration: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """A circuit in time.

    Attributes:
        duration: In units of the device's `dt`.
    """

    events: tuple[Event, ...]
    duration: int

    def text(self) -> str:
        """Return a line for each event, as the client's `draw_circuit_schedule_timing` reads them."""
        return "\n".join(
            f"{event.branch},{event.name},Qubit {event.qubit},{event.start},{event.duration},{_pulse(event)}"
            for event in self.events
        )


def schedule(circuit: QuantumCircuit, target: Target) -> Schedule:
    """Return when the instructions of `circuit` happen.

    Conditions take no time; of alternatives, the longest counts. A while loop is there once, the body of a for loop as
    often as it runs.

    Args:
        circuit: Its qubits are the first ones of the device.
        target: Has durations and a `dt`.

    Raises:
        InvalidInputError: If a delay has no length, or loops have too many rounds.
    """
    clocks = [0] * circuit.num_qubits
    events = tuple(_Scheduler(target).events(circuit, range(circuit.num_qubits), clocks, _MAIN))
    return Schedule(events=events, duration=max(clocks, default=0))


class _Scheduler:
    """Puts the instructions of one circuit in time, and counts them."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._left = MAX_INSTRUCTIONS

    def events(self, circuit: QuantumCircuit, qubits: Sequence[int], clocks: list[int], branch: str) -> Iterator[Event]:
        """Yield the events of `circuit`, whose qubits have the numbers `qubits`, and advance the `clocks` of those."""
        places = dict(zip(circuit.qubits, qubits, strict=True))
        for instruction in circuit.data:
            self._count()
            numbers = tuple(places[qubit] for qubit in instruction.qubits)
            start = max((clocks[number] for number in numbers), default=0)
            if instruction.is_control_flow():
                for number in numbers:
                    clocks[number] = start
                yield from self._alternatives(instruction, numbers, clocks, branch)
                continue
            duration = _duration(instruction, numbers, self._target)
            for number in numbers:
                clocks[number] = start + duration
                yield Event(branch=branch, name=instruction.name, qubit=number, start=start, duration=duration)

    def _alternatives(
        self, instruction: CircuitInstruction, qubits: Sequence[int], clocks: list[int], branch: str
    ) -> Iterator[Event]:
        operation = instruction.operation
        ends = list(clocks)
        unconditional = isinstance(operation, ForLoopOp | BoxOp)
        for index, block in enumerate(operation.blocks):
            own = list(clocks)
            name = branch if unconditional else ("then", "else")[index > 0]
            for body in self._rounds(operation) if isinstance(operation, ForLoopOp) else (block,):
                yield from self.events(body, qubits, own, name)
            ends = [max(pair) for pair in zip(ends, own, strict=True)]
        latest = max((ends[qubit] for qubit in qubits), default=0)
        for qubit in qubits:
            clocks[qubit] = latest

    def _rounds(self, loop: ForLoopOp) -> Iterator[QuantumCircuit]:
        """Yield the body of a for loop for each of its rounds."""
        indices, parameter, body = loop.params
        self._count(len(indices))
        for index in indices:
            # Delays may be as long as the round says.
            yield body if parameter not in body.parameters else body.assign_parameters({parameter: index})

    def _count(self, number: int = 1) -> None:
        self._left -= number
        if self._left < 0:
            raise InvalidInputError(f"The circuit has more than {MAX_INSTRUCTIONS} instructions, loops unrolled.")


def _duration(instruction: CircuitInstruction, qubits: tuple[int, ...], target: Target) -> int:
    if instruction.name == "delay":
        return _delay(instruction, target)
    known = target[instruction.name] if instruction.name in target.operation_names else None
    properties = (known or {}).get(qubits)
    seconds = None if properties is None else properties.duration
    return 0 if seconds is None else round(seconds / target.dt)


def _delay(instruction: CircuitInstruction, target: Target) -> int:
    try:
        delay = instruction.operation
    except CircuitError as error:  # its length comes from a loop, and is looked at only here
        raise InvalidInputError(f"A delay is invalid: {error.message}") from error
    duration, unit = delay.duration, delay.unit
    if not isinstance(duration, int | float):
        raise InvalidInputError(f"The delay {duration} has no value: delays need numbers.")
    return round(duration if unit == "dt" else apply_prefix(duration, unit) / target.dt)


def _pulse(event: Event) -> str:
    if event.name in {"barrier", "delay"}:
        return event.name
    return "play" if event.duration else "shift_phase"
