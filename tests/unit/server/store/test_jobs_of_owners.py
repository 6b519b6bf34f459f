"""What owners of jobs may rely on, whatever the store."""

import asyncio
import os
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from kit.server.store_calls import AER, HERE, LEASE, added, seconds_used
from qiskit_runtime_server.backends.names import ExecutorName
from qiskit_runtime_server.errors import (
    InvalidStateError,
    JobNotFoundError,
    MalformedRequestError,
    SessionNotFoundError,
)
from qiskit_runtime_server.jobs import (
    AccountId,
    Job,
    JobId,
    JobState,
    Outcome,
    RetryReason,
    Session,
    SessionId,
    SessionState,
)
from qiskit_runtime_server.messages.messages import Metrics
from qiskit_runtime_server.store.port import MOST_OWNERS, DocumentKind, JobQuery, Load, Owners, Store

ALICE = AccountId("alice")
BOB = AccountId("bob")
CAROL = AccountId("carol")
COMPLETED = Outcome(state=JobState.COMPLETED, metrics=Metrics(seconds=1.5))

NewJob = Callable[..., Job]
NewSession = Callable[..., Session]


async def ids(store: Store, query: JobQuery) -> list[str]:
    jobs, count = await store.jobs.find(ALICE, query)
    assert count == len(jobs)
    return [job.id for job in jobs]


async def test_a_job_is_kept_as_it_was_given(store: Store, new_job: NewJob, new_session: NewSession) -> None:
    session = new_session()
    await store.sessions.add(session)
    job = new_job(
        session_id=session.id,
        tags=("b", "a", "b"),
        cost=7,
        private=True,
        runtime="image:1",
        log_level="WARNING",
        traceparent=f"00-{'4f' * 16}-{'1c' * 8}-01",
    )
    await store.jobs.add(job, b'{"pubs": []}')
    assert await store.jobs.get(ALICE, job.id) == job
    assert await store.documents.params(job.id) == b'{"pubs": []}'


async def test_times_come_back_in_utc(store: Store, new_job: NewJob) -> None:
    elsewhere = datetime(2026, 1, 1, 12, tzinfo=timezone(timedelta(hours=2)))
    job = new_job(created=elsewhere)
    await added(store, job)
    kept = await store.jobs.get(ALICE, job.id)
    assert kept.created == elsewhere
    assert kept.created.tzinfo is UTC


async def test_an_account_sees_nothing_of_another_accounts_jobs(store: Store, new_job: NewJob) -> None:
    job = new_job(tags=("mine",))
    await added(store, job)
    with pytest.raises(JobNotFoundError):
        await store.jobs.get(BOB, job.id)
    with pytest.raises(JobNotFoundError):
        await store.jobs.cancel(BOB, job.id, reason="no")
    with pytest.raises(JobNotFoundError):
        await store.jobs.delete(BOB, job.id)
    with pytest.raises(JobNotFoundError):
        await store.jobs.set_tags(BOB, job.id, ["theirs"])
    assert await store.jobs.find(BOB, JobQuery()) == ([], 0)
    assert await store.jobs.find(BOB, JobQuery(tags=("mine",))) == ([], 0)
    assert await store.jobs.get(ALICE, job.id) == job


async def test_listings_are_newest_first_and_break_ties_by_id(store: Store, new_job: NewJob) -> None:
    first = new_job()
    twin = new_job(created=first.created)
    last = new_job()
    await added(store, last, twin, first)
    assert await ids(store, JobQuery()) == [last.id, twin.id, first.id]
    assert await ids(store, JobQuery(oldest_first=True)) == [first.id, twin.id, last.id]


async def test_dry_runs_are_listed_on_demand_or_by_their_backend(store: Store, new_job: NewJob) -> None:
    real, dry, near = (new_job(backend=f"{name}@aer") for name in ("fake_manila", "mock_manila", "mockingbird"))
    await added(store, real, dry, near)
    assert set(await ids(store, JobQuery(dry_runs=False))) == {real.id, near.id}
    assert set(await ids(store, JobQuery())) == {real.id, dry.id, near.id}
    assert await ids(store, JobQuery(dry_runs=False, backend=dry.backend)) == [dry.id]


