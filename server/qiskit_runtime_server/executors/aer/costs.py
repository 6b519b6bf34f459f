"""About how many seconds Aer takes."""

import math
from typing import Final

from qiskit.circuit import QuantumCircuit

from qiskit_runtime_server.executors.aer.circuits import has_loop
from qiskit_runtime_server.simulation.contract import SampleTask

# What Aer takes to start, for an instruction of one shot, and for each of its 2^n numbers; circuits with IBM's noise.
_SECONDS_PER_RUN: Final = 3e-3
_SECONDS_PER_INSTRUCTION: Final = 1e-6
_SECONDS_PER_NUMBER: Final = 7e-9
# Of a state that is evolved once, on a core: Aer multiplies gates into matrices of some qubits first.
_SECONDS_PER_FUSED_NUMBER: Final = 1.5e-9


def evolution_seconds(circuit: QuantumCircuit) -> float:
    """Return about how long the state vector of a circuit without errors takes, from which all shots are drawn."""
    instruction: float = _SECONDS_PER_INSTRUCTION + _SECONDS_PER_FUSED_NUMBER * 2**circuit.num_qubits
    return _SECONDS_PER_RUN + length_of(circuit) * instruction


def dense_seconds(circuit: QuantumCircuit, shots: int) -> float:
    """Return about how long a state vector takes for so many shots of a circuit that is run anew for each."""
    instruction: float = _SECONDS_PER_INSTRUCTION + _SECONDS_PER_NUMBER * 2**circuit.num_qubits
    return _SECONDS_PER_RUN + shots * length_of(circuit) * instruction


def stabilizer_seconds(task: SampleTask) -> float:
    """Return about how long a stabilizer state takes for the shots of a row."""
    return _SECONDS_PER_RUN + task.shots * length_of(task.circuit) * _SECONDS_PER_INSTRUCTION


def length_of(circuit: QuantumCircuit) -> float:
    """Return how many instructions a shot of a circuit has at most; infinity for one with loops."""
    if not circuit.has_control_flow_op():
        return len(circuit.data)
    if has_loop(circuit):
        return math.inf
    blocks = (block for part in circuit.data if part.is_control_flow() for block in part.operation.blocks)
    return len(circuit.data) + sum(map(length_of, blocks))
