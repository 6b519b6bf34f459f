"""Tomography by linear inversion, for comparison with packages that do it.

Formulas: the estimate solves p = A x in the least-squares sense, x being the entries of the state, or of the process'
Choi matrix, and A the ideal effects (and inputs) of each setting.
"""

from collections.abc import Sequence
from itertools import product

import numpy as np
from numpy.typing import NDArray

from kit.quantum.kronecker import ComplexArray, kronecker_product

FloatArray = NDArray[np.float64]

_PLUS = np.array([1, 1]) / np.sqrt(2)
_PLUS_I = np.array([1, 1j]) / np.sqrt(2)
# In the order of Qiskit Experiments' Pauli bases: measurements of Z, X and Y; inputs 0, 1, + and i.
_EFFECTS = [
    [np.array([1, 0]), np.array([0, 1])],
    [_PLUS, np.array([1, -1]) / np.sqrt(2)],
    [_PLUS_I, np.array([1, -1j]) / np.sqrt(2)],
]
_INPUTS = [np.array([1, 0]), np.array([0, 1]), _PLUS, _PLUS_I]


class LinearInversion:
    """The linear map from the probabilities of all settings to a state or to the Choi matrix of a process.

    Choi matrices are Qiskit's: the input's factor comes first, the trace is 2^n.
    """

    def __init__(
        self,
        measured: Sequence[Sequence[int]],
        prepared: Sequence[Sequence[int] | None],
        readout: Sequence[FloatArray] | None = None,
    ) -> None:
        """Take for each setting the index of each qubit's basis, and of its input if a process is looked for.

        `readout` has a matrix for each qubit: the probability of reading a bit [1] where the qubit is in a state [0].
        """
        rows = [
            np.kron(_input(inputs).T, _effect(bases, outcome, readout)).conj().reshape(-1)
            for bases, inputs in zip(measured, prepared, strict=True)
            for outcome in product((0, 1), repeat=len(bases))
        ]
        self._dimension = round(np.sqrt(len(rows[0])))
        self._inverse = np.asarray(np.linalg.pinv(np.array(rows)), dtype=np.complex128)

    def matrix(self, probabilities: Sequence[FloatArray]) -> ComplexArray:
        """Return the estimate; of shape (2^n, 2^n), or (4^n, 4^n) for a process."""
        estimate: ComplexArray = self._inverse @ np.concatenate(probabilities)
        return estimate.reshape(self._dimension, self._dimension)

    def std_of_overlap(self, probabilities: Sequence[FloatArray], target: ComplexArray, *, shots: int) -> float:
        """Return the standard deviation of Tr(target estimate), each setting being a multinomial of `shots`."""
        weights = (target.T.reshape(-1) @ self._inverse).real.reshape(len(probabilities), -1)
        variances = [p @ w**2 - (p @ w) ** 2 for p, w in zip(probabilities, weights, strict=True)]
        return float(np.sqrt(sum(variances) / shots))


def _projector(vector: ComplexArray) -> ComplexArray:
    return np.outer(vector, vector.conj())


def _effect(bases: Sequence[int], outcome: Sequence[int], readout: Sequence[FloatArray] | None) -> ComplexArray:
    """Return the effect of an outcome; the last qubit comes first, in the outcome and among the factors."""
    qubits = reversed(range(len(bases)))
    return kronecker_product(
        np.asarray(
            sum(
                (np.eye(2) if readout is None else readout[qubit])[state, bit]
                * _projector(_EFFECTS[bases[qubit]][state])
                for state in (0, 1)
            )
        )
        for qubit, bit in zip(qubits, outcome, strict=True)
    )


def _input(inputs: Sequence[int] | None) -> ComplexArray:
    if inputs is None:
        return np.ones((1, 1), dtype=np.complex128)
    return kronecker_product(_projector(_INPUTS[state]) for state in reversed(inputs))
