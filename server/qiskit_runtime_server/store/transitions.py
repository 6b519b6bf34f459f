"""What a change of a job's state writes: the job's row, the counts of its account and the times of its session.

The caller has locked the job's row. Rows are always locked in the order job, session, ledger, so that transactions
cannot deadlock.
"""

from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import BindParameter, Update, bindparam, func, insert, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from qiskit_runtime_server.dispatch.events import Holder
from qiskit_runtime_server.jobs import Job, JobState
from qiskit_runtime_server.store.database import Now
from qiskit_runtime_server.store.port import Outcome
from qiskit_runtime_server.store.rows import json_text
from qiskit_runtime_server.store.schema import EPOCH, jobs, ledger, sessions


@dataclass(frozen=True, slots=True, kw_only=True)
class _Change:
    """By how much the counts of an account change."""

    queued: int = 0
    running: int = 0
    served: datetime | None = None
    seconds: float = 0.0
    ended: int = 0


def _update_job(*columns: str) -> Update:
    values: dict[str, BindParameter[Any]] = {column: bindparam(f"new_{column}") for column in columns}
    return update(jobs).where(jobs.c.id == bindparam("of_job")).values(values)


_START = _update_job("state", "started", "fence", "lease_until", "endpoint", "boot_id")
_REQUEUE = _update_job("state", "started", "worker_deaths", "losses")
_END = _update_job("state", "reason", "reason_code", "finished", "worker_deaths", "losses", "metrics")
_COUNT = (
    update(ledger)
    .where(ledger.c.executor == bindparam("of_executor"), ledger.c.account == bindparam("of_account"))
    .values(
        queued=ledger.c.queued + bindparam("more_queued"),
        queued_in_sessions=ledger.c.queued_in_sessions + bindparam("more_queued_in_sessions"),
        running=ledger.c.running + bindparam("more_running"),
        last_served=func.coalesce(bindparam("served", type_=ledger.c.last_served.type), ledger.c.last_served),
        seconds=ledger.c.seconds + bindparam("more_seconds"),
        jobs=ledger.c.jobs + bindparam("more_jobs"),
    )
)
_OPEN_ACCOUNT = insert(ledger).values(queued=0, queued_in_sessions=0, running=0, last_served=EPOCH, seconds=0.0, jobs=0)
_TIME = sessions.c.created.type
_NOTE = (
    update(sessions)
    .where(sessions.c.id == bindparam("of_session"))
    .values(
        active_jobs=sessions.c.active_jobs + bindparam("more_active"),
        first_job_started=func.coalesce(sessions.c.first_job_started, bindparam("started", type_=_TIME)),
        last_job_started=func.coalesce(bindparam("started", type_=_TIME), sessions.c.last_job_started),
        last_job_completed=func.coalesce(bindparam("completed", type_=_TIME), sessions.c.last_job_completed),
    )
)


async def arrive(connection: AsyncConnection, job: Job) -> None:
    """Account for a job that has just been added to the queue."""
    await _note(connection, job, active=1)
    if await _count(connection, job, _Change(queued=1)):
        return
    with suppress(IntegrityError):  # Another first job of the account came in between.
        async with connection.begin_nested():
            await connection.execute(_OPEN_ACCOUNT, {"executor": job.executor, "account": job.account})
    await _count(connection, job, _Change(queued=1))


async def start(connection: AsyncConnection, job: Job, holder: Holder, now: Now, lease: timedelta) -> Job:
    """Bring a queued job to Running under the next fence."""
    running = replace(job, state=JobState.RUNNING, started=now.utc, fence=job.fence + 1)
    await connection.execute(
        _START,
        {
            "of_job": running.id,
            "new_state": running.state,
            "new_started": running.started,
            "new_fence": running.fence,
            "new_lease_until": now.lease + lease.total_seconds(),
            "new_endpoint": holder.endpoint,
            "new_boot_id": holder.boot_id,
        },
    )
    await _note(connection, job, started=now.utc)
    await _count(connection, job, _Change(queued=-1, running=1, served=now.utc))
    return running


async def requeue(connection: AsyncConnection, job: Job) -> Job:
    """Bring a running job back to its place in the queue."""
    queued = replace(job, state=JobState.QUEUED, started=None)
    await connection.execute(
        _REQUEUE,
        {
            "of_job": queued.id,
            "new_state": queued.state,
            "new_started": queued.started,
            "new_worker_deaths": queued.worker_deaths,
            "new_losses": queued.losses,
        },
    )
    await _count(connection, job, _Change(queued=1, running=-1))
    return queued


async def end(connection: AsyncConnection, job: Job, outcome: Outcome, now: datetime) -> Job:
    """Bring a queued or running job to a terminal state."""
    ended = replace(
        job,
        state=outcome.state,
        reason=_printable(outcome.reason),
        reason_code=outcome.reason_code,
        metrics=outcome.metrics,
        finished=now,
    )
    await connection.execute(
        _END,
        {
            "of_job": ended.id,
            "new_state": ended.state,
            "new_reason": ended.reason,
            "new_reason_code": ended.reason_code,
            "new_finished": ended.finished,
            "new_worker_deaths": ended.worker_deaths,
            "new_losses": ended.losses,
            "new_metrics": json_text(ended.metrics),
        },
    )
    await _note(connection, job, active=-1, completed=now)
    if job.state is JobState.RUNNING:
        await _count(connection, job, _Change(running=-1, seconds=outcome.metrics.seconds, ended=1))
    else:
        await _count(connection, job, _Change(queued=-1))
    return ended


async def _count(connection: AsyncConnection, job: Job, change: _Change) -> bool:
    """Change the counts of the job's account; return whether the account has any yet."""
    result = await connection.execute(
        _COUNT,
        {
            "of_executor": job.executor,
            "of_account": job.account,
            "more_queued": change.queued,
            "more_queued_in_sessions": change.queued if job.session_id is not None else 0,
            "more_running": change.running,
            "served": change.served,
            "more_seconds": change.seconds,
            "more_jobs": change.ended,
        },
    )
    return result.rowcount == 1


async def _note(
    connection: AsyncConnection,
    job: Job,
    *,
    active: int = 0,
    started: datetime | None = None,
    completed: datetime | None = None,
) -> None:
    if job.session_id is None:
        return
    await connection.execute(
        _NOTE, {"of_session": job.session_id, "more_active": active, "started": started, "completed": completed}
    )


def _printable(reason: str | None) -> str | None:
    """Return what every database can hold: a job must be able to end, whatever its process says about that."""
    if reason is None:
        return None
    return reason.encode(errors="replace").decode().replace("\0", "\N{REPLACEMENT CHARACTER}")
