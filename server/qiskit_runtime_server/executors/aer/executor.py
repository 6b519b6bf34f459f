"""The executor `aer`: simulates circuits with qiskit-aer, on processors."""

import time
from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from functools import cache
from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray
from qiskit.circuit import QuantumCircuit
from qiskit_aer.noise import NoiseModel

from qiskit_runtime_server.errors import CircuitTooLargeError, InternalError
from qiskit_runtime_server.executors.aer import calls
from qiskit_runtime_server.executors.aer.calls import AMPLITUDE_BYTES
from qiskit_runtime_server.executors.aer.circuits import in_known_gates, obstacle, reading_errors, written_out
from qiskit_runtime_server.executors.aer.clifford import clifford_rows, in_clifford_gates
from qiskit_runtime_server.executors.aer.costs import dense_seconds, evolution_seconds, length_of, stabilizer_seconds
from qiskit_runtime_server.executors.aer.matrix_products import (
    LARGEST_BOND,
    SMALL_BOND,
    Log,
    beginning,
    decompositions,
    in_order,
    placed,
    seconds_at_most,
    seconds_of,
    truncation_error,
    truncation_within,
)
from qiskit_runtime_server.executors.aer.outcomes import bits_of, draws, shuffled
from qiskit_runtime_server.executors.aer.probabilities import ideal_probabilities
from qiskit_runtime_server.executors.base import BaseExecutor, BitTensor, SampleTask
from qiskit_runtime_server.machine import in_words, qubits_in, usable_bytes
from qiskit_runtime_server.messages.messages import Capabilities
from qiskit_runtime_server.simulation.components.last_circuits import MOST_KEPT, LastCircuits
from qiskit_runtime_server.simulation.contract import Offer, Truncation
from qiskit_runtime_server.simulation.density import Evolution, Exact
from qiskit_runtime_server.simulation.measurements import terminal_measurements
from qiskit_runtime_server.simulation.statevector.numpy_states import NumPyStates
from qiskit_runtime_server.simulation.statevector.simulator import StateVectors

_MPS: Final = "matrix-product-state"
_MPS_OF_AER: Final = "matrix_product_state"
_METHODS: Final = ("density_matrix", "statevector", _MPS_OF_AER, "stabilizer")

# Of the memory; the rest is for the interpreter and for shots.
_STATE_SHARE: Final = 0.9

_MAX_OUTCOME_BITS: Final = 12

# Up to so many qubits, and of ideal circuits with decisions up to so many, shots that share their history are simulated
# together, which takes a third to a hundredth of the time that Aer does. States and products of matrices of one batch
# are there several times.
_INTERPRETED_QUBITS: Final = 11
_INTERPRETED_IDEAL_QUBITS: Final = 20
_INTERPRETED_COPIES: Final = 5
_BATCH_BYTES: Final = 2**28

# A stabilizer state takes a time that grows with the square of the qubits, so it is not worth while for few of them.
_STABILIZER_QUBITS: Final = 12

# A simulation that takes so many times longer than it should, and longer than this, is taken to go on for ever.
_LIMIT_FACTOR: Final = 50
_LEAST_LIMIT_SECONDS: Final = 300.0

# For fewer noisy qubits a state vector takes less time than a matrix product state of small bonds.
_MPS_QUBITS: Final = 12

# A state of density matrices, what it becomes, and room for tables.
_STATE_BYTES: Final = 4 * 8

# Trajectories that show what truncation discards.
_PROBED_SHOTS: Final = 4
# Of the circuit, before the first of them: what is discarded only adds up, and noisy gates of entangled qubits may take
# minutes in all.
_PROBED_BEGINNINGS: Final = (1 / 32, 1 / 8)


