"""The executor `aer`: simulates circuits with qiskit-aer, on processors."""

from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray
from qiskit.circuit import Delay, Gate, Instruction, QuantumCircuit
from qiskit_aer import AerError, AerSimulator
from qiskit_aer.library import SaveProbabilities
from qiskit_aer.noise import NoiseModel

from qiskit_runtime_server.dispatch.events import Capabilities
from qiskit_runtime_server.errors import CircuitTooLargeError, InternalError, InvalidInputError, OutOfMemoryError
from qiskit_runtime_server.executors.base import BaseExecutor, BitTensor, SampleTask
from qiskit_runtime_server.programs.compact import terminal_measurements
from qiskit_runtime_server.programs.noise import error_channel, gate_error, readout_matrix
from qiskit_runtime_server.worker.memory import qubits_in, usable_bytes

_METHODS: Final = ("density_matrix", "statevector", "matrix_product_state", "stabilizer")
_AMPLITUDE_BYTES: Final = 16

# Of the memory; the rest is for the interpreter and for shots.
_STATE_SHARE: Final = 0.9

# Below this, starting threads takes longer than what they do: 25 times as long for eight noisy qubits.
_THREADED_QUBITS: Final = 18

# Measured on circuits of depth 3n with IBM's noise: a density matrix takes as long as this many shots for each 2^n.
_SHOTS_PER_ROW: Final = 0.25
_MAX_OUTCOME_BITS: Final = 12
_MAX_PROBABILITIES: Final = 2**22

# A matrix product state of small bonds takes 35 times less time than a state vector for 16 noisy qubits; for fewer
# than 12 it is the other way round. Larger bonds fit into memory as well, but take hours.
_MPS_QUBITS: Final = 12
_SMALL_BOND: Final = 8
_LARGEST_BOND: Final = 256

_CLIFFORD: Final = frozenset(
    {"id", "x", "y", "z", "h", "s", "sdg", "sx", "sxdg", "cx", "cy", "cz", "swap", "ecr", "delay", "measure", "reset"}
)
# Gates of two qubits that are sums of two products of gates of one.
_RANK_TWO: Final = frozenset(
    {"cx", "cy", "cz", "ch", "cp", "crx", "cry", "crz", "cs", "csdg", "csx", "cu", "ecr", "rxx", "ryy", "rzz", "rzx"}
)


