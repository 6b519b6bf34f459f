"""Who waits is woken by what happens, whatever the store and, where there are several, whatever the replica."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import pytest

from kit.server.postgresql_server import PostgresqlServer
from kit.server.store_calls import AER, claimed
from qiskit_runtime_server.backends.names import ExecutorName
from qiskit_runtime_server.jobs import MAX_LOSSES, AccountId, Job, JobState, Outcome, RetryReason
from qiskit_runtime_server.store.hub import Hub
from qiskit_runtime_server.store.port import Ended, Queued, Signal, Store
from qiskit_runtime_server.store.postgresql.database import open_postgresql
from qiskit_runtime_server.store.postgresql.notifications import Notifications

ALICE = AccountId("alice")
GPU = ExecutorName("custatevec")
COMPLETED = Outcome(state=JobState.COMPLETED)

NewJob = Callable[..., Job]


class Watcher:
    """What one watcher has seen."""

    def __init__(self, store: Store) -> None:
        self._signals = store.signals.watch()
        self._next: asyncio.Task[Signal] | None = None

    async def start(self) -> None:
        self._next = asyncio.ensure_future(anext(self._signals))
        await asyncio.sleep(0)

    async def next(self, *, seconds: float = 30) -> Signal:
        assert self._next is not None
        done, _ = await asyncio.wait({self._next}, timeout=seconds)
        if not done:
            raise TimeoutError
        signal = self._next.result()
        await self.start()
        return signal

    async def stop(self) -> None:
        assert self._next is not None
        self._next.cancel()
        await asyncio.wait({self._next})


@asynccontextmanager
async def watching(store: Store) -> AsyncIterator[Watcher]:
    watcher = Watcher(store)
    await watcher.start()
    try:
        yield watcher
    finally:
        await watcher.stop()


async def test_every_arrival_and_every_end_of_a_job_is_signalled(store: Store, new_job: NewJob) -> None:
    async with watching(store) as one, watching(store) as other:
        jobs = [new_job(executor=AER) for _ in range(3)]
        for job in jobs:
            await store.jobs.add(job, b"{}")
            assert await one.next() == Queued(executor=AER)
        await store.queue.finish(await claimed(store), COMPLETED, None)
        assert await one.next() == Ended(job_id=jobs[0].id)
        await store.queue.requeue(await claimed(store), RetryReason.NOT_STARTED, reason="busy")
        assert await one.next() == Queued(executor=AER)
        await store.jobs.cancel(ALICE, jobs[1].id, reason="enough")
        assert await one.next() == Ended(job_id=jobs[1].id)
        await store.jobs.delete(ALICE, jobs[2].id)
        assert await one.next() == Ended(job_id=jobs[2].id)
        last = new_job(losses=MAX_LOSSES - 1)
        await store.jobs.add(last, b"{}")
        await store.queue.requeue(await claimed(store), RetryReason.LOST, reason="gone")
        assert [await one.next() for _ in range(2)] == [Queued(executor=AER), Ended(job_id=last.id)]
        seen = [await other.next() for _ in range(9)]
    assert seen.count(Queued(executor=AER)) == 5
    assert {signal.job_id for signal in seen if isinstance(signal, Ended)} == {job.id for job in (*jobs, last)}


async def test_the_end_of_a_job_brings_the_job_as_it_is_kept(store: Store, new_job: NewJob) -> None:
    async with watching(store) as watcher:
        ended, cancelled, deleted = [new_job(executor=AER) for _ in range(3)]
        for job in (ended, cancelled, deleted):
            await store.jobs.add(job, b"{}")
            assert await watcher.next() == Queued(executor=AER)
        await store.queue.finish(await claimed(store), COMPLETED, b"[]")
        await store.jobs.cancel(ALICE, cancelled.id, reason="enough")
        await store.jobs.delete(ALICE, deleted.id)
        brought = [(signal.job_id, signal.job) for _ in range(3) if isinstance(signal := await watcher.next(), Ended)]
    kept = [await store.jobs.get(ALICE, job.id) for job in (ended, cancelled)]
    assert brought == [*((job.id, job) for job in kept), (deleted.id, None)]


async def test_what_did_not_happen_is_not_signalled(store: Store, new_job: NewJob) -> None:
    job = new_job()
    await store.jobs.add(job, b"{}")
    claim = await claimed(store)
    await store.queue.finish(claim, COMPLETED, None)
    async with watching(store) as watcher:
        with pytest.raises(Exception, match=r"(?i)unique"):
            await store.jobs.add(job, b"{}")
        assert not await store.queue.finish(claim, COMPLETED, None)
        assert await store.queue.requeue(claim, RetryReason.LOST, reason="late") is None
        await store.jobs.add(new_job(executor=GPU), b"{}")
        assert await watcher.next() == Queued(executor=GPU)


async def test_a_watcher_that_is_slow_loses_signals_and_nothing_else() -> None:
    hub = Hub()
    watch = hub.watch()
    first = asyncio.ensure_future(anext(watch))
    await asyncio.sleep(0)
    for _ in range(10_000):
        hub.announce(Queued(executor=AER))
    assert await first == Queued(executor=AER)
    await watch.aclose()
    hub.announce(Queued(executor=AER))


@asynccontextmanager
async def two_replicas(server: PostgresqlServer) -> AsyncIterator[tuple[Store, Store]]:
    one, other = await open_postgresql(server.url()), await open_postgresql(server.url())
    try:
        yield one, other
    finally:
        await one.close()
        await other.close()


async def heard(watcher: Watcher, cause: Callable[[], Any], *, tries: int = 50) -> Signal:
    """Return the next signal from another replica, which takes a moment to listen."""
    for _ in range(tries):
        await cause()
        try:
            return await watcher.next(seconds=0.2)
        except TimeoutError:
            continue
    raise AssertionError("Nothing was heard.")


@pytest.mark.database
async def test_signals_reach_other_replicas_soon_and_again_after_a_restart(new_job: NewJob) -> None:
    with PostgresqlServer() as server:
        async with two_replicas(server) as (one, other), watching(other) as watcher:

            async def submit() -> None:
                await one.jobs.add(new_job(), b"{}")

            assert await heard(watcher, submit) == Queued(executor=AER, elsewhere=True)
            server.stop()
            server.start()
            assert await heard(watcher, submit) == Queued(executor=AER, elsewhere=True)


async def test_notifications_close_at_once_although_there_is_something_to_tell(
    postgresql_server: PostgresqlServer,
) -> None:
    """However many turns of the event loop lie between the two."""

    async def connect() -> "asyncpg.Connection[asyncpg.Record]":
        return await asyncpg.connect(postgresql_server.url())

    for turns in range(6):
        notifications = Notifications(connect, Hub())
        await asyncio.sleep(0.2)
        notifications.send(Queued(executor=AER))
        for _ in range(turns):
            await asyncio.sleep(0)
        done, _ = await asyncio.wait({asyncio.create_task(notifications.close())}, timeout=30)
        assert done, turns
