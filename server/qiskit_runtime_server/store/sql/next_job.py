"""Which job a claim takes, in SQL: the first account in the order of turns, and of this account the job that is next.

`store.fair_share` says the same in Python, and is what this is tested against. Claimers side by side pass over what
others have locked, so each takes another account. Of the jobs that are known as long no more run on an executor than
may; where that many do, the next short one is taken.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Connection, Select, bindparam, exists, func, insert, select

from qiskit_runtime_server.backends.names import ExecutorName
from qiskit_runtime_server.jobs import Job
from qiskit_runtime_server.store.fair_share import SESSION_CLAIMS_IN_ROW
from qiskit_runtime_server.store.sql.accounting import insert_unless_there
from qiskit_runtime_server.store.sql.rows import JOB_COLUMNS, first, job_of
from qiskit_runtime_server.store.sql.schema import (
    CLOCK,
    IS_RUNNING_LONG,
    IS_SHORT,
    IS_WAITING,
    IS_WAITING_IN_SESSION,
    MAY_RUN,
    counts,
    executors,
    instance_limits,
    jobs,
)

_IS_DRAINING: Final = exists().where(executors.c.name == bindparam("at_executor"), executors.c.draining)
# Not `EXISTS`, which PostgreSQL makes a join with the whole queue of, where one probe for each account is enough.
_WAITS: Final = (
    select(jobs.c.id)
    .where(IS_WAITING, jobs.c.executor == counts.c.executor, jobs.c.account == counts.c.account)
    .limit(1)
    .correlate(counts)
)
"""Base of the turns below: a waiting job of the account."""

_TWO_WAITING: Final = select(jobs.c.id).where(IS_WAITING, jobs.c.executor == bindparam("at_executor")).limit(2)
"""Base of the turns below: up to two waiting jobs of the executor."""

_BY_TURN: Final = (
    select(
        counts.c.account,
        counts.c.queued_in_sessions,
        counts.c.session_claims_in_row,
        select(func.count()).select_from(_TWO_WAITING.subquery()).scalar_subquery(),
        CLOCK.label("now"),
    )
    .where(counts.c.executor == bindparam("at_executor"), MAY_RUN, ~_IS_DRAINING)
    .order_by(counts.c.share, counts.c.waiting_since)
)
"""Base of the two below: the accounts with queued jobs that may run one more; none where it drains."""

_TURNS: Final = _BY_TURN.where(_WAITS.scalar_subquery().is_not(None))
"""Those with a job that is not held, in the order of turns. Index `counts_turn`."""

_SHORT_TURNS: Final = _BY_TURN.where(_WAITS.where(IS_SHORT).scalar_subquery().is_not(None))
"""Those with a job that is not known as long either, in the order of turns. Index `counts_turn`."""


# Where transactions run side by side, each takes the first account that no other is serving. An account whose jobs are
# all locked, or whose counts another kind of transaction has locked, must not hide what can be claimed.
def _passes(turns: Select[Any]) -> tuple[Select[Any], Select[Any]]:
    return turns.limit(1).with_for_update(skip_locked=True), turns.limit(8)


_GRANTED: Final = (
    select(instance_limits.c.seconds_per_day)
    .where(instance_limits.c.account == jobs.c.account, instance_limits.c.instance == jobs.c.instance)
    .correlate(jobs)
)
"""Base of the jobs below: what an admin has set for the instance of a job."""

_OLDEST: Final = (
    select(*JOB_COLUMNS, _GRANTED.scalar_subquery().label("granted"))
    .where(jobs.c.executor == bindparam("at_executor"), jobs.c.account == bindparam("of_account"))
    .order_by(jobs.c.created, jobs.c.id)
    .limit(1)
    .with_for_update(skip_locked=True)
)
"""Base of the two below: the oldest job of an account on an executor that no other transaction has locked."""

_OLDEST_OF_ALL: Final = _OLDEST.where(IS_WAITING)
"""The oldest waiting job of an account. Index `jobs_next`."""

_OLDEST_IN_SESSION: Final = _OLDEST.where(IS_WAITING_IN_SESSION)
"""The oldest waiting job of an account that is in a session. Index `jobs_next_in_session`."""

_OLDEST_SHORT: Final = _OLDEST_OF_ALL.where(IS_SHORT)
"""The oldest waiting job of an account that is not known as long. Index `jobs_next`."""

_OLDEST_SHORT_IN_SESSION: Final = _OLDEST_IN_SESSION.where(IS_SHORT)
"""The oldest one in a session that is not known as long. Index `jobs_next_in_session`."""

_LONG: Final = (
    select(func.count()).select_from(jobs).where(IS_RUNNING_LONG, jobs.c.executor == bindparam("at_executor"))
)
"""How many jobs run on an executor that are known as long. Index `jobs_long`."""

_LANE: Final = select(executors.c.name).where(executors.c.name == bindparam("at_executor")).with_for_update()
"""An executor, locked, so that long jobs are counted and started there by one after the other.

