"""What instructions do to density matrices: real matrices in the basis of Pauli operators, for many angles at once.

A state of k qubits is the vector of its ``4^k`` expectation values of I, X, Y and Z on each qubit; the first qubit is
the one that varies fastest, as in Qiskit. A channel E is its Pauli transfer matrix, ``R[i, j] = tr(P_i E(P_j)) / 2^k``
(Greenbaum, 2015, https://arxiv.org/abs/1509.02921), and channels after one another are products of these.

    x                        diag(1, 1, -1, -1)
    depolarising, p          diag(1, 1 - p, 1 - p, 1 - p)
    amplitude damping, g     sqrt(1 - g) for X and Y; Z becomes (1 - g) Z + g
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache, lru_cache, reduce
from itertools import product
from typing import Final

import numpy as np
from numpy.typing import NDArray
from qiskit.circuit import Delay, Gate, Instruction, Measure, Parameter, ParameterExpression, QuantumCircuit, Reset
from qiskit_aer.noise import NoiseModel

from qiskit_runtime_server.simulation.noise import error_channel, readout_matrix

GROUND: Final = np.array([1.0, 0.0, 0.0, 1.0])

_RESET: Final = np.outer(GROUND, [1.0, 0.0, 0.0, 0.0])
_OUTCOMES: Final = np.array([[0.5, 0.0, 0.0, 0.5], [0.5, 0.0, 0.0, -0.5]])
_PAULIS: Final = (np.eye(2), np.array([[0, 1], [1, 0]]), np.array([[0, -1j], [1j, 0]]), np.diag([1, -1]))
# Of three qubits, each takes 33 KiB.
_KEPT_MATRICES: Final = 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Act:
    """An instruction of a circuit.

    Attributes:
        qubits: Their numbers in the circuit.
        columns: For each angle, the column of its values; None where it is a number.
    """

    operation: Instruction
    qubits: tuple[int, ...]
    columns: tuple[int | None, ...]

    @property
    def used(self) -> tuple[int, ...]:
        """The columns that the instruction depends on."""
        return tuple(column for column in self.columns if column is not None)


def acts(circuit: QuantumCircuit) -> list[Act] | None:
    """Return the instructions of `circuit`, or None if what one of them does is not known here."""
    columns: Mapping[Parameter, int] = {parameter: i for i, parameter in enumerate(circuit.parameters)}
    places = {qubit: i for i, qubit in enumerate(circuit.qubits)}
    found = []
    for instruction in circuit.data:
        operation = instruction.operation
        if not (
            isinstance(operation, Reset | Delay | Measure) or (isinstance(operation, Gate) and _is_known(operation))
        ):
            return None
        angles = () if isinstance(operation, Delay) else operation.params
        found.append(
            Act(
                operation=operation,
                qubits=tuple(places[qubit] for qubit in instruction.qubits),
                columns=tuple(columns[p] if isinstance(p, ParameterExpression) else None for p in angles),
            )
        )
    return found


def channels(act: Act, values: NDArray[np.float64], model: NoiseModel | None) -> NDArray[np.float64]:
    """Return what `act` does, its error included; before a measurement, only the error happens.

    Args:
        act: Of k qubits.
        values: Shape ``(n, columns)``.
        model: Made by `DeviceNoise`, or None.

    Returns:
        Shape ``(n, 4^k, 4^k)``, or ``(4^k, 4^k)`` if it is the same for all values.
    """
    ideal = _ideal(act, values)
    error = None if model is None else error_channel(model, act.operation, act.qubits)
    return ideal if error is None else transfer(error) @ ideal


def readout(model: NoiseModel | None, qubit: int) -> NDArray[np.float64]:
    """Return what makes the probabilities to read 0 and 1 of a qubit's state, shape ``(2, 4)``."""
    matrix = None if model is None else readout_matrix(model, qubit)
    return _OUTCOMES if matrix is None else matrix.T @ _OUTCOMES


def _is_known(gate: Gate) -> bool:
    return hasattr(gate, "__array__")


def _ideal(act: Act, values: NDArray[np.float64]) -> NDArray[np.float64]:
    operation = act.operation
    if isinstance(operation, Reset):
        return _RESET
    if not isinstance(operation, Gate):
        return np.eye(4 ** len(act.qubits))
    if not act.used:
        return of_unitary(operation.to_matrix())
    if operation.name == "rz":
        return _turned(values[:, act.used[0]])
    distinct, places = np.unique(values[:, act.used], axis=0, return_inverse=True)
    return np.array([of_unitary(_bound(act, row).to_matrix()) for row in distinct.tolist()])[places.ravel()]


def _bound(act: Act, row: list[float]) -> Gate:
    angles: Iterator[float] = iter(row)
    gate = act.operation.to_mutable()
    gate.params = [p if c is None else next(angles) for p, c in zip(gate.params, act.columns, strict=True)]
    return gate


def _turned(angles: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the channels of rz, which most devices have as their only gate with an angle.

    It turns the Bloch vector about Z: X becomes ``cos(a) X + sin(a) Y`` (Nielsen, Chuang, exercise 4.6,
    https://doi.org/10.1017/CBO9780511976667).
    """
    turned = np.zeros((len(angles), 4, 4))
    turned[:, 0, 0] = turned[:, 3, 3] = 1
    turned[:, 1, 1] = turned[:, 2, 2] = np.cos(angles)
    turned[:, 2, 1] = np.sin(angles)
    turned[:, 1, 2] = -turned[:, 2, 1]
    return turned


def of_unitary(matrix: NDArray[np.complex128]) -> NDArray[np.float64]:
    """Return the channel of a unitary matrix, shape ``(4^k, 4^k)``; not to be written to."""
    return _of_elements(matrix.astype(np.complex128).tobytes())


# Circuits are made of few different gates: a tenth of what a job of many small circuits takes in a worker.
@lru_cache(maxsize=_KEPT_MATRICES)
def _of_elements(elements: bytes) -> NDArray[np.float64]:
    """Return the channel of a unitary matrix, given by its complex numbers; not to be written to."""
    flat = np.frombuffer(elements, dtype=np.complex128)
    matrix = flat.reshape(math.isqrt(len(flat)), -1)
    return transfer(np.kron(matrix.conj(), matrix).astype(np.complex128))


def transfer(superoperator: NDArray[np.complex128]) -> NDArray[np.float64]:
    """Return in the Pauli basis what is column-stacking, as Qiskit's superoperators are.

    That is ``B^dagger S B / 2^k`` with the stacked Pauli operators as columns of B (Wood, Biamonte, Cory, 2015,
    https://arxiv.org/abs/1111.6950).
    """
    num_qubits = (len(superoperator).bit_length() - 1) // 2
    basis = _basis(num_qubits)
    real: NDArray[np.float64] = (basis.conj().T @ superoperator @ basis).real / 2**num_qubits
    return real


@cache
def _basis(num_qubits: int) -> NDArray[np.complex128]:
    """Return the products of Pauli matrices as columns, their own columns stacked."""
    paulis = (reduce(np.kron, factors) for factors in product(_PAULIS, repeat=num_qubits))
    return np.stack([pauli.ravel(order="F") for pauli in paulis], axis=1)
