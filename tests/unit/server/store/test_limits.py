"""What instances may do, and what is kept of what they did, whatever the store."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import Connection, insert

from kit.server.store_calls import AER, HERE, LEASE, added, claimed, seconds_used, seconds_used_today
from qiskit_runtime_server.accounts.limits import AccountLimits
from qiskit_runtime_server.backends.names import ExecutorName
from qiskit_runtime_server.errors import LimitError
from qiskit_runtime_server.jobs import MAX_WORKER_DEATHS, AccountId, Job, JobState, Outcome, RetryReason
from qiskit_runtime_server.messages.messages import Metrics
from qiskit_runtime_server.store.port import JobQuery, Load, Standing, Store
from qiskit_runtime_server.store.sql.rows import job_row
from qiskit_runtime_server.store.sql.schema import counts, jobs
from qiskit_runtime_server.store.sql.store import SqlStore

ALICE, BOB = AccountId("alice"), AccountId("bob")
GPU = ExecutorName("custatevec")
TODAY = timedelta(days=1)
# By how many seconds two clocks may differ over a few.
CLOCKS_DIFFER = 0.01

NewJob = Callable[..., Job]


async def run(store: Store, job: Job, seconds: float, limits: AccountLimits | None = None) -> None:
    await store.jobs.add(job, b"{}", limits or AccountLimits())
    claim = await store.queue.claim(job.executor, HERE, lease=LEASE)
    assert claim is not None
    assert claim.job.id == job.id
    outcome = Outcome(state=JobState.COMPLETED, metrics=Metrics(seconds=seconds))
    assert await store.queue.finish(claim, outcome, b"{}")


async def test_no_more_jobs_wait_than_the_instance_may_have(store: Store, new_job: NewJob) -> None:
    limits = AccountLimits(queued=2)
    for executor in (AER, GPU):
        await store.jobs.add(new_job(executor=executor), b"{}", limits)
    with pytest.raises(LimitError, match="crn:alice has 2 queued jobs; its limit is 2"):
        await store.jobs.add(refused := new_job(), b"{}", limits)
    assert (await store.counts.load())[AER].queued == 1
    await store.jobs.add(new_job(instance="crn:other"), b"{}", limits)
    claim = await store.queue.claim(GPU, HERE, lease=LEASE)
    assert claim is not None
    await store.jobs.add(refused, b"{}", limits)


async def test_submissions_at_once_do_not_get_past_the_limit(store: Store, new_job: NewJob) -> None:
    limits = AccountLimits(queued=5)
    await store.jobs.add(new_job(), b"{}", limits)
    results = await asyncio.gather(
        *(store.jobs.add(new_job(), b"{}", limits) for _ in range(20)), return_exceptions=True
    )
    assert sum(result is None for result in results) == 4
    assert sum(isinstance(result, LimitError) for result in results) == 16
    assert (await store.counts.load())[AER].queued == 5


async def test_the_load_says_how_many_queued_jobs_may_run(store: Store, new_job: NewJob) -> None:
    for _ in range(5):
        await store.jobs.add(new_job(), b"{}", AccountLimits(running=2))
    for _ in range(3):
        await store.jobs.add(new_job(account=BOB), b"{}", AccountLimits())

    async def loaded() -> Load:
        return replace((await store.counts.load())[AER], oldest_queued=None)

    assert await loaded() == Load(queued=8, startable=5)
    claims = [await store.queue.claim(AER, HERE, lease=LEASE) for _ in range(4)]
    assert await loaded() == Load(queued=4, startable=1, running=4)
    for claim in claims:
        assert claim is not None
        await store.queue.hold(claim, reason="not today")
    # Of what is held, none may run; of the rest, two of Alice's and what Bob has.
    assert await loaded() == Load(queued=4, startable=3)


async def test_an_instance_that_has_used_its_time_gets_no_more_that_day(store: Store, new_job: NewJob) -> None:
    limits = AccountLimits(seconds_per_day=10)
    await run(store, new_job(), 9.5, limits)
    await run(store, new_job(executor=GPU), 3.25, limits)
    with pytest.raises(LimitError, match=r"crn:alice has used 12.8 s of slot time today; its limit is 10 s per day"):
        await store.jobs.add(new_job(), b"{}", limits)
    await store.jobs.add(new_job(instance="crn:other"), b"{}", limits)
    await store.jobs.add(new_job(account=BOB), b"{}", limits)
    assert await seconds_used_today(store, ALICE, "crn:alice") == 12.75


async def test_the_standing_of_an_instance_says_what_it_may_use_has_used_and_uses(
    store: Store, new_job: NewJob
) -> None:
    await run(store, new_job(), 2.5)
    await run(store, new_job(instance="crn:other"), 1.0)
    await store.overviews.limit_instance(ALICE, "crn:alice", 60)
    jobs = [new_job(), new_job(), new_job(instance="crn:other"), new_job(account=BOB)]
    await added(store, *jobs, new_job(executor=GPU))
    for _ in jobs:
        await claimed(store)
    found = await store.counts.standing(ALICE, "crn:alice")
    assert (found.granted, found.today, found.of_account) == (60, 2.5, 3.5)
    assert [job.id for job in found.running] == [jobs[1].id, jobs[0].id]
    assert await store.counts.standing(BOB, "crn:bob") == Standing(granted=None, today=0.0, of_account=0.0, running=[])


async def test_what_an_admin_has_granted_holds_in_place_of_the_file(store: Store, new_job: NewJob) -> None:
    await run(store, new_job(), 9.5, AccountLimits(seconds_per_day=10))
    await store.overviews.limit_instance(ALICE, "crn:alice", 9)
    with pytest.raises(LimitError, match="its limit is 9 s per day"):
        await store.jobs.add(new_job(), b"{}", AccountLimits(seconds_per_day=1000))
    await store.overviews.limit_instance(ALICE, "crn:alice", 20)
    await store.jobs.add(new_job(), b"{}", AccountLimits(seconds_per_day=1))
    assert (await claimed(store)).seconds_per_day == 20


async def test_a_run_whose_worker_died_is_charged_at_once_and_one_that_was_lost_is_not(
    store: Store, new_job: NewJob
) -> None:
    job = new_job()
    await store.jobs.add(job, b"{}")
    begin, first = time.monotonic(), 0.0
    for why in (RetryReason.WORKER_DIED, RetryReason.LOST, RetryReason.NOT_STARTED):
        claim = await store.queue.claim(AER, HERE, lease=LEASE)
        assert claim is not None
        await asyncio.sleep(0.2)
        queued = await store.queue.requeue(claim, why, reason="gone")
        first = first or time.monotonic() - begin
        assert queued is not None
        assert queued.state is JobState.QUEUED
    kept = await store.jobs.get(ALICE, job.id)
    used = await seconds_used_today(store, ALICE, job.instance)
    # No more than the first run took here, however long that is on this disk; the store has another clock.
    assert 0.2 <= used < first + CLOCKS_DIFFER
    assert kept.metrics.charged == used
    with pytest.raises(LimitError, match="of slot time today"):
        await store.jobs.add(new_job(), b"{}", AccountLimits(seconds_per_day=0.15))


async def test_the_end_of_a_job_keeps_what_its_dead_runs_used_and_charges_each_run_once(
    store: Store, new_job: NewJob
) -> None:
    for ends in ("finish", "cancel running", "cancel queued", "dies once too often"):
        job = new_job(account=AccountId(ends.replace(" ", "-")))
        await store.jobs.add(job, b"{}")
        deaths = MAX_WORKER_DEATHS if ends == "dies once too often" else 1
        begin = time.monotonic()
        for _ in range(deaths):
            claim = await store.queue.claim(AER, HERE, lease=LEASE)
            assert claim is not None
            await asyncio.sleep(0.1)
            await store.queue.requeue(claim, RetryReason.WORKER_DIED, reason="died")
        again = None if deaths > 1 or ends == "cancel queued" else await store.queue.claim(AER, HERE, lease=LEASE)
        if ends == "finish":
            assert again is not None
            outcome = Outcome(state=JobState.COMPLETED, metrics=Metrics(seconds=2.0, slot_seconds=3.0))
            assert await store.queue.finish(again, outcome, b"{}")
        elif deaths == 1:
            await store.jobs.cancel(job.account, job.id, reason="enough")
        took = time.monotonic() - begin
        ended = await store.jobs.get(job.account, job.id)
        assert ended.state.terminal
        earlier = ended.metrics.charged - (3.0 if ends == "finish" else 0.0)
        assert deaths * 0.1 <= earlier < took + CLOCKS_DIFFER
        if ends == "finish":
            assert ended.metrics.seconds == pytest.approx(2.0 + earlier)
        assert await seconds_used(store, job.account) == pytest.approx(ended.metrics.charged)
        today = datetime.now(UTC).date()
        days = [day for day in await store.counts.usage(today - TODAY, today + TODAY) if day.account == job.account]
        assert sum(day.jobs for day in days) == 1
        assert sum(day.seconds for day in days) == pytest.approx(ended.metrics.charged)


async def test_sums_stay_finite_and_true_whatever_a_run_says_that_it_took(store: Store, new_job: NewJob) -> None:
    for said in (3.5e298, 1.7e308, 1.7e308, -5.0):
        job = new_job(max_seconds=60)
        await run(store, job, said)
    # A dry run: what a device would need is shown, what it took is charged.
    estimate = new_job()
    await store.jobs.add(estimate, b"{}")
    claim = await store.queue.claim(AER, HERE, lease=LEASE)
    assert claim is not None
    metrics = Metrics(seconds=3.5e298, slot_seconds=0.5)
    assert await store.queue.finish(claim, Outcome(state=JobState.COMPLETED, metrics=metrics), b"{}")
    assert (await store.jobs.get(ALICE, estimate.id)).metrics.seconds == 3.5e298
    assert await seconds_used(store, ALICE) == await seconds_used_today(store, ALICE, job.instance) == 180.5


async def test_slot_time_is_kept_by_day_for_good(store: Store, new_job: NewJob) -> None:
    job = new_job()
    await run(store, job, 2.0)
    await run(store, new_job(), 3.0)
    await run(store, new_job(account=BOB, instance="crn:bob", executor=GPU), 1.5)
    await store.jobs.add(queued := new_job(), b"{}")
    await store.jobs.cancel(ALICE, queued.id, reason="enough")
    await store.jobs.delete(ALICE, job.id)
    now = datetime.now(UTC).date()
    days = await store.counts.usage(now - TODAY, now + TODAY)
    found = [(day.account, day.instance, day.executor, day.seconds, day.jobs) for day in days]
    assert found == [(ALICE, "crn:alice", AER, 5.0, 2), (BOB, "crn:bob", GPU, 1.5, 1)]
    assert abs(days[0].day - now) <= TODAY
    assert await store.counts.usage(now - 3 * TODAY, now - 2 * TODAY) == []


async def test_an_executor_that_drains_keeps_its_jobs_queued_until_it_is_told_to_go_on(
    store: Store, new_job: NewJob
) -> None:
    await store.queue.drain(AER, draining=True)
    assert (await store.counts.load())[AER] == Load(draining=True)
    job = new_job()
    await store.jobs.add(job, b"{}")
    await store.jobs.add(new_job(executor=GPU), b"{}")
    assert await store.queue.claim(AER, HERE, lease=LEASE) is None
    assert await store.queue.claim(GPU, HERE, lease=LEASE) is not None
    for _ in range(2):
        await store.queue.drain(AER, draining=False)
    assert not (await store.counts.load())[AER].draining
    claim = await store.queue.claim(AER, HERE, lease=LEASE)
    assert claim is not None
    assert claim.job.id == job.id


async def test_a_job_keeps_how_large_its_circuits_may_be(store: Store, new_job: NewJob) -> None:
    job = new_job(max_qubits=12)
    await store.jobs.add(job, b"{}")
    assert await store.jobs.get(ALICE, job.id) == job


async def test_all_accounts_together_are_seen_by_those_who_may(store: Store, new_job: NewJob) -> None:
    jobs = [new_job(tags=("x",)), new_job(account=BOB, tags=("x",))]
    for job in jobs:
        await store.jobs.add(job, b"{}")
    assert await store.jobs.get(None, jobs[1].id) == jobs[1]
    found, count = await store.jobs.find(None, JobQuery(tags=("x",), limit=1))
    assert (found, count) == ([jobs[1]], 2)
    assert (await store.jobs.cancel(None, jobs[0].id, reason="by an admin")).id == jobs[0].id
    assert (await store.jobs.get(ALICE, jobs[0].id)).reason == "by an admin"


async def test_jobs_that_a_server_of_the_schema_before_has_added_are_served(
    sql_store: SqlStore, new_job: NewJob
) -> None:
    """While one release replaces the other, servers of both run on the newer one's schema."""
    store = sql_store
    job = new_job()
    row = {name: value for name, value in job_row(job).items() if name not in {"params_bytes", "max_qubits"}}
    row_of_counts = {
        "waiting_since": job.created,
        "queued": 1,
        "queued_in_sessions": 0,
        "running": 0,
        "seconds": 0.0,
        "jobs": 0,
    }

    def add(connection: Connection) -> None:
        connection.execute(insert(jobs), row)
        connection.execute(insert(counts), {"executor": AER, "account": ALICE, **row_of_counts})

    await store.database.change(add)
    claim = await store.queue.claim(AER, HERE, lease=LEASE)
    assert claim is not None
    assert (claim.job.id, claim.job.max_qubits) == (job.id, None)
    assert await store.queue.finish(claim, Outcome(state=JobState.COMPLETED, metrics=Metrics(seconds=1.0)), b"{}")
    assert await seconds_used_today(store, ALICE, job.instance) == 1.0
