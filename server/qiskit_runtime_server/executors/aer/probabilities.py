"""The exact probabilities of all outcomes of circuits without errors, for many rows of parameter values."""

from collections.abc import Iterator, Sequence
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray
from qiskit.circuit import QuantumCircuit
from qiskit_aer.library import SaveProbabilities

from qiskit_runtime_server.errors import InternalError
from qiskit_runtime_server.executors.aer.costs import evolution_seconds
from qiskit_runtime_server.simulation.density import Exact

# Of one call.
_MAX_PROBABILITIES: Final = 2**22

# Gates whose angles Aer puts in rightly: it leaves those of controlled gates at 0, and says nothing.
_BOUND_BY_AER: Final = frozenset({"p", "r", "rx", "rxx", "ry", "ryy", "rz", "rzx", "rzz", "u", "u1", "u2", "u3"})


class Run(Protocol):
    """Calls Aer."""

    def __call__(self, circuits: Sequence[QuantumCircuit], method: str, seconds: float, **options: Any) -> list[Any]:
        """Return Aer's results, which take about `seconds`."""


def ideal_probabilities(
    circuit: QuantumCircuit, measured: list[int], rows: NDArray[np.float64], run: Run
) -> Iterator[Exact]:
    """Yield what `Evolution.probabilities` does, of a circuit without noise and resets.

    Args:
        circuit: Its measurements come last.
        measured: The qubits of the outcomes, the first one in the lowest bit.
        rows: Of parameter values, shape ``(n, parameters)``.
        run: Calls Aer.
    """
    evolved = circuit.copy_empty_like()
    for instruction in circuit.data:
        if instruction.name not in {"measure", "delay"}:
            evolved.append(instruction)
    evolved.append(SaveProbabilities(len(measured)), measured)
    step = max(1, _MAX_PROBABILITIES >> len(measured))
    for start in range(0, len(rows), step):
        part = rows[start : start + step]
        results = _evolved(evolved, part, run)
        lines = np.arange(len(part))
        yield start + lines, lines, np.array([result.data.probabilities for result in results])


def _evolved(circuit: QuantumCircuit, rows: NDArray[np.float64], run: Run) -> list[Any]:
    """Return Aer's result for each of `rows`."""
    seconds = len(rows) * evolution_seconds(circuit)
    varying = {part.name for part in circuit.data if part.is_parameterized()}
    if varying <= _BOUND_BY_AER:
        table = {parameter: rows[:, i].tolist() for i, parameter in enumerate(circuit.parameters)}
        # Without this option Aer copies the circuit for each row, which takes half of the time.
        options: dict[str, Any] = {"parameter_binds": [table], "runtime_parameter_bind_enable": True} if table else {}
        results = run([circuit], "statevector", seconds, shots=1, **options)
    else:
        results = run([circuit.assign_parameters(row) for row in rows], "statevector", seconds, shots=1)
    if len(results) != len(rows):
        raise InternalError(f"The simulator returned {len(results)} results for {len(rows)} sets of values.")
    return results
