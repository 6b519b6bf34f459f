"""How much memory and how many cores this process may use, by the container's limits or the machine's."""

import os
from pathlib import Path
from typing import Final

# For the supervisor, the interpreters of the workers, and the page cache that a simulation should not push out.
_RESERVE: Final = 0.2
_CORES_PER_SLOT: Final = 4

_UNITS: Final = ("bytes", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB")
_STEP: Final = 1024

_CGROUP: Final = Path("/sys/fs/cgroup")
_MEMORY_LIMITS: Final = (_CGROUP / "memory.max", _CGROUP / "memory" / "memory.limit_in_bytes")


def usable_bytes() -> int:
    """Return what simulations may use in all."""
    limits = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    limits += [
        int(text) for path in _MEMORY_LIMITS if path.is_file() and (text := path.read_text().strip()).isdecimal()
    ]
    return int(min(limits) * (1 - _RESERVE))


def qubits_in(memory_bytes: int, amplitude_bytes: int = 16) -> int:
    """Return how many qubits a state vector may have to fit into a memory, at least 1; by default of complex128."""
    return max(1, (memory_bytes // amplitude_bytes).bit_length() - 1)


def in_words(size: int) -> str:
    """Return a number of bytes as people write it: ``in_words(2**54)`` is `16 PiB`; beyond EiB, a power of 2."""
    if size >= _STEP ** len(_UNITS):
        return f"2^{size.bit_length() - 1} bytes"
    power = 0
    # In the next unit from where three digits would be rounded up to it.
    while size / _STEP**power >= _STEP - 0.5 and power < len(_UNITS) - 1:
        power += 1
    value = size / _STEP**power
    return f"{value:.0f} {_UNITS[power]}" if value >= 100 else f"{value:.3g} {_UNITS[power]}"  # noqa: PLR2004


def usable_cores() -> int:
    """Return how many cores this process may use, at least 1; a part of a core counts as one."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(cores, cpu_limit(_CGROUP) or cores)


class Cores:
    """Those that the runs of a process share, whichever slots they are in.

    One that runs alone may use all of them, the second at a time half of them, and so on. A run keeps what it got at
    its start, so there may be more threads than cores for a while, among which the system shares these out.
    """

    def __init__(self, number: int) -> None:
        self._number = number
        self._runs = 0

    def take(self) -> int:
        """Count a run that begins, until `give_back`; returns how many threads it may have, at least 1."""
        self._runs += 1
        return max(1, self._number // self._runs)

    def give_back(self) -> None:
        """Count a run that has ended."""
        self._runs -= 1


def cpu_limit(cgroup: Path) -> int | None:
    """Return how many cores the quota of a control group, version 2 or 1, amounts to, rounded up; None without one."""
    files = ([cgroup / "cpu.max"], [cgroup / "cpu" / "cpu.cfs_quota_us", cgroup / "cpu" / "cpu.cfs_period_us"])
    for names in files:
        if all(path.is_file() for path in names):
            quota, period = " ".join(path.read_text() for path in names).split()
            return -(-int(quota) // int(period)) if quota.isdecimal() else None
    return None


def default_slots(*, least: int = 1) -> int:
    """Return how many slots share this machine if nobody says: one for every four cores, `least` if there are cores."""
    cores = usable_cores()
    return max(min(cores, least), cores // _CORES_PER_SLOT)
