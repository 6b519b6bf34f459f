"""The executor `aer`: simulates circuits with qiskit-aer, on processors."""

from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray
from qiskit.circuit import QuantumCircuit
from qiskit_aer import AerError, AerSimulator
from qiskit_aer.library import SaveProbabilities
from qiskit_aer.noise import NoiseModel

from qiskit_runtime_server.dispatch.events import Capabilities
from qiskit_runtime_server.errors import CircuitTooLargeError, InternalError, InvalidInputError, OutOfMemoryError
from qiskit_runtime_server.executors.base import BaseExecutor, BitTensor, SampleTask
from qiskit_runtime_server.programs.compact import terminal_measurements
from qiskit_runtime_server.programs.density import Evolution, Exact
from qiskit_runtime_server.worker.memory import qubits_in, usable_bytes

_METHODS: Final = ("density_matrix", "statevector", "matrix_product_state", "stabilizer")
_AMPLITUDE_BYTES: Final = 16

# Of the memory; the rest is for the interpreter and for shots.
_STATE_SHARE: Final = 0.9

# Below this, starting threads takes longer than what they do: 25 times as long for eight noisy qubits.
_THREADED_QUBITS: Final = 18

# What Aer takes to start, for an instruction of one shot, and for each of its 2^n numbers; circuits with IBM's noise.
_SECONDS_PER_RUN: Final = 3e-3
_SECONDS_PER_INSTRUCTION: Final = 1e-6
_SECONDS_PER_NUMBER: Final = 7e-9

_MAX_OUTCOME_BITS: Final = 12
_MAX_PROBABILITIES: Final = 2**22

# A matrix product state of small bonds takes 35 times less time than a state vector for 16 noisy qubits; for fewer
# than 12 it is the other way round. Larger bonds fit into memory as well, but take hours.
_MPS_QUBITS: Final = 12
_SMALL_BOND: Final = 8
_LARGEST_BOND: Final = 256

# A state of density matrices, what it becomes, and room for tables.
_STATE_BYTES: Final = 4 * 8

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
        drawn = self._drawn(task, ends) if ends else None
        if drawn is not None:
            return drawn
        return self._sampled(task, self._sampling_method(task.circuit, task.noise))

    def _drawn(self, task: SampleTask, ends: Mapping[int, int]) -> BitTensor | None:
        """Draw shots from the exact probabilities of all outcomes; None if having Aer take them costs less."""
        bits = np.zeros((len(task.seeds), task.shots, task.circuit.num_clbits), dtype=np.bool_)
        rows, places = np.unique(task.parameter_values, axis=0, return_inverse=True)
        tables = self._exact(task, list(ends), rows)
        if tables is None:
            return None
        spelled_out = np.zeros((2 ** len(ends), task.circuit.num_clbits), dtype=np.bool_)
        spelled_out[:, list(ends.values())] = np.arange(2 ** len(ends))[:, None] >> np.arange(len(ends)) & 1
        users = np.split(np.argsort(places.ravel(), kind="stable"), np.cumsum(np.bincount(places.ravel()))[:-1])
        for members, lines, table in tables:
            cumulative = np.cumsum(table, axis=1)
            for member, line in zip(members.tolist(), lines.tolist(), strict=True):
                for row in users[member].tolist():
                    outcomes = _draws(cumulative[line], task.shots, int(task.seeds[row]))
                    np.take(spelled_out, outcomes, axis=0, out=bits[row], mode="clip")
        return bits

    def _exact(self, task: SampleTask, measured: list[int], rows: NDArray[np.float64]) -> Iterator[Exact] | None:
        """Return the probabilities of all outcomes for different `rows`, or None if taking shots costs less."""
        num_qubits = task.circuit.num_qubits
        if task.noise is None and "reset" not in task.circuit.count_ops():
            fits = num_qubits <= self.capabilities().num_qubits and len(measured) <= _MAX_OUTCOME_BITS
            return self._ideal(task.circuit, measured, rows) if fits else None
        evolution = Evolution.of(task.circuit, measured, task.noise)
        if evolution is None or _STATE_BYTES * evolution.largest > self._memory_bytes * _STATE_SHARE:
            return None
        # Of one row: a row's bits must not depend on how many others there are.
        instruction = _SECONDS_PER_INSTRUCTION + _SECONDS_PER_NUMBER * 2**num_qubits
        taken = _SECONDS_PER_RUN + task.shots * task.circuit.size() * instruction
        return evolution.probabilities(rows) if evolution.seconds <= taken else None

    def _ideal(self, circuit: QuantumCircuit, measured: list[int], rows: NDArray[np.float64]) -> Iterator[Exact]:
        """Yield what `Evolution.probabilities` does, of a circuit without noise and resets."""
        evolved = circuit.copy_empty_like()
        for instruction in circuit.data:
            if instruction.name not in {"measure", "delay"}:
                evolved.append(instruction)
        evolved.append(SaveProbabilities(len(measured)), measured)
        step = max(1, _MAX_PROBABILITIES >> len(measured))
        for start in range(0, len(rows), step):
            part = rows[start : start + step]
            table = {parameter: part[:, i].tolist() for i, parameter in enumerate(circuit.parameters)}
            # Without this option Aer copies the circuit for each row, which takes half of the time.
            options = {"parameter_binds": [table], "runtime_parameter_bind_enable": True} if table else {}
            results = self._run(evolved, "statevector", shots=1, **options)
            lines = np.arange(len(part))
            yield start + lines, lines, np.array([result.data.probabilities for result in results])

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
