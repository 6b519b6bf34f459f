"""Errors as Pauli channels and transfer matrices."""

from collections.abc import Callable

import numpy as np
import pytest
from qiskit import QuantumCircuit
from qiskit.quantum_info import PTM
from qiskit_aer.noise import QuantumError, depolarizing_error, thermal_relaxation_error

from qiskit_runtime_server.simulation.clifford.pauli_noise import transfer_matrix


def composed(build: Callable[[QuantumCircuit], object]) -> QuantumError:
    """Return an error whose part is a gate of a user's, whose name says nothing of what it does."""
    gate, circuit, nothing = QuantumCircuit(1, name="mine"), QuantumCircuit(1), QuantumCircuit(1)
    build(gate)
    circuit.append(gate.to_gate(), [0])
    nothing.id(0)
    return QuantumError([(circuit, 0.1), (nothing, 0.9)])


@pytest.mark.parametrize(
    "error",
    [
        composed(lambda gate: gate.x(0)),
        composed(lambda gate: gate.z(0)),
        composed(lambda gate: gate.rx(0.3, 0)),
        depolarizing_error(0.1, 2),
        thermal_relaxation_error(50e-6, 90e-6, 1e-6),
        thermal_relaxation_error(50e-6, 40e-6, 1e-6, 0.2),
    ],
    ids=["x", "z", "rx", "depolarizing", "kraus", "reset"],
)
def test_transfer_matrices_are_those_of_qiskit(error: QuantumError) -> None:
    # Qiskit's order of Paulis is the same: I, X, Y, Z, the first qubit least significant.
    assert transfer_matrix(error) == pytest.approx(np.real(PTM(error).data), abs=1e-12)
