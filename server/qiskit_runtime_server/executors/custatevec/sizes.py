"""Sizes of states, in bytes and as people write them."""


def spelled(size: int) -> str:
    """Return a number of bytes with a unit."""
    value = float(size)
    for unit in ("bytes", "KiB", "MiB", "GiB", "TiB", "PiB"):
        if value < 1024:  # noqa: PLR2004 - the next unit
            return f"{value:.3g} {unit}"
        value /= 1024
    return f"{value:.3g} EiB"


def qubits_in(memory_bytes: int, amplitude_bytes: int) -> int:
    """Return how many qubits a state may have to fit into a memory, at least 1."""
    return max(1, (memory_bytes // amplitude_bytes).bit_length() - 1)


def shortage(count: int, num_qubits: int, needed: int, free: int) -> str:
    """Return what to say if so many states of so many qubits do not fit."""
    states = f"{count} state{'s' * (count != 1)} of {num_qubits} qubits"
    return f"There is no memory for {states}: {spelled(needed)} needed, {spelled(free)} free."
