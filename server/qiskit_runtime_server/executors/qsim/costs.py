"""About how many seconds qsim takes, and how much memory."""

from typing import Final

from qiskit.circuit import QuantumCircuit

from qiskit_runtime_server.executors.qsim.library import AMPLITUDE_BYTES
from qiskit_runtime_server.machine import qubits_in

# To start; for an instruction to be read and multiplied into a block; and, of each evolution, for a block to be handed
# over, and for each of its 2^n numbers, on one core. There is about a block for each gate of several qubits.
_SECONDS_PER_RUN: Final = 2e-3
_SECONDS_PER_INSTRUCTION: Final = 1e-5
_SECONDS_PER_BLOCK: Final = 5e-6
_SECONDS_PER_NUMBER: Final = 2e-10

# What is evolved, what it becomes, and what other shots go on from.
_STATES_OF_TRAJECTORIES: Final = 3
# glibc keeps what is smaller in its heap, where an aligned piece that was freed has no room for another one like it:
# as many holes as states. (mallopt(3), M_MMAP_THRESHOLD; https://sourceware.org/bugzilla/show_bug.cgi?id=14581)
_OUTSIDE_HEAP: Final = 32 * 2**20


def seconds_of(circuit: QuantumCircuit, evolutions: int) -> float:
    """Return about how long so many evolutions of a circuit take; it has no loops."""
    blocks = sum(len(instruction.qubits) > 1 for instruction in circuit.data)
    evolution: float = blocks * (_SECONDS_PER_BLOCK + _SECONDS_PER_NUMBER * 2**circuit.num_qubits)
    return _SECONDS_PER_RUN + len(circuit.data) * _SECONDS_PER_INSTRUCTION + evolutions * evolution


def bytes_of(num_qubits: int, *, once: bool) -> int:
    """Return what states take, if they are evolved `once` for all shots, or along trajectories."""
    state = AMPLITUDE_BYTES << num_qubits
    if once:
        return state
    return _STATES_OF_TRAJECTORIES * state * (1 if state >= _OUTSIDE_HEAP else 2)


def qubits_of(memory_bytes: int, *, once: bool) -> int:
    """Return how many qubits a circuit may have whose states fit into a memory, at least 1; see `bytes_of`."""
    most = qubits_in(memory_bytes, AMPLITUDE_BYTES)
    return next((number for number in range(most, 1, -1) if bytes_of(number, once=once) <= memory_bytes), 1)
