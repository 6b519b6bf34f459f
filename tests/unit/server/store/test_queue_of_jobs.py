"""What dispatchers may rely on, whatever the store."""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Protocol

import msgspec
import pytest

from kit.server.store_calls import AER, HERE, LEASE, added, claimed, seconds_used
from qiskit_runtime_server.accounts.limits import AccountLimits
from qiskit_runtime_server.backends.names import ExecutorName
from qiskit_runtime_server.errors import InternalError, WorkerDiedError
from qiskit_runtime_server.jobs import (
    MAX_LOSSES,
    MAX_WORKER_DEATHS,
    AccountId,
    Job,
    JobId,
    JobState,
    Outcome,
    RetryReason,
    Session,
)
from qiskit_runtime_server.messages.messages import Metrics, Progress
from qiskit_runtime_server.store.fair_share import SESSION_CLAIMS_IN_ROW
from qiskit_runtime_server.store.port import Claim, Load, Store
from qiskit_runtime_server.store.sql import counts as sql_counts

ALICE, BOB, CAROL = (AccountId(name) for name in ("alice", "bob", "carol"))
GPU = ExecutorName("custatevec")
NOW = datetime(2026, 1, 1, tzinfo=UTC)
COMPLETED = Outcome(state=JobState.COMPLETED)

NewJob = Callable[..., Job]


class OpenedStore(Protocol):
    """See conftest."""

    async def let_leases_age(self, seconds: float) -> None: ...


NewSession = Callable[..., Session]


async def claimed_ids(store: Store, count: int) -> list[str]:
    return [(await claimed(store)).job.id for _ in range(count)]


async def test_an_empty_queue_has_no_claim(store: Store) -> None:
    assert await store.queue.claim(AER, HERE, lease=LEASE) is None
    assert await store.queue.take_over(AER, lease=LEASE) is None
    assert await store.queue.renew([], lease=LEASE) == set()


async def test_a_claimed_job_runs_under_a_fence(store: Store, new_job: NewJob) -> None:
    job = new_job()
    await added(store, job)
    claim = await claimed(store)
    running = await store.jobs.get(ALICE, job.id)
    assert claim.job == running
    assert claim.previous is None
    assert (running.state, running.fence) == (JobState.RUNNING, 1)
    assert running.started is not None
    assert await store.queue.claim(AER, HERE, lease=LEASE) is None


async def test_an_executor_gets_only_its_own_jobs(store: Store, new_job: NewJob) -> None:
    ours, theirs = new_job(), new_job(executor=GPU)
    await added(store, theirs, ours)
    assert (await claimed(store)).job.id == ours.id
    assert await store.queue.claim(AER, HERE, lease=LEASE) is None
    assert (await claimed(store, GPU)).job.id == theirs.id


async def test_the_jobs_of_one_account_go_by_age(store: Store, new_job: NewJob) -> None:
    jobs = [new_job() for _ in range(3)]
    await added(store, jobs[2], jobs[0], jobs[1])
    assert await claimed_ids(store, 3) == [job.id for job in jobs]


async def test_a_claim_comes_with_params_that_are_small(store: Store, new_job: NewJob) -> None:
    documents = [b"{}", b"x" * 100_000, b"of a job from before its size was kept" * 100_000]
    for params, size in zip(documents, (2, 100_000, 0), strict=True):
        await store.jobs.add(new_job(params_bytes=size), params)
    assert [(await claimed(store)).params for _ in documents] == [b"{}", None, None]


async def test_a_claim_says_whether_it_has_left_nothing_to_claim(store: Store, new_job: NewJob) -> None:
    await added(store, new_job(), new_job(account=BOB), new_job(executor=GPU), new_job(held="Held."))
    assert [(await claimed(store)).last for _ in range(2)] == [False, True]


async def test_the_account_with_the_fewest_running_jobs_goes_first(store: Store, new_job: NewJob) -> None:
    hers = [new_job() for _ in range(3)]
    await added(store, *hers)
    await claimed(store)
    his = [new_job(account=BOB) for _ in range(2)]
    await added(store, *his)
    assert await claimed_ids(store, 2) == [his[0].id, hers[1].id]


