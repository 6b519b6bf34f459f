"""What a change of a job's state writes: the job's row, the counts of its account and the times of its session.

The caller has locked the job's row. Rows are always locked in the order job, counts, session, day, so that transactions
cannot deadlock; a claim, which looks at the counts first, takes only what is not locked.

An account's turn lasts for as many claims as its weight says. It then waits for its next turn since the end of what it
ran, as one that had nothing queued does since its job arrived (docs/decisions/0007).
"""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import (
    BindParameter,
    Connection,
    Double,
    Update,
    and_,
    bindparam,
    case,
    cast,
    insert,
    null,
    select,
    update,
)

from qiskit_runtime_server.accounts.limits import AccountLimits
from qiskit_runtime_server.jobs import Job, JobState, Session, started
from qiskit_runtime_server.messages.messages import Holder
from qiskit_runtime_server.store.sql.accounting import charge, insert_unless_there, keep
from qiskit_runtime_server.store.sql.database import Now
from qiskit_runtime_server.store.sql.rows import first, json_text, routing_row, session_of, session_row
from qiskit_runtime_server.store.sql.schema import ASK_CLOCK, CLOCK, EPOCH, UNLIMITED, counts, jobs, sessions


def _update_job(*columns: str) -> Update:
    values: dict[str, BindParameter[Any]] = {column: bindparam(f"new_{column}") for column in columns}
    return update(jobs).where(jobs.c.id == bindparam("of_job")).values(values)


_START: Final = _update_job("state", "started", "fence", "held", "lease_until", "endpoint", "boot_id")
"""Has a job run under a lease. Primary key of `jobs`."""

_REQUEUE: Final = _update_job("state", "started", "worker_deaths", "losses", "metrics", "long_since", "held").values(
    progress=null()
)
"""Has a job wait again. Primary key of `jobs`."""

_MOVE: Final = _update_job("state", "started", "executor", "routing", "predicted_seconds", "long_since").values(
    progress=null()
)
"""Has a job wait for another executor. Primary key of `jobs`."""

_END: Final = _update_job(
    "state", "reason", "reason_code", "finished", "worker_deaths", "losses", "metrics", "held"
).values(stored_bytes=jobs.c.stored_bytes + bindparam("more_bytes"))
"""Has a job end. Primary key of `jobs`."""

_OF_ACCOUNT: Final = update(counts).where(
    counts.c.executor == bindparam("of_executor"), counts.c.account == bindparam("of_account")
)
"""Base of the four below: changes the counts of an account on an executor."""

_NOW: Final = bindparam("now", type_=counts.c.waiting_since.type)
_WEIGHT: Final[BindParameter[float]] = bindparam("new_weight", type_=Double())
_MORE_IN_SESSIONS: Final = counts.c.queued_in_sessions + bindparam("more_in_sessions")
_TURN_IS_OVER: Final = counts.c.claims_in_turn >= counts.c.weight
_WAS_IDLE: Final = and_(counts.c.queued == 0, counts.c.running == 0)
_ARRIVED: Final = _OF_ACCOUNT.values(
    queued=counts.c.queued + 1,
    queued_in_sessions=_MORE_IN_SESSIONS,
    weight=bindparam("new_weight"),
    max_running=bindparam("new_max_running"),
    share=counts.c.running / _WEIGHT,
    waiting_since=case((counts.c.queued == 0, CLOCK), else_=counts.c.waiting_since),
    claims_in_turn=case((_WAS_IDLE, 0), else_=counts.c.claims_in_turn),
)
"""`fair_share.arrived` in SQL. Primary key of `counts`."""

_STARTED: Final = _OF_ACCOUNT.where(counts.c.running < counts.c.max_running).values(
    queued=counts.c.queued - 1,
    queued_in_sessions=_MORE_IN_SESSIONS,
    running=counts.c.running + 1,
    share=(counts.c.running + 1) / cast(counts.c.weight, Double),
    claims_in_turn=counts.c.claims_in_turn + 1,
    session_claims_in_row=bindparam("new_in_row"),
)
"""`fair_share.claimed` in SQL, if the account may run one more job. Primary key of `counts`."""