class AerExecutor(BaseExecutor):
    """Simulates circuits with qiskit-aer.

    Small circuits that measure at their end are evolved once for each set of parameters, and shots are drawn from the
    exact probabilities. Of other small ones, and of those whose decisions Aer does not know, shots are taken by our
    own interpreter (`simulation.statevector`), on NumPy. Of all others Aer takes the shots.
    """

    truncates = True

    def __init__(self, memory_bytes: int | None = None, threads: int | None = None) -> None:
        """Describe what simulations may use.

        Args:
            memory_bytes: By default what the container or the machine has, less a reserve.
            threads: By default one for each core.
        """
        self._given = memory_bytes, threads
        self._memory_bytes = usable_bytes() if memory_bytes is None else memory_bytes
        self._threads = threads
        state_bytes = self._memory_bytes // _INTERPRETED_COPIES
        states = NumPyStates(memory_bytes=state_bytes, batch_bytes=min(state_bytes, _BATCH_BYTES))
        self._evolutions = LastCircuits[Evolution | None](MOST_KEPT)
        self._stabilized_circuits = LastCircuits[bool]()
        self._interpreter = StateVectors(states, amplitude_bytes=AMPLITUDE_BYTES)

    def fitted(self, *, memory_bytes: int | None, threads: int) -> Self:
        """Return an executor that keeps to the limits of a slot where it was given none of its own."""
        given_bytes, given_threads = self._given
        made = type(self)(memory_bytes=given_bytes or memory_bytes, threads=given_threads)
        made.use_cores(threads)
        return made

    def use_cores(self, number: int) -> None:
        """Use so many threads, if it was given none of its own."""
        self._threads = self._given[1] or number

    def capabilities(self) -> Capabilities:
        """Return what fits into the memory."""
        return Capabilities(num_qubits=qubits_in(int(self._memory_bytes * _STATE_SHARE)), methods=_METHODS)

    def offer(self, task: SampleTask) -> Offer:
        """Return how `sample` would run a task; see `Simulator.offer`.

        Raises:
            CircuitTooLargeError: If no method can hold the circuit's state.
        """
        stabilized = self.stabilized_rows(task).all()
        seconds = stabilizer_seconds(task) if stabilized else dense_seconds(task.circuit, task.shots)
        if not (stabilized and task.noise is None):
            exact = self._exact_offer(task, seconds)
            if exact is not None:
                return exact
        state = AMPLITUDE_BYTES << task.circuit.num_qubits
        if stabilized:
            return Offer(method="stabilizer", seconds=seconds, memory_bytes=task.circuit.num_qubits**2)
        if self._is_interpreted(task):
            return Offer(method="statevector", seconds=seconds, memory_bytes=_INTERPRETED_COPIES * state)
        order, bond = placed(task.circuit)
        method, seconds = self._sampling_method(task, seconds, order, bond)
        if method == "statevector":
            return Offer(method=method, seconds=seconds, memory_bytes=state)
        return Offer(method=_MPS, seconds=seconds, memory_bytes=_tensor_bytes(task.circuit.num_qubits, bond or 1))

    def expected_truncated(self, task: SampleTask, most_error: float) -> Offer:
        """Return what trial trajectories and shots of a row take at most; see `Simulator.expected_truncated`."""
        circuit = task.circuit
        evolutions, truncation = self._truncation(task, most_error)
        order, _ = placed(circuit)
        once = seconds_at_most(circuit, order, truncation.bond, task.noise)
        return Offer(
            method=_MPS,
            seconds=(evolutions + min(_PROBED_SHOTS, evolutions)) * once.evolution + task.shots * once.shot,
            memory_bytes=_tensor_bytes(circuit.num_qubits, truncation.bond),
            truncation=truncation,
        )

    def _truncation(self, task: SampleTask, most_error: float) -> tuple[int, Truncation]:
        """Return how often a row's state is evolved, and how it is truncated.

        Raises:
            CircuitTooLargeError: If it cannot be.
        """
        evolutions = 1 if self._is_once(task) else task.shots
        return evolutions, truncation_within(most_error, in_order(task.circuit, placed(task.circuit)[0]), evolutions)

    def offer_truncated(self, task: SampleTask, most_error: float) -> Offer:
        """Return how `sample` would run a task as truncated matrix product states; see `Simulator.offer_truncated`.

        Some trajectories of each row are run, which show how much is discarded, until it is too much.
        """
        circuit = task.circuit
        evolutions, truncation = self._truncation(task, most_error)
        bond = truncation.bond
        probed = replace(task, shots=min(_PROBED_SHOTS, evolutions), truncation=truncation)
        begin = time.perf_counter()
        error = 0.0
        for row in range(len(task.seeds)):
            for found in self._probed(probed, row):
                error = max(error, found)
                if error > most_error:
                    raise CircuitTooLargeError(
                        f"{circuit.num_qubits} qubits of the circuit are too entangled for matrix product states: with"
                        f" bonds of {bond}, truncation could change results by {error:.2g} or more, with"
                        f" simulator.max_truncation_error: {most_error:g}."
                    )
        tried = len(task.seeds) * (probed.shots + sum(_PROBED_BEGINNINGS))
        return Offer(
            method=_MPS,
            seconds=(time.perf_counter() - begin) / tried * evolutions,
            memory_bytes=_tensor_bytes(circuit.num_qubits, bond),
            truncation=truncation,
            truncation_error=error,
        )

    def _probed(self, task: SampleTask, row: int) -> Iterator[float]:
        """Yield how much truncation may change the distribution of a row: at least, then by each shot of `task`."""
        whole, order = self._written(task, _MPS_OF_AER)
        decomposed = decompositions(whole)
        bound = _bound(whole, task.parameter_values[row], _MPS_OF_AER)
        reading = reading_errors(task.noise, order)
        trials = [(beginning(bound, share), share, 0) for share in _PROBED_BEGINNINGS]
        for circuit, share, shot in [*trials, *((bound, 1.0, shot) for shot in range(task.shots))]:
            options: dict[str, Any] = {
                "shots": 1,
                "seed_simulator": (int(task.seeds[row]) >> 2) + shot,
                "noise_model": reading,
                "mps_log_data": True,
            }
            seconds = seconds_of(LARGEST_BOND, share * len(task.circuit.data))
            (result,) = self._run([circuit], _MPS_OF_AER, seconds, task.truncation, **options)
            yield truncation_error(_log().new(result.metadata), int(share * decomposed))

    def _exact_offer(self, task: SampleTask, seconds: float) -> Offer | None:
        """Return what `_drawn` does with a task, if it does anything."""
        ends = terminal_measurements(task.circuit)
        if not ends:
            return None
        if self._is_ideal(task):
            if not self._fits(task, ends):
                return None
            state = AMPLITUDE_BYTES << task.circuit.num_qubits
            return Offer(method="statevector", seconds=evolution_seconds(task.circuit), memory_bytes=state)
        evolution = self._evolution(task, list(ends), seconds)
        if evolution is None:
            return None
        return Offer(method="density-matrix", seconds=evolution.seconds, memory_bytes=_STATE_BYTES * evolution.largest)

    def sample(self, task: SampleTask) -> BitTensor:
        """Run a task; see `BaseExecutor.sample`.

        Raises:
            CircuitTooLargeError: If no method can hold the circuit's state.
            OutOfMemoryError: If it could, but something else needed too much.
            InvalidInputError: If Aer does not know an instruction.
            InternalError: If Aer failed.
        """
        if task.truncation is not None:
            return self._sampled(
                task, _MPS_OF_AER, seconds_of(task.truncation.bond, task.shots * length_of(task.circuit))
            )
        stabilized = self.stabilized_rows(task)
        if not stabilized.any():
            return self._dense(task)
        bits = np.empty((len(task.seeds), task.shots, task.circuit.num_clbits), dtype=np.bool_)
        for chosen, run in ((stabilized, self._stabilized), (~stabilized, self._dense)):
            if chosen.any():
                bits[chosen] = run(
                    replace(task, parameter_values=task.parameter_values[chosen], seeds=task.seeds[chosen])
                )
        return bits

    def stabilized_rows(self, task: SampleTask) -> NDArray[np.bool_]:
        """Return which rows a stabilizer simulation may run, and is worth while for; shape ``(rows,)``."""
        circuit, noise, values = task.circuit, task.noise, task.parameter_values
        if circuit.num_qubits < _STABILIZER_QUBITS:
            return np.zeros(len(values), dtype=np.bool_)
        if values.shape[1]:
            return _stabilized_rows(circuit, values, noise)
        all_rows = self._stabilized_circuits.of(
            circuit, noise, lambda: bool(_stabilized_rows(circuit, np.empty((1, 0)), noise)[0])
        )
        return np.full(len(values), all_rows)

    def _stabilized(self, task: SampleTask) -> BitTensor:
        """Run a task of Clifford gates, whose errors are mixtures of them."""
        seconds = stabilizer_seconds(task)
        drawn = None if task.noise is None else self._drawn(task, seconds)
        return self._sampled(task, "stabilizer", seconds) if drawn is None else drawn

    def _dense(self, task: SampleTask) -> BitTensor:
        """Run a task of any gates and errors."""
        circuit = task.circuit
        # Of one row: a row's bits must not depend on how many others there are.
        seconds = dense_seconds(circuit, task.shots)
        drawn = self._drawn(task, seconds)
        if drawn is not None:
            return drawn
        if self._is_interpreted(task):
            return self._interpreter.sample(task)
        return self._sampled(task, *self._sampling_method(task, seconds, *placed(task.circuit)))

    def _is_interpreted(self, task: SampleTask) -> bool:
        """Return whether a task is interpreted, and not given to Aer.

        Raises:
            CircuitTooLargeError: If it is too large to be interpreted, and Aer cannot run it rightly.
        """
        circuit = task.circuit
        unknown = obstacle(circuit)
        most = self._interpreter.capabilities().num_qubits
        if unknown is not None and circuit.num_qubits > most:
            raise CircuitTooLargeError(
                f"{circuit.num_qubits} qubits of the circuit are entangled; for circuits with {unknown} there is room"
                f" for {most}."
            )
        decides = any(part.is_control_flow() for part in circuit.data)
        limit = _INTERPRETED_IDEAL_QUBITS if decides and task.noise is None else _INTERPRETED_QUBITS
        return unknown is not None or circuit.num_qubits <= min(limit, most)

    def _drawn(self, task: SampleTask, seconds: float) -> BitTensor | None:
        """Draw shots from the exact probabilities of all outcomes.

        Returns:
            None if the measurements are not all at the end, or if taking shots, which is `seconds` for a row, costs
            less.
        """
        ends = terminal_measurements(task.circuit)
        if not ends:
            return None
        rows, places = np.unique(task.parameter_values, axis=0, return_inverse=True)
        tables = self._exact(task, list(ends), rows, seconds)
        if tables is None:
            return None
        bits = np.zeros((len(task.seeds), task.shots, task.circuit.num_clbits), dtype=np.bool_)
        users = np.split(np.argsort(places.ravel(), kind="stable"), np.cumsum(np.bincount(places.ravel()))[:-1])
        for members, lines, table in tables:
            for member, line in zip(members.tolist(), lines.tolist(), strict=True):
                cumulative = np.cumsum(table[line])
                for row in users[member].tolist():
                    outcomes = draws(cumulative, task.shots, int(task.seeds[row]))
                    bits[row][:, list(ends.values())] = bits_of(outcomes, len(ends))
        return bits

    def _exact(
        self, task: SampleTask, measured: list[int], rows: NDArray[np.float64], seconds: float
    ) -> Iterator[Exact] | None:
        """Return the probabilities of all outcomes for different `rows`, or None if taking shots costs less."""
        if self._is_ideal(task):
            return ideal_probabilities(task.circuit, measured, rows, self._run) if self._fits(task, measured) else None
        evolution = self._evolution(task, measured, seconds)
        return None if evolution is None else evolution.probabilities(rows)

    def _is_ideal(self, task: SampleTask) -> bool:
        return task.noise is None and "reset" not in task.circuit.count_ops()

    def _is_once(self, task: SampleTask) -> bool:
        """Return whether Aer evolves a circuit once for all shots: nothing is random before its last measurements."""
        return self._is_ideal(task) and terminal_measurements(task.circuit) is not None

    def _fits(self, task: SampleTask, measured: Collection[int]) -> bool:
        return task.circuit.num_qubits <= self.capabilities().num_qubits and len(measured) <= _MAX_OUTCOME_BITS

    def _evolution(self, task: SampleTask, measured: list[int], seconds: float) -> Evolution | None:
        """Return the evolution of density matrices, if there is room for it and it takes no more than `seconds`."""
        if _STATE_BYTES << len(measured) > self._memory_bytes * _STATE_SHARE:
            # What is left at the end is a table of all outcomes.
            return None
        circuit, noise = task.circuit, task.noise
        evolution = self._evolutions.of(circuit, noise, lambda: Evolution.of(circuit, measured, noise))
        if evolution is None or _STATE_BYTES * evolution.largest > self._memory_bytes * _STATE_SHARE:
            return None
        return evolution if evolution.seconds <= seconds else None

    def _sampling_method(
        self, task: SampleTask, seconds: float, order: Sequence[int], bond: int | None
    ) -> tuple[str, float]:
        """Return how Aer takes shots, and about how many seconds it needs for a row; order and bond as of `placed`."""
        circuit = task.circuit
        once = self._is_once(task)
        small = task.noise is not None and circuit.num_qubits >= _MPS_QUBITS and (bond or LARGEST_BOND) <= SMALL_BOND
        if circuit.num_qubits <= self.capabilities().num_qubits and not small:
            return "statevector", evolution_seconds(circuit) if once else seconds
        if bond is not None and bond <= LARGEST_BOND:
            state = seconds_at_most(circuit, order, bond, task.noise)
            evolutions, drawn = (1, task.shots) if once else (task.shots, 0)
            return _MPS_OF_AER, evolutions * state.evolution + drawn * state.shot
        needed = AMPLITUDE_BYTES * 2**circuit.num_qubits
        raise CircuitTooLargeError(
            f"{circuit.num_qubits} qubits of the circuit are entangled: their state needs {in_words(needed)}, and there"
            f" are {in_words(int(self._memory_bytes * _STATE_SHARE))}, enough for {self.capabilities().num_qubits}."
        )

    def _sampled(self, task: SampleTask, method: str, seconds: float) -> BitTensor:
        """Have Aer take the shots."""
        whole, order = self._written(task, method)
        reading = reading_errors(task.noise, order)
        rows = []
        for values, seed in zip(task.parameter_values, task.seeds.tolist(), strict=True):
            circuit = _bound(whole, values, method)
            # Aer takes seeds of 63 bits, and counts up from there.
            options: dict[str, Any] = {"shots": task.shots, "seed_simulator": seed >> 2, "noise_model": reading}
            (result,) = self._run([circuit], method, seconds, task.truncation, **options)
            counts: dict[str, int] = getattr(result.data, "counts", {})
            if sum(counts.values()) != task.shots:
                raise InternalError(f"The simulator took {sum(counts.values())} of {task.shots} shots.")
            rows.append(shuffled(counts, circuit.num_clbits, seed)[:, : task.circuit.num_clbits])
        return np.array(rows, dtype=np.bool_).reshape(len(rows), task.shots, task.circuit.num_clbits)

    def _written(self, task: SampleTask, method: str) -> tuple[QuantumCircuit, Sequence[int]]:
        """Return a task's circuit as Aer is given it, and which qubits its first, second and so on are."""
        # Before values are put in, which takes the labels of delays away.
        whole = written_out(task.circuit, task.noise)
        if method != _MPS_OF_AER:
            return whole, range(task.circuit.num_qubits)
        order, _ = placed(task.circuit)
        return in_order(whole, order), order

    def _run(
        self,
        circuits: Sequence[QuantumCircuit],
        method: str,
        seconds: float,
        truncation: Truncation | None = None,
        **options: Any,
    ) -> list[Any]:
        """Return Aer's results, which take about `seconds`; see `calls.run`."""
        with self.time_limit(_LEAST_LIMIT_SECONDS + _LIMIT_FACTOR * seconds):
            return calls.run(
                circuits, method, truncation, memory_bytes=self._memory_bytes, threads=self._threads, **options
            )


def _stabilized_rows(
    circuit: QuantumCircuit, values: NDArray[np.float64], noise: NoiseModel | None
) -> NDArray[np.bool_]:
    possible = obstacle(circuit) is None
    return clifford_rows(circuit, values, noise) if possible else np.zeros(len(values), dtype=np.bool_)


def _bound(circuit: QuantumCircuit, values: NDArray[np.float64], method: str) -> QuantumCircuit:
    """Return a circuit with its parameters' values, in gates that a method of Aer knows."""
    bound = circuit.assign_parameters(values) if values.size else circuit
    if method == "stabilizer":
        return in_clifford_gates(bound)
    return in_known_gates(bound, calls.gates_of(method)) if method == _MPS_OF_AER else bound


@cache
def _log() -> Log:
    return Log()


def _tensor_bytes(num_qubits: int, bond: int) -> int:
    return 2 * AMPLITUDE_BYTES * num_qubits * bond**2