async def test_running_jobs_on_another_executor_do_not_count(store: Store, new_job: NewJob) -> None:
    await added(store, new_job(executor=GPU), new_job(account=BOB))
    await claimed(store, GPU)
    await claimed(store)
    her, his = new_job(), new_job(account=BOB)
    await added(store, his, her)
    assert await claimed_ids(store, 2) == [her.id, his.id]


async def ended(store: Store, claim: Claim) -> None:
    assert await store.queue.finish(claim, COMPLETED, None)


async def served(store: Store, count: int) -> list[AccountId]:
    """Return whose jobs run, in a row, if there is one slot."""
    accounts = []
    for _ in range(count):
        claim = await claimed(store)
        accounts.append(claim.job.account)
        await ended(store, claim)
    return accounts


async def test_among_equals_the_account_that_waits_longest_for_its_turn_goes_first(
    store: Store, new_job: NewJob
) -> None:
    await added(store, *(new_job(account=account) for account in (CAROL, ALICE, BOB, CAROL, ALICE)))
    assert await served(store, 5) == [CAROL, ALICE, BOB, CAROL, ALICE]
    await added(store, *(new_job(account=account) for account in (BOB, CAROL)))
    assert await served(store, 2) == [BOB, CAROL]


async def test_who_comes_while_another_account_runs_waits_for_that_job_only(store: Store, new_job: NewJob) -> None:
    await added(store, *(new_job() for _ in range(3)))
    running = await claimed(store)
    await added(store, new_job(account=BOB))
    await ended(store, running)
    assert await served(store, 3) == [BOB, ALICE, ALICE]


async def test_newcomers_do_not_starve_who_waits(store: Store, new_job: NewJob) -> None:
    await added(store, *(new_job() for _ in range(2)))
    await served(store, 1)
    for number in range(5):
        await added(store, new_job(account=AccountId(f"newcomer-{number}")))
    assert (await served(store, 1)) == [ALICE]


async def test_an_account_with_weight_two_gets_two_turns_for_one(store: Store, new_job: NewJob) -> None:
    for _ in range(6):
        await store.jobs.add(new_job(), b"{}", AccountLimits(weight=2))
        await added(store, new_job(account=BOB))
    assert await served(store, 9) == [ALICE, ALICE, BOB] * 3


async def test_an_account_with_weight_two_runs_twice_as_many_jobs_at_a_time(store: Store, new_job: NewJob) -> None:
    for _ in range(6):
        await store.jobs.add(new_job(), b"{}", AccountLimits(weight=2))
        await added(store, new_job(account=BOB))
    running = [(await claimed(store)).job.account for _ in range(6)]
    assert (running.count(ALICE), running.count(BOB)) == (4, 2)


async def test_no_more_jobs_of_an_account_run_than_its_limit_says(store: Store, new_job: NewJob) -> None:
    for _ in range(3):
        await store.jobs.add(new_job(), b"{}", AccountLimits(running=2))
    running = [await claimed(store) for _ in range(2)]
    assert await store.queue.claim(AER, HERE, lease=LEASE) is None
    await added(store, new_job(account=BOB))
    assert (await claimed(store)).job.account == BOB
    await ended(store, running[0])
    assert (await claimed(store)).job.account == ALICE


async def test_claimers_side_by_side_keep_to_the_limit_of_running_jobs(store: Store, new_job: NewJob) -> None:
    for _ in range(12):
        await store.jobs.add(new_job(), b"{}", AccountLimits(running=2))
    for _ in range(4):
        claims = await asyncio.gather(*(store.queue.claim(AER, HERE, lease=LEASE) for _ in range(6)))
        running = [claim for claim in claims if claim is not None]
        assert 1 <= len(running) <= 2
        for claim in running:
            await ended(store, claim)


async def test_many_accounts_at_their_limit_do_not_hide_another(store: Store, new_job: NewJob) -> None:
    for number in range(20):
        account = AccountId(f"full-{number}")
        for _ in range(2):
            await store.jobs.add(new_job(account=account), b"{}", AccountLimits(running=1))
    for _ in range(20):
        await claimed(store)
    assert await store.queue.claim(AER, HERE, lease=LEASE) is None
    await added(store, new_job(account=BOB))
    assert (await claimed(store)).job.account == BOB