_STOPPED: Final = _OF_ACCOUNT.values(
    queued=counts.c.queued + bindparam("more_queued"),
    queued_in_sessions=_MORE_IN_SESSIONS,
    running=counts.c.running - 1,
    share=(counts.c.running - 1) / cast(counts.c.weight, Double),
    waiting_since=case((_TURN_IS_OVER, _NOW), else_=counts.c.waiting_since),
    claims_in_turn=case((_TURN_IS_OVER, 0), else_=counts.c.claims_in_turn),
    seconds=counts.c.seconds + bindparam("more_seconds"),
    jobs=counts.c.jobs + bindparam("more_jobs"),
)
"""`fair_share.stopped` in SQL, with the slot time that the job has used. Primary key of `counts`."""

_LEFT: Final = _OF_ACCOUNT.values(queued=counts.c.queued - 1, queued_in_sessions=_MORE_IN_SESSIONS)
"""`fair_share.left` in SQL. Primary key of `counts`."""

_LIMITS: Final = select(counts.c.weight, counts.c.max_running).where(
    counts.c.executor == bindparam("of_executor"), counts.c.account == bindparam("of_account")
)
"""The limits of an account, as of its last job on an executor. Primary key of `counts`."""

_OPEN_ACCOUNT: Final = insert(counts).values(
    queued=0, queued_in_sessions=0, running=0, waiting_since=EPOCH, seconds=0.0, jobs=0
)
"""Begins the counts of an account on an executor."""

_OF_JOB: Final = sessions.c.id == bindparam("of_session")
# Jobs that are added meanwhile refer to the session, and need not wait for this transaction.
_SESSION: Final = select(sessions).where(_OF_JOB).with_for_update(key_share=True)
"""The session of a job, locked. Primary key of `sessions`."""

_NOTED: Final = (
    "active_jobs",
    "first_job_started",
    "last_job_started",
    "last_job_completed",
    "expires",
    "changes",
    "seconds",
)
_NOTE: Final = (
    update(sessions)
    .where(_OF_JOB)
    .values({name: bindparam(f"new_{name}", type_=sessions.c[name].type) for name in _NOTED})
)
"""Keeps in a session what its jobs do. Primary key of `sessions`."""


def arrive(connection: Connection, job: Job, limits: AccountLimits) -> None:
    """Account for a job that has just been added to the queue."""
    _enter(connection, job, limits.weight, UNLIMITED if limits.running is None else limits.running)
    if job.session_id is not None:
        now = connection.scalars(ASK_CLOCK).one()
        _note(connection, job, lambda session: session.with_job_queued(now))


def start(  # noqa: PLR0913 - what a claim is made of
    connection: Connection, queued: Job, holder: Holder, *, now: Now, lease: timedelta, in_row: int
) -> Job | None:
    """Start a queued job; None if its account runs as many as it may by now.

    Args:
        connection: In a transaction.
        queued: The job as it is.
        holder: Who will run it.
        now: From the store's clock.
        lease: How long the claim holds.
        in_row: How many claims for session jobs its account has had in a row, with this one.
    """
    if not _count(connection, _STARTED, queued, more=-1, new_in_row=in_row):
        return None
    running = started(queued, now.utc)
    connection.execute(
        _START,
        {
            "of_job": running.id,
            "new_state": running.state,
            "new_started": running.started,
            "new_fence": running.fence,
            "new_held": running.held,
            "new_lease_until": now.lease + lease.total_seconds(),
            "new_endpoint": holder.endpoint,
            "new_boot_id": holder.boot_id,
        },
    )
    _note(connection, queued, lambda session: session.with_job_started(now.utc))
    return running


