"""Writes a circuit with its errors as the operations that propagate observables.

Gates and errors of one qubit are joined with the next gate of several qubits, so that little is left to do. All errors
are exact: relaxation takes Z to a sum of Z and I, which is one more term (Martinez et al., 2025,
https://arxiv.org/abs/2501.13050).

    rz q0; sx q0; ecr q0, q1; measure q1      one operation of two qubits, and one that misreads q1
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray
from qiskit.circuit import Measure, QuantumCircuit
from qiskit_aer.noise import NoiseModel, QuantumError

from qiskit_runtime_server.simulation.channels import Act, acts, channels, readout
from qiskit_runtime_server.simulation.clifford.pauli_noise import transfer_matrix
from qiskit_runtime_server.simulation.measurements import terminal_measurements
from qiskit_runtime_server.simulation.noise import errors_of
from qiskit_runtime_server.simulation.pauli_propagation.terms import Operation

MAX_JOINED: Final = 3
"""The most qubits of one gate: a matrix of four takes half a MiB."""

# What rounding leaves where a channel has nothing.
_ROUNDING: Final = 1e-13
# Terms that branch off with less than this need not be joined with others at once.
_SMALL: Final = 0.05
_KEPT: Final = 4096

_WIRE: Final = np.eye(4)
_LETTERS: Final = (0, 1, 3, 2)


class Lowering:
    """A circuit whose measurements are all terminal, as far as it can be written without values of its parameters.

    Attributes:
        num_qubits: Of the circuit.
        measured: For each classical bit the qubit that ends in it; None for bits that nothing is written to.
    """

    def __init__(
        self, num_qubits: int, found: Sequence[Act], measured: Sequence[int | None], model: NoiseModel | None
    ) -> None:
        """Take what `of` has made."""
        self.num_qubits = num_qubits
        self.measured = tuple(measured)
        self._acts = tuple(found)
        self._model = model
        known: dict[str, NDArray[np.float64]] = {}
        self._errors = [_error(act, model, known) for act in found]

    @classmethod
    def of(cls, circuit: QuantumCircuit, model: NoiseModel | None) -> Self | None:
        """Return a circuit, or None if it has something that cannot be propagated through.

        Args:
            circuit: Its angles are numbers or bare parameters.
            model: Made by `DeviceNoise`, or None.
        """
        ends = terminal_measurements(circuit)
        found = acts(circuit) if ends is not None else None
        if ends is None or found is None or any(len(act.qubits) > MAX_JOINED for act in found):
            return None
        qubits = {clbit: qubit for qubit, clbit in ends.items()}
        return cls(circuit.num_qubits, found, [qubits.get(bit) for bit in range(circuit.num_clbits)], model)

    def operations(self, values: NDArray[np.float64]) -> list[Operation]:
        """Return the operations, those first that are to be applied first, which is from the circuit's end.

        Args:
            values: Of the circuit's parameters, shape ``(k,)``.
        """
        waiting = [_WIRE] * self.num_qubits
        found: list[Operation] = []
        row = values[None]
        for act, error in zip(self._acts, self._errors, strict=True):
            matrix = channels(act, row, None)
            matrix = matrix[0] if matrix.ndim == 3 else matrix  # noqa: PLR2004 - a matrix for each row
            matrix = matrix if error is None else error @ matrix
            if len(act.qubits) == 1:
                (qubit,) = act.qubits
                waiting[qubit] = matrix @ waiting[qubit]
                if isinstance(act.operation, Measure):
                    waiting[qubit] = _misread(self._model, qubit) @ waiting[qubit]
            else:
                found.append(_operation(act.qubits, matrix @ _side_by_side([waiting[qubit] for qubit in act.qubits])))
                for qubit in act.qubits:
                    waiting[qubit] = _WIRE
        found += [_operation((qubit,), matrix) for qubit, matrix in enumerate(waiting) if matrix is not _WIRE]
        return found[::-1]


def _error(act: Act, model: NoiseModel | None, known: dict[str, NDArray[np.float64]]) -> NDArray[np.float64] | None:
    """Return the Pauli transfer matrix of all that goes wrong with an instruction; None if nothing does."""
    total: NDArray[np.float64] | None = None
    for error in () if model is None else errors_of(model, act.operation, act.qubits):
        matrix = _known(error, known)
        total = matrix if total is None else matrix @ total
    return total


def _known(error: QuantumError, known: dict[str, NDArray[np.float64]]) -> NDArray[np.float64]:
    if error.id not in known:
        known[error.id] = transfer_matrix(error)
    return known[error.id]


def _misread(model: NoiseModel | None, qubit: int) -> NDArray[np.float64]:
    """Return what makes of Z the difference of the probabilities to read 0 and 1."""
    matrix = np.eye(4)
    chances = readout(model, qubit)
    matrix[3] = chances[0] - chances[1]
    return matrix


def _side_by_side(matrices: Sequence[NDArray[np.float64]]) -> NDArray[np.float64]:
    product = matrices[0]
    for matrix in matrices[1:]:
        product = np.kron(matrix, product).astype(np.float64)
    return product


def _operation(qubits: tuple[int, ...], matrix: NDArray[np.float64]) -> Operation:
    known = _classified(np.ascontiguousarray(matrix).tobytes(), len(qubits))
    return Operation(
        qubits=qubits, matrix=known.matrix, main=known.main, factors=known.factors, branches=known.branches
    )


# Layers are repeated.
@lru_cache(maxsize=_KEPT)
def _classified(elements: bytes, num_qubits: int) -> Operation:
    """Return an operation of the first qubits, from the elements of its Pauli transfer matrix."""
    size = 4**num_qubits
    order = [sum(_LETTERS[code >> 2 * q & 3] << 2 * q for q in range(num_qubits)) for code in range(size)]
    matrix = np.frombuffer(elements, dtype=np.float64).reshape(size, size)[np.ix_(order, order)]
    matrix = np.where(np.abs(matrix) < _ROUNDING, 0.0, matrix)
    main = np.abs(matrix).argmax(axis=1)
    codes = np.arange(size)
    rest = matrix.copy()
    rest[codes, main] = 0.0
    branches = None
    if len(set(main.tolist())) == size and np.abs(rest).max() < _SMALL:
        branches = tuple((int(i), int(j), float(rest[i, j])) for i, j in np.argwhere(rest))
    return Operation(
        qubits=tuple(range(num_qubits)), matrix=matrix, main=main, factors=matrix[codes, main], branches=branches
    )
