"""What to say where states do not fit into a memory.

A state of n qubits has 2^n complex amplitudes (De Raedt et al., 2019, https://doi.org/10.1016/j.cpc.2018.11.005):

    30 qubits, complex64       8 bytes * 2^30 = 8 GiB
    30 qubits, complex128      16 GiB
    one qubit more             twice as much
"""

from qiskit_runtime_server.machine import in_words


def shortage(count: int, num_qubits: int, needed: int, free: int) -> str:
    """Return what to say if so many states of so many qubits do not fit."""
    states = f"{count} state{'s' * (count != 1)} of {num_qubits} qubits"
    return f"There is no memory for {states}: {in_words(needed)} needed, {in_words(free)} free."
