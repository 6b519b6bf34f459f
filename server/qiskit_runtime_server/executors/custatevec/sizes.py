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
