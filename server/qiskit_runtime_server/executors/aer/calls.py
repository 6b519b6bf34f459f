"""The one place where Aer is called: with what memory and threads, and which errors its failures become."""

from collections.abc import Sequence
from functools import cache
from typing import Any, Final

from qiskit.circuit import QuantumCircuit
from qiskit_aer import AerError, AerSimulator

from qiskit_runtime_server.errors import InternalError, InvalidInputError, OutOfMemoryError
from qiskit_runtime_server.machine import in_words
from qiskit_runtime_server.simulation.contract import Truncation

AMPLITUDE_BYTES: Final = 16

# Below this, starting threads takes longer than what they do: 25 times as long for eight noisy qubits.
_THREADED_QUBITS: Final = 18


def run(
    circuits: Sequence[QuantumCircuit],
    method: str,
    truncation: Truncation | None,
    *,
    memory_bytes: int,
    threads: int | None,
    **options: Any,
) -> list[Any]:
    """Return Aer's results for `circuits`.

    Args:
        circuits: Of equally many qubits.
        method: As Aer calls it.
        truncation: Of matrix product states; None for exact ones.
        memory_bytes: What there is in all.
        threads: None for one on each core.
        options: Further ones, of Aer.

    Raises:
        InvalidInputError: If Aer does not know an instruction.
        OutOfMemoryError: If memory ran out.
        InternalError: If Aer failed otherwise.
    """
    if truncation is not None:
        options["matrix_product_state_max_bond_dimension"] = truncation.bond
        options["matrix_product_state_truncation_threshold"] = truncation.weight
    try:
        result = (
            _simulator()
            .run(
                circuits,
                method=method,
                max_parallel_threads=threads or 0,
                max_memory_mb=_megabytes(circuits[0].num_qubits, method, memory_bytes),
                statevector_parallel_threshold=_THREADED_QUBITS,
                # Aer's own decomposition of matrices may never end.
                mps_lapack=True,
                **options,
            )
            .result()
        )
    except AerError as error:
        raise InvalidInputError(f"The circuit cannot be simulated: {error}") from error
    except RuntimeError as error:
        raise InternalError(f"The simulator failed: {error}") from error
    if not result.success:
        reason = "; ".join({str(part.status) for part in result.results if not part.success}) or str(result.status)
        if "memory" in reason.lower() or "bad_alloc" in reason:
            raise OutOfMemoryError(
                f"{circuits[0].num_qubits} qubits do not fit into {in_words(memory_bytes)}: {reason}"
            )
        raise InternalError(f"The simulator failed: {reason}")
    return list(result.results)


def _megabytes(num_qubits: int, method: str, memory_bytes: int) -> int:
    """Return the memory by which Aer decides how many shots it takes at once; 0 for all there is.

    Aer wants room for two states for each of them. Where there is less, it takes no shots, and reports success.
    """
    if method not in {"statevector", "density_matrix"}:
        return 0
    needed: int = 4 * AMPLITUDE_BYTES << num_qubits * (2 if method == "density_matrix" else 1)
    return max(memory_bytes, needed, 4 * 2**20) >> 20


@cache
def gates_of(method: str) -> frozenset[str]:
    """Return the names of all instructions that one of Aer's methods knows."""
    return frozenset(AerSimulator(method=method).configuration().basis_gates)


@cache
def _simulator() -> AerSimulator:
    return AerSimulator()
