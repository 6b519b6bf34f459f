"""Errors as the simulator takes them: unitaries with fixed probabilities, and as little as possible beyond them.

Which unitary acts does not depend on the state, so it is drawn without looking at it. What remains, a few per mille of
a device's errors, needs the norms that its Kraus operators give. These are the eigenvectors of its Choi matrix (Choi,
1975, https://doi.org/10.1016/0024-3795(75)90075-0).

    depolarising, p             I with 1 - 3p/4; X, Y, Z with p/4 each; nothing remains
    thermal relaxation          I and Z, mostly; the rest, a part in a thousand, has Kraus operators
    amplitude damping           Kraus operators alone: no part of it is certain to be a unitary
"""

from dataclasses import dataclass
from functools import cached_property, reduce
from typing import Final

import numpy as np
from qiskit.circuit import Instruction, QuantumCircuit
from qiskit.quantum_info import SuperOp
from qiskit_aer.noise import QuantumError

from qiskit_runtime_server.simulation.noise import channel as superoperator
from qiskit_runtime_server.simulation.statevector.gates import embedded, fixed_matrix
from qiskit_runtime_server.simulation.statevector.state_port import Floats, Matrices

_TINY: Final = 1e-12
_ALIKE: Final = 1e-9
# What rounding leaves of the trace of two unitaries: they differ by less than a turn of 1e-6.
_SAME: Final = 1e-13
_KEPT: Final = 4096


@dataclass(frozen=True)
class Channel:
    """A channel of one or more qubits.

    Attributes:
        probabilities: Of the unitaries; what they lack to 1 is that of `residual`.
        unitaries: Shape ``(k, d, d)``; the first one is the identity, whatever its probability.
        residual: Kraus operators, shape ``(m, d, d)``; none if `probabilities` sum to 1.
        superop: The whole, column-stacking.
    """

    probabilities: Floats
    unitaries: Matrices
    residual: Matrices
    superop: Matrices

    @property
    def does_nothing(self) -> bool:
        """Whether it is the identity."""
        return len(self.unitaries) == 1 and len(self.residual) == 0

    @cached_property
    def kraus(self) -> Matrices:
        """Kraus operators of the whole, as few as possible."""
        return _kraus(self.superop)

    @cached_property
    def population_map(self) -> Floats | None:
        """What happens to the probabilities of outcomes, shape ``(d, d)``; None if coherences enter into them."""
        size = self.unitaries.shape[1]
        diagonal = np.arange(size) * (size + 1)
        rows = self.superop[diagonal]
        others = np.delete(rows, diagonal, axis=1)
        return None if np.abs(others).max(initial=0) > _TINY else rows[:, diagonal].real.clip(0)


def channel(error: QuantumError) -> Channel:
    """Return an error as a channel. It is worked out once for each error."""
    known = _known.get(error.id)
    if known is None:
        while len(_known) >= _KEPT:
            del _known[next(iter(_known))]
        known = _known[error.id] = _channel(error)
    return known


# A tenth of a second for two qubits; errors have unique ids, but no hash.
_known: dict[str, Channel] = {}


def _channel(error: QuantumError) -> Channel:
    superop = superoperator(error)
    size = 2**error.num_qubits
    unitaries = [np.eye(size, dtype=np.complex128)]
    weights = [0.0]
    for circuit, probability in zip(error.circuits, error.probabilities, strict=True):
        weight, unitary = _unitary_part(circuit)
        place = next((i for i, known in enumerate(unitaries) if _alike(known, unitary)), len(unitaries))
        if place == len(unitaries):
            unitaries.append(unitary)
            weights.append(0.0)
        weights[place] += weight * probability
    used = [0, *(place for place in range(1, len(weights)) if weights[place] > _TINY)]
    probabilities, table = np.array(weights)[used], np.array(unitaries)[used]
    rest = 1 - probabilities.sum()
    if rest <= _TINY:
        return Channel(probabilities / probabilities.sum(), table, np.empty((0, size, size), complex), superop)
    mixed = sum(p * np.kron(u.conj(), u) for p, u in zip(probabilities, table, strict=True))
    return Channel(probabilities, table, _kraus((superop - mixed) / rest), superop)


def _unitary_part(circuit: QuantumCircuit) -> tuple[float, Matrices]:
    """Return with which probability, at least, a term of an error does nothing but apply a unitary, and which."""
    weight, unitary = 1.0, np.eye(2**circuit.num_qubits, dtype=np.complex128)
    for instruction in circuit.data:
        places = [circuit.find_bit(qubit).index for qubit in instruction.qubits]
        operators = _operators(instruction.operation)
        if len(operators) == 1:
            unitary = embedded(operators, places, circuit.num_qubits)[0] @ unitary
        else:
            weight *= identity_weight(operators)
    return weight, unitary


def _operators(operation: Instruction) -> Matrices:
    if operation.name not in {"kraus", "reset", "superop"}:
        return fixed_matrix(operation)[None]
    # SuperOp first: the operators that a user gives may have a right side of their own.
    return np.array(_kraus(np.asarray(SuperOp(operation).data)))


def identity_weight(operators: Matrices) -> float:
    """Return the largest w for which a channel is w times the identity and a channel beside it.

    That is 1 / <I|C^-1|I>, with C the sum of |K><K| over the Kraus operators, if |I> is in its range, else 0
    (Lewenstein, Sanpera, 1998, https://doi.org/10.1103/PhysRevLett.80.2261, for states; C is the Choi matrix).
    """
    vectors = operators.reshape(len(operators), -1)
    identity = np.eye(operators.shape[1]).ravel()
    # The operators' coordinates of the identity; for independent operators their squares sum to <I|C^-1|I>.
    coordinates, *_ = np.linalg.lstsq(vectors.T, identity.astype(np.complex128), rcond=None)
    if not np.allclose(coordinates @ vectors, identity, atol=_ALIKE, rtol=0):
        return 0.0
    return min(1.0, 1 / float(np.vdot(coordinates, coordinates).real))


def _kraus(superop: Matrices) -> Matrices:
    """Return the fewest Kraus operators of a channel, made complete again after rounding.

    They are the eigenvectors of the Choi matrix, ``C[(i, k), (j, l)] = <i|E(|k><l|)|j>``, times the square roots of its
    eigenvalues (Choi, 1975, https://doi.org/10.1016/0024-3795(75)90075-0).
    """
    size = round(np.sqrt(len(superop)))
    choi = superop.reshape(size, size, size, size).transpose(3, 1, 2, 0).reshape(size * size, size * size)
    values, vectors = np.linalg.eigh((choi + choi.conj().T) / 2)
    kept = values > _TINY * size
    operators = (vectors[:, kept] * np.sqrt(values[kept])).T.reshape(-1, size, size).transpose(0, 2, 1)
    total = reduce(np.add, (operator.conj().T @ operator for operator in operators))
    roots, basis = np.linalg.eigh(total)
    complete: Matrices = operators @ (basis / np.sqrt(roots) @ basis.conj().T)
    return complete


def _alike(one: Matrices, other: Matrices) -> bool:
    """Whether two unitaries are equal but for a phase."""
    return bool(abs(abs(np.vdot(one, other)) - len(one)) < _SAME)
