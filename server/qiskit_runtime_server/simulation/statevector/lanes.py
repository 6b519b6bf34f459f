"""Many shots on a batch of small states; shots whose history is the same share a state, which is a lane.

All shots begin in one lane. Lanes part where shots do: at angles of different rows, at errors that only some have, at
measurements that come out differently, at decisions. So what is common to shots is computed once, however they are
spread over rows, and a shot's bits do not depend on which others are there. It is sampling by trajectories (Isakov et
al., 2021, https://arxiv.org/abs/2111.02396), with equal trajectories evolved once.

    1,000 shots, an error that 3 of them have      two lanes: one for 997 shots, one for 3
"""

import numpy as np

from qiskit_runtime_server.simulation.statevector import gates
from qiskit_runtime_server.simulation.statevector.channels import Channel
from qiskit_runtime_server.simulation.statevector.classical import Bits
from qiskit_runtime_server.simulation.statevector.fusion import Fusion, spread, with_identity
from qiskit_runtime_server.simulation.statevector.interpreter import Interpreter
from qiskit_runtime_server.simulation.statevector.program import Gate, Noise, Program, Run, mapped
from qiskit_runtime_server.simulation.statevector.random_streams import RandomStreams
from qiskit_runtime_server.simulation.statevector.state_port import Batch, Floats, Integers, Matrices


