"""For how long a job would wait on each of some executors, by what runs and waits there.

What runs and waits counts with what is predicted of it, or said by its run; the rest with what jobs took lately.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Final

from qiskit_runtime_server.backends.names import ExecutorName
from qiskit_runtime_server.dispatch.cold_starts import ColdStart
from qiskit_runtime_server.dispatch.forecast import mean_seconds, time_to_start
from qiskit_runtime_server.dispatch.pools import Pool
from qiskit_runtime_server.dispatch.routing.auto_pool import AutoPool
from qiskit_runtime_server.store.port import CountStore, Load

_START_SECONDS: Final = 60.0
"""About how long an executor takes to come up of which that is not known, or comes back."""

# What a job takes beside what is predicted of its simulation: many that take next to nothing are a queue, too.
_MORE_SECONDS: Final = 0.02

# Where nothing has run since yesterday.
_MEAN_SECONDS: Final = 1.0


async def waits(counts: CountStore, auto: AutoPool, now: datetime) -> dict[ExecutorName, float | None]:
    """Return for how many seconds a job would wait; None on one that is paused, or away for nobody knows how long."""
    loads = await counts.load()
    return {name: await _wait(counts, auto, name, loads.get(name, Load()), now) for name in auto.pools}


async def _wait(counts: CountStore, auto: AutoPool, name: ExecutorName, load: Load, now: datetime) -> float | None:
    pool = auto.pools[name]
    start = _seconds_to_come_up(pool, auto.cold_starts.of(name), starts=auto.starts(name))
    if load.draining or start is None:
        return None
    mean = await mean_seconds(counts, name, now) or _MEAN_SECONDS
    queued = await counts.queued_time(name)
    work = queued.seconds + queued.predicted * _MORE_SECONDS + (load.queued - queued.predicted) * mean
    ends = await counts.expected_ends(name)
    known, unknown = timedelta(seconds=work), timedelta(seconds=mean)
    return start + time_to_start(now, ends, max(1, pool.size), work=known, unknown=unknown).total_seconds()


def _seconds_to_come_up(pool: Pool, cold: ColdStart | None, *, starts: bool) -> float | None:
    if pool.size:
        return 0.0
    if starts:
        return _START_SECONDS if cold is None else cold.seconds
    rest = _START_SECONDS - pool.missing_seconds
    return rest if rest > 0 else None


def after_one_more(
    waits: Mapping[ExecutorName, float | None], auto: AutoPool, name: ExecutorName, seconds: float
) -> dict[ExecutorName, float | None]:
    """Return the waits with a job of so many seconds added to an executor, or taken away if they are negative."""
    wait = waits[name]
    added = None if wait is None else max(0.0, wait + seconds / max(1, auto.pools[name].size))
    return {**waits, name: added}
