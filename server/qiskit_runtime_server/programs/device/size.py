"""Holds jobs to the size of circuits that their account may simulate."""

from collections.abc import Iterable

from qiskit.circuit import QuantumCircuit

from qiskit_runtime_server.errors import CircuitTooLargeError
from qiskit_runtime_server.simulation.components import split


def check_size(circuits: Iterable[QuantumCircuit], limit: int | None) -> None:
    """Check that no part of a circuit is wider than `limit` qubits; parts are what is simulated in one piece.

    Raises:
        CircuitTooLargeError: If one is.
    """
    if limit is None:
        return
    for number, circuit in enumerate(circuits):
        width = _widest_part(circuit)
        if width > limit:
            raise CircuitTooLargeError(
                f"Circuit {number} has {width} qubits that depend on each other; the limit of this account is {limit}."
            )


def _widest_part(circuit: QuantumCircuit) -> int:
    # What is not measured would be left out, and estimators measure later.
    measured = circuit.copy()
    measured.measure_all()
    return max((len(part.qubits) for part in split(measured)), default=0)
