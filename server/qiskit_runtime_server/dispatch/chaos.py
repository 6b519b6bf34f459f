"""Has jobs on backends with faults wait, take time and fail, and their sessions expire."""

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator
from contextlib import aclosing
from functools import partial
from typing import Final

import msgspec

from qiskit_runtime_server.chaos.faults import Fate
from qiskit_runtime_server.dispatch.store_calls import insist
from qiskit_runtime_server.errors import MaxTimeError
from qiskit_runtime_server.jobs import AccountId, Job
from qiskit_runtime_server.messages.messages import Completed, Event, Failed, Log, Metrics
from qiskit_runtime_server.store.port import Store
from qiskit_runtime_server.waiting import KeptTasks

_MAX_TIME: Final = "Chaos: the job ran longer than it may, on purpose."


async def with_faults(events: AsyncGenerator[Event, None], fate: Fate, seconds: float) -> AsyncGenerator[Event, None]:
    """Yield the events of a run that meets its fate: first it takes its time, then it fails or is simulated.

    Args:
        events: Of the run as it would be; not begun if it fails.
        fate: What it meets.
        seconds: How long the run may take.
    """
    async with aclosing(events):
        if fate.run_seconds:
            yield Log(text=f"Chaos: the job runs {fate.run_seconds:g} s longer, on purpose.\n")
            await asyncio.sleep(min(fate.run_seconds, seconds))
        used = Metrics(seconds=min(fate.run_seconds, seconds))
        if fate.run_seconds > seconds:
            yield Failed(reason=_MAX_TIME, code=MaxTimeError.code, metrics=used)
            return
        if fate.code is not None:
            yield Failed(reason=f"Chaos: failed with code {fate.code}, on purpose.", code=fate.code, metrics=used)
            return
        async for event in events:
            yield _later(event, fate.run_seconds)


def _later(event: Event, seconds: float) -> Event:
    """Return the event with the time counted that the run took before it was simulated."""
    if isinstance(event, Completed | Failed):
        metrics = msgspec.structs.replace(
            event.metrics, seconds=event.metrics.seconds + seconds, slot_seconds=event.metrics.charged + seconds
        )
        return msgspec.structs.replace(event, metrics=metrics)
    return event


class TimedFaults:
    """Lets jobs go that were held for their time in the queue, and closes sessions that expire."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._tasks = KeptTasks()
        self._waiting: Counter[tuple[AccountId, str]] = Counter()

    def begin(self, job: Job, fate: Fate) -> None:
        """Begin what happens to a job that has been added to the store, held if it is to wait."""
        if fate.queue_seconds:
            self._waiting[job.account, job.instance] += 1
            self._tasks.begin(self._release(job, fate.queue_seconds))
        if fate.expire_seconds is not None and job.session_id is not None:
            self._tasks.begin(self._expire(job.account, job.session_id, fate.expire_seconds))

    def waits(self, account: AccountId, instance: str) -> bool:
        """Tell whether jobs of an instance are held here, which are released one by one."""
        return self._waiting[account, instance] > 0

    async def close(self) -> None:
        """Stop; what is held then is released with the next start of the server."""
        await self._tasks.cancel()

    async def _release(self, job: Job, seconds: float) -> None:
        try:
            await asyncio.sleep(seconds)
            await insist(partial(self._store.queue.release, job.account, job.instance, job.id))
        finally:
            self._waiting[job.account, job.instance] -= 1

    async def _expire(self, account: AccountId, session_id: str, seconds: float) -> None:
        await asyncio.sleep(seconds)
        await insist(partial(self._store.sessions.close, account, session_id))