class AerExecutor(BaseExecutor):
    """Simulates circuits with qiskit-aer.

    Small circuits that measure at their end are evolved once for each set of parameters, and shots are drawn from the
    exact probabilities; of all others Aer takes the shots.
    """

    def __init__(self, memory_bytes: int | None = None, threads: int | None = None) -> None:
        """Describe what simulations may use.

        Args:
            memory_bytes: By default what the container or the machine has, less a reserve.
            threads: By default one for each core.
        """
        self._given = memory_bytes, threads
        self._memory_bytes = usable_bytes() if memory_bytes is None else memory_bytes
        self._threads = threads

    def fitted(self, *, memory_bytes: int | None, threads: int) -> Self:
        """Return an executor that keeps to the limits of a slot where it was given none of its own."""
        given_bytes, given_threads = self._given
        return type(self)(memory_bytes=given_bytes or memory_bytes, threads=given_threads or threads)

    def capabilities(self) -> Capabilities:
        """Return what fits into the memory."""
        return Capabilities(num_qubits=qubits_in(int(self._memory_bytes * _STATE_SHARE)), methods=_METHODS)

    def sample(self, task: SampleTask) -> BitTensor:
        """Run a task; see `BaseExecutor.sample`.

        Raises:
            CircuitTooLargeError: If no method can hold the circuit's state.
            OutOfMemoryError: If it could, but something else needed too much.
            InvalidInputError: If Aer does not know an instruction.
        """
        ends = terminal_measurements(task.circuit)
        if ends and _measures_cleanly(task, ends):
            method = self._exact_method(task, len(ends))
            if method is not None:
                return self._drawn(task, ends, method)
        return self._sampled(task, self._sampling_method(task.circuit, task.noise))

    def _exact_method(self, task: SampleTask, outcome_bits: int) -> str | None:
        """Return how to get the exact probabilities, or None if taking shots costs less."""
        num_qubits = task.circuit.num_qubits
        if task.noise is None and "reset" not in task.circuit.count_ops():
            fits = num_qubits <= self.capabilities().num_qubits
            return "statevector" if fits and outcome_bits <= _MAX_OUTCOME_BITS else None
        worthwhile = 2**num_qubits * _SHOTS_PER_ROW <= task.shots
        return "density_matrix" if worthwhile and 2 * num_qubits <= self.capabilities().num_qubits else None

    def _sampling_method(self, circuit: QuantumCircuit, model: NoiseModel | None) -> str:
        bond = _bond_bound(circuit)
        if model is not None and circuit.num_qubits >= _MPS_QUBITS and bond is not None and bond <= _SMALL_BOND:
            return "matrix_product_state"
        if circuit.num_qubits <= self.capabilities().num_qubits:
            return "statevector"
        if model is None and circuit.count_ops().keys() <= _CLIFFORD:
            return "stabilizer"
        if bond is not None and bond <= _LARGEST_BOND:
            return "matrix_product_state"
        needed = _AMPLITUDE_BYTES * 2**circuit.num_qubits
        message = (
            f"{circuit.num_qubits} qubits of the circuit are entangled: their state needs {_spelled(needed)}, and there"
            f" are {_spelled(int(self._memory_bytes * _STATE_SHARE))}, enough for {self.capabilities().num_qubits}."
        )
        raise CircuitTooLargeError(message)

    def _drawn(self, task: SampleTask, ends: Mapping[int, int], method: str) -> BitTensor:
        """Draw shots from the exact probabilities of all outcomes."""
        qubits = list(ends)
        evolution = _evolution(task.circuit, task.noise, qubits, method)
        rows, places = np.unique(task.parameter_values, axis=0, return_inverse=True)
        places = places.ravel()
        step = max(1, _MAX_PROBABILITIES >> len(qubits))
        spelled_out = np.zeros((2 ** len(qubits), task.circuit.num_clbits), dtype=np.bool_)
        spelled_out[:, list(ends.values())] = np.arange(2 ** len(qubits))[:, None] >> np.arange(len(qubits)) & 1
        bits = np.empty((len(places), task.shots, task.circuit.num_clbits), dtype=np.bool_)
        for start in range(0, len(rows), step):
            exact = self._probabilities(evolution, rows[start : start + step], method)
            cumulative = np.cumsum(_misread(exact, task.noise, qubits), axis=1)
            for row in np.flatnonzero((start <= places) & (places < start + step)):
                outcomes = _draws(cumulative[places[row] - start], task.shots, int(task.seeds[row]))
                np.take(spelled_out, outcomes, axis=0, out=bits[row], mode="clip")
        return bits

    def _probabilities(self, circuit: QuantumCircuit, rows: NDArray[np.float64], method: str) -> NDArray[np.float64]:
        """Return the probabilities of all outcomes, shape ``(rows, 2^measured)``; the first qubit is the lowest bit."""
        table = {parameter: rows[:, i].tolist() for i, parameter in enumerate(circuit.parameters)}
        # Without this option Aer copies the circuit for each row, which takes half of the time.
        options = {"parameter_binds": [table], "runtime_parameter_bind_enable": True} if table else {}
        results = self._run(circuit, method, shots=1, **options)
        return np.array([result.data.probabilities for result in results])

    def _sampled(self, task: SampleTask, method: str) -> BitTensor:
        """Have Aer take the shots."""
        rows = []
        for values, seed in zip(task.parameter_values, task.seeds.tolist(), strict=True):
            circuit = task.circuit.assign_parameters(values) if values.size else task.circuit
            # Aer takes seeds of 63 bits, and counts up from there.
            (result,) = self._run(circuit, method, shots=task.shots, seed_simulator=seed >> 2, noise_model=task.noise)
            counts: dict[str, int] = getattr(result.data, "counts", {})
            if sum(counts.values()) != task.shots:
                message = f"The simulator took {sum(counts.values())} of {task.shots} shots."
                raise InternalError(message)
            rows.append(_shuffled(counts, circuit.num_clbits, seed))
        return np.array(rows, dtype=np.bool_).reshape(len(rows), task.shots, task.circuit.num_clbits)

    def _run(self, circuit: QuantumCircuit, method: str, **options: Any) -> list[Any]:
        try:
            result = (
                _simulator()
                .run(
                    circuit,
                    method=method,
                    max_parallel_threads=self._threads or 0,
                    max_memory_mb=self._megabytes(circuit, method),
                    statevector_parallel_threshold=_THREADED_QUBITS,
                    **options,
                )
                .result()
            )
        except AerError as error:
            message = f"The circuit cannot be simulated: {error}"
            raise InvalidInputError(message) from error
        if not result.success:
            reason = "; ".join({str(part.status) for part in result.results if not part.success}) or str(result.status)
            if "memory" in reason.lower() or "bad_alloc" in reason:
                message = f"{circuit.num_qubits} qubits do not fit into {_spelled(self._memory_bytes)}: {reason}"
                raise OutOfMemoryError(message)
            message = f"The simulator failed: {reason}"
            raise InternalError(message)
        return list(result.results)

    def _megabytes(self, circuit: QuantumCircuit, method: str) -> int:
        """Return the memory by which Aer decides how many shots it takes at once; 0 for all there is.

        Aer wants room for two states for each of them. Where there is less, it takes no shots, and reports success.
        """
        if method not in {"statevector", "density_matrix"}:
            return 0
        qubits: int = circuit.num_qubits * (2 if method == "density_matrix" else 1)
        needed: int = 4 * _AMPLITUDE_BYTES * 2**qubits
        return max(self._memory_bytes, needed, 4 * 2**20) >> 20


