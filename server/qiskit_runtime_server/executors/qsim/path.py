"""A state that is evolved only when it is looked at."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Final

import numpy as np

from qiskit_runtime_server.executors.qsim.amplitudes import Amplitudes, Floats, weights
from qiskit_runtime_server.executors.qsim.library import Library, Operation

# Of a norm squared, at least; amplitudes of single precision begin to lose digits at 1e-38.
_LEAST_NORM: Final = 1e-20


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How qsim evolves states; see `Library.evolved`."""

    threads: int
    max_fused_gate_size: int


class Path:
    """A state, and what is still to be applied to it; amplitudes are never written to, so paths may share them."""

    def __init__(
        self, library: Library, num_qubits: int, settings: Settings, amplitudes: Amplitudes | None = None
    ) -> None:
        """Begin with |0...0>, or with what another path has come to."""
        self._library = library
        self._num_qubits = num_qubits
        self._settings = settings
        self._amplitudes = amplitudes
        self._waiting: list[Operation] = []
        self._norm = 1.0

    def branched(self) -> "Path":
        """Return a path that goes on from here."""
        amplitudes = self._amplitudes if self._amplitudes is None and not self._waiting else self.state()
        path = Path(self._library, self._num_qubits, self._settings, amplitudes)
        path._norm = self._norm
        return path

    def follow(self, blocks: Sequence[Sequence[Operation]], shares: Floats) -> None:
        """Apply what blocks are, each of which leaves at least a share of the norm squared."""
        norm = self._norm * float(shares.prod())
        if norm < _LEAST_NORM:
            for operations, share in zip(blocks, shares.tolist(), strict=True):
                self._waiting += operations
                self.apply(None, share)
            return
        self._norm = norm
        self._waiting += chain.from_iterable(blocks)

    def apply(self, operation: Operation | None, share: float = 1.0) -> None:
        """Apply a matrix that leaves at least a share of the norm squared; None is the identity."""
        if operation is not None:
            self._waiting.append(operation)
        self._norm *= share
        if self._norm < _LEAST_NORM:
            state = self.state()
            self._amplitudes = state / np.float32(np.sqrt(weights(state, 0).sum()))
            self._norm = 1.0

    def state(self) -> Amplitudes:
        """Return the amplitudes, whose norm need not be 1."""
        if self._waiting:
            self._amplitudes = self._library.evolved(
                self._amplitudes,
                self._waiting,
                self._num_qubits,
                threads=self._settings.threads,
                max_fused_gate_size=self._settings.max_fused_gate_size,
            )
            self._waiting = []
        elif self._amplitudes is None:
            self._amplitudes = np.zeros(1 << self._num_qubits, dtype=np.complex64)
            self._amplitudes[0] = 1
        return self._amplitudes

    def measure(self, qubit: int, draw: float, *, reset: bool) -> bool:
        """Return the outcome of a measurement, after which the state has collapsed, and is |0> there if `reset`."""
        chances = weights(self.state(), qubit)
        total = chances.sum()
        # Rounding must not make an outcome of weight 0 possible.
        outcome = int(chances[1] > 0 and (draw * total >= chances[0]))
        self.apply(_flips(qubit)[2 if reset and outcome else outcome], float(chances[outcome] / total))
        return bool(outcome)


def _flips(qubit: int) -> Sequence[Operation]:
    """Return what a measurement of a qubit may leave behind: the projectors on |0> and on |1>, and |0><1|."""
    matrices = ([[1, 0], [0, 0]], [[0, 0], [0, 1]], [[0, 1], [0, 0]])
    return [Operation.of(np.array(matrix, dtype=np.complex128), (qubit,)) for matrix in matrices]