def requeue(connection: Connection, ran: Job, queued: Job, now: datetime) -> None:
    """Bring a job that ran to its place in the queue, as it is from `now` on, and charge what counts of the run."""
    seconds = queued.metrics.charged - ran.metrics.charged
    connection.execute(
        _REQUEUE,
        {
            "of_job": queued.id,
            "new_state": queued.state,
            "new_started": queued.started,
            "new_worker_deaths": queued.worker_deaths,
            "new_losses": queued.losses,
            "new_metrics": json_text(queued.metrics),
            "new_long_since": queued.long_since,
            "new_held": queued.held,
        },
    )
    _count(connection, _STOPPED, queued, more=1, now=now, more_queued=1, more_seconds=seconds, more_jobs=0)
    if seconds > 0:
        charge(connection, queued, seconds, now, jobs=0)


def move(connection: Connection, before: Job, after: Job, now: datetime) -> None:
    """Bring a job from one executor's queue, or from the look at it, to another's queue, as it is from `now` on."""
    row = routing_row(after)
    connection.execute(
        _MOVE,
        {
            "of_job": after.id,
            "new_state": after.state,
            "new_started": after.started,
            "new_executor": after.executor,
            "new_routing": row["routing"],
            "new_predicted_seconds": row["predicted_seconds"],
            "new_long_since": after.long_since,
        },
    )
    limits = first(connection, _LIMITS, of_executor=before.executor, of_account=before.account)
    assert limits is not None  # noqa: S101 - the job has arrived there

    def leave() -> None:
        if before.state is JobState.RUNNING:
            _count(connection, _STOPPED, before, more=0, now=now, more_queued=0, more_seconds=0.0, more_jobs=0)
        else:
            _count(connection, _LEFT, before, more=-1)

    def enter() -> None:
        _enter(connection, after, limits["weight"], limits["max_running"])

    # In one order, whichever way jobs go, so that transactions cannot deadlock.
    for change in (leave, enter) if before.executor < after.executor else (enter, leave):
        change()


def end(connection: Connection, before: Job, ended: Job, now: datetime, *, result_bytes: int = 0) -> None:
    """Write that a job has ended, as it is from `now` on.

    Args:
        connection: In a transaction.
        before: The job as it was, queued or running.
        ended: The job in its terminal state.
        now: When it ended.
        result_bytes: How large the result is that is kept with it.
    """
    connection.execute(
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
            "new_held": ended.held,
            "more_bytes": result_bytes,
        },
    )
    ran = before.state is JobState.RUNNING
    # What earlier runs have used is charged already.
    total, seconds = ended.metrics.charged, ended.metrics.charged - before.metrics.charged
    if ran:
        _count(connection, _STOPPED, ended, more=0, now=now, more_queued=0, more_seconds=seconds, more_jobs=1)
    else:
        _count(connection, _LEFT, ended, more=-1)
    _note(connection, ended, lambda session: session.with_job_ended(now, total))
    if ran or total > 0:
        keep(connection, ended, now)
        charge(connection, ended, seconds, now, jobs=1)


def _enter(connection: Connection, job: Job, weight: float, max_running: int) -> None:
    """Count a job as queued."""
    values = {"new_weight": weight, "new_max_running": max_running}
    if not _count(connection, _ARRIVED, job, more=1, **values):
        insert_unless_there(connection, _OPEN_ACCOUNT, {"executor": job.executor, "account": job.account})
        _count(connection, _ARRIVED, job, more=1, **values)


def _count(connection: Connection, statement: Update, job: Job, *, more: int, **values: object) -> bool:
    """Change the counts of the job's account, with `more` jobs in the queue; return whether it has any to change."""
    in_sessions = more if job.session_id is not None else 0
    which = {"of_executor": job.executor, "of_account": job.account}
    result = connection.execute(statement, {**which, "more_in_sessions": in_sessions, **values})
    return result.rowcount == 1


def _note(connection: Connection, job: Job, change: Callable[[Session], Session]) -> None:
    if job.session_id is None:
        return
    row = connection.execute(_SESSION, {"of_session": job.session_id}).mappings().one()
    changed = session_row(change(session_of(row)))
    connection.execute(_NOTE, {"of_session": job.session_id} | {f"new_{name}": changed[name] for name in _NOTED})