@cache
def _simulator() -> AerSimulator:
    return AerSimulator()


def _measures_cleanly(task: SampleTask, qubits: Iterable[int]) -> bool:
    """Whether measuring has no error but that of reading; any other is applied before the measurement."""
    return task.noise is None or all(gate_error(task.noise, ("measure", (qubit,))) is None for qubit in qubits)


def _evolution(
    circuit: QuantumCircuit, model: NoiseModel | None, measured: Sequence[int], method: str
) -> QuantumCircuit:
    """Return `circuit` with its errors written out, and with probabilities of `measured` saved in place of shots."""
    places = {qubit: place for place, qubit in enumerate(circuit.qubits)}
    evolution = _Evolution(circuit.num_qubits, model)
    for instruction in circuit.data:
        if instruction.name != "measure":
            qubits = tuple(places[qubit] for qubit in instruction.qubits)
            evolution.append(instruction.operation, qubits, as_channel=method == "density_matrix")
    return evolution.ended(measured)


class _Evolution:
    """A circuit in the making whose fixed gates are channels; those of one qubit in a row become one."""

    def __init__(self, num_qubits: int, model: NoiseModel | None) -> None:
        self._circuit = QuantumCircuit(num_qubits)
        self._model = model
        self._waiting: dict[int, NDArray[np.complex128]] = {}

    def append(self, operation: Instruction, qubits: tuple[int, ...], *, as_channel: bool) -> None:
        """Add an instruction and its error."""
        channel = None if self._model is None else error_channel(self._model, operation, qubits)
        if as_channel and isinstance(operation, Gate) and not operation.is_parameterized():
            matrix = operation.to_matrix()
            ideal = np.kron(matrix.conj(), matrix)
            channel = ideal if channel is None else channel @ ideal
        elif not isinstance(operation, Delay):
            self._flush(qubits)
            self._circuit.append(operation, qubits)
        if channel is None:
            return
        if len(qubits) == 1:
            before = self._waiting.get(qubits[0])
            self._waiting[qubits[0]] = channel if before is None else channel @ before
        else:
            self._flush(qubits)
            self._circuit.append(Instruction("superop", len(qubits), 0, [channel]), qubits)

    def ended(self, measured: Sequence[int]) -> QuantumCircuit:
        """Return the circuit, with the probabilities of `measured` saved at its end."""
        self._flush(list(self._waiting))
        self._circuit.append(SaveProbabilities(len(measured)), measured)
        return self._circuit

    def _flush(self, qubits: Iterable[int]) -> None:
        for qubit in qubits:
            channel = self._waiting.pop(qubit, None)
            if channel is not None:
                self._circuit.append(Instruction("superop", 1, 0, [channel]), [qubit])


