"""What jobs have used of their instances' limits, and what is kept of that for good."""

from contextlib import suppress
from datetime import datetime
from typing import Final

from sqlalchemy import Connection, Insert, bindparam, func, insert, select, update
from sqlalchemy.exc import IntegrityError

from qiskit_runtime_server.accounts.limits import AccountLimits
from qiskit_runtime_server.jobs import AccountId, Job
from qiskit_runtime_server.store.sql.schema import (
    ASK_CLOCK,
    IS_ENDED,
    IS_PENDING,
    IS_QUEUED,
    instance_limits,
    jobs,
    slot_times,
    usage_days,
)

_KEEP: Final = insert(slot_times)
"""Keeps for good what one job has used."""

_OPEN_DAY: Final = insert(usage_days).values(seconds=0.0, jobs=0)
"""Begins the sums of an instance on an executor and a day."""

_OF_INSTANCE: Final = (
    usage_days.c.account == bindparam("of_account"),
    usage_days.c.instance == bindparam("of_instance"),
    usage_days.c.day == bindparam("of_day"),
)
_CHARGE: Final = (
    update(usage_days)
    .where(*_OF_INSTANCE, usage_days.c.executor == bindparam("of_executor"))
    .values(seconds=usage_days.c.seconds + bindparam("more_seconds"), jobs=usage_days.c.jobs + bindparam("more_jobs"))
)
"""Adds slot time to the sums of its instance on its executor and day. Primary key of `usage_days`."""

_QUEUED: Final = (
    select(func.count())
    .select_from(jobs)
    # IS_PENDING follows from IS_QUEUED and is what the index is for: without it, ended jobs would be read too.
    .where(IS_PENDING, IS_QUEUED)
    .where(jobs.c.account == bindparam("of_account"), jobs.c.instance == bindparam("of_instance"))
)
"""How many queued jobs an instance has. Index `jobs_pending`."""

_STORED_OF_ENDED: Final = select(func.coalesce(func.sum(jobs.c.stored_bytes), 0)).where(
    IS_ENDED, jobs.c.account == bindparam("of_account")
)
"""What an account's ended jobs take. Index `jobs_ended_of_account`."""

_STORED_OF_PENDING: Final = select(func.coalesce(func.sum(jobs.c.stored_bytes), 0)).where(
    IS_PENDING, jobs.c.account == bindparam("of_account")
)
"""What an account's queued and running jobs take. Index `jobs_pending`."""

USED_TODAY: Final = select(func.coalesce(func.sum(usage_days.c.seconds), 0.0)).where(*_OF_INSTANCE)
"""The slot time of an instance on one day, on all executors. Primary key of `usage_days`."""

GRANTED: Final = select(instance_limits.c.seconds_per_day).where(
    instance_limits.c.account == bindparam("of_account"), instance_limits.c.instance == bindparam("of_instance")
)
"""What an admin has set for an instance. Primary key of `instance_limits`."""


def insert_unless_there(connection: Connection, statement: Insert, key: dict[str, object]) -> None:
    """Add a row, unless another transaction has done so in between."""
    with suppress(IntegrityError), connection.begin_nested():
        connection.execute(statement, key)


def keep(connection: Connection, job: Job, now: datetime) -> None:
    """Keep for good what a job has used that has ended."""
    bill = {"account": job.account, "instance": job.instance, "executor": job.executor}
    about = {"job_id": job.id, "program_id": job.program_id, "backend": job.backend}
    waited = 0.0 if job.started is None else max(0.0, (job.started - job.created).total_seconds())
    took = {"ended": now, "seconds": job.metrics.charged, "queue_seconds": waited, "session_id": job.session_id}
    connection.execute(_KEEP, {**bill, **about, **took})


def charge(connection: Connection, job: Job, seconds: float, now: datetime, *, jobs: int) -> None:
    """Add what a run has used, and a job if it has ended with that, to the sums of the day."""
    key = {"account": job.account, "instance": job.instance, "executor": job.executor, "day": now.date()}
    more = {f"of_{name}": value for name, value in key.items()} | {"more_seconds": seconds, "more_jobs": jobs}
    if (connection.execute(_CHARGE, more)).rowcount == 0:
        insert_unless_there(connection, _OPEN_DAY, key)
        connection.execute(_CHARGE, more)


def stored_bytes(connection: Connection, account: AccountId) -> int:
    """Return what the documents of all jobs of an account take, as they are kept."""
    of_account = {"of_account": account}
    return sum(int(connection.scalars(part, of_account).one()) for part in (_STORED_OF_ENDED, _STORED_OF_PENDING))


def granted(connection: Connection, account: AccountId, instance: str) -> int | None:
    """Return how much slot time an instance may take a day, if an admin has said so over the API."""
    seconds: int | None = connection.scalar(GRANTED, {"of_account": account, "of_instance": instance})
    return seconds


def refuse_beyond(connection: Connection, job: Job, limits: AccountLimits, *, arrived: int) -> None:
    """Check the limits of the job's instance.

    Args:
        connection: In the transaction that adds the job.
        job: To be accepted.
        limits: Of the instance.
        arrived: 1 if the job is among those that are queued already.

    Raises:
        LimitError: If it goes beyond one.
    """
    of_instance = {"of_account": job.account, "of_instance": job.instance}
    if limits.queued is not None:
        queued = (connection.scalar(_QUEUED, of_instance) or 0) - arrived
        limits.check_queued(job.instance, queued)
    if limits.seconds_per_day is not None:
        today = connection.scalars(ASK_CLOCK).one().date()
        used = connection.scalar(USED_TODAY, {**of_instance, "of_day": today}) or 0.0
        limits.check_seconds(job.instance, used)
