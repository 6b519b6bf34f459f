"""What is swept of jobs that have ended, on every store."""

import asyncio
import os
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Protocol

import msgspec
import pytest

from kit.server.store_calls import seconds_used
from qiskit_runtime_server.backends.names import ExecutorName
from qiskit_runtime_server.errors import JobNotFoundError
from qiskit_runtime_server.jobs import AccountId, Job, JobState, Outcome, Session
from qiskit_runtime_server.messages.messages import Holder
from qiskit_runtime_server.store.port import Forgotten, JobQuery, Retention, Store, Surplus

AER = ExecutorName("aer")
HERE = Holder(endpoint="local", boot_id="1")
LEASE = timedelta(seconds=30)
ALICE, BOB = AccountId("alice"), AccountId("bob")
NOW = timedelta(0)

NewJob = Callable[..., Job]


class Opened(Protocol):
    store: Store

    async def documents_kept(self) -> int: ...

    async def slot_seconds(self) -> dict[AccountId, float]: ...


async def ended(store: Store, job: Job, result: bytes = b"a result") -> Job:
    await store.jobs.add(job, b"{}")
    claim = await store.queue.claim(AER, HERE, lease=LEASE)
    assert claim is not None
    assert claim.job.id == job.id
    await store.documents.append_log(job.id, "a line")
    assert await store.queue.finish(claim, Outcome(state=JobState.COMPLETED), result)
    return job


async def swept(store: Store, retention: Retention) -> int:
    """Sweep to the end and return how many jobs were removed."""
    count = 0
    while (batch := await store.archive.sweep(retention)) is not None:
        assert batch.jobs <= 20
        count += batch.jobs
    return count


async def ids_of(store: Store, account: AccountId) -> set[str]:
    jobs, _ = await store.jobs.find(account, JobQuery(limit=200))
    return {job.id for job in jobs}


async def test_without_a_limit_everything_is_kept(store: Store, new_job: NewJob) -> None:
    await ended(store, new_job(account=ALICE))
    assert await swept(store, Retention()) == 0


async def test_jobs_go_with_their_documents_when_their_time_is_over(opened: Opened, new_job: NewJob) -> None:
    store = opened.store
    job = await ended(store, new_job(account=ALICE))
    assert await swept(store, Retention(age=timedelta(hours=1))) == 0
    assert await swept(store, Retention(age=NOW)) == 1
    with pytest.raises(JobNotFoundError):
        await store.jobs.get(ALICE, job.id)
    assert await opened.documents_kept() == 0


async def test_jobs_that_have_not_ended_stay_however_old_they_are(store: Store, new_job: NewJob) -> None:
    long_ago = datetime(2000, 1, 1, tzinfo=UTC)
    running, queued = new_job(account=ALICE, created=long_ago), new_job(account=ALICE, created=long_ago)
    await store.jobs.add(running, b"{}")
    claim = await store.queue.claim(AER, HERE, lease=LEASE)
    await store.jobs.add(queued, b"{}")
    assert await swept(store, Retention(age=NOW, jobs=1, stored_bytes=1)) == 0
    assert await ids_of(store, ALICE) == {running.id, queued.id}
    assert claim is not None
    assert await store.queue.finish(claim, Outcome(state=JobState.COMPLETED), b"x")


async def test_of_each_account_the_newest_jobs_are_kept(store: Store, new_job: NewJob) -> None:
    of_alice = [(await ended(store, new_job(account=ALICE))).id for _ in range(5)]
    of_bob = [(await ended(store, new_job(account=BOB))).id for _ in range(2)]
    assert await swept(store, Retention(jobs=3)) == 2
    assert await ids_of(store, ALICE) == set(of_alice[2:])
    assert await ids_of(store, BOB) == set(of_bob)


async def test_where_bytes_are_short_the_oldest_jobs_of_the_largest_account_go(store: Store, new_job: NewJob) -> None:
    of_bob = await ended(store, new_job(account=BOB), bytes(range(256)) * 4)
    of_alice = [(await ended(store, new_job(account=ALICE), bytes(range(256)) * 4)).id for _ in range(10)]
    assert await swept(store, Retention(stored_bytes=5 * 1100)) == 6
    assert await ids_of(store, BOB) == {of_bob.id}
    assert await ids_of(store, ALICE) == set(of_alice[6:])