async def test_pages_cover_the_listing_and_each_knows_the_whole_count(store: Store, new_job: NewJob) -> None:
    jobs = [new_job() for _ in range(7)]
    await added(store, *jobs)
    seen: list[str] = []
    for offset in (0, 3, 6, 9):
        page, count = await store.jobs.find(ALICE, JobQuery(limit=3, offset=offset))
        assert count == 7
        seen += [job.id for job in page]
    assert seen == [job.id for job in reversed(jobs)]


async def test_a_filter_shows_the_jobs_that_match_it(store: Store, new_job: NewJob, new_session: NewSession) -> None:
    session = new_session()
    await store.sessions.add(session)
    plain = new_job()
    other = new_job(backend="fake_kyoto@aer", program_id="estimator", session_id=session.id)
    await added(store, plain, other)
    await store.jobs.cancel(ALICE, plain.id, reason="enough")
    assert await ids(store, JobQuery(backend="fake_kyoto@aer")) == [other.id]
    assert await ids(store, JobQuery(program_id="sampler")) == [plain.id]
    assert await ids(store, JobQuery(session_id=session.id)) == [other.id]
    assert await ids(store, JobQuery(pending=True)) == [other.id]
    assert await ids(store, JobQuery(pending=False)) == [plain.id]
    assert await ids(store, JobQuery(created_after=plain.created)) == [other.id]
    assert await ids(store, JobQuery(created_before=other.created)) == [plain.id]
    assert await ids(store, JobQuery(program_id="sampler", pending=True)) == []


async def test_jobs_of_some_accounts_are_on_one_list(store: Store, new_job: NewJob) -> None:
    whose = (ALICE, BOB, CAROL, BOB)
    first, second, third, last = jobs = [new_job(account=account, tags=(str(account), "x")) for account in whose]
    await added(store, *jobs)
    await store.jobs.cancel(BOB, second.id, reason="enough")

    async def found(*accounts: AccountId, **more: Any) -> list[str]:
        listed, count = await store.jobs.find(None, JobQuery(owners=Owners(accounts=accounts), **more))
        assert count == len(listed)
        return [job.id for job in listed]

    assert await found(ALICE, BOB) == [last.id, second.id, first.id]
    assert await found(CAROL, AccountId("nobody")) == [third.id]
    assert await found() == []
    assert await found(ALICE, BOB, pending=True) == [last.id, first.id]
    assert await found(ALICE, BOB, state=JobState.CANCELLED) == [second.id]
    assert await found(ALICE, BOB, tags=("x",), oldest_first=True) == [first.id, second.id, last.id]
    assert await found(ALICE, BOB, tags=(str(CAROL),)) == []
    both = Owners(accounts=(ALICE, BOB))
    page, count = await store.jobs.find(None, JobQuery(owners=both, limit=1, offset=1))
    assert ([job.id for job in page], count) == ([second.id], 3)
    older, _ = await store.jobs.find(None, JobQuery(owners=both, beyond=(last.created, last.id)))
    assert [job.id for job in older] == [second.id, first.id]
    # An account sees no more for asking.
    assert await store.jobs.find(ALICE, JobQuery(owners=Owners(accounts=(BOB,)))) == ([], 0)


