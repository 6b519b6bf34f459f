"""Listings over jobs and sessions, tags, sums of slot time, and limits of instances, on every store."""

import asyncio
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta

import pytest

from kit.server.store_calls import AER, LEASE, added, claimed
from qiskit_runtime_server.jobs import AccountId, Job, JobState, Outcome, Session, SessionMode
from qiskit_runtime_server.messages.messages import Metrics
from qiskit_runtime_server.store.overviews import (
    UsageGroup,
    UsageKey,
    UsageOfMode,
    UsageQuery,
    WorkloadMode,
    WorkloadPage,
    WorkloadQuery,
    WorkloadStatus,
)
from qiskit_runtime_server.store.port import Store

ALICE, BOB = AccountId("alice"), AccountId("bob")
NewJob = Callable[..., Job]
NewSession = Callable[..., Session]
START = datetime(2026, 1, 1, tzinfo=UTC)


def at(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


def ids(page: WorkloadPage) -> list[str]:
    return [one.id for one in page.workloads]


async def run(store: Store, *, seconds: float = 1.0, state: JobState = JobState.COMPLETED) -> Job:
    """Run the next job and return it as it ended."""
    claim = await claimed(store, AER, lease=LEASE)
    await store.queue.finish(claim, Outcome(state=state, metrics=Metrics(seconds=seconds)), None)
    return await store.jobs.get(None, claim.job.id)


async def test_workloads_are_sessions_and_the_jobs_outside_of_them_page_by_page(
    store: Store, new_job: NewJob, new_session: NewSession
) -> None:
    session = new_session(created=at(2), mode=SessionMode.DEDICATED)
    await store.sessions.add(session)
    jobs = [new_job(created=at(number)) for number in (1, 3, 3, 4)]
    await added(store, *jobs, new_job(session_id=session.id, created=at(5)), new_job(account=BOB))
    everything: list[Job | Session] = [*jobs, session]
    expected = [one.id for one in sorted(everything, key=lambda one: (one.created, one.id))]

    async def listed(**wanted: object) -> WorkloadPage:
        return await store.overviews.workloads(ALICE, WorkloadQuery(instance=jobs[0].instance, **wanted))  # type: ignore[arg-type]

    for newest_first in (False, True):
        order = expected[::-1] if newest_first else expected
        page = await listed(limit=2, newest_first=newest_first)
        assert (ids(page), page.count, page.more) == (order[:2], 5, True)
        last = page.workloads[-1]
        second = await listed(limit=2, newest_first=newest_first, past=(last.created, last.id))
        assert (ids(second), second.more) == (order[2:4], True)
        last = second.workloads[-1]
        third = await listed(limit=2, newest_first=newest_first, past=(last.created, last.id))
        assert (ids(third), third.more) == (order[4:], False)
        first = third.workloads[0]
        back = await listed(limit=2, newest_first=newest_first, past=(first.created, first.id), backwards=True)
        assert (ids(back), back.more) == (order[2:4], True)
    assert (await store.overviews.workloads(ALICE, WorkloadQuery(instance="crn:other"))).count == 0


async def test_workloads_are_found_by_what_they_are(store: Store, new_job: NewJob, new_session: NewSession) -> None:
    batch, open_one, closed = [
        new_session(mode=mode, created=at(number), backend=backend)
        for number, (mode, backend) in enumerate(
            [(SessionMode.BATCH, "b@aer"), (SessionMode.DEDICATED, "a@aer"), (SessionMode.DEDICATED, "mock_x@aer")]
        )
    ]
    for session in (batch, open_one, closed):
        await store.sessions.add(session)
    await store.sessions.close(ALICE, closed.id)
    ended, failed, running, queued, cancelled = [
        new_job(created=at(10 + number), tags=tags)
        for number, tags in enumerate([("Red_1",), ("red%",), ("blue", "red%"), (), ()])
    ]
    await added(store, new_job(session_id=batch.id, created=at(9)))
    await run(store)
    await added(store, ended, failed)
    await run(store)
    await run(store, state=JobState.FAILED)
    await added(store, running)
    await claimed(store, AER, lease=LEASE)
    await added(store, queued, cancelled)
    await store.jobs.cancel(ALICE, cancelled.id, reason="enough")

    async def listed(**wanted: object) -> list[str]:
        query = WorkloadQuery(instance=ended.instance, limit=50, **wanted)  # type: ignore[arg-type]
        page = await store.overviews.workloads(ALICE, query)
        assert page.count == len(page.workloads)
        return ids(page)

    status = WorkloadStatus
    assert await listed(statuses={status.COMPLETED}) == [closed.id, ended.id]
    assert await listed(statuses={status.PENDING}) == [open_one.id, queued.id]
    assert await listed(statuses={status.IN_PROGRESS}) == [batch.id, running.id]
    assert await listed(statuses={status.FAILED, status.CANCELLED}) == [failed.id, cancelled.id]
    assert await listed(mode=WorkloadMode.BATCH) == [batch.id]
    assert await listed(mode=WorkloadMode.SESSION) == [open_one.id, closed.id]
    assert await listed(mode=WorkloadMode.SESSION, dry_runs=False) == [open_one.id]
    assert len(await listed(mode=WorkloadMode.JOB)) == 5
    assert await listed(backend="b@aer") == [batch.id]
    assert await listed(search="RED%") == [failed.id, running.id]
    assert await listed(search="red_") == [ended.id]
    assert await listed(search=batch.id[1:].upper()) == [batch.id]
    assert await listed(tags=("red%", "blue")) == [running.id]
    assert await listed(created_after=at(0), created_before=at(2)) == [open_one.id]
    assert await store.overviews.tags(ALICE, "rED", limit=9) == ["Red_1", "red%"]
    assert await store.overviews.tags(ALICE, "d%", limit=9) == ["red%"]
    assert await store.overviews.tags(ALICE, "red", limit=1) == ["Red_1"]
    assert await store.overviews.tags(BOB, "red", limit=9) == []


async def test_a_session_whose_time_is_over_is_completed(
    store: Store, new_job: NewJob, new_session: NewSession
) -> None:
    session = new_session(max_ttl=timedelta(0))
    await store.sessions.add(session)
    await added(store, new_job(session_id=session.id))
    await run(store)
    query = WorkloadQuery(instance=session.instance, statuses=frozenset({WorkloadStatus.COMPLETED}))
    assert ids(await store.overviews.workloads(ALICE, query)) == [session.id]


async def test_slot_time_is_summed_by_what_it_is_asked_for(
    store: Store, new_job: NewJob, new_session: NewSession
) -> None:
    batch, dedicated = new_session(), new_session(mode=SessionMode.DEDICATED)
    for session in (batch, dedicated):
        await store.sessions.add(session)
    ended = []
    sent: list[tuple[float, dict[str, object]]] = [
        (1.0, {"session_id": batch.id}),
        (2.0, {"session_id": batch.id}),
        (4.0, {"session_id": dedicated.id, "backend": "b@aer"}),
        (8.0, {}),
        (16.0, {"backend": "b@aer"}),
        (32.0, {"account": BOB, "instance": "crn:bob"}),
    ]
    for seconds, changes in sent:
        await added(store, new_job(**changes))
        ended.append(await run(store, seconds=seconds))
    await store.jobs.delete(ALICE, ended[3].id)
    waited = [(job.started or START) - job.created for job in ended[:5]]
    now = ended[0].finished
    assert now is not None

    async def summed(account: AccountId | None = ALICE, **wanted: object) -> Sequence[UsageGroup]:
        day = timedelta(days=1)
        query = UsageQuery(account=account, since=now - day, until=now + day, **wanted)  # type: ignore[arg-type]
        return await store.overviews.usage(query)

    [everything] = await summed()
    assert (everything.jobs, everything.seconds) == (5, 31.0)
    assert everything.batches == UsageOfMode(number=1, seconds=3.0, longest=3.0)
    assert everything.dedicated == UsageOfMode(number=1, seconds=4.0, longest=4.0)
    assert everything.individual == UsageOfMode(number=2, seconds=24.0, longest=16.0)
    assert everything.queue_seconds == pytest.approx(sum(wait.total_seconds() for wait in waited))
    assert everything.longest_queue == pytest.approx(max(waited).total_seconds())
    by_backend = await summed(by=UsageKey.BACKEND)
    assert {group.key: group.seconds for group in by_backend} == {ended[0].backend: 11.0, "b@aer": 20.0}
    days = await summed(None, by=UsageKey.ACCOUNT, by_day=True)
    assert [(group.day, group.key, group.seconds) for group in days] == [
        (now.date(), "alice", 31.0),
        (now.date(), "bob", 32.0),
    ]
    assert [group.seconds for group in await summed(None, instances=("crn:bob",))] == [32.0]
    assert [group.jobs for group in await summed(None, accounts=("bob", "carol"), backends=("b@aer",))] == [0]
    assert await summed(AccountId("carol")) == [UsageGroup()]
    assert await summed(AccountId("carol"), by=UsageKey.INSTANCE) == []


async def test_a_limit_that_an_admin_has_set_is_kept_until_it_is_taken_back(store: Store) -> None:
    assert await store.overviews.instance_limit(ALICE, "crn") is None
    for seconds in (7, 9):
        await store.overviews.limit_instance(ALICE, "crn", seconds)
        assert await store.overviews.instance_limit(ALICE, "crn") == seconds
    assert await store.overviews.instance_limit(BOB, "crn") is None
    await store.overviews.limit_instance(ALICE, "crn", None)
    assert await store.overviews.instance_limit(ALICE, "crn") is None


async def test_of_admins_who_limit_an_instance_at_once_the_last_one_is_obeyed(store: Store) -> None:
    for _ in range(5):
        await asyncio.gather(*(store.overviews.limit_instance(ALICE, "crn", seconds) for seconds in range(8)))
        assert await store.overviews.instance_limit(ALICE, "crn") in range(8)
        await store.overviews.limit_instance(ALICE, "crn", None)


async def test_texts_are_kept_by_name_with_the_time_since_when_each_is_what_it_is(store: Store) -> None:
    assert await store.overviews.kept_text("accounts.toml") is None
    await store.overviews.keep_text("accounts.toml", "[defaults]\nqueued = 5\n")
    kept = await store.overviews.kept_text("accounts.toml")
    assert kept is not None
    assert kept.text == "[defaults]\nqueued = 5\n"
    await store.overviews.keep_text("accounts.toml", kept.text)
    assert await store.overviews.kept_text("accounts.toml") == kept
    await store.overviews.keep_text("accounts.toml", "")
    changed = await store.overviews.kept_text("accounts.toml")
    assert changed is not None
    assert (changed.text, changed.since > kept.since) == ("", True)
    assert await store.overviews.kept_text("another") is None
    await store.overviews.keep_text("another", "text")
    assert await store.overviews.kept_text("accounts.toml") == changed


async def test_apis_that_keep_a_text_at_once_do_not_meet(store: Store) -> None:
    await asyncio.gather(*(store.overviews.keep_text("accounts.toml", f"# {number}") for number in range(8)))
    kept = await store.overviews.kept_text("accounts.toml")
    assert kept is not None
    assert kept.text in {f"# {number}" for number in range(8)}
