"""What accounts may keep, and what a disk that is nearly full refuses: new jobs, and nothing else."""

import os
import shutil
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

import pytest

from kit.server.store_calls import AER, HERE, LEASE
from qiskit_runtime_server.accounts.limits import USUAL_LIMITS, AccountLimits
from qiskit_runtime_server.errors import LimitError, SessionNotFoundError, StoreFullError
from qiskit_runtime_server.jobs import AccountId, Job, JobState, Outcome, Session
from qiskit_runtime_server.store.port import UNUSED_FOR, Retention, Store
from qiskit_runtime_server.store.sqlite.database import open_sqlite

ALICE, BOB = AccountId("alice"), AccountId("bob")
MIB = 1 << 20
COMPLETED = Outcome(state=JobState.COMPLETED)

NewJob = Callable[..., Job]
NewSession = Callable[..., Session]


async def test_queued_running_and_kept_jobs_of_an_account_share_its_room(store: Store, new_job: NewJob) -> None:
    limits = AccountLimits(stored_bytes=1000)
    jobs = [new_job(), new_job(instance="crn:other"), new_job()]
    for job in jobs:
        await store.jobs.add(job, os.urandom(250), limits)
    claim = await store.queue.claim(AER, HERE, lease=LEASE)
    assert claim is not None
    assert await store.queue.finish(claim, COMPLETED, os.urandom(150))
    with pytest.raises(LimitError, match=r"jobs of account alice take 9\d\d bytes, and this one 2\d\d; its limit is"):
        await store.jobs.add(new_job(), os.urandom(250), limits)
    await store.jobs.add(new_job(account=BOB), os.urandom(250), limits)
    await store.jobs.delete(ALICE, claim.job.id)
    await store.jobs.add(new_job(), os.urandom(250), limits)


async def test_sessions_that_are_never_used_are_bounded_and_go_after_a_day(
    store: Store, new_job: NewJob, new_session: NewSession
) -> None:
    limits = AccountLimits(sessions=3)
    long_ago = datetime.now(UTC) - UNUSED_FOR - timedelta(minutes=1)
    kept = new_session(created=long_ago)
    await store.sessions.add(kept, limits)
    await store.jobs.add(new_job(session_id=kept.id), b"{}")
    forgotten = [new_session(created=long_ago) for _ in range(4)]
    for session in forgotten:
        await store.sessions.add(session, limits)
    unused = [new_session(created=datetime.now(UTC)) for _ in range(3)]
    for session in unused:
        await store.sessions.add(session, limits)
    with pytest.raises(LimitError, match=r"Account alice has opened 3 sessions within a day .* its limit is 3"):
        await store.sessions.add(new_session(created=datetime.now(UTC)), limits)
    await store.sessions.add(new_session(account=BOB, created=datetime.now(UTC)), limits)
    await store.sessions.close(ALICE, unused[0].id)
    with pytest.raises(LimitError):
        await store.sessions.add(new_session(created=datetime.now(UTC)), limits)
    await store.jobs.add(new_job(session_id=unused[1].id), b"{}")
    claims = [await store.queue.claim(AER, HERE, lease=LEASE) for _ in range(2)]
    assert all(claims)
    await store.sessions.add(new_session(created=datetime.now(UTC)), limits)

    assert await store.archive.sweep_sessions() == 4
    assert await store.archive.sweep_sessions() == 0
    assert (await store.sessions.get(ALICE, kept.id)).id == kept.id
    with pytest.raises(SessionNotFoundError):
        await store.sessions.get(ALICE, forgotten[0].id)


def test_of_those_of_whom_nothing_is_said_not_all_is_unlimited() -> None:
    assert USUAL_LIMITS.running is not None
    assert USUAL_LIMITS.sessions is not None


class Disk(NamedTuple):
    """What `shutil.disk_usage` returns."""

    total: int
    used: int
    free: int


async def test_a_disk_that_is_nearly_full_refuses_new_jobs_and_lets_all_else_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, new_job: NewJob, new_session: NewSession
) -> None:
    free = 1000 * MIB
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Disk(total=free, used=0, free=free))
    store = await open_sqlite(tmp_path / "data", keep_free=8 * MIB)
    try:
        jobs = [new_job() for _ in range(5)]
        for job in jobs:
            await store.jobs.add(job, os.urandom(2 * MIB))
        claims = [await store.queue.claim(AER, HERE, lease=LEASE) for _ in range(3)]
        assert await store.has_room()

        free = 7 * MIB
        assert not await store.has_room()
        with pytest.raises(StoreFullError, match=r"too little room left: 8 MiB are kept free \(QRS_KEEP_FREE\)"):
            await store.jobs.add(new_job(), b"{}")
        await store.sessions.add(new_session(created=datetime.now(UTC)))
        assert claims[0] is not None
        assert await store.queue.finish(claims[0], COMPLETED, os.urandom(MIB))

        free = 2 * MIB
        assert claims[1] is not None
        with pytest.raises(StoreFullError):
            await store.queue.finish(claims[1], COMPLETED, os.urandom(MIB))
        assert await store.queue.finish(claims[1], Outcome(state=JobState.FAILED), None)
        await store.jobs.cancel(ALICE, jobs[4].id, reason="enough")
        await store.jobs.delete(ALICE, jobs[4].id)
        assert not await store.has_room()
        # What the file has of its own is room, too: nothing is given back to the disk.
        while await store.archive.sweep(Retention(age=timedelta(0))):
            pass
        await store.jobs.delete(ALICE, jobs[3].id)
        assert await store.has_room()
        await store.jobs.add(new_job(), b"{}")
    finally:
        await store.close()