Primary key of `executors`.
"""

_FREE_LANE: Final = (
    select(executors.c.name).where(executors.c.name == bindparam("at_executor")).with_for_update(skip_locked=True)
)
"""The same, unless another transaction has it locked. Primary key of `executors`."""

OPEN_EXECUTOR: Final = insert(executors).values(draining=False)
"""Adds an executor that does not drain."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NextJob:
    """Whose turn it is.

    Attributes:
        in_row: How many session jobs of its account it makes in a row.
        now: On the store's clock.
        granted: Slot time a day, if an admin has said so of its instance over the API.
        last: Whether no other job waits for the executor.
    """

    job: Job
    in_row: int
    now: datetime
    granted: int | None
    last: bool


@dataclass(frozen=True, slots=True)
class _Choice:
    """Which jobs a claim looks at.

    Attributes:
        passes: The accounts that have such jobs, in the order of turns.
        oldest: Such a job of an account.
        oldest_in_session: The same of those in sessions.
    """

    passes: tuple[Select[Any], Select[Any]]
    oldest: Select[Any]
    oldest_in_session: Select[Any]


_ANY_JOB: Final = _Choice(_passes(_TURNS), _OLDEST_OF_ALL, _OLDEST_IN_SESSION)
_SHORT_JOB: Final = _Choice(_passes(_SHORT_TURNS), _OLDEST_SHORT, _OLDEST_SHORT_IN_SESSION)


def running_long(connection: Connection, executor: ExecutorName) -> int:
    """Return how many long jobs run on an executor; until the transaction ends, nobody else adds one.

    The executor comes after the job and before the counts in the order in which rows are locked.
    """
    if first(connection, _LANE, at_executor=executor) is None:
        insert_unless_there(connection, OPEN_EXECUTOR, {"name": executor})
        first(connection, _LANE, at_executor=executor)
    return connection.scalar(_LONG, {"at_executor": executor}) or 0


def next_job(connection: Connection, executor: ExecutorName, long_slots: int | None) -> NextJob | None:
    """Return the next job; the next short one if `long_slots` long ones run already."""
    if long_slots is None:
        return _next_waiting(connection, executor, _ANY_JOB)
    which = {"at_executor": executor}
    if (connection.scalar(_LONG, which) or 0) < long_slots:
        found = _next_waiting(connection, executor, _ANY_JOB)
        if found is None or found.job.long_since is None:
            return found
        # The counts are locked by now, so this must not wait: whoever has the executor may wait for them. It is there,
        # as a job was found to be long.
        is_ours = first(connection, _FREE_LANE, **which) is not None
        if is_ours and (connection.scalar(_LONG, which) or 0) < long_slots:
            return found
    return _next_waiting(connection, executor, _SHORT_JOB)


def _next_waiting(connection: Connection, executor: ExecutorName, choice: _Choice) -> NextJob | None:
    """Return the next job; None if there is none."""
    for accounts in choice.passes:
        for account, in_sessions, in_row, waiting, now in connection.execute(accounts, {"at_executor": executor}).all():
            of_account = {"at_executor": executor, "of_account": account}
            row, next_in_row = None, 0
            if in_sessions > 0 and in_row < SESSION_CLAIMS_IN_ROW:
                row, next_in_row = first(connection, choice.oldest_in_session, **of_account), in_row + 1
            if row is None:
                row, next_in_row = first(connection, choice.oldest, **of_account), 0
            if row is not None:
                last = waiting == 1
                return NextJob(job=job_of(row), in_row=next_in_row, now=now, granted=row["granted"], last=last)
    return None
