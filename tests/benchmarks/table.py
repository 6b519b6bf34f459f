"""Rows of a table, and how times are taken and shown."""

import os
import platform
import re
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

PEER_SECONDS = 120


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One line of the table; `ours` and `peer` are printed as they are."""

    what: str
    ours: str
    peer: str = ""
    ratio: str = ""
    goal: str = ""


def sample(run: Callable[[], object], *, count: int, warm_up: int = 1, limit: float = PEER_SECONDS) -> list[float]:
    """Return how long `run` took each time, in seconds; fewer times than `count` when `limit` seconds are over."""
    begin = time.perf_counter()
    for _ in range(warm_up):
        run()
    times: list[float] = []
    while len(times) < count and (not times or time.perf_counter() - begin < limit):
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return times


def shown(times: list[float]) -> str:
    """Return the median with the range, in milliseconds or seconds."""
    unit, scale = ("ms", 1e3) if statistics.median(times) < 1 else ("s", 1)
    low, middle, high = (f"{scale * value:.3g}" for value in (min(times), statistics.median(times), max(times)))
    return f"{middle} {unit} [{low}, {high}]"


def compared(what: str, ours: list[float], peer: list[float], goal: str) -> Row:
    """Return a row with the ratio of the medians."""
    ratio = statistics.median(peer) / statistics.median(ours)
    words = f"{ratio:.3g} x faster" if ratio >= 1 else f"{1 / ratio:.3g} x slower"
    return Row(what=what, ours=shown(ours), peer=shown(peer), ratio=words, goal=goal)


def machine() -> str:
    models = re.findall(r"model name\s+: (.*)", Path("/proc/cpuinfo").read_text())
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    packages = ", ".join(f"{name} {version(name)}" for name in ("qiskit", "qiskit-aer", "qiskit-ibm-runtime"))
    model = models[0] if models else platform.processor()
    return f"{model}, {os.cpu_count()} cores, {memory:.0f} GiB; Python {platform.python_version()}, {packages}"