async def test_of_an_account_only_jobs_under_one_instance_are_on_a_list(store: Store, new_job: NewJob) -> None:
    whose = ((ALICE, "crn:alice:a"), (ALICE, "crn:alice:b"), (BOB, "crn:bob:a"), (CAROL, "crn:carol:a"))
    jobs = [new_job(account=account, instance=instance) for account, instance in whose]
    await added(store, *jobs)

    async def found(**owners: Any) -> list[int]:
        listed, count = await store.jobs.find(None, JobQuery(owners=Owners(**owners), oldest_first=True))
        assert count == len(listed)
        return [jobs.index(job) for job in listed]

    assert await found(instances=whose[:1]) == [0]
    assert await found(instances=(whose[1], whose[3])) == [1, 3]
    assert await found(instances=whose[:1], accounts=(BOB,)) == [0, 2]
    # An instance of somebody else's, whatever it is called.
    assert await found(instances=((BOB, "crn:alice:a"),)) == []
    many = tuple(AccountId(f"account-{number}") for number in range(MOST_OWNERS // 2 - 1))
    others = tuple((account, f"crn:{account}") for account in many)
    assert await found(accounts=(*many, BOB), instances=(*others, whose[3])) == [2, 3]


async def test_accounts_that_have_sent_jobs_are_known_even_after_these_are_gone(store: Store, new_job: NewJob) -> None:
    assert await store.overviews.accounts() == []
    job = new_job(account=BOB)
    await added(store, job, new_job(account=BOB, executor=ExecutorName("other")), new_job(account=ALICE))
    await store.jobs.delete(BOB, job.id)
    assert await store.overviews.accounts() == [ALICE, BOB]


async def test_a_job_must_have_all_the_tags_that_are_asked_for(store: Store, new_job: NewJob) -> None:
    both, one, none = new_job(tags=("x", "y")), new_job(tags=("x",)), new_job()
    await added(store, both, one, none)
    assert await ids(store, JobQuery(tags=("x",))) == [one.id, both.id]
    assert await ids(store, JobQuery(tags=("y", "x"))) == [both.id]
    assert await ids(store, JobQuery(tags=("x%",))) == []


async def test_new_tags_replace_the_old_ones(store: Store, new_job: NewJob) -> None:
    job = new_job(tags=("old",))
    await added(store, job)
    await store.jobs.set_tags(ALICE, job.id, ["new", "new", "ü"])
    assert (await store.jobs.get(ALICE, job.id)).tags == ("new", "new", "ü")
    assert await ids(store, JobQuery(tags=("new", "ü"))) == [job.id]
    assert await ids(store, JobQuery(tags=("old",))) == []


async def test_text_that_is_no_unicode_is_refused_as_the_clients_fault(store: Store, new_job: NewJob) -> None:
    broken = "a\ud800b"
    with pytest.raises(MalformedRequestError):
        await store.jobs.add(new_job(tags=(broken,)), b"{}")
    with pytest.raises(MalformedRequestError):
        await store.jobs.get(ALICE, broken)
    with pytest.raises(MalformedRequestError):
        await store.jobs.find(ALICE, JobQuery(tags=(broken,)))
    assert await store.jobs.find(ALICE, JobQuery()) == ([], 0)


async def test_a_cancelled_job_says_why_and_is_returned_as_it_was(store: Store, new_job: NewJob) -> None:
    job = new_job()
    await added(store, job)
    assert await store.jobs.cancel(ALICE, job.id, reason="Cancelled by its owner.") == job
    cancelled = await store.jobs.get(ALICE, job.id)
    assert (cancelled.state, cancelled.reason) == (JobState.CANCELLED, "Cancelled by its owner.")
    assert cancelled.finished is not None
    with pytest.raises(InvalidStateError):
        await store.jobs.cancel(ALICE, job.id, reason="again")


async def test_cancelling_a_running_job_voids_its_claim_and_charges_for_its_time(store: Store, new_job: NewJob) -> None:
    job = new_job()
    await added(store, job)
    claim = await store.queue.claim(AER, HERE, lease=LEASE)
    assert claim is not None
    await asyncio.sleep(0.02)
    assert (await store.jobs.cancel(ALICE, job.id, reason="enough")).state is JobState.RUNNING
    assert await store.queue.renew([claim.key], lease=LEASE) == set()
    assert not await store.queue.finish(claim, COMPLETED, b"late")
    assert await store.documents.result(job.id) is None
    used = (await store.jobs.get(ALICE, job.id)).metrics.seconds
    assert 0.02 <= used < 10
    assert await seconds_used(store, ALICE) == pytest.approx(used)


async def test_a_deleted_job_is_gone_with_its_documents_but_not_from_the_bill(store: Store, new_job: NewJob) -> None:
    done, running = new_job(tags=("x",)), new_job(tags=("x",))
    await added(store, done, running)
    first = await store.queue.claim(AER, HERE, lease=LEASE)
    assert first is not None
    assert await store.queue.finish(first, COMPLETED, b"result")
    second = await store.queue.claim(AER, HERE, lease=LEASE)
    assert second is not None
    for job in (done, running):
        await store.jobs.delete(ALICE, job.id)
        with pytest.raises(JobNotFoundError):
            await store.jobs.get(ALICE, job.id)
        with pytest.raises(JobNotFoundError):
            await store.documents.params(job.id)
    assert await store.documents.result(done.id) is None
    assert await ids(store, JobQuery(tags=("x",))) == []
    assert not await store.queue.finish(second, COMPLETED, b"late")
    assert await store.queue.requeue(second, RetryReason.LOST, reason="late") is None
    assert await seconds_used(store, ALICE) >= 1.5
    assert (await store.counts.load())[AER] == Load()


async def test_unknown_jobs_have_no_documents(store: Store) -> None:
    nobody = JobId("nobody")
    with pytest.raises(JobNotFoundError):
        await store.documents.params(nobody)
    assert await store.documents.result(nobody) is None
    assert await store.documents.take_result(nobody) is None
    await store.documents.append_log(nobody, "a line of a job that was deleted meanwhile")
    assert await store.documents.log(nobody) == ""


@pytest.mark.parametrize("size", [0, 1, (1 << 20) - 1, 1 << 20, (1 << 20) + 1, 5_000_000])
async def test_documents_of_any_size_come_back_byte_for_byte(store: Store, new_job: NewJob, size: int) -> None:
    document = (bytes(range(256)) * (size // 256 + 1))[:size]
    job = new_job()
    await store.jobs.add(job, document)
    claim = await store.queue.claim(AER, HERE, lease=LEASE)
    assert claim is not None
    assert await store.queue.finish(claim, COMPLETED, document)
    assert await store.documents.params(job.id) == document
    assert await store.documents.result(job.id) == document


async def test_a_document_is_read_in_pieces(store: Store, new_job: NewJob) -> None:
    document = os.urandom(5_000_000)
    job = new_job()
    await store.jobs.add(job, memoryview(document))
    pieces = [piece async for piece in store.documents.pieces(job.id, DocumentKind.PARAMS)]
    assert b"".join(pieces) == document
    assert [len(piece) for piece in pieces[:-1]] == [1 << 20] * 4
    assert [piece async for piece in store.documents.pieces(job.id, DocumentKind.RESULT)] == []


async def test_a_document_that_is_deleted_while_it_is_read_does_not_look_complete(
    store: Store, new_job: NewJob
) -> None:
    job = new_job(account=AccountId("alice"))
    await store.jobs.add(job, os.urandom(5_000_000))
    pieces = store.documents.pieces(job.id, DocumentKind.PARAMS)
    assert await anext(pieces)
    await store.jobs.delete(AccountId("alice"), job.id)
    with pytest.raises(JobNotFoundError, match="while"):
        _ = [piece async for piece in pieces]


async def test_a_result_is_taken_once_however_many_ask(store: Store, new_job: NewJob) -> None:
    job = new_job(private=True)
    await added(store, job)
    claim = await store.queue.claim(AER, HERE, lease=LEASE)
    assert claim is not None
    assert await store.documents.take_result(job.id) is None
    await store.queue.finish(claim, COMPLETED, b"secret")
    taken = await asyncio.gather(*(store.documents.take_result(job.id) for _ in range(8)))
    assert sorted(taken, key=bool) == [None] * 7 + [b"secret"]
    assert await store.documents.params(job.id) == b"{}"


async def test_logs_grow_in_order(store: Store, new_job: NewJob) -> None:
    job = new_job()
    await added(store, job)
    assert await store.documents.log(job.id) == ""
    for text in ("one\n", "zwei: ü\n", "x" * 1_500_000 + "ü\n", "four\n"):
        await store.documents.append_log(job.id, text)
    assert await store.documents.log(job.id) == "one\nzwei: ü\n" + "x" * 1_500_000 + "ü\nfour\n"


async def test_a_session_is_kept_as_it_was_given_and_seen_by_its_owner_only(
    store: Store, new_session: NewSession
) -> None:
    session = new_session(max_ttl=timedelta(seconds=1.5))
    await store.sessions.add(session)
    assert await store.sessions.get(ALICE, session.id) == session
    with pytest.raises(SessionNotFoundError):
        await store.sessions.get(BOB, session.id)
    with pytest.raises(SessionNotFoundError):
        await store.sessions.close(BOB, session.id)


async def test_a_closed_session_accepts_no_jobs_and_stays_closed_since_then(
    store: Store, new_job: NewJob, new_session: NewSession
) -> None:
    session = new_session()
    await store.sessions.add(session)
    queued = new_job(session_id=session.id)
    await added(store, queued)
    await store.sessions.close(ALICE, session.id)
    closed = (await store.sessions.get(ALICE, session.id)).closed
    assert closed is not None
    await store.sessions.close(ALICE, session.id)
    assert (await store.sessions.get(ALICE, session.id)).closed == closed
    refused = new_job(session_id=session.id)
    with pytest.raises(InvalidStateError):
        await store.jobs.add(refused, b"{}")
    with pytest.raises(JobNotFoundError):
        await store.jobs.get(ALICE, refused.id)
    assert await store.sessions.queued_jobs(session.id) == [queued.id]


async def test_a_job_joins_only_sessions_of_its_account(store: Store, new_job: NewJob, new_session: NewSession) -> None:
    session = new_session(account=BOB)
    await store.sessions.add(session)
    for session_id in (session.id, SessionId("nowhere")):
        with pytest.raises(SessionNotFoundError):
            await store.jobs.add(new_job(session_id=session_id), b"{}")


async def test_a_session_that_ran_out_accepts_no_jobs(store: Store, new_job: NewJob, new_session: NewSession) -> None:
    session = new_session(max_ttl=timedelta(0))
    await store.sessions.add(session)
    await added(store, new_job(session_id=session.id), new_job(session_id=session.id))
    assert await store.queue.claim(AER, HERE, lease=LEASE) is not None
    with pytest.raises(InvalidStateError):
        await store.jobs.add(new_job(session_id=session.id), b"{}")


async def test_a_session_knows_when_its_jobs_started_and_ended(
    store: Store, new_job: NewJob, new_session: NewSession
) -> None:
    session = new_session()
    await store.sessions.add(session)
    await added(store, new_job(session_id=session.id), new_job(session_id=session.id))
    started, ended = [], []
    for _ in range(2):
        claim = await store.queue.claim(AER, HERE, lease=LEASE)
        assert claim is not None
        await store.queue.finish(claim, COMPLETED, None)
        job = await store.jobs.get(ALICE, claim.job.id)
        started.append(job.started)
        ended.append(job.finished)
    assert started[0] is not None
    kept = await store.sessions.get(ALICE, session.id)
    assert kept == replace(
        session,
        first_job_started=started[0],
        last_job_started=started[1],
        last_job_completed=ended[1],
        changes=((SessionState.ACTIVE, started[0]),),
        seconds=2 * COMPLETED.metrics.seconds,
    )


async def test_a_session_knows_when_it_was_inactive(store: Store, new_job: NewJob, new_session: NewSession) -> None:
    session = new_session(interactive_ttl=timedelta(0))
    await store.sessions.add(session)
    times = []
    for _ in range(2):
        await added(store, new_job(session_id=session.id))
        claim = await store.queue.claim(AER, HERE, lease=LEASE)
        assert claim is not None
        assert claim.job.started is not None
        await store.queue.finish(claim, COMPLETED, None)
        finished = (await store.jobs.get(ALICE, claim.job.id)).finished
        assert finished is not None
        times.append((claim.job.started, finished))
    (first, idle), (second, _) = times
    kept = await store.sessions.get(ALICE, session.id)
    assert kept.changes == (
        (SessionState.ACTIVE, first),
        (SessionState.INACTIVE, idle),
        (SessionState.ACTIVE, second),
    )
