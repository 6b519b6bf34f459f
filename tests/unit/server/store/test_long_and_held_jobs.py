"""Jobs known as long run in few slots, and held jobs in none: the same on every store."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest

from qiskit_runtime_server.accounts.limits import AccountLimits
from qiskit_runtime_server.backends.names import ExecutorName
from qiskit_runtime_server.errors import JobNotFoundError
from qiskit_runtime_server.jobs import AccountId, Job, JobState, Outcome
from qiskit_runtime_server.messages.messages import Holder
from qiskit_runtime_server.store.port import Claim, HeldJobs, JobQuery, Store

AER = ExecutorName("aer")
ALICE, BOB = AccountId("alice"), AccountId("bob")
CRN = "crn:alice"
HOLDER = Holder(endpoint="local", boot_id="1")
LEASE = timedelta(minutes=10)

NewJob = Callable[..., Job]


async def claim(store: Store, long_slots: int | None = 1) -> Claim | None:
    return await store.queue.claim(AER, HOLDER, lease=LEASE, long_slots=long_slots)


async def started(store: Store, job: Job, long_slots: int | None = 1) -> Claim:
    """Add a job and claim it."""
    await store.jobs.add(job, b"{}")
    claimed = await claim(store, long_slots)
    assert claimed is not None
    assert claimed.job.id == job.id
    return claimed


async def test_as_many_long_jobs_go_on_as_may_and_others_keep_their_place(store: Store, new_job: NewJob) -> None:
    first, second = await started(store, new_job()), await started(store, new_job())
    goes_on = await store.queue.found_long(first, long_slots=1)
    assert goes_on is not None
    assert goes_on.state is JobState.RUNNING
    assert goes_on.long_since is not None
    back = await store.queue.found_long(second, long_slots=1)
    assert back is not None
    assert (back.state, back.started, back.losses, back.worker_deaths) == (JobState.QUEUED, None, 0, 0)
    assert not await store.queue.finish(second, Outcome(state=JobState.COMPLETED), b"{}")

    assert (await store.counts.load())[AER].long_waits
    assert await claim(store) is None
    short = await started(store, new_job(account=BOB))
    assert short.job.long_since is None
    assert await store.queue.finish(first, Outcome(state=JobState.COMPLETED), b"{}")
    again = await claim(store)
    assert again is not None
    assert (again.job.id, again.job.fence, again.job.long_since) == (back.id, 2, back.long_since)
    assert not (await store.counts.load())[AER].long_waits


async def test_a_long_job_of_an_account_does_not_hide_its_short_ones_nor_those_of_others(
    store: Store, new_job: NewJob
) -> None:
    first, second = await started(store, new_job()), await started(store, new_job())
    for claimed in (first, second):
        await store.queue.found_long(claimed, long_slots=1)
    later, others = new_job(), new_job(account=BOB)
    await store.jobs.add(later, b"{}")
    await store.jobs.add(others, b"{}")
    claims = [await claim(store), await claim(store)]
    assert {found.job.id for found in claims if found} == {later.id, others.id}
    assert await claim(store) is None
    assert await claim(store, None) is not None


async def test_what_is_found_long_after_its_end_stays_ended(store: Store, new_job: NewJob) -> None:
    claimed = await started(store, new_job())
    await store.jobs.cancel(ALICE, claimed.job.id, reason="enough")
    assert await store.queue.found_long(claimed, long_slots=1) is None
    assert await store.queue.hold(claimed, reason="why") is None


async def test_side_by_side_no_more_long_jobs_run_than_may(store: Store, new_job: NewJob) -> None:
    claims = [await started(store, new_job(account=AccountId(f"account-{number}"))) for number in range(6)]
    found = await asyncio.gather(*(store.queue.found_long(claimed, long_slots=2) for claimed in claims))
    assert [job.state for job in found if job].count(JobState.RUNNING) == 2
    running = {job.id for job in found if job and job.state is JobState.RUNNING}
    for claimed in claims:
        if claimed.job.id in running:
            assert await store.queue.finish(claimed, Outcome(state=JobState.COMPLETED), b"{}")
    again: list[Claim] = []
    # A claim passes over long jobs while another one starts a long job.
    for _ in range(10):
        again += [taken for taken in await asyncio.gather(*(claim(store, 2) for _ in range(4))) if taken]
        assert len(again) <= 2
    assert len(again) == 2


async def test_held_jobs_wait_for_their_release(store: Store, new_job: NewJob) -> None:
    claimed = await started(store, new_job())
    held = await store.queue.hold(claimed, reason="Held: not today.\0")
    assert held is not None
    assert (held.state, held.held) == (JobState.QUEUED, "Held: not today.\N{REPLACEMENT CHARACTER}")
    assert await store.jobs.get(ALICE, held.id) == held
    assert await claim(store, None) is None
    assert (await store.counts.load())[AER].queued == 0
    assert await store.queue.held() == [HeldJobs(account=ALICE, instance=CRN, jobs=1)]
    other = await started(store, new_job(account=BOB))
    assert await store.counts.queue_position(other.job) == 1

    assert await store.queue.release(BOB, CRN) == 0
    assert await store.queue.release(ALICE, CRN) == 1
    assert await store.queue.held() == []
    assert (await store.counts.load())[AER].queued == 1
    again = await claim(store)
    assert again is not None
    assert (again.job.id, again.job.held, again.job.fence) == (held.id, None, 2)


async def test_one_held_job_is_released_alone_and_one_may_be_held_from_its_beginning(
    store: Store, new_job: NewJob
) -> None:
    first, second = (replace(new_job(), held="Chaos: waits.") for _ in range(2))
    for job in (first, second):
        await store.jobs.add(job, b"{}", AccountLimits())
    assert await claim(store) is None
    assert await store.queue.release(BOB, CRN, second.id) == 0
    assert await store.queue.release(ALICE, CRN, second.id) == 1
    assert await store.queue.release(ALICE, CRN, second.id) == 0
    claimed = await claim(store)
    assert claimed is not None
    assert claimed.job.id == second.id
    assert await claim(store) is None
    assert await store.queue.held() == [HeldJobs(account=ALICE, instance=CRN, jobs=1)]


async def test_a_held_job_can_be_cancelled_and_deleted(store: Store, new_job: NewJob) -> None:
    jobs = [await started(store, new_job()) for _ in range(2)]
    for claimed in jobs:
        await store.queue.hold(claimed, reason="why")
    await store.jobs.cancel(None, jobs[0].job.id, reason="enough")
    ended = await store.jobs.get(ALICE, jobs[0].job.id)
    assert (ended.state, ended.held) == (JobState.CANCELLED, None)
    assert (await store.jobs.delete(None, jobs[1].job.id, reason="by an admin")).held == "why"
    with pytest.raises(JobNotFoundError):
        await store.jobs.get(None, jobs[1].job.id)
    assert await store.queue.held() == []
    assert (await store.counts.load())[AER].queued == 0


@pytest.mark.parametrize("oldest_first", [False, True])
async def test_pages_follow_each_other_while_jobs_arrive(
    store: Store,
    new_job: NewJob,
    oldest_first: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    jobs = [new_job(account=account) for account in (ALICE, BOB) * 3]
    for job in jobs:
        await store.jobs.add(job, b"{}")
    await claim(store)
    query = JobQuery(state=JobState.QUEUED, oldest_first=oldest_first, limit=2)
    first, count = await store.jobs.find(None, query)
    assert count == 5
    await store.jobs.add(new_job(created=jobs[0].created - timedelta(days=1)), b"{}")
    place = first[-1].created, first[-1].id
    second, count = await store.jobs.find(None, JobQuery(oldest_first=oldest_first, limit=10, beyond=place))
    assert count == 7
    assert not {job.id for job in first} & {job.id for job in second}
    expected = sorted(jobs, key=lambda job: job.created, reverse=not oldest_first)
    after = [job.id for job in expected if (job.created > place[0]) is oldest_first and job.id != place[1]]
    assert [job.id for job in second if job.id in {known.id for known in jobs}] == after