async def test_a_long_batch_of_one_account_does_not_make_others_wait(
    store: Store, new_job: NewJob, new_session: NewSession
) -> None:
    session = new_session()
    await store.sessions.add(session)
    await added(store, *(new_job(session_id=session.id) for _ in range(5)))
    await served(store, 1)
    await added(store, new_job(account=BOB))
    assert await served(store, 3) == [ALICE, BOB, ALICE]


async def test_session_jobs_go_before_older_jobs_of_the_account_but_not_for_ever(
    store: Store, new_job: NewJob, new_session: NewSession
) -> None:
    session = new_session()
    await store.sessions.add(session)
    plain = [new_job() for _ in range(2)]
    in_session = [new_job(session_id=session.id) for _ in range(2 * SESSION_CLAIMS_IN_ROW)]
    await added(store, *plain, *in_session)
    ids = await claimed_ids(store, 2 * SESSION_CLAIMS_IN_ROW + 2)
    first, second = in_session[:SESSION_CLAIMS_IN_ROW], in_session[SESSION_CLAIMS_IN_ROW:]
    assert ids == [job.id for job in (*first, plain[0], *second, plain[1])]


async def test_claimers_side_by_side_serve_different_accounts(store: Store, new_job: NewJob) -> None:
    accounts = [AccountId(f"account-{number}") for number in range(4)]
    for account in accounts:
        await added(store, *(new_job(account=account) for _ in range(5)))
    fair = 0
    for _ in range(5):
        claims = await asyncio.gather(*(claimed(store) for _ in accounts))
        fair += {claim.job.account for claim in claims} == set(accounts)
        for claim in claims:
            await ended(store, claim)
    # PostgreSQL may order accounts by what was so a moment before it locks the first of them.
    assert fair >= 3


async def test_a_finished_job_keeps_how_it_ended(store: Store, new_job: NewJob) -> None:
    job = new_job()
    await added(store, job)
    claim = await claimed(store)
    metrics = Metrics(seconds=2.5, num_circuits=3, executions=4096, num_qubits=(5, 7), qiskit_version="2.6.2")
    outcome = Outcome(state=JobState.FAILED, reason="No luck.", reason_code=1305, metrics=metrics)
    assert await store.queue.finish(claim, outcome, None)
    ended = await store.jobs.get(ALICE, job.id)
    assert (ended.state, ended.reason, ended.reason_code) == (JobState.FAILED, "No luck.", 1305)
    assert ended.metrics == msgspec.structs.replace(metrics, slot_seconds=metrics.seconds)
    assert ended.started == claim.job.started
    assert ended.finished is not None
    assert await seconds_used(store, ALICE) == 2.5


async def test_a_job_ends_whatever_its_process_says_about_that(store: Store, new_job: NewJob) -> None:
    job = new_job()
    await added(store, job)
    outcome = Outcome(state=JobState.FAILED, reason="bytes \0 and \ud800", reason_code=1)
    assert await store.queue.finish(await claimed(store), outcome, None)
    assert (await store.jobs.get(ALICE, job.id)).reason == "bytes \ufffd and ?"


async def test_a_job_ends_once(store: Store, new_job: NewJob) -> None:
    job = new_job()
    await added(store, job)
    claim = await claimed(store)
    assert await store.queue.finish(claim, Outcome(state=JobState.COMPLETED), b"first")
    assert not await store.queue.finish(claim, Outcome(state=JobState.FAILED), b"second")
    assert await store.queue.requeue(claim, RetryReason.LOST, reason="late") is None
    assert await store.queue.renew([claim.key], lease=LEASE) == set()
    assert await store.documents.result(job.id) == b"first"


