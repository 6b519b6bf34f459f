"""Multiplies matrices on the host before states are touched: a pass over a batch costs as much for three as for one.

cuStateVec's batched functions do not fuse. Matrices may differ from state to state, as angles, errors and measured
outcomes do; a product is worked out once for each combination that occurs. The time of a pass is that of moving the
state through memory, so fewer, denser matrices win (Haener, Steiger, 2017, https://arxiv.org/abs/1704.01127).

    rz q0; sx q0; cx q0, q1; measure q0      one matrix of two qubits, applied before the measurement
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from qiskit_runtime_server.simulation.statevector.gates import embedded
from qiskit_runtime_server.simulation.statevector.state_port import Batch, Integers, Matrices

# Multiplications for one product on the host; beyond this another pass over the states takes less time.
_WORK: Final = 2**18


@dataclass(slots=True)
class _Group:
    """A product that waits.

    Attributes:
        index: Which matrix of `table` each state gets; None if there is one for all.
        norms: Whether it keeps norms.
    """

    qubits: tuple[int, ...]
    table: Matrices
    index: Integers | None
    norms: bool


class Fusion:
    """Matrices that wait to be applied to a batch. Groups share no qubits, so their order does not matter."""

    def __init__(self, batch: Batch, width: int) -> None:
        """Take a batch, and how many qubits a product may have."""
        self._batch = batch
        self._width = width
        self._groups: list[_Group] = []

    def add(
        self, table: Matrices, index: Integers | None, qubits: tuple[int, ...], *, keeps_norms: bool = True
    ) -> None:
        """Apply matrices, sooner or later; arguments as in `Batch.apply`."""
        group = _Group(qubits, table, index, keeps_norms)
        for known in [known for known in self._groups if not set(known.qubits).isdisjoint(qubits)]:
            self._groups.remove(known)
            joined = self._joined(known, group)
            if joined is None:
                self._apply(known)
            else:
                group = joined
        self._groups.append(group)

    def flush(self, qubits: Iterable[int] | None = None) -> None:
        """Apply what can be seen at `qubits`, or all that waits: what acts on them, and what does not keep norms."""
        seen = None if qubits is None else set(qubits)
        for group in self._groups[:]:
            if seen is None or not group.norms or not seen.isdisjoint(group.qubits):
                self._groups.remove(group)
                self._apply(group)

    def branch(self, sources: Integers) -> None:
        """Follow `Batch.branch`."""
        for group in self._groups:
            if group.index is not None:
                group.index = np.concatenate([group.index, group.index[sources]])

    def _apply(self, group: _Group) -> None:
        self._batch.apply(group.table, group.index, group.qubits)

    def _joined(self, first: _Group, second: _Group) -> _Group | None:
        """Return the product, or None if it is too large."""
        qubits = (*first.qubits, *(qubit for qubit in second.qubits if qubit not in first.qubits))
        count = len(first.table) * len(second.table)
        count = count if first.index is None or second.index is None else min(count, self._batch.size)
        if len(qubits) > self._width or count << 3 * len(qubits) > _WORK:
            return None
        left = embedded(second.table, [qubits.index(qubit) for qubit in second.qubits], len(qubits))
        right = embedded(first.table, range(len(first.qubits)), len(qubits))
        norms = first.norms and second.norms
        if first.index is None or second.index is None:
            # One of the tables has a single matrix for all.
            table = left @ right
            return _Group(qubits, table, first.index if second.index is None else second.index, norms)
        pairs, index = np.unique(second.index * len(right) + first.index, return_inverse=True)
        return _Group(qubits, left[pairs // len(right)] @ right[pairs % len(right)], index.ravel(), norms)


def with_identity(table: Matrices) -> Matrices:
    """Return `table` with an identity at its end."""
    return np.concatenate([table, np.eye(table.shape[1], dtype=np.complex128)[None]])


def spread(choice: Sequence[int] | Integers, states: Integers, size: int, otherwise: int) -> Integers:
    """Return an index for `size` states: `choice` for those in `states`, `otherwise` for the others."""
    index = np.full(size, otherwise, dtype=np.int64)
    index[states] = choice
    return index
