"""Jobs as dispatchers see them, in SQL.

The queue is the rows of `jobs` that are Queued; any number of dispatchers, in any number of processes, claim from it.

- A claim is one transaction: it takes the first account in the order of turns (an index keeps that order, see
  `store.fair_share`), of this account the job that is next, and makes it Running. `FOR UPDATE SKIP LOCKED` lets
  claimers side by side pass over each other's rows instead of waiting; SQLite has one writer at a time.
- Each claim raises the job's fence, a number. Whoever finishes, renews or gives back says under which fence, and does
  nothing where the job has another one by now: of two that believe to hold a job, only the later one can write.
- A claim comes with a lease, a time on the store's own clock, which its holder renews. When it runs out, the holder may
  be dead: `take_over` gives the job to another dispatcher under the next fence. A slow holder that was not taken over
  may still renew. So a job is never lost, may run twice, and ends once.
- `finish` writes result, state and counts together, so a job has ended with its result, or not at all.
"""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import Connection, RowMapping, Select, bindparam, exists, insert, select, tuple_, update

from qiskit_runtime_server.backends.names import ExecutorName
from qiskit_runtime_server.jobs import Job, JobId, Outcome, RetryReason, ended, set_back, taken_over
from qiskit_runtime_server.messages.messages import Holder
from qiskit_runtime_server.store.fair_share import SESSION_CLAIMS_IN_ROW
from qiskit_runtime_server.store.port import Claim, DocumentKind, Queued
from qiskit_runtime_server.store.sql import transitions
from qiskit_runtime_server.store.sql.accounting import insert_unless_there
from qiskit_runtime_server.store.sql.database import SqlPart, uninterrupted
from qiskit_runtime_server.store.sql.documents import write_document
from qiskit_runtime_server.store.sql.packing import packed, size_of
from qiskit_runtime_server.store.sql.rows import JOB_COLUMNS, holder_of, job_of
from qiskit_runtime_server.store.sql.schema import (
    CLOCK,
    IS_QUEUED,
    IS_QUEUED_IN_SESSION,
    IS_RUNNING,
    MAY_RUN,
    counts,
    executors,
    jobs,
)

_IS_DRAINING: Final = exists().where(executors.c.name == bindparam("at_executor"), executors.c.draining)
_TURNS: Final = (
    select(counts.c.account, counts.c.queued_in_sessions, counts.c.session_claims_in_row, CLOCK.label("now"))
    .where(counts.c.executor == bindparam("at_executor"), MAY_RUN, ~_IS_DRAINING)
    .order_by(counts.c.share, counts.c.waiting_since)
)
"""The accounts that may run one more job, in the order of turns; none where it drains. Index `counts_turn`."""

# Where transactions run side by side, each takes the first account that no other is serving. An account whose jobs are
# all locked, or whose counts another kind of transaction has locked, must not hide what can be claimed.
_PASSES: Final = (_TURNS.limit(1).with_for_update(skip_locked=True), _TURNS.limit(8))
_OLDEST: Final = (
    select(*JOB_COLUMNS)
    .where(jobs.c.executor == bindparam("at_executor"), jobs.c.account == bindparam("of_account"))
    .order_by(jobs.c.created, jobs.c.id)
    .limit(1)
    .with_for_update(skip_locked=True)
)
"""Base of the two below: the oldest job of an account on an executor that no other transaction has locked."""

_OLDEST_OF_ALL: Final = _OLDEST.where(IS_QUEUED)
"""The oldest queued job of an account. Index `jobs_next`."""

_OLDEST_IN_SESSION: Final = _OLDEST.where(IS_QUEUED_IN_SESSION)
"""The oldest queued job of an account that is in a session. Index `jobs_next_in_session`."""

_LEASE: Final = update(jobs).where(jobs.c.id == bindparam("of_job"))
"""Base of the two below: changes a claim."""

_TAKE: Final = _LEASE.values(lease_until=bindparam("until"), fence=bindparam("new_fence"))
"""Gives a running job a new lease under a new fence. Primary key of `jobs`."""

_EXTEND: Final = _LEASE.values(lease_until=bindparam("until"))
"""Gives a running job a new lease. Primary key of `jobs`."""

_LOST: Final = (
    select(*JOB_COLUMNS, jobs.c.endpoint, jobs.c.boot_id)
    .where(IS_RUNNING, jobs.c.executor == bindparam("at_executor"), jobs.c.lease_until <= bindparam("now"))
    .order_by(jobs.c.lease_until)
    .limit(1)
    .with_for_update(skip_locked=True)
)
"""The running job of an executor whose lease ran out first. Index `jobs_leases`."""

_HELD: Final = (
    select(*JOB_COLUMNS, CLOCK.label("now"))
    .where(jobs.c.id == bindparam("of_job"), jobs.c.fence == bindparam("under_fence"), IS_RUNNING)
    .with_for_update()
)
"""The running job of a claim that still holds, and the time. Primary key of `jobs`."""

_ENDED: Final = select(*JOB_COLUMNS).where(
    jobs.c.id == bindparam("of_job"),
    jobs.c.fence == bindparam("under_fence"),
    jobs.c.state == bindparam("in_state"),
)
"""A job that ended under a fence and in a state. Primary key of `jobs`."""

_HOLDING: Final = select(jobs.c.id, jobs.c.fence).where(IS_RUNNING).order_by(jobs.c.id).with_for_update()
"""Base of `renew`, which adds the claims: those among them that still hold. Primary key of `jobs`."""

_OPEN_EXECUTOR: Final = insert(executors).values(draining=False)
"""Adds an executor that does not drain."""

