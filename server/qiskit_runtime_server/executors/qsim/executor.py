"""The executor `qsim`: state vectors of single precision on processors, and all else as on `aer`.

    16 qubits and noise, measured at the end      qsim, a trajectory for each shot that differs
    the same with a decision in it                Aer
    9 qubits                                      exact probabilities, as on `aer`

Results say which of the two it was.
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Final, Self

import msgspec
import numpy as np
from numpy.typing import NDArray
from qiskit.circuit import QuantumCircuit
from qiskit_aer.noise import NoiseModel

from qiskit_runtime_server.errors import CircuitTooLargeError, InvalidInputError
from qiskit_runtime_server.executors.aer import AerExecutor
from qiskit_runtime_server.executors.base import BaseExecutor, BitTensor, SampleTask
from qiskit_runtime_server.executors.qsim.costs import bytes_of, qubits_of, seconds_of
from qiskit_runtime_server.executors.qsim.library import AMPLITUDE_BYTES, LARGEST_GATE, library
from qiskit_runtime_server.executors.qsim.options import Options
from qiskit_runtime_server.executors.qsim.path import Settings
from qiskit_runtime_server.executors.qsim.trajectories import Trajectories
from qiskit_runtime_server.machine import in_words, qubits_in, usable_bytes, usable_cores
from qiskit_runtime_server.messages.messages import Capabilities
from qiskit_runtime_server.simulation.components.last_circuits import LastCircuits
from qiskit_runtime_server.simulation.contract import Offer
from qiskit_runtime_server.simulation.measurements import terminal_measurements
from qiskit_runtime_server.simulation.statevector import lowering
from qiskit_runtime_server.simulation.statevector.program import Measure, Program, Reset, Run

QSIM: Final = "qsim"
AER: Final = "aer"
"""What results call the simulators."""

# Of the memory; the rest is for the interpreter and for shots.
_STATE_SHARE: Final = 0.9
# For fewer, a state takes less time than it takes to write a circuit.
_LEAST_QUBITS: Final = 12
# Below this, starting threads takes longer than what they do.
_THREADED_QUBITS: Final = 16
# Each rounds amplitudes to 6e-8: in the worst case, that they all add up, 1e-6 of the fidelity is gone after so many.
_MOST_INSTRUCTIONS: Final = 15_000

Rows = NDArray[np.intp]


class QsimExecutor(BaseExecutor):
    """Simulates states and trajectories with qsim where that is faster than what the executor `aer` does.

    That is a matter of the circuit, its errors and its shots alone, never of the machine, of threads, or of other rows:
    the bits of a seed are the same wherever processors round alike.
    """

    truncates = True

    def __init__(self, *, memory_bytes: int | None = None, **options: Any) -> None:
        """Choose how to simulate.

        Args:
            memory_bytes: By default what the container or the machine has, less a reserve.
            options: See `Options`.

        Raises:
            StartupError: If an option does not take its value, or qsim cannot be used here.
        """
        library()
        self._given = options
        self._given_bytes = memory_bytes
        self._options = Options.of(options)
        self._memory_bytes = usable_bytes() if memory_bytes is None else memory_bytes
        self._threads = self._options.threads or usable_cores()
        self._inner = AerExecutor(memory_bytes=self._memory_bytes, threads=self._threads)
        self._programs = LastCircuits[Program | None]()
        self._offers = LastCircuits[dict[tuple[int, bool], Offer]]()

    def fitted(self, *, memory_bytes: int | None, threads: int) -> Self:
        """Return an executor that keeps to the limits of a slot where it was given none of its own."""
        made = type(self)(memory_bytes=self._given_bytes or memory_bytes, **self._given)
        made.use_cores(threads)
        return made

    def use_cores(self, number: int) -> None:
        """Use so many threads, if its options say none."""
        self._threads = self._options.threads or number
        self._inner.use_cores(self._threads)

    def capabilities(self) -> Capabilities:
        """Return what fits into the memory: with single precision one qubit more than on `aer`."""
        inner = self._inner.capabilities()
        if self._options.precision == "double":
            return inner
        most = qubits_in(int(self._memory_bytes * _STATE_SHARE), AMPLITUDE_BYTES)
        return msgspec.structs.replace(inner, num_qubits=most, precision="single")

    def offer(self, task: SampleTask) -> Offer:
        """Return how `sample` would run a task; see `Simulator.offer`.

        Raises:
            CircuitTooLargeError: If no method can hold the circuit's state.
        """
        return max((offer for _, offer in self._parts(task)), key=lambda offer: offer.seconds)

    def expected_truncated(self, task: SampleTask, most_error: float) -> Offer:
        """Return what Aer says of it; see `Simulator.expected_truncated`."""
        return replace(self._aer.expected_truncated(task, most_error), simulator=AER)

    def offer_truncated(self, task: SampleTask, most_error: float) -> Offer:
        """Return what Aer offers; see `Simulator.offer_truncated`."""
        return replace(self._aer.offer_truncated(task, most_error), simulator=AER)

    def sample(self, task: SampleTask) -> BitTensor:
        """Run a task; see `BaseExecutor.sample`.

        Raises:
            CircuitTooLargeError: If no method can hold the circuit's state.
            OutOfMemoryError: If it could, but something else needed too much.
            InvalidInputError: If Aer has to run it, and does not know an instruction.
            InternalError: If a simulator failed.
        """
        if task.truncation is not None:
            return self._aer.sample(task)
        bits = np.empty((len(task.seeds), task.shots, task.circuit.num_clbits), dtype=np.bool_)
        for rows, offer in self._parts(task):
            part = task.of_rows(rows)
            bits[rows] = self._by_qsim(part) if offer.simulator == QSIM else self._aer.sample(part)
        return bits

    def _parts(self, task: SampleTask) -> Iterator[tuple[Rows, Offer]]:
        """Yield which rows run how: Clifford rows may run in another way than others.

        Raises:
            CircuitTooLargeError: If rows run in no way.
        """
        stabilized = self._inner.stabilized_rows(task)
        offers = self._offers.of(task.circuit, task.noise, dict)
        for kind in (True, False):
            rows = np.flatnonzero(stabilized == kind)
            if not len(rows):
                continue
            if (task.shots, kind) not in offers:
                offers[task.shots, kind] = self._best(task.of_rows(rows[:1]))
            yield rows, offers[task.shots, kind]

    def _best(self, task: SampleTask) -> Offer:
        """Return how a row is run; of its values nothing matters but whether they make Clifford gates of all."""
        own = self._own_offer(task)
        try:
            other = replace(self._aer.offer(task), simulator=AER)
        except CircuitTooLargeError as error:
            if own is not None:
                return own
            raise self._refusal(task, error) from error
        return other if own is None or not self._prefers(own, other) else own

    def _prefers(self, own: Offer, other: Offer) -> bool:
        """Return whether qsim runs what the executor `aer` could run, too."""
        return own.seconds < other.seconds

    def _own_offer(self, task: SampleTask) -> Offer | None:
        """Return what qsim would take; None if it cannot run a task, or not well enough."""
        circuit = task.circuit
        once = task.noise is None and terminal_measurements(circuit) is not None and "reset" not in circuit.count_ops()
        needed = bytes_of(circuit.num_qubits, once=once)
        if (
            self._options.precision == "double"
            or circuit.num_qubits < self._least_qubits
            or needed > self._memory_bytes * _STATE_SHARE
            or len(circuit.data) > _MOST_INSTRUCTIONS
            or self._program(task) is None
        ):
            return None
        seconds = seconds_of(circuit, 1 if once else task.shots)
        return Offer(method="statevector", seconds=seconds, memory_bytes=needed, simulator=QSIM)

    _least_qubits = _LEAST_QUBITS

    def _by_qsim(self, task: SampleTask) -> BitTensor:
        program = self._program(task)
        assert program is not None  # noqa: S101 - there was an offer
        threads = self._threads if program.num_qubits >= _THREADED_QUBITS else 1
        settings = Settings(threads=threads, max_fused_gate_size=self._options.max_fused_gate_size)
        trajectories = Trajectories(library(), program, settings)
        bits = np.empty((len(task.seeds), task.shots, program.num_clbits), dtype=np.bool_)
        rows = zip(trajectories.rows(task.parameter_values), task.seeds.tolist(), strict=True)
        for number, (row, seed) in enumerate(rows):
            bits[number] = trajectories.sample(row, seed, task.shots, task.advance_of(number))
        return bits

    def _program(self, task: SampleTask) -> Program | None:
        """Return a task as a program, if qsim can run all of it."""
        return self._programs.of(task.circuit, task.noise, lambda: _runnable(task.circuit, task.noise))

    @property
    def _aer(self) -> AerExecutor:
        # A worker process sets it late.
        self._inner.time_limit = self.time_limit
        return self._inner

    def _refusal(self, task: SampleTask, error: CircuitTooLargeError) -> CircuitTooLargeError:
        """Return why a task that Aer refuses is not run by qsim either."""
        if self._options.precision == "double" or self._program(task) is None:
            return error
        once = task.noise is None
        what = "state needs" if once else "trajectories need"
        needed, room = bytes_of(task.circuit.num_qubits, once=once), int(self._memory_bytes * _STATE_SHARE)
        return CircuitTooLargeError(
            f"{task.circuit.num_qubits} qubits of the circuit are entangled: their {what} {in_words(needed)}, and there"
            f" are {in_words(room)}, enough for {qubits_of(room, once=once)}."
        )


def _runnable(circuit: QuantumCircuit, noise: NoiseModel | None) -> Program | None:
    """Return a circuit as a program; None if it decides anything, or has a matrix that is too large for qsim."""
    if any(part.is_control_flow() or part.name == "store" for part in circuit.data):
        return None
    try:
        program = lowering.program(circuit, noise)
    except InvalidInputError:
        # Aer may know an instruction that has no matrix; if not, it says so.
        return None
    for step in program.steps:
        if isinstance(step, Run):
            if any(len(part.qubits) > LARGEST_GATE for part in step.steps):
                return None
        elif not isinstance(step, Measure | Reset):
            return None
    return program
