"""Puts diagonal gates of two qubits together that share one, the centre of a star.

Diagonal gates commute, so each may wait until something else acts on one of its qubits, which then is the centre of all
gates that wait for it. Where the centre is |0>, these are a product of phases of single qubits, which wait in turn;
where it is |1>, they are something more: diagonal matrices on the other qubits, controlled by the centre. One on three
of them takes half of a pass over the state; fused by qsim, two gates take a whole one.

    h 2; cp 1, 2; cp 0, 2; h 1; cp 0, 1; h 0       the Fourier transform: of n qubits, the longest star has n - 1 gates
"""

from collections.abc import Iterable, Iterator, Sequence
from functools import reduce
from typing import Final

import numpy as np
from numpy.typing import NDArray

from qiskit_runtime_server.executors.qsim.library import Operation
from qiskit_runtime_server.simulation.statevector.state_port import Matrices

Diagonal = NDArray[np.complex128]

# What the centre controls at a time, and how many gates are left for qsim to fuse with what comes next.
_WIDTH: Final = 3
_LEFT: Final = 2


def in_stars(gates: Iterable[tuple[tuple[int, ...], Matrices]]) -> list[Operation] | None:
    """Return unitary matrices, the first of whose qubits is the lowest bit, as operations; None if there is no star."""
    waiting = _Waiting()
    made: list[Operation] = []
    for qubits, matrix in gates:
        diagonal = np.diagonal(matrix)
        if len(qubits) <= 2 and np.count_nonzero(matrix) == np.count_nonzero(diagonal):  # noqa: PLR2004 - of a star
            waiting.add(qubits, diagonal)
            continue
        for qubit in qubits:
            made += waiting.released(qubit)
        made.append(Operation.of(matrix, qubits))
    for qubit in waiting.busiest_first():
        made += waiting.released(qubit)
    return made if any(operation.control is not None for operation in made) else None


class _Waiting:
    """Diagonal gates that nothing has had to come after yet."""

    def __init__(self) -> None:
        self._singles: dict[int, Diagonal] = {}
        # For each qubit and each of the others, the phases by their bits; those of a pair stand there for both.
        self._pairs: dict[int, dict[int, Diagonal]] = {}

    def add(self, qubits: Sequence[int], diagonal: Diagonal) -> None:
        """Have a gate wait, the first of whose qubits is the lowest bit."""
        if len(qubits) == 1:
            self._singles[qubits[0]] = self._singles.get(qubits[0], 1) * diagonal
            return
        low, high = qubits
        phases = diagonal.reshape(2, 2)
        for one, other, own in ((high, low, phases), (low, high, phases.T)):
            known = self._pairs.setdefault(one, {})
            known[other] = known.get(other, 1) * own

    def busiest_first(self) -> list[int]:
        """Return the qubits of all gates, those of the most gates first."""
        return sorted({*self._singles, *self._pairs}, key=lambda qubit: -len(self._pairs.get(qubit, {})))

    def released(self, centre: int) -> Iterator[Operation]:
        """Yield what has to be applied before something acts on a qubit that does not commute with it."""
        pairs = self._pairs.pop(centre, {})
        for other in pairs:
            del self._pairs[other][centre]
        number = len(pairs) - _LEFT
        controlled = list(pairs)[:number] if number >= _WIDTH else []
        for others in (controlled[start : start + _WIDTH] for start in range(0, len(controlled), _WIDTH)):
            for other in others:
                if np.any(pairs[other][0] != 1):
                    self.add((other,), pairs[other][0])
            phases = (pairs[other][1] / pairs[other][0] for other in others)
            yield Operation.of(np.diag(reduce(lambda low, high: np.kron(high, low), phases)), others, control=centre)
        for other in list(pairs)[len(controlled) :]:
            yield Operation.of(np.diag(pairs[other].ravel()), (other, centre))
        if centre in self._singles:
            yield Operation.of(np.diag(self._singles.pop(centre)), (centre,))