async def test_a_lease_that_is_renewed_is_not_taken_over(opened: OpenedStore, store: Store, new_job: NewJob) -> None:
    await added(store, new_job(), new_job())
    kept, lost = await claimed(store), await claimed(store)
    await opened.let_leases_age(29)
    assert await store.queue.take_over(AER, lease=LEASE) is None
    assert await store.queue.renew([kept.key, (JobId("nobody"), 1)], lease=LEASE) == {kept.key}
    await opened.let_leases_age(1)
    taken = await store.queue.take_over(AER, lease=LEASE)
    assert taken is not None
    assert taken.job.id == lost.job.id
    assert await store.queue.take_over(AER, lease=LEASE) is None


async def test_a_job_that_is_taken_over_says_who_ran_it_and_refuses_its_old_claim(
    opened: OpenedStore, store: Store, new_job: NewJob
) -> None:
    job = new_job()
    await added(store, job)
    old = await claimed(store)
    await opened.let_leases_age(30)
    new = await store.queue.take_over(AER, lease=LEASE)
    assert new is not None
    assert new.previous == HERE
    assert new.job.fence == old.job.fence + 1
    assert new.job.state is JobState.RUNNING
    assert await store.queue.renew([old.key], lease=LEASE) == set()
    assert not await store.queue.finish(old, Outcome(state=JobState.COMPLETED), b"stale")
    assert await store.queue.requeue(old, RetryReason.LOST, reason="stale") is None
    assert await store.queue.finish(new, Outcome(state=JobState.COMPLETED), b"fresh")
    assert await store.documents.result(job.id) == b"fresh"


async def test_a_claim_whose_lease_ran_out_unnoticed_can_be_renewed(
    opened: OpenedStore, store: Store, new_job: NewJob
) -> None:
    await added(store, new_job())
    claim = await claimed(store)
    await opened.let_leases_age(3600)
    assert await store.queue.renew([claim.key], lease=LEASE) == {claim.key}
    assert await store.queue.take_over(AER, lease=LEASE) is None


async def test_a_job_that_is_requeued_has_its_old_place(store: Store, new_job: NewJob) -> None:
    first, second = new_job(), new_job()
    await added(store, first, second)
    claim = await claimed(store)
    given = await store.queue.requeue(claim, RetryReason.NOT_STARTED, reason="busy")
    assert given == await store.jobs.get(ALICE, first.id)
    assert given is not None
    assert (given.state, given.started, given.reason) == (JobState.QUEUED, None, None)
    again = await claimed(store)
    assert again.job.id == first.id
    assert again.job.fence == 2
    assert not await store.queue.finish(claim, Outcome(state=JobState.COMPLETED), b"stale")


@pytest.mark.parametrize(
    ("why", "limit", "code"),
    [
        (RetryReason.WORKER_DIED, MAX_WORKER_DEATHS, WorkerDiedError.code),
        (RetryReason.LOST, MAX_LOSSES, InternalError.code),
    ],
)
async def test_one_retry_too_many_fails_the_job(
    store: Store, new_job: NewJob, why: RetryReason, limit: int, code: int
) -> None:
    job = new_job()
    await added(store, job)
    for number in range(1, limit):
        claim = await claimed(store)
        given = await store.queue.requeue(claim, why, reason="gone")
        assert given is not None
        assert given.state is JobState.QUEUED
        assert given.worker_deaths + given.losses == number
    failed = await store.queue.requeue(await claimed(store), why, reason="Gone too often.")
    assert failed == await store.jobs.get(ALICE, job.id)
    assert failed is not None
    assert (failed.state, failed.reason, failed.reason_code) == (JobState.FAILED, "Gone too often.", code)
    assert failed.finished is not None
    assert await store.queue.claim(AER, HERE, lease=LEASE) is None


async def test_a_start_that_did_not_happen_costs_nothing(store: Store, new_job: NewJob) -> None:
    await added(store, new_job())
    for _ in range(MAX_LOSSES + MAX_WORKER_DEATHS):
        given = await store.queue.requeue(await claimed(store), RetryReason.NOT_STARTED, reason="busy")
        assert given is not None
        assert (given.state, given.worker_deaths, given.losses) == (JobState.QUEUED, 0, 0)


