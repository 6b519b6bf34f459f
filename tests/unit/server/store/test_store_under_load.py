"""Callers at once, and callers that give up, whatever the store."""

import asyncio
import random
from collections import Counter
from collections.abc import Callable
from typing import Protocol

from kit.server.store_calls import AER, HERE, LEASE
from qiskit_runtime_server.backends.names import ExecutorName
from qiskit_runtime_server.errors import JobNotFoundError
from qiskit_runtime_server.jobs import AccountId, Job, JobState, Outcome
from qiskit_runtime_server.store.fair_share import Counts
from qiskit_runtime_server.store.port import JobQuery, Load, Store
from qiskit_runtime_server.store.sql.store import SqlStore

ALICE = AccountId("alice")
COMPLETED = Outcome(state=JobState.COMPLETED)

NewJob = Callable[..., Job]


class OpenedStore(Protocol):
    """See conftest."""

    store: Store

    async def counts(self) -> dict[tuple[ExecutorName, AccountId], Counts]: ...


async def assert_counts_are_right(opened: OpenedStore) -> None:
    """Compare the counts with a recount."""
    counts = (await opened.counts()).values()
    found, _ = await opened.store.jobs.find(None, JobQuery(limit=10_000))
    recount = Counter(job.state for job in found)
    load = (await opened.store.counts.load())[AER]
    queued, running = sum(count.queued for count in counts), sum(count.running for count in counts)
    assert (queued, running) == (recount[JobState.QUEUED], recount[JobState.RUNNING])
    assert (load.queued, load.running) == (queued, running)


async def at_rest(store: Store) -> None:
    """Wait for the calls whose callers have gone; one in memory is over before its caller can go."""
    if isinstance(store, SqlStore):
        await store.database.come_to_rest()


async def test_many_callers_at_once_neither_block_nor_disturb_each_other(
    opened: OpenedStore, store: Store, new_job: NewJob
) -> None:
    async def submit(number: int) -> None:
        await store.jobs.add(new_job(account=AccountId(f"account-{number % 7}")), b"x" * 1000)

    async def run() -> int:
        count = 0
        while claim := await store.queue.claim(AER, HERE, lease=LEASE):
            assert await store.queue.renew([claim.key], lease=LEASE) == {claim.key}
            await store.documents.append_log(claim.job.id, "line\n")
            assert await store.queue.finish(claim, COMPLETED, b"result")
            assert await store.documents.result(claim.job.id) == b"result"
            count += 1
        return count

    async def watch() -> None:
        for _ in range(20):
            await store.counts.load()
            await store.jobs.find(AccountId("account-1"), JobQuery(pending=True))

    async with asyncio.timeout(200):
        _, *counts = await asyncio.gather(
            asyncio.gather(*(submit(number) for number in range(150))),
            *(run() for _ in range(8)),
            asyncio.gather(*(watch() for _ in range(8))),
        )
    assert sum(count for count in counts if isinstance(count, int)) + await run() == 150
    await assert_counts_are_right(opened)
    assert (await store.counts.load())[AER] == Load()


async def test_calls_that_are_cancelled_at_any_moment_still_happen_wholly(
    opened: OpenedStore, store: Store, new_job: NewJob
) -> None:
    rng = random.Random(7)  # noqa: S311 - reproducible

    async def live(job: Job) -> bool:
        """Return whether there was a job to claim: another one that has claimed this job may have deleted its own."""
        await store.jobs.add(job, b"x" * 1000)
        claim = await store.queue.claim(AER, HERE, lease=LEASE)
        await store.jobs.get(ALICE, job.id)
        await store.documents.params(job.id)
        if claim is not None:
            await store.queue.finish(claim, COMPLETED, b"result")
        await store.jobs.delete(ALICE, job.id)
        return claim is not None

    async def live_for(job: Job, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await live(job)
        except (TimeoutError, JobNotFoundError):
            return

    async with asyncio.timeout(200):
        for _ in range(15):
            await asyncio.gather(*(live_for(new_job(), rng.random() * 0.06) for _ in range(10)))
        await at_rest(store)
    await assert_counts_are_right(opened)
    assert await live(new_job())
    found, _ = await store.jobs.find(ALICE, JobQuery(limit=1000))
    for job in found:
        assert await store.documents.params(job.id) == b"x" * 1000
        finished = await store.documents.result(job.id) == b"result"
        assert finished == (job.state is JobState.COMPLETED)


async def test_a_job_is_added_although_its_caller_is_gone(sql_store: SqlStore, new_job: NewJob) -> None:
    store = sql_store
    job = new_job()
    caller = asyncio.create_task(store.jobs.add(job, b"{}"))
    await asyncio.sleep(0)
    caller.cancel()
    await store.database.come_to_rest()
    assert caller.cancelled()
    assert await store.jobs.get(ALICE, job.id) == job
