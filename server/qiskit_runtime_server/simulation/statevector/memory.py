"""What to say where states do not fit into a memory."""

from qiskit_runtime_server.machine import in_words


def shortage(count: int, num_qubits: int, needed: int, free: int) -> str:
    """Return what to say if so many states of so many qubits do not fit."""
    states = f"{count} state{'s' * (count != 1)} of {num_qubits} qubits"
    return f"There is no memory for {states}: {in_words(needed)} needed, {in_words(free)} free."