def _misread(
    probabilities: NDArray[np.float64], model: NoiseModel | None, measured: Sequence[int]
) -> NDArray[np.float64]:
    """Return the probabilities of what is read, given those of what there is, shape ``(rows, 2^measured)``."""
    tensor = probabilities.reshape(-1, *(2,) * len(measured))
    for place, qubit in enumerate(measured):
        matrix = None if model is None else readout_matrix(model, qubit)
        if matrix is not None:
            axis = len(measured) - place
            tensor = np.moveaxis(np.tensordot(tensor, matrix, axes=(axis, 0)), -1, axis)
    return tensor.reshape(probabilities.shape)


def _draws(cumulative: NDArray[np.float64], shots: int, seed: int) -> NDArray[np.intp]:
    points = np.random.default_rng(seed).random(shots) * cumulative[-1]
    # Rounding must not make an outcome of probability 0 at the end possible.
    last: np.intp = np.searchsorted(cumulative, cumulative[-1])
    outcomes: NDArray[np.intp] = np.minimum(np.searchsorted(cumulative, points, side="right"), last)
    return outcomes


def _shuffled(counts: Mapping[str, int], num_clbits: int, seed: int) -> BitTensor:
    """Return counts as shots in random order, shape ``(shots, num_clbits)``.

    Sorted ones would seem to depend on those of other components.
    """
    width = (num_clbits + 7) // 8
    # The order in which Aer reports outcomes depends on its threads.
    ordered = sorted((int(outcome, 16), count) for outcome, count in counts.items())
    data = b"".join(outcome.to_bytes(width, "little") for outcome, _ in ordered)
    packed = np.frombuffer(data, dtype=np.uint8).reshape(len(counts), width)
    outcomes = np.unpackbits(packed, axis=1, count=num_clbits, bitorder="little").astype(np.bool_)
    order = np.repeat(np.arange(len(counts)), [count for _, count in ordered])
    shots: BitTensor = outcomes[np.random.default_rng(seed).permutation(order)]
    return shots


def _bond_bound(circuit: QuantumCircuit) -> int | None:
    """Return the bond dimension that a matrix product state of `circuit` cannot exceed; None if it is not known."""
    places = {qubit: place for place, qubit in enumerate(circuit.qubits)}
    exponents = np.zeros(max(1, circuit.num_qubits - 1), dtype=np.int64)
    for instruction in circuit.data:
        if instruction.is_control_flow() or len(instruction.qubits) > 2:  # noqa: PLR2004 - gates of three qubits
            return None
        if len(instruction.qubits) == 2:  # noqa: PLR2004 - a pair
            low, high = sorted(places[qubit] for qubit in instruction.qubits)
            exponents[low:high] += 1 if instruction.name in _RANK_TWO else 2
    ends = np.minimum(np.arange(1, len(exponents) + 1), np.arange(len(exponents), 0, -1))
    bond: int = 2 ** int(np.minimum(exponents, ends).max())
    return bond


def _spelled(size: int) -> str:
    value = float(size)
    for unit in ("bytes", "KiB", "MiB", "GiB", "TiB"):
        if value < 1024:  # noqa: PLR2004 - the next unit
            return f"{value:.3g} {unit}"
        value /= 1024
    return f"{value:.3g} PiB"
