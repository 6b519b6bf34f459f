"""Simulates single qubits exactly, for many parameter values at once, without any simulator.

Most qubits of a wide circuit are alone: idle ones that are measured all the same, or ones that only delays act on.
"""

import numpy as np
from numpy.typing import NDArray
from qiskit.circuit import Delay, Gate, Instruction, ParameterExpression, QuantumCircuit, Reset
from qiskit_aer.noise import NoiseModel

from qiskit_runtime_server.programs.compact import terminal_measurements
from qiskit_runtime_server.programs.noise import error_channel, gate_error, readout_matrix

# Density matrices are vectors of four numbers here: columns stacked, as Qiskit's superoperators take them.
_GROUND = np.array([1, 0, 0, 0], dtype=np.complex128)
_RESET = np.array([[1, 0, 0, 1], [0, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]], dtype=np.complex128)


def chance_of_one(
    circuit: QuantumCircuit, values: NDArray[np.float64], model: NoiseModel | None
) -> NDArray[np.float64] | None:
    """Return the probability that the measured bit is 1, shape ``(n,)``; None if there is more to it than that.

    Args:
        circuit: Its angles are numbers or bare parameters.
        values: Shape ``(n, k)``, columns in the order of ``circuit.parameters``.
        model: The qubit's errors, or None.
    """
    if circuit.num_qubits != 1 or not terminal_measurements(circuit):
        return None
    if model is not None and gate_error(model, ("measure", (0,))) is not None:
        return None
    columns = {parameter: i for i, parameter in enumerate(circuit.parameters)}
    states = np.tile(_GROUND, (len(values), 1))
    for instruction in circuit.data:
        if instruction.name == "measure":
            continue
        operation = instruction.operation
        angles = [values[:, columns[p]] if isinstance(p, ParameterExpression) else p for p in operation.params]
        channels = _channels(operation, angles)
        if channels is None:
            return None
        states = np.einsum("...ij,...j->...i", channels, states)
        error = None if model is None else error_channel(model, operation, (0,))
        if error is not None:
            states = states @ error.T
    ones = np.clip(states[:, 3].real, 0.0, 1.0)
    matrix = None if model is None else readout_matrix(model, 0)
    return ones if matrix is None else ones * matrix[1, 1] + (1 - ones) * matrix[0, 1]


def _channels(operation: Instruction, angles: list[float | NDArray[np.float64]]) -> NDArray[np.complex128] | None:
    """Return what an instruction without its errors does, shape ``(4, 4)`` or ``(n, 4, 4)``; None if not known here."""
    if isinstance(operation, Reset):
        return _RESET
    if isinstance(operation, Delay):
        return np.eye(4, dtype=np.complex128)
    if not isinstance(operation, Gate) or not hasattr(operation, "__array__"):
        return None
    tables = [angle for angle in angles if isinstance(angle, np.ndarray)]
    if not tables:
        return _channel_of(operation.to_matrix())
    if operation.name == "rz":
        return _phases(tables[0])
    rows = np.stack(np.broadcast_arrays(*angles, tables[0]), axis=1)[:, : len(angles)]
    distinct, places = np.unique(rows, axis=0, return_inverse=True)
    channels = np.array([_channel_of(type(operation)(*row).to_matrix()) for row in distinct.tolist()])
    return channels[places.ravel()]


def _channel_of(matrix: NDArray[np.complex128]) -> NDArray[np.complex128]:
    return np.kron(matrix.conj(), matrix).astype(np.complex128)


def _phases(angles: NDArray[np.float64]) -> NDArray[np.complex128]:
    """Return the channels of rz, which most devices have as their only gate with an angle."""
    channels = np.zeros((len(angles), 4, 4), dtype=np.complex128)
    channels[:, 0, 0] = channels[:, 3, 3] = 1
    channels[:, 1, 1] = np.exp(1j * angles)
    channels[:, 2, 2] = channels[:, 1, 1].conj()
    return channels
