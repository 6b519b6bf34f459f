"""One shot after the other on a state that is too large for many.

What comes before the first thing left to chance is evolved once; a row of gates and channels is queued once for all
shots. A program that leaves nothing to chance before its end is evolved once, and sampled. That is how cuStateVec wants
its work (Bayraktar et al., 2023, https://arxiv.org/abs/2308.01999).

    30 gates, noise, 30 gates; 1,000 shots      the first 30 gates once, the rest 1,000 times from a copy
"""

from collections.abc import Callable, Iterable
from contextlib import ExitStack

import numpy as np

from qiskit_runtime_server.errors import InvalidInputError
from qiskit_runtime_server.simulation.statevector import gates
from qiskit_runtime_server.simulation.statevector.classical import Bits
from qiskit_runtime_server.simulation.statevector.interpreter import Interpreter
from qiskit_runtime_server.simulation.statevector.program import Gate, Noise, Program, Run, Step, mapped
from qiskit_runtime_server.simulation.statevector.random_streams import RandomStreams
from qiskit_runtime_server.simulation.statevector.state_port import Floats, Integers, Queue, State, States


class OneState:
    """A machine for programs on one large state, for one row of parameter values."""

    def __init__(self, states: States, state: State, values: Floats, stack: ExitStack) -> None:
        """Take a state.

        Args:
            states: Where the state is from.
            state: |0...0>.
            values: Shape ``(1, parameters)``.
            stack: Keeps the queues until it is closed.
        """
        self.bits: Bits = np.zeros((1, 0), dtype=np.bool_)
        self._states = states
        self._state = state
        self._values = values
        self._stack = stack
        self._queues: dict[int, Queue] = {}
        self._draws = RandomStreams(np.zeros(1, dtype=np.uint64), np.zeros(1, dtype=np.uint64))

    def sample(
        self, program: Program, seed: int, shots: int, advance: Callable[[float], None] = lambda _share: None
    ) -> Bits:
        """Run `program` and return the bits of all shots, shape ``(shots, clbits)``.

        `advance` is told which share of them is taken, where they are taken one by one.
        """
        streams = RandomStreams(np.full(shots, seed, dtype=np.uint64), np.arange(shots, dtype=np.uint64))
        certain = 0
        while certain < len(program.steps) and _is_certain(program.steps[certain]):
            certain += 1
        self._begin(program.steps[:certain])
        if certain == len(program.steps):
            bits = np.zeros((shots, program.num_clbits), dtype=np.bool_)
            self._end(program, bits, streams)
            return bits
        kept = self._state.checkpoint()
        rows = []
        for shot in range(shots):
            if shot and kept:
                self._state.restore()
            elif shot:
                self._begin(program.steps[:certain])
            self._draws = streams.of(shot)
            self.bits = np.zeros((1, program.num_clbits), dtype=np.bool_)
            Interpreter(self).run(program.steps[certain:], np.zeros(1, dtype=np.int64))
            self._end(program, self.bits, self._draws)
            rows.append(self.bits)
            advance(len(rows) / shots)
        return np.concatenate(rows)

    def evolve(self, program: Program) -> None:
        """Bring the state to the end of a program that leaves nothing to chance.

        Raises:
            InvalidInputError: If it does.
        """
        if program.ends or not all(map(_is_certain, program.steps)):
            raise InvalidInputError("Only circuits of nothing but gates have exact expectation values.")
        self._begin(program.steps)

    def run(self, run: Run, shots: Integers) -> None:  # noqa: ARG002 - there is only one
        """See `Machine.run`."""
        queue = self._queues.get(id(run))
        if queue is None:
            queue = self._queues[id(run)] = self._stack.enter_context(self._states.queue())
            self._fill(queue, run.steps)
        queue.apply(self._state, self._draws.take_many(0, queue.num_draws()))

    def part(self, shots: Integers, keys: Integers) -> None:
        """See `Machine.part`; one shot is alone already."""

    def measure(self, qubit: int, shots: Integers) -> Integers:
        """See `Machine.measure`."""
        return np.array([self._state.measure(qubit, float(self.draw(shots)[0]), reset=False)])

    def reset(self, qubit: int, shots: Integers) -> None:
        """See `Machine.reset`."""
        self._state.measure(qubit, float(self.draw(shots)[0]), reset=True)

    def draw(self, shots: Integers) -> Floats:  # noqa: ARG002 - there is only one
        """See `Machine.draw`."""
        return self._draws.take()

    def _begin(self, steps: Iterable[Step]) -> None:
        self._state.clear()
        for step in steps:
            assert isinstance(step, Run)  # noqa: S101 - see _is_certain
            self.run(step, np.zeros(1, dtype=np.int64))

    def _end(self, program: Program, bits: Bits, draws: RandomStreams) -> None:
        if program.ends:
            outcomes = self._state.sample(program.ends, draws.take())
            ends = gates.bits_of(outcomes, len(program.ends))
            mapped(ends, program.maps, draws.take)
            bits[:, list(program.clbits)] = ends[:, : len(program.clbits)]

    def _fill(self, queue: Queue, steps: Iterable[Gate | Noise]) -> None:
        for step in steps:
            if isinstance(step, Gate):
                queue.matrix(step.matrices(self._values)[0], step.qubits)
            elif len(step.channel.residual):
                queue.channel(step.channel.kraus, step.qubits)
            else:
                # The first unitary is the identity, which is what a queue does if it draws none.
                queue.mixture(step.channel.probabilities[1:], step.channel.unitaries[1:], step.qubits)


def _is_certain(step: Step) -> bool:
    return isinstance(step, Run) and not any(isinstance(part, Noise) for part in step.steps)
