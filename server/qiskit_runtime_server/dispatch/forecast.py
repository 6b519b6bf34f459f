"""When a queued job may be expected to start: by when those that run end, and by what such jobs took lately.

The api does not read circuits, so nothing is known of a queued job itself: each counts as long as the mean of the jobs
that ended on its executor since yesterday (UTC). An executor without a slot that something starts for jobs is taken to
be up after as long as it took lately, with as many slots as it had then. Jobs are taken to start by age, as
`position_in_queue` counts them and not in the order of turns (`store.fair_share`): who comes next there depends on
which jobs end first, and on what others submit meanwhile. A job that came back to the queue as a long one waits for one
of the slots that these may have, and nobody knows how long it takes. The work ahead of a job is poured over the slots,
like water over steps, each as high as its slot is busy:

    slots free in 0 s and 60 s, 4 jobs of 30 s ahead      start in 90 s: 90 s of work fit in one slot, 30 s in the other
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from qiskit_runtime_server.backends.names import ExecutorName
from qiskit_runtime_server.dispatch.cold_starts import ColdStart
from qiskit_runtime_server.dispatch.pools import Pool, long_slots
from qiskit_runtime_server.jobs import Job
from qiskit_runtime_server.store.port import CountStore, Load


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    """About when a job starts and ends; None where nothing is known of that."""

    start: datetime | None = None
    end: datetime | None = None


async def forecast(  # noqa: PLR0913 - what it follows from
    counts: CountStore,
    job: Job,
    *,
    position: int,
    pool: Pool | None,
    cold: ColdStart | None,
    short: timedelta,
    now: datetime,
) -> Forecast:
    """Return about when a job that waits for its turn starts and ends.

    Args:
        counts: What is known of the executor.
        job: Is queued, and not held.
        position: As of `CountStore.queue_position`.
        pool: Where it runs, if that is known.
        cold: How long that takes to come up, if something starts it; otherwise nobody knows.
        short: How long a job takes that counts as short.
        now: The time.
    """
    load = (await counts.load()).get(job.executor, Load())
    if pool is None or load.draining:
        return Forecast()
    seconds, ahead = await mean_seconds(counts, job.executor, now), position - 1
    if pool.size:
        ends = await counts.expected_ends(job.executor)
        slots = None if job.long_since is None else long_slots(pool.size, short.total_seconds())
        start = expected_start(now, ends, slots or pool.size, ahead=ahead, seconds=seconds)
    elif cold is not None:
        asked = max(load.oldest_queued or job.created, now - timedelta(seconds=pool.missing_seconds))
        up = max(now, asked + timedelta(seconds=cold.seconds))
        start = expected_start(up, [], max(1, cold.slots), ahead=ahead, seconds=seconds)
    else:
        return Forecast()
    own = job.predicted_seconds or (seconds if job.long_since is None else None)
    end = None if start is None or own is None else start + timedelta(seconds=own)
    return Forecast(start=start, end=end)


def expected_start(
    now: datetime, ends: Sequence[datetime | None], slots: int, *, ahead: int, seconds: float | None
) -> datetime | None:
    """Return about when a queued job starts, not before `now`; None if too little is known.

    Args:
        now: The time.
        ends: When each running job is about to end; None for one that nothing is known of. Of more than there are
            slots, those that end first leave none behind.
        slots: How many jobs run at a time, at least one.
        ahead: How many queued jobs come before it.
        seconds: How long a job takes of which nothing is known, if that is known.
    """
    if seconds is None and (ahead or None in ends):
        return None
    mean = timedelta(seconds=seconds or 0.0)
    return now + time_to_start(now, ends, slots, work=ahead * mean, unknown=mean)


def time_to_start(
    now: datetime, ends: Sequence[datetime | None], slots: int, *, work: timedelta, unknown: timedelta
) -> timedelta:
    """Return after how long a job starts that has so much `work` ahead of it; other arguments as above.

    A running job of which nothing is known runs for the time `unknown`.
    """
    busy = sorted(max(timedelta(0), end - now) if end is not None else unknown for end in ends)[-slots:]
    free = [timedelta(0)] * (slots - len(busy)) + busy
    return _level(free, work)


def _level(steps: Sequence[timedelta], work: timedelta) -> timedelta:
    """Return how high `work` stands above `steps`, which rise."""
    poured = timedelta(0)
    for number, step in enumerate(steps, start=1):
        poured += step
        level = (work + poured) / number
        if number == len(steps) or level <= steps[number]:
            return level
    raise AssertionError("There is a slot.")


async def mean_seconds(counts: CountStore, executor: ExecutorName, now: datetime) -> float | None:
    """Return how long jobs took that ended on an executor since yesterday (UTC); None if there were none."""
    today = now.date()
    days = [day for day in await counts.usage(today - timedelta(days=1), today) if day.executor == executor]
    jobs = sum(day.jobs for day in days)
    return sum(day.seconds for day in days) / jobs if jobs else None
