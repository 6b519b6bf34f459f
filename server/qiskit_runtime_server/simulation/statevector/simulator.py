"""Takes shots and expectation values with state vectors: chooses how a task runs, and in which pieces.

Small states are evolved many at a time, one for each trajectory that differs (Isakov et al., 2021,
https://arxiv.org/abs/2111.02396), large ones one after the other:

    8 qubits, 10,000 noisy shots      batches of as many states of 4 KiB as fit
    30 qubits, 100 shots              one state of 16 GiB, 100 times
"""

from contextlib import ExitStack
from dataclasses import replace
from typing import Final

import numpy as np

from qiskit_runtime_server.errors import CircuitTooLargeError
from qiskit_runtime_server.machine import in_words, qubits_in
from qiskit_runtime_server.messages.messages import Capabilities
from qiskit_runtime_server.simulation.contract import BitTensor, ExpectationTask, Offer, SampleTask, Simulator
from qiskit_runtime_server.simulation.statevector import lowering
from qiskit_runtime_server.simulation.statevector.lanes import Lanes
from qiskit_runtime_server.simulation.statevector.one_state import OneState
from qiskit_runtime_server.simulation.statevector.program import Program
from qiskit_runtime_server.simulation.statevector.random_streams import RandomStreams
from qiskit_runtime_server.simulation.statevector.state_port import Floats, States

# Shots that are under way at a time; each takes some 50 bytes on the host, and its bits.
_MOST_SHOTS: Final = 2**21


class StateVectors(Simulator):
    """Simulates trajectories of state vectors on whatever holds states."""

    def __init__(self, states: States, *, amplitude_bytes: int, batched_qubits: int = 20, fusion: int = 4) -> None:
        """Choose how to simulate.

        Args:
            states: What holds states.
            amplitude_bytes: 8 for complex64, 16 for complex128.
            batched_qubits: Up to so many qubits, states are evolved many at a time.
            fusion: How many qubits a product of matrices may have that is worked out on the host for those.
        """
        self._states = states
        self._amplitude_bytes = amplitude_bytes
        self._batched_qubits = batched_qubits
        self._fusion = fusion

    def capabilities(self) -> Capabilities:
        """Return what fits into the device that holds states."""
        device = self._states.device()
        return Capabilities(
            num_qubits=qubits_in(device.memory_bytes, self._amplitude_bytes),
            methods=("statevector",),
            precision="single" if self._amplitude_bytes == 8 else "double",  # noqa: PLR2004 - complex64
            device=device.name,
            memory_bytes=device.memory_bytes,
            compute_capability=device.compute_capability,
        )

    def offer(self, task: SampleTask) -> Offer:
        """Return how a task would run; see `Simulator.offer`.

        Raises:
            CircuitTooLargeError: If the state does not fit into the device's memory.
        """
        self._check_size(task.circuit.num_qubits)
        return replace(super().offer(task), memory_bytes=self._amplitude_bytes << task.circuit.num_qubits)

    def sample(self, task: SampleTask) -> BitTensor:
        """Run a task; see `Simulator.sample`.

        Raises:
            CircuitTooLargeError: If the state does not fit into the device's memory.
            OutOfMemoryError: If it would, but something else uses the memory.
            InvalidInputError: If the circuit has an instruction that cannot be simulated.
        """
        self._check_size(task.circuit.num_qubits)
        program = lowering.program(task.circuit, task.noise)
        if program.num_qubits <= self._batched_qubits and self._room(program.num_qubits):
            return self._in_batches(task, program)
        return self._one_by_one(task, program)

    def expectation_values(self, task: ExpectationTask) -> Floats:
        """Evaluate observables; see `Simulator.expectation_values`.

        Raises:
            CircuitTooLargeError: If the state does not fit into the device's memory.
            OutOfMemoryError: If it would, but something else uses the memory.
            InvalidInputError: If the circuit has something other than gates.
        """
        self._check_size(task.circuit.num_qubits)
        program = lowering.program(task.circuit, None)
        terms = [observable.to_sparse_list() for observable in task.observables]
        paulis = [(letters, qubits) for term in terms for letters, qubits, _ in term]
        weights = np.zeros((len(paulis), len(terms)))
        rows = ((column, coefficient) for column, term in enumerate(terms) for _, _, coefficient in term)
        for place, (column, coefficient) in enumerate(rows):
            weights[place, column] = coefficient.real
        values = np.zeros((len(task.parameter_values), len(terms)))
        with self._states.state(program.num_qubits) as state:
            for row, angles in enumerate(task.parameter_values):
                with ExitStack() as stack:
                    OneState(self._states, state, angles[None], stack).evolve(program)
                    values[row] = state.expectations(paulis) @ weights
        return values

    def _check_size(self, num_qubits: int) -> None:
        memory = self._states.device().memory_bytes
        needed = self._amplitude_bytes << num_qubits
        if needed > memory:
            raise CircuitTooLargeError(
                f"{num_qubits} qubits of the circuit are entangled: their state needs {in_words(needed)}, and there are"
                f" {in_words(memory)}, enough for {qubits_in(memory, self._amplitude_bytes)}."
            )

    def _room(self, num_qubits: int) -> int:
        """Return how many states of a batch fit into the device."""
        return self._states.device().batch_bytes // (self._amplitude_bytes << num_qubits)

    def _in_batches(self, task: SampleTask, program: Program) -> BitTensor:
        """Run shots of many rows together, as many as there is room for."""
        rows = len(task.parameter_values)
        bits = np.zeros((rows, task.shots, program.num_clbits), dtype=np.bool_)
        room = self._room(program.num_qubits)
        at_once = min(room, _MOST_SHOTS) if program.branches else _MOST_SHOTS
        shot_step = max(1, min(task.shots, at_once))
        row_step = max(1, min(at_once // shot_step, room))
        parts = [
            np.s_[row : row + row_step, shot : shot + shot_step]
            for row in range(0, rows, row_step)
            for shot in range(0, task.shots, shot_step)
        ]
        for number, part in enumerate(parts):
            bits[part] = self._batch(task, program, *part)
            task.advance((number + 1) / len(parts))
        return bits

    def _batch(self, task: SampleTask, program: Program, some_rows: slice, some_shots: slice) -> BitTensor:
        values = task.parameter_values[some_rows]
        seeds = task.seeds[some_rows]
        places = np.arange(task.shots, dtype=np.uint64)[some_shots]
        rows = np.repeat(np.arange(len(values)), len(places))
        draws = RandomStreams(np.repeat(seeds, len(places)), np.tile(places, len(values)))
        room = len(rows) if program.branches else len(values)
        with self._states.batch(program.num_qubits, room) as batch:
            lanes = Lanes(batch, self._fusion, rows, values, draws)
            return lanes.sample(program).reshape(len(values), len(places), program.num_clbits)

    def _one_by_one(self, task: SampleTask, program: Program) -> BitTensor:
        """Run one row after the other on one large state."""
        bits: list[BitTensor] = []
        with self._states.state(program.num_qubits) as state:
            for values, seed in zip(task.parameter_values, task.seeds.tolist(), strict=True):
                with ExitStack() as stack:
                    machine = OneState(self._states, state, values[None], stack)
                    bits.append(machine.sample(program, seed, task.shots, task.advance_of(len(bits))))
        return np.array(bits, dtype=np.bool_).reshape(len(bits), task.shots, program.num_clbits)
