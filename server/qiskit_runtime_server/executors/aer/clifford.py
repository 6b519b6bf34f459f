"""Which circuits Aer's stabilizer method runs exactly, and what it calls their gates.

It is for errors that Pauli frames (`simulation.clifford`) do not carry exactly: mixtures with resets.
A stabilizer state of n qubits is a table of n^2 bits, and each Clifford gate, Pauli error, reset and measurement of a
Pauli operator changes it in a time that grows with n at most quadratically (Aaronson, Gottesman, 2004,
https://doi.org/10.1103/PhysRevA.70.052328). So the width of such circuits does not matter:

    rz(pi/2) is S, rzz(-pi/2) is two S, two Z and a CZ but for a phase, rz(0.3) is no Clifford gate
"""

from functools import lru_cache
from typing import Final

import numpy as np
from numpy.typing import NDArray
from qiskit.circuit import Gate, Instruction, QuantumCircuit
from qiskit.exceptions import QiskitError
from qiskit_aer.noise import NoiseModel, QuantumError

from qiskit_runtime_server.executors.aer.circuits import CLIFFORD_GATES, Steps, has_loop, leaves, rewritten
from qiskit_runtime_server.simulation.clifford import recognition
from qiskit_runtime_server.simulation.noise import errors_of

_KEPT: Final = 4096


def clifford_rows(circuit: QuantumCircuit, values: NDArray[np.float64], noise: NoiseModel | None) -> NDArray[np.bool_]:
    """Return for each row of parameter values whether a stabilizer simulation can run `circuit` with its errors.

    Args:
        circuit: Its angles are numbers or bare parameters.
        values: Shape ``(n, k)``, columns in the order of ``circuit.parameters``.
        noise: Errors of its qubits, or None.

    Returns:
        Shape ``(n,)``.
    """
    if noise is not None and has_loop(circuit):
        # Aer draws mixtures but once for all rounds.
        return np.zeros(len(values), dtype=np.bool_)
    gates = []
    for operation, qubits in leaves(circuit, range(circuit.num_qubits)):
        if noise is not None and not all(map(_is_pauli_like, errors_of(noise, operation, qubits))):
            return np.zeros(len(values), dtype=np.bool_)
        gates.append(operation)
    return recognition.clifford_rows(gates, circuit, values, lambda gate: clifford_steps(gate) is not None)


def clifford_steps(operation: Instruction) -> Steps | None:
    """Return the gates that a gate with numbers for angles consists of, up to a phase; None if it is no Clifford gate.

    Angles may be off by some 1e-7.
    """
    if operation.name in CLIFFORD_GATES:
        return ((operation, tuple(range(operation.num_qubits))),)
    if not isinstance(operation, Gate) or operation.num_qubits > recognition.MOST_QUBITS:
        return None
    try:
        matrix = np.asarray(operation.to_matrix(), dtype=np.complex128)
    except (QiskitError, TypeError):
        return None
    return _steps_of(matrix.tobytes(), operation.num_qubits)


def in_clifford_gates(circuit: QuantumCircuit) -> QuantumCircuit:
    """Return a circuit, whose angles are numbers and which `clifford_rows` has found good, in gates of stabilizers."""

    def steps(operation: Instruction, qubits: tuple[int, ...]) -> Steps:
        found = clifford_steps(operation)
        return [(operation, range(len(qubits)))] if found is None else found

    return rewritten(circuit, range(circuit.num_qubits), steps)


def _is_pauli_like(error: QuantumError) -> bool:
    """Whether an error is a mixture of Clifford gates and resets."""
    return all(
        instruction.name in CLIFFORD_GATES or instruction.name == "reset"
        for circuit in error.circuits
        for instruction in circuit.data
    )


@lru_cache(maxsize=_KEPT)
def _steps_of(elements: bytes, num_qubits: int) -> Steps | None:
    found = recognition.clifford_of(np.frombuffer(elements, dtype=np.complex128).reshape(2**num_qubits, -1))
    if found is None:
        return None
    circuit = found.to_circuit()
    return tuple(
        (instruction.operation, tuple(circuit.find_bit(qubit).index for qubit in instruction.qubits))
        for instruction in circuit.data
    )
