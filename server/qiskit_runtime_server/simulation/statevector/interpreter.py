"""Goes through a program with many shots at once, which part at decisions and meet again behind them.

What decisions mean is what OpenQASM 3 says (Cross et al., 2022, https://doi.org/10.1145/3505636). All shots take a step
together; at a branch they fall into groups by their bits, and each group runs its own arm:

    measure q0 -> c0           shots 0, 1, 2, 3 read 1, 0, 1, 1
    if c0: x q1                shots 0, 2, 3 run the body, shot 1 waits
    measure q1 -> c1           shots 0, 1, 2, 3 again
"""

from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from qiskit_runtime_server.simulation.statevector.classical import Bits, checked_index
from qiskit_runtime_server.simulation.statevector.program import (
    Assign,
    Block,
    Choice,
    For,
    Jump,
    Measure,
    Reset,
    Run,
    Step,
    While,
    mapped,
)
from qiskit_runtime_server.simulation.statevector.state_port import Floats, Integers


class Machine(Protocol):
    """Holds the states of shots, and their classical bits; it is never called for no shots at all.

    Attributes:
        bits: Shape ``(shots, clbits)``.
    """

    bits: Bits

    def run(self, run: Run, shots: Integers) -> None:
        """Apply gates and channels to the states of these shots."""

    def part(self, shots: Integers, keys: Integers) -> None:
        """Be told that from now on these shots go different ways where their keys differ."""

    def measure(self, qubit: int, shots: Integers) -> Integers:
        """Measure a qubit in each shot and return the outcomes."""

    def reset(self, qubit: int, shots: Integers) -> None:
        """Reset a qubit in each shot."""

    def draw(self, shots: Integers) -> Floats:
        """Return a number in [0, 1) for each shot."""


@dataclass(slots=True)
class _Loop:
    """Shots that wait for the end of a round, or of the loop."""

    next_round: list[Integers] = field(default_factory=list)
    left: list[Integers] = field(default_factory=list)


class Interpreter:
    """Runs blocks on a machine."""

    def __init__(self, machine: Machine) -> None:
        """Take the machine."""
        self._machine = machine
        self._loops: list[_Loop] = []

    def run(self, block: Block, shots: Integers) -> Integers:
        """Run `block` for these shots and return those that come to its end; the others have jumped."""
        for step in block:
            if len(shots) == 0:
                break
            shots = self._step(step, shots)
        return shots

    def _step(self, step: Step, shots: Integers) -> Integers:
        machine = self._machine
        match step:
            case Run():
                machine.run(step, shots)
            case Measure():
                self._measure(step, shots)
            case Reset():
                machine.reset(step.qubit, shots)
            case Assign():
                self._assign(step, shots)
            case Choice():
                return self._choice(step, shots)
            case While():
                return self._while(step, shots)
            case For():
                return self._for(step, shots)
            case Jump():
                waiting = self._loops[-1].left if step.leaves else self._loops[-1].next_round
                waiting.append(shots)
                return shots[:0]
        return shots

    def _measure(self, step: Measure, shots: Integers) -> None:
        bits = self._machine.bits
        bits[shots, step.clbit] = self._machine.measure(step.qubit, shots)
        if step.misread is not None:
            read = bits[shots]
            mapped(read, [step.misread], lambda: self._machine.draw(shots))
            bits[shots, step.clbit] = read[:, step.clbit]

    def _assign(self, step: Assign, shots: Integers) -> None:
        bits = self._machine.bits
        read = bits[shots]
        if step.place is None:
            bits[shots[:, None], step.clbits] = step.value.digits(read, len(step.clbits))
        else:
            places = step.place.number(read, lambda index: checked_index(index, len(step.clbits)))
            bits[shots, np.array(step.clbits)[places]] = step.value.holds(read)

    def _choice(self, step: Choice, shots: Integers) -> Integers:
        arms = step.arm(self._machine.bits[shots])
        self._machine.part(shots, arms + 1)
        ends = [shots[arms < 0]]
        ends += [self.run(arm, shots[arms == number]) for number, arm in enumerate(step.arms)]
        return np.sort(np.concatenate(ends))

    def _while(self, step: While, shots: Integers) -> Integers:
        loop = _Loop()
        # None may be left after any round: all may have broken out of the loop, or have jumped out of one around it.
        while len(shots):
            holds = step.condition.holds(self._machine.bits[shots])
            self._machine.part(shots, holds.astype(np.int64))
            loop.left.append(shots[~holds])
            shots = self._round(loop, step.body, shots[holds])
        return np.sort(np.concatenate([*loop.left, shots]))

    def _for(self, step: For, shots: Integers) -> Integers:
        loop = _Loop()
        for body in step.bodies:
            if len(shots) == 0:
                break
            shots = self._round(loop, body, shots)
        return np.sort(np.concatenate([*loop.left, shots]))

    def _round(self, loop: _Loop, body: Block, shots: Integers) -> Integers:
        self._loops.append(loop)
        ends = self.run(body, shots)
        self._loops.pop()
        shots = np.sort(np.concatenate([*loop.next_round, ends]))
        loop.next_round.clear()
        return shots