_DRAIN: Final = (
    update(executors).where(executors.c.name == bindparam("of_executor")).values(draining=bindparam("is_draining"))
)
"""Has an executor drain, or go on. Primary key of `executors`."""


class SqlQueue(SqlPart):
    """A `QueueStore`."""

    @uninterrupted
    async def claim(self, executor: ExecutorName, holder: Holder, *, lease: timedelta) -> Claim | None:
        """See `QueueStore.claim`."""

        def start(connection: Connection) -> Job | None:
            found = _next_queued(connection, executor)
            if found is None:
                return None
            now = self._database.at(found.now)
            return transitions.start(connection, found.job, holder, now=now, lease=lease, in_row=found.in_row)

        job = await self._database.change(start)
        return None if job is None else Claim(job=job)

    @uninterrupted
    async def take_over(self, executor: ExecutorName, *, lease: timedelta) -> Claim | None:
        """See `QueueStore.take_over`."""

        def take(connection: Connection) -> Claim | None:
            now = self._database.now(connection)
            row = _first(connection, _LOST, at_executor=executor, now=now.lease)
            if row is None:
                return None
            job = taken_over(job_of(row))
            connection.execute(
                _TAKE, {"of_job": job.id, "until": now.lease + lease.total_seconds(), "new_fence": job.fence}
            )
            return Claim(job=job, previous=holder_of(row))

        return await self._database.change(take)

    @uninterrupted
    async def renew(self, claims: Collection[tuple[JobId, int]], *, lease: timedelta) -> set[tuple[JobId, int]]:
        """See `QueueStore.renew`."""
        if not claims:
            return set()

        def extend(connection: Connection) -> set[tuple[JobId, int]]:
            rows = connection.execute(_HOLDING.where(tuple_(jobs.c.id, jobs.c.fence).in_(list(claims))))
            held = {(JobId(job_id), fence) for job_id, fence in rows}
            until = self._database.now(connection).lease + lease.total_seconds()
            if held:
                connection.execute(_EXTEND, [{"of_job": job_id, "until": until} for job_id, _ in held])
            return held

        return await self._database.change(extend)

    @uninterrupted
    async def finish(self, claim: Claim, outcome: Outcome, result: bytes | None) -> bool:
        """See `QueueStore.finish`."""
        rows = [] if result is None else await packed(result)

        def end(connection: Connection) -> Job | None:
            held = _first(connection, _HELD, of_job=claim.job.id, under_fence=claim.job.fence)
            if held is None:
                return _as_ended(connection, claim, outcome) if self._database.in_doubt() else None
            job, now = ended(job_of(held), outcome, held["now"]), held["now"]
            transitions.end(connection, job, now, ran=True, result_bytes=size_of(rows))
            write_document(connection, claim.job.id, DocumentKind.RESULT, rows)
            return job

        job = await self._database.change(end)
        if job is not None:
            self._database.announce_end(job)
        return job is not None

    @uninterrupted
    async def give_back(self, claim: Claim, why: RetryReason, *, reason: str) -> Job | None:
        """See `QueueStore.give_back`."""

        def put_back(connection: Connection) -> Job | None:
            held = _first(connection, _HELD, of_job=claim.job.id, under_fence=claim.job.fence)
            return None if held is None else _put_back(connection, job_of(held), why, reason, held["now"])

        job = await self._database.change(put_back)
        if job is not None and job.state.terminal:
            self._database.announce_end(job)
        elif job is not None:
            self._database.announce(Queued(executor=job.executor))
        return job

    @uninterrupted
    async def drain(self, executor: ExecutorName, *, draining: bool) -> None:
        """See `QueueStore.drain`."""

        def mark(connection: Connection) -> None:
            insert_unless_there(connection, _OPEN_EXECUTOR, {"name": executor})
            connection.execute(_DRAIN, {"of_executor": executor, "is_draining": draining})

        await self._database.change(mark)
        if not draining:
            self._database.announce(Queued(executor=executor))


def _put_back(connection: Connection, held: Job, why: RetryReason, reason: str, now: datetime) -> Job:
    job = set_back(held, why, now, reason=reason)
    if job.state.terminal:
        transitions.end(connection, job, now, ran=True)
    else:
        transitions.requeue(connection, job, now)
    return job


def _first(connection: Connection, statement: Select[*tuple[object, ...]], **values: object) -> RowMapping | None:
    return connection.execute(statement, values).mappings().first()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Next:
    """Whose turn it is.

    Attributes:
        in_row: How many session jobs of its account it makes in a row.
        now: On the store's clock.
    """

    job: Job
    in_row: int
    now: datetime


def _next_queued(connection: Connection, executor: ExecutorName) -> _Next | None:
    """Return the next job; None if there is none."""
    for accounts in _PASSES:
        for account, in_sessions, in_row, now in connection.execute(accounts, {"at_executor": executor}).all():
            of_account = {"at_executor": executor, "of_account": account}
            if in_sessions > 0 and in_row < SESSION_CLAIMS_IN_ROW:
                row = _first(connection, _OLDEST_IN_SESSION, **of_account)
                if row is not None:
                    return _Next(job=job_of(row), in_row=in_row + 1, now=now)
            row = _first(connection, _OLDEST_OF_ALL, **of_account)
            if row is not None:
                return _Next(job=job_of(row), in_row=0, now=now)
    return None


def _as_ended(connection: Connection, claim: Claim, outcome: Outcome) -> Job | None:
    """Return the job if it ended like that under that claim."""
    row = _first(connection, _ENDED, of_job=claim.job.id, under_fence=claim.job.fence, in_state=outcome.state)
    return None if row is None else job_of(row)
