"""Matrices of gates, for many angles at once, and matrices on more qubits than their own.

Rotations are ``exp(-i theta/2 P) = cos(theta/2) - i sin(theta/2) P`` for a product P of Pauli matrices, the other gates
those of OpenQASM's standard library (Cross et al., 2022, https://doi.org/10.1145/3505636). Global phases do nothing.

    rz(theta)      diag(exp(-i theta/2), exp(i theta/2))
    rzz(theta)     the same with the parity of two bits
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray
from qiskit.circuit import Instruction
from qiskit.exceptions import QiskitError
from qiskit.quantum_info import Operator

from qiskit_runtime_server.errors import InvalidInputError
from qiskit_runtime_server.simulation.statevector.state_port import Floats, Integers, Matrices

_PAULIS: Final[Mapping[str, Matrices]] = {
    "I": np.eye(2, dtype=np.complex128),
    "X": np.array([[0, 1], [1, 0]], dtype=np.complex128),
    "Y": np.array([[0, -1j], [1j, 0]]),
    "Z": np.array([[1, 0], [0, -1]], dtype=np.complex128),
}
# exp(-i angle/2 P); the last letter is that of the first qubit.
_ROTATIONS: Final = {"rx": "X", "ry": "Y", "rz": "Z", "rxx": "XX", "ryy": "YY", "rzz": "ZZ", "rzx": "XZ"}


def pauli(letters: str) -> Matrices:
    """Return a product of Pauli matrices; the last letter is that of the first qubit, as in Qiskit."""
    matrix: Matrices = np.eye(1, dtype=np.complex128)
    for letter in letters:
        matrix = np.kron(matrix, _PAULIS[letter]).astype(np.complex128)
    return matrix


def fixed_matrix(operation: Instruction) -> Matrices:
    """Return the matrix of an operation without free parameters, by its definition if it has none of its own.

    Raises:
        InvalidInputError: If it has neither.
    """
    try:
        # Operator copies the instruction first, which takes ten times as long.
        known = operation.to_matrix() if hasattr(operation, "__array__") else Operator(operation).data
        return np.asarray(known, dtype=np.complex128)
    except QiskitError as error:
        raise InvalidInputError(
            f"The instruction {operation.name} cannot be simulated: it has no unitary matrix."
        ) from error


def matrices(operation: Instruction, angles: Floats) -> Matrices:
    """Return the matrices of a gate for each row of `angles`, shape ``(rows, d, d)``."""
    build = _BUILDERS.get(operation.name)
    if build is not None:
        return build(angles)
    if not hasattr(operation, "__array__"):
        # Its definition has the parameters that it was made with, not the angles that it got since.
        raise InvalidInputError(
            f"The instruction {operation.name} cannot be simulated: it has angles, and no matrix of its own."
        )
    rows, places = np.unique(angles, axis=0, return_inverse=True)
    table = [fixed_matrix(_with_angles(operation, row)) for row in rows.tolist()]
    return np.array(table)[places.ravel()]


def _with_angles(operation: Instruction, angles: list[float]) -> Instruction:
    bound = operation.copy()
    bound.params = angles
    return bound


def embedded(table: Matrices, places: Sequence[int], width: int) -> Matrices:
    """Return matrices of shape ``(k, d, d)`` on the qubits `places` as matrices on `width` qubits."""
    count, own = len(table), len(places)
    rest = [place for place in range(width) if place not in places]
    wide = np.einsum("kab,cd->kcadb", table, np.eye(1 << len(rest))).reshape(count, *(2,) * (2 * width))
    # Axes go from the highest qubit to the lowest: the others', then the own ones.
    order = [*reversed(rest), *reversed(places)]
    axes = [order.index(qubit) for qubit in reversed(range(width))]
    assert own + len(rest) == width  # noqa: S101 - places are distinct
    moved = wide.transpose(0, *(1 + axis for axis in axes), *(1 + width + axis for axis in axes))
    return np.ascontiguousarray(moved.reshape(count, 1 << width, 1 << width))


def projectors() -> Matrices:
    """Return those on |0> and on |1>, shape ``(2, 2, 2)``."""
    return np.array([[[1, 0], [0, 0]], [[0, 0], [0, 1]]], dtype=np.complex128)


def resets() -> Matrices:
    """Return what takes |0> and |1> to |0>, shape ``(2, 2, 2)``."""
    return np.array([[[1, 0], [0, 0]], [[0, 1], [0, 0]]], dtype=np.complex128)


def bits_of(numbers: Integers, count: int) -> NDArray[np.bool_]:
    """Return the lowest bits of numbers, shape ``(len(numbers), count)``."""
    return (numbers[:, None] >> np.arange(count) & 1).astype(np.bool_)


def _rotation(letters: str) -> Callable[[Floats], Matrices]:
    generator = pauli(letters)
    identity = np.eye(len(generator))

    def build(angles: Floats) -> Matrices:
        half = angles[:, 0, None, None] / 2
        return np.cos(half) * identity - 1j * np.sin(half) * generator

    return build


def _controlled(build: Callable[[Floats], Matrices]) -> Callable[[Floats], Matrices]:
    def controlled(angles: Floats) -> Matrices:
        table = np.tile(np.eye(4, dtype=np.complex128), (len(angles), 1, 1))
        # The control is the lowest bit.
        table[:, 1::2, 1::2] = build(angles)
        return table

    return controlled


def _phase(angles: Floats) -> Matrices:
    table = np.zeros((len(angles), 2, 2), dtype=np.complex128)
    table[:, 0, 0] = 1
    table[:, 1, 1] = np.exp(1j * angles[:, 0])
    return table


def _u3(angles: Floats) -> Matrices:
    theta, phi, lam = angles.T
    cos, sin = np.cos(theta / 2), np.sin(theta / 2)
    rows = [[cos, -np.exp(1j * lam) * sin], [np.exp(1j * phi) * sin, np.exp(1j * (phi + lam)) * cos]]
    return np.moveaxis(np.array(rows), 2, 0)


def _u2(angles: Floats) -> Matrices:
    return _u3(np.column_stack([np.full(len(angles), np.pi / 2), angles]))


_BUILDERS: Final[Mapping[str, Callable[[Floats], Matrices]]] = {
    **{name: _rotation(letters) for name, letters in _ROTATIONS.items()},
    **{f"c{name}": _controlled(_rotation(letters)) for name, letters in _ROTATIONS.items() if len(letters) == 1},
    "p": _phase,
    "u1": _phase,
    "cp": _controlled(_phase),
    "cu1": _controlled(_phase),
    "u": _u3,
    "u3": _u3,
    "u2": _u2,
}