async def test_what_is_over_each_limit_is_known_before_anything_is_removed(store: Store, new_job: NewJob) -> None:
    assert await store.archive.surplus(Retention(age=NOW, jobs=1, stored_bytes=1)) == Surplus(jobs=0, stored_bytes=0)
    for account in (ALICE, ALICE, ALICE, BOB):
        await ended(store, new_job(account=account))
    kept = await store.archive.surplus(Retention())
    assert kept == Surplus(jobs=4, stored_bytes=kept.stored_bytes)
    assert await store.archive.surplus(Retention(age=timedelta(hours=1), jobs=3, stored_bytes=2**20)) == kept
    over = await store.archive.surplus(Retention(age=NOW, jobs=1, stored_bytes=1))
    assert over == replace(kept, too_old=4, too_many=2, excess_bytes=kept.stored_bytes - 1)
    assert await swept(store, Retention(jobs=1)) == over.too_many


async def test_what_was_taken_counts_no_more(store: Store, new_job: NewJob) -> None:
    job = await ended(store, new_job(account=ALICE, private=True), bytes(range(256)) * 15)
    assert await store.documents.take_result(job.id) is not None
    assert await swept(store, Retention(stored_bytes=100)) == 0


async def test_what_an_account_has_used_is_known_after_the_sweep(opened: Opened, new_job: NewJob) -> None:
    store = opened.store
    await store.jobs.add(new_job(account=ALICE), b"{}")
    claim = await store.queue.claim(AER, HERE, lease=LEASE)
    assert claim is not None
    metrics = msgspec.structs.replace(claim.job.metrics, seconds=12.5)
    await store.queue.finish(claim, Outcome(state=JobState.COMPLETED, metrics=metrics), b"x")
    assert await swept(store, Retention(age=NOW)) == 1
    assert await seconds_used(store, ALICE) == 12.5
    assert await opened.slot_seconds() == {ALICE: 12.5}


async def test_two_that_sweep_at_once_remove_no_more_than_one(store: Store, new_job: NewJob) -> None:
    for _ in range(30):
        await ended(store, new_job(account=ALICE))
    removed = await asyncio.gather(*(swept(store, Retention(jobs=10)) for _ in range(4)))
    assert sum(removed) == 20
    assert len(await ids_of(store, ALICE)) == 10


async def test_a_batch_is_small_in_jobs_and_in_bytes(store: Store, new_job: NewJob) -> None:
    for _ in range(4):
        await ended(store, new_job(account=ALICE), os.urandom(3 << 20))
    batch = await store.archive.sweep(Retention(age=NOW))
    assert batch is not None
    assert batch.jobs == 2
    assert 6 << 20 <= batch.stored_bytes < 7 << 20


async def test_what_an_account_has_is_forgotten_in_small_batches_and_others_lose_nothing(
    opened: Opened, new_job: NewJob, new_session: Callable[..., Session]
) -> None:
    store = opened.store
    sessions = [new_session(account=account) for account in (ALICE, ALICE, BOB)]
    for session in sessions:
        await store.sessions.add(session)
    for number in range(25):
        await ended(store, new_job(account=ALICE, session_id=sessions[0].id if number == 3 else None))
    kept = await ended(store, new_job(account=BOB, session_id=sessions[2].id))
    seconds = await opened.slot_seconds()
    queued = new_job(account=ALICE)
    await store.jobs.add(queued, b"{}")
    for account in (ALICE, BOB):
        await store.overviews.limit_instance(account, "crn", 5)

    assert await store.archive.forget(ALICE) == Forgotten(jobs=20)
    assert await store.archive.forget(ALICE) == Forgotten(jobs=5)
    assert await ids_of(store, ALICE) == {queued.id}
    assert await store.archive.forget(ALICE) == Forgotten(sessions=2)
    assert await store.archive.forget(ALICE) == Forgotten()
    await store.jobs.cancel(ALICE, queued.id, reason="for the test")
    assert await store.archive.forget(ALICE) == Forgotten(jobs=1)

    assert await ids_of(store, ALICE) == set()
    assert await store.overviews.instance_limit(ALICE, "crn") is None
    assert await opened.slot_seconds() == seconds
    assert await ids_of(store, BOB) == {kept.id}
    assert await store.overviews.instance_limit(BOB, "crn") == 5
    assert (await store.sessions.get(BOB, sessions[2].id)).id == sessions[2].id
    assert await opened.documents_kept() == 3