async def test_the_load_tells_what_waits_and_since_when(store: Store, new_job: NewJob) -> None:
    assert await store.counts.load() == {}
    jobs = [new_job() for _ in range(3)]
    await added(store, *jobs, new_job(account=BOB, executor=GPU))
    claim = await claimed(store)
    load = await store.counts.load()
    assert load[AER] == Load(queued=2, startable=2, running=1, oldest_queued=jobs[1].created)
    assert load[GPU].queued == 1
    await store.queue.finish(claim, Outcome(state=JobState.COMPLETED), None)
    for job in jobs[1:]:
        await store.jobs.cancel(ALICE, job.id, reason="enough")
    assert (await store.counts.load())[AER] == Load()


async def test_a_queue_position_counts_the_older_jobs_of_the_executor(store: Store, new_job: NewJob) -> None:
    oldest, other, twin = new_job(), new_job(executor=GPU), new_job(account=BOB)
    younger_twin = new_job(created=twin.created)
    await added(store, oldest, other, twin, younger_twin)
    jobs = (oldest, other, twin, younger_twin)
    assert [await store.counts.queue_position(job) for job in jobs] == [1, 1, 2, 3]


async def test_a_position_deep_in_a_queue_is_counted_from_its_end_or_estimated_by_age(
    store: Store, new_job: NewJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sql_counts, "COUNTED_JOBS", 3)
    jobs = [new_job(created=NOW + timedelta(seconds=number)) for number in range(12)]
    held, other = new_job(created=NOW), new_job(created=NOW, executor=GPU)
    await added(store, *jobs, other)
    assert [await store.counts.queue_position(job) for job in jobs] == list(range(1, 13))
    # One that came in the same moments as many others: between those that were counted.
    crowd = [new_job(created=NOW + timedelta(seconds=5)) for _ in range(10)]
    await added(store, *crowd)
    for job in crowd:
        assert 4 <= await store.counts.queue_position(job) <= 19
    assert await store.counts.queue_position(jobs[-1]) == 22
    # Those that are held are passed over.
    await store.jobs.add(held, b"{}")
    claim = await claimed(store)
    assert await store.queue.hold(claim, reason="too much")
    assert await store.counts.queue_position(jobs[-1]) == 22


async def test_an_account_that_never_ran_anything_has_used_nothing(store: Store) -> None:
    assert await seconds_used(store, ALICE) == 0.0


async def test_how_far_a_run_has_come_is_kept_while_it_goes_on(store: Store, new_job: NewJob) -> None:
    await store.jobs.add(new_job(max_seconds=60), b"{}")
    claim = await claimed(store)
    assert await store.counts.expected_ends(AER) == [None]
    assert await store.counts.expected_ends(ExecutorName("other")) == []
    progress = Progress(done=3, total=10, seconds=20.0)
    await store.queue.note_progress(claim, progress)
    running = await store.jobs.get(ALICE, claim.job.id)
    assert running.progress == progress
    assert running.started is not None
    assert await store.counts.expected_ends(AER) == [running.started + timedelta(seconds=20)]
    await store.queue.note_progress(claim, Progress(done=4, total=10, seconds=1e9))
    assert await store.counts.expected_ends(AER) == [running.started + timedelta(seconds=60)]


async def test_a_run_that_is_none_any_more_does_not_say_how_far_it_is(store: Store, new_job: NewJob) -> None:
    await store.jobs.add(new_job(), b"{}")
    first = await claimed(store)
    await store.queue.note_progress(first, Progress(done=3, total=10))
    await store.queue.requeue(first, RetryReason.LOST, reason="gone")
    assert (await store.jobs.get(ALICE, first.job.id)).progress is None
    again = await claimed(store)
    await store.queue.note_progress(first, Progress(done=4, total=10))
    assert (await store.jobs.get(ALICE, again.job.id)).progress is None
    await store.queue.finish(again, Outcome(state=JobState.COMPLETED), b"{}")
    await store.queue.note_progress(again, Progress(done=5, total=10))
    ended = await store.jobs.get(ALICE, again.job.id)
    assert (ended.state, ended.progress) == (JobState.COMPLETED, None)
