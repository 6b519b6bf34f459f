"""How much memory and how many cores this process may use, by the container's limits or the machine's."""

import os
from pathlib import Path

# For the supervisor, the interpreters of the workers, and the page cache that a simulation should not push out.
_RESERVE = 0.2

_CGROUP_LIMITS = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))


def usable_bytes() -> int:
    """Return what simulations may use in all."""
    limits = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    limits += [
        int(text) for path in _CGROUP_LIMITS if path.is_file() and (text := path.read_text().strip()).isdecimal()
    ]
    return int(min(limits) * (1 - _RESERVE))


def usable_cores() -> int:
    """Return how many cores this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
