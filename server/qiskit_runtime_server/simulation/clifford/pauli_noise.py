"""Errors as Pauli channels: exactly where they are, else twirled.

A Pauli channel applies the product P with probability p(P); its Pauli transfer matrix is diagonal, with eigenvalues
``l(Q) = sum over P of (-1)^<P, Q> p(P)``, where <P, Q> is 0 if the two commute, else 1. So p is the Walsh-Hadamard
transform of the diagonal, ``p(P) = sum over Q of (-1)^<P, Q> l(Q) / 4^k`` (Flammia, Wallman, 2020,
https://arxiv.org/abs/1907.12976). Twirling over the Pauli operators, the mean of ``P E(P rho P) P`` over all P, keeps
the diagonal of a channel and drops all else (Geller, Zhou, 2013, https://doi.org/10.1103/PhysRevA.88.012314). It
neglects where amplitude damping leads to, and coherent errors' interference.

    depolarising, p                diagonal: p(X) = p(Y) = p(Z) = p/4
    relaxation, g = 1-exp(-t/T1)   not diagonal: Z becomes (1-g) Z + g, of which the twirl drops the last g
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from qiskit.circuit import Delay, Instruction, Reset
from qiskit.circuit.library import PauliGate, UnitaryGate
from qiskit.quantum_info import SuperOp
from qiskit_aer.noise import NoiseModel, QuantumError

from qiskit_runtime_server.simulation.channels import transfer
from qiskit_runtime_server.simulation.clifford.recognition import standard_key
from qiskit_runtime_server.simulation.noise import error_name, errors_of, gate_error, misread_chances

# What rounding leaves beside the diagonal.
_ROUNDING: Final = 1e-12
_TINY: Final = 1e-14
_KEPT: Final = 4096

# Beside Qiskit's gates; any other may have the name and the parameters of one that does something else.
_TOLD_BY_PARAMETERS: Final = {PauliGate, UnitaryGate, Reset}

_SIGNS: Final = np.array([[1, 1, 1, 1], [1, 1, -1, -1], [1, -1, 1, -1], [1, -1, -1, 1]], dtype=np.float64)


@dataclass(frozen=True, slots=True, eq=False)
class PauliChannel:
    """A channel that applies products of Pauli operators.

    Attributes:
        chances: Of each product, shape ``(4^k,)``, of I, X, Y, Z on each qubit; the first qubit varies fastest.
        exact: Whether it is what it was made of, and not its twirl.
    """

    chances: NDArray[np.float64]
    exact: bool


class PauliErrors:
    """The errors of a noise model, or none, as Pauli channels."""

    def __init__(self, noise: NoiseModel | None) -> None:
        self._noise = noise
        self._channels: dict[tuple[object, ...], PauliChannel | None] = {}

    def of(self, operation: Instruction, qubits: tuple[int, ...]) -> PauliChannel | None:
        """Return the errors of an instruction: the same for all of its name, and for delays that are as long."""
        if self._noise is None or operation.name == "barrier":
            return None
        length = (*operation.params, operation.unit) if isinstance(operation, Delay) else ()
        key = error_name(operation), qubits, length
        if key not in self._channels:
            self._channels[key] = pauli_channel(errors_of(self._noise, operation, qubits))
        return self._channels[key]

    def of_measurement(self, qubit: int) -> tuple[PauliChannel | None, tuple[float, float]]:
        """Return the errors before a measurement, and how often it reads 0 as 1, and 1 as 0."""
        if self._noise is None:
            return None, (0.0, 0.0)
        error = gate_error(self._noise, ("measure", (qubit,)))
        return None if error is None else pauli_channel([error]), misread_chances(self._noise, qubit)


def pauli_channel(errors: Sequence[QuantumError]) -> PauliChannel | None:
    """Return errors of the same qubits that happen one after the other; None if nothing happens."""
    if not errors:
        return None
    key = tuple(error.id for error in errors)
    if key not in _known:
        while len(_known) >= _KEPT:
            del _known[next(iter(_known))]
        _known[key] = _of([transfer_matrix(error) for error in errors])
    found = _known[key]
    return None if found.chances[0] == 1 else found


# Errors have unique ids, but no hash.
_known: dict[tuple[str, ...], PauliChannel] = {}


def transfer_matrix(error: QuantumError) -> NDArray[np.float64]:
    """Return the Pauli transfer matrix of an error, shape ``(4^k, 4^k)``, the first qubit varying fastest.

    Qiskit's own way to the same takes 25 ms for an error of two qubits, and a device has hundreds of them.
    """
    total = np.zeros((4**error.num_qubits, 4**error.num_qubits))
    for circuit, chance in zip(error.circuits, error.probabilities, strict=True):
        matrix = np.eye(len(total))
        for instruction in circuit.data:
            places = tuple(circuit.find_bit(qubit).index for qubit in instruction.qubits)
            matrix = _step(instruction.operation, places, error.num_qubits) @ matrix
        total += chance * matrix
    return total


def _step(operation: Instruction, places: tuple[int, ...], width: int) -> NDArray[np.float64]:
    """Return the transfer matrix of a part of an error; many errors have the same parts, as Pauli operators."""
    own = standard_key(operation)
    if own is None and operation.base_class in _TOLD_BY_PARAMETERS:
        own = (operation.name, *map(_value, operation.params))
    if own is None:
        return _embedded(transfer(np.asarray(SuperOp(operation).data)), places, width)
    key = (own, places, width)
    if key not in _steps:
        while len(_steps) >= _KEPT:
            del _steps[next(iter(_steps))]
        _steps[key] = _embedded(transfer(np.asarray(SuperOp(operation).data)), places, width)
    return _steps[key]


_steps: dict[tuple[object, ...], NDArray[np.float64]] = {}


def _value(parameter: object) -> object:
    return parameter.tobytes() if isinstance(parameter, np.ndarray) else parameter


def _embedded(matrix: NDArray[np.float64], places: Sequence[int], width: int) -> NDArray[np.float64]:
    """Return a transfer matrix of the qubits `places` as one of `width` qubits."""
    rest = [place for place in range(width) if place not in places]
    wide = np.kron(np.eye(4 ** len(rest)), matrix).astype(np.float64).reshape((4,) * (2 * width))
    # Axes go from the highest qubit to the lowest: the others', then the own ones.
    order = [*reversed(rest), *reversed(places)]
    axes = [order.index(qubit) for qubit in reversed(range(width))]
    return wide.transpose(*axes, *(width + axis for axis in axes)).reshape(4**width, 4**width)


def _of(matrices: Sequence[NDArray[np.float64]]) -> PauliChannel:
    """Return the product of channels; twirled one by one, which is the same where they are exact."""
    diagonals = [np.diagonal(matrix) for matrix in matrices]
    exact = all(np.abs(matrix - np.diag(np.diagonal(matrix))).max() < _ROUNDING for matrix in matrices)
    eigenvalues = np.prod(diagonals, axis=0)
    num_qubits = (len(eigenvalues).bit_length() - 1) // 2
    signs = np.eye(1)
    for _ in range(num_qubits):
        signs = np.kron(signs, _SIGNS).astype(np.float64)
    chances = signs @ eigenvalues / len(eigenvalues)
    chances = np.where(chances < _TINY, 0, chances)
    return PauliChannel(chances=chances / chances.sum(), exact=exact)