class Lanes:
    """A machine for programs on small states."""

    def __init__(self, batch: Batch, fusion: int, rows: Integers, values: Floats, draws: RandomStreams) -> None:
        """Begin with all shots in one lane.

        Args:
            batch: One state, with room for one for each shot.
            fusion: How many qubits a product of matrices may have.
            rows: Of parameter values, for each shot.
            values: Shape ``(rows, parameters)``.
            draws: For each shot.
        """
        self.bits: Bits = np.zeros((len(rows), 0), dtype=np.bool_)
        self._batch = batch
        self._fusion = Fusion(batch, fusion)
        self._rows = rows
        self._values = values
        self._draws = draws
        self._lane_of = np.zeros(len(rows), dtype=np.int64)
        # The row of each lane, once lanes have no more than one.
        self._row_of: Integers | None = None

    def sample(self, program: Program) -> Bits:
        """Run `program` and return the bits of all shots, shape ``(shots, clbits)``."""
        self.evolve(program)
        if program.ends:
            outcomes = self._batch.sample(program.ends, self._lane_of, self._draws.take())
            ends = gates.bits_of(outcomes, len(program.ends))
            mapped(ends, program.maps, self._draws.take)
            self.bits[:, list(program.clbits)] = ends[:, : len(program.clbits)]
        return self.bits

    def evolve(self, program: Program) -> Integers:
        """Run the steps of a program and return the number of each shot's state."""
        self.bits = np.zeros((len(self._rows), program.num_clbits), dtype=np.bool_)
        Interpreter(self).run(program.steps, np.arange(len(self._rows)))
        self._fusion.flush()
        return self._lane_of

    def run(self, run: Run, shots: Integers) -> None:
        """See `Machine.run`."""
        for step in run.steps:
            if isinstance(step, Noise):
                self._err(step.channel, step.qubits, shots)
            else:
                self._gate(step, shots)

    def part(self, shots: Integers, keys: Integers) -> None:
        """See `Machine.part`; no other shots are in the lanes of these."""
        common = np.bincount(keys).argmax()
        odd = shots[keys != common]
        if len(odd) == 0:
            return
        stays = np.zeros(self._batch.size, dtype=np.bool_)
        stays[self._lane_of[shots[keys == common]]] = True
        span = int(keys.max()) + 1
        pairs, pair_of = np.unique(self._lane_of[odd] * span + keys[keys != common], return_inverse=True)
        sources = pairs // span
        # A lane that all of its shots would leave is kept by the first group of them.
        first = np.concatenate([[True], sources[1:] != sources[:-1]])
        new = stays[sources] | ~first
        lane_of_pair = np.where(new, self._batch.size + np.cumsum(new) - 1, sources)
        self._branch(sources[new])
        self._lane_of[odd] = lane_of_pair[pair_of.ravel()]

    def measure(self, qubit: int, shots: Integers) -> Integers:
        """See `Machine.measure`."""
        return self._jump((qubit,), gates.projectors(), self._outcome_weights(qubit), shots)

    def reset(self, qubit: int, shots: Integers) -> None:
        """See `Machine.reset`."""
        self._jump((qubit,), gates.resets(), self._outcome_weights(qubit), shots)

    def draw(self, shots: Integers) -> Floats:
        """See `Machine.draw`."""
        return self._draws.take(shots)

    def _gate(self, gate: Gate, shots: Integers) -> None:
        table = gate.matrices(self._values)
        if gate.fixed is None and len(self._values) > 1:
            self._part_rows()
            assert self._row_of is not None  # noqa: S101 - they have parted
            lanes = self._lanes(shots)
            self._apply(table, self._row_of[lanes], lanes, gate.qubits)
        else:
            lanes = self._lanes(shots)
            self._apply(table, np.zeros(len(lanes), dtype=np.int64), lanes, gate.qubits)

    def _err(self, channel: Channel, qubits: tuple[int, ...], shots: Integers) -> None:
        """Draw which unitary acts on each shot, and for those on which none does, a Kraus operator."""
        edges = np.cumsum(channel.probabilities)
        last = len(edges) if len(channel.residual) else len(edges) - 1
        kinds = np.minimum(np.searchsorted(edges, self._draws.take(shots), side="right"), last)
        if not kinds.any():
            return
        self.part(shots, kinds)
        lanes = self._lanes(shots)
        kind_of = np.zeros(self._batch.size, dtype=np.int64)
        kind_of[self._lane_of[shots]] = kinds
        table = channel.unitaries
        if ((kinds > 0) & (kinds < len(table))).any():
            # What Kraus operators act on is left alone here.
            self._apply(table, kind_of[lanes] % len(table), lanes, qubits)
        hit = shots[kinds == len(table)]
        if len(hit):
            self._jump(qubits, channel.residual, self._operator_weights(channel.residual, qubits, hit), hit)

    def _jump(self, qubits: tuple[int, ...], operators: Matrices, weights: Floats, shots: Integers) -> Integers:
        """Draw one of `operators` for each shot by the weights of its lane, apply it, and return its number."""
        of_shots = weights[self._lane_of[shots]]
        cumulative = np.cumsum(of_shots, axis=1)
        points = self._draws.take(shots) * cumulative[:, -1]
        # Rounding must not make an outcome of weight 0 at the end possible.
        last = (cumulative < cumulative[:, -1:]).sum(axis=1)
        kinds: Integers = np.minimum((points[:, None] >= cumulative).sum(axis=1), last)
        self.part(shots, kinds)
        lanes = self._lanes(shots)
        size = self._batch.size
        kind_of = spread(kinds, self._lane_of[shots], size, 0)
        scale_of = np.ones(size)
        scale_of[self._lane_of[shots]] = of_shots[np.arange(len(shots)), kinds] ** -0.5
        table = operators[kind_of[lanes]] * scale_of[lanes, None, None]
        self._apply(table, np.arange(len(lanes)), lanes, qubits, keeps_norms=False)
        return kinds

    def _outcome_weights(self, qubit: int) -> Floats:
        self._fusion.flush((qubit,))
        return self._batch.probabilities((qubit,))

    def _operator_weights(self, operators: Matrices, qubits: tuple[int, ...], shots: Integers) -> Floats:
        """Return the squared norms that operators would leave, for the lanes of these shots, shape ``(size, k)``."""
        self._fusion.flush(qubits)
        lanes = self._lanes(shots)
        near = range(int(lanes[0]), int(lanes[-1]) + 1)
        weights = np.zeros((self._batch.size, len(operators)))
        squares = operators.conj().transpose(0, 2, 1) @ operators
        weights[near.start : near.stop] = self._batch.expectations(squares, qubits, near).clip(0)
        return weights

    def _apply(
        self, table: Matrices, choice: Integers, lanes: Integers, qubits: tuple[int, ...], *, keeps_norms: bool = True
    ) -> None:
        """Apply ``table[choice[i]]`` to lane ``lanes[i]``, and nothing to the others."""
        size = self._batch.size
        if len(lanes) < size:
            self._fusion.add(
                with_identity(table), spread(choice, lanes, size, len(table)), qubits, keeps_norms=keeps_norms
            )
        else:
            self._fusion.add(table, choice if len(table) > 1 else None, qubits, keeps_norms=keeps_norms)

    def _lanes(self, shots: Integers) -> Integers:
        """Return the lanes of these shots, rising; they have no others."""
        if len(shots) == len(self._lane_of):
            return np.arange(self._batch.size)
        lanes: Integers = np.unique(self._lane_of[shots])
        return lanes

    def _part_rows(self) -> None:
        if self._row_of is None:
            self.part(np.arange(len(self._rows)), self._rows)
            self._row_of = spread(self._rows, self._lane_of, self._batch.size, 0)

    def _branch(self, sources: Integers) -> None:
        if len(sources):
            self._batch.branch(sources)
            self._fusion.branch(sources)
            if self._row_of is not None:
                self._row_of = np.concatenate([self._row_of, self._row_of[sources]])
