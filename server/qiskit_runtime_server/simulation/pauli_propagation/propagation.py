"""Takes shots of parities by Pauli propagation (Rudolph et al., 2025, https://arxiv.org/abs/2505.21606).

Each row of parameter values is propagated for itself: its values first, then the bits of its shots.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from qiskit_runtime_server.errors import InternalError
from qiskit_runtime_server.simulation.contract import BitTensor, SampleTask
from qiskit_runtime_server.simulation.pauli_propagation.lowering import Lowering
from qiskit_runtime_server.simulation.pauli_propagation.parities import ParityBits
from qiskit_runtime_server.simulation.pauli_propagation.values import (
    BYTES_PER_TERM,
    MOST_EXACT_TERMS,
    MOST_EXACT_WORK,
    MOST_TERMS,
    MOST_WORK,
    WORK_PER_SECOND,
    TruncationError,
    Values,
    exact_values,
    values_within,
)

_ROUNDING: Final = 1e-9


@dataclass(frozen=True, slots=True, kw_only=True)
class Shots:
    """What was drawn.

    Attributes:
        bits: As in `Simulator.sample`, but of them only the parities that the task names mean something.
        error: By how much the expectation values of these may be off.
        bounded: Whether that is a bound, and no estimate.
    """

    bits: BitTensor
    error: float
    bounded: bool


def limits(rows: int, *, exact: bool) -> tuple[float, int]:
    """Return the seconds and the bytes that a task of so many rows takes at most."""
    work, terms = (MOST_EXACT_WORK, MOST_EXACT_TERMS) if exact else (MOST_WORK, MOST_TERMS)
    return rows * work / WORK_PER_SECOND, terms * BYTES_PER_TERM


def sample(lowering: Lowering, task: SampleTask, error: float, limit_seconds: float) -> Shots:
    """Take shots of the parities that a task names.

    Args:
        lowering: Of the task's circuit.
        task: Has parities.
        error: By how much their expectation values may be off; 0 if nothing may be left out.
        limit_seconds: For all rows.

    Raises:
        TruncationError: If that is not to be reached.
        TooManyParitiesError: As in `ParityBits`.
    """
    if task.parities is None:
        raise InternalError("Pauli propagation was asked for bits instead of parities.")
    rows = len(task.seeds)
    most_work = limit_seconds * WORK_PER_SECOND / max(1, rows)
    bits = np.empty((rows, task.shots, task.circuit.num_clbits), dtype=np.bool_)
    worst, bounded = 0.0, True
    for row, seed in enumerate(task.seeds.tolist()):
        parities = ParityBits(task.parities[row], task.circuit.num_clbits)
        values = _values(lowering, task.parameter_values[row], parities, error, most_work)
        means, changed = values.means.clip(-1.0, 1.0), 0.0
        bits[row], changed = parities.draw(means, task.shots, seed)
        changed = max(changed, float(np.abs(means - values.means).max(initial=0.0)))
        off = float(values.errors[list(parities.wanted)].max(initial=0.0)) + (changed if changed > _ROUNDING else 0.0)
        if off > error:
            raise TruncationError(off)
        worst, bounded = max(worst, off), bounded and values.bounded
    return Shots(bits=bits, error=worst, bounded=bounded)


def _values(
    lowering: Lowering, values: NDArray[np.float64], parities: ParityBits, error: float, most_work: float
) -> Values:
    operations = lowering.operations(values)
    observables = [_qubits(lowering, mask) for mask in parities.masks]
    if not error:
        return exact_values(operations, lowering.num_qubits, observables, most_work)
    return values_within(
        operations, lowering.num_qubits, observables, wanted=parities.wanted, error=error, most_work=most_work
    )


def _qubits(lowering: Lowering, mask: int) -> list[int]:
    """Return the qubits that a parity's bits come from; a bit that nothing is written to is 0."""
    bits = (bit for bit in range(mask.bit_length()) if mask >> bit & 1)
    return [qubit for bit in bits if (qubit := lowering.measured[bit]) is not None]
