"""Jobs as dispatchers see them, in SQL.

The queue is the rows of `jobs` that are Queued; any number of dispatchers, in any number of processes, claim from it.

- A claim is one transaction: it takes the first account in the order of turns (an index keeps that order, see
  `store.fair_share`), of this account the job that is next, and makes it Running. `FOR UPDATE SKIP LOCKED` lets
  claimers side by side pass over each other's rows instead of waiting; SQLite has one writer at a time.
- Each claim raises the job's fence, a number. Whoever finishes, renews or requeues says under which fence, and does
  nothing where the job has another one by now: of two that believe to hold a job, only the later one can write.
- A claim comes with a lease, a time on the store's own clock, which its holder renews. When it runs out, the holder may
  be dead: `take_over` gives the job to another dispatcher under the next fence. A slow holder that was not taken over
  may still renew. So a job is never lost, may run twice, and ends once.
- Jobs known as long are counted and started under a lock on their executor, so that no more of them run there than may
  (docs/decisions/0021). Jobs that are held are passed over.
- `finish` writes result, state and counts together, so a job has ended with its result, or not at all.
"""

from collections.abc import Callable, Collection, Sequence
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import Connection, bindparam, func, null, select, tuple_, update

from qiskit_runtime_server.backends.names import ExecutorName
from qiskit_runtime_server.jobs import (
    AccountId,
    Job,
    JobId,
    JobState,
    Outcome,
    RetryReason,
    ended,
    found_long,
    held_back,
    moved,
    requeued,
    routed,
    taken_over,
)
from qiskit_runtime_server.messages.messages import Holder, Progress, Routing
from qiskit_runtime_server.store.port import Claim, DocumentKind, HeldJobs, Queued
from qiskit_runtime_server.store.sql import transitions
from qiskit_runtime_server.store.sql.accounting import insert_unless_there
from qiskit_runtime_server.store.sql.database import SqlPart, reading, uninterrupted
from qiskit_runtime_server.store.sql.documents import small_params, write_document
from qiskit_runtime_server.store.sql.next_job import OPEN_EXECUTOR, next_job, running_long
from qiskit_runtime_server.store.sql.packing import packed, size_of
from qiskit_runtime_server.store.sql.rows import JOB_COLUMNS, first, holder_of, job_of, json_text
from qiskit_runtime_server.store.sql.schema import (
    CLOCK,
    IS_HELD,
    IS_ROUTED,
    IS_RUNNING,
    executors,
    jobs,
)

_MARK_LONG: Final = update(jobs).where(jobs.c.id == bindparam("of_job")).values(long_since=bindparam("since"))
"""Notes that a job is no short one. Primary key of `jobs`."""

_NOTE_PROGRESS: Final = (
    update(jobs)
    .where(jobs.c.id == bindparam("of_job"), jobs.c.fence == bindparam("under_fence"), IS_RUNNING)
    .values(progress=bindparam("new_progress"))
)
"""Keeps how far a running job has come, if the claim still holds. Primary key of `jobs`."""

_HELD_JOBS: Final = (
    select(jobs.c.account, jobs.c.instance, func.count().label("jobs"))
    .where(IS_HELD)
    .group_by(jobs.c.account, jobs.c.instance)
    .order_by(jobs.c.account, jobs.c.instance)
)
"""Whose jobs are held; reads the whole index. Index `jobs_held`."""

_HELD_OF_INSTANCE: Final = (
    select(jobs.c.id, jobs.c.executor)
    .where(IS_HELD, jobs.c.account == bindparam("of_account"), jobs.c.instance == bindparam("of_instance"))
    .order_by(jobs.c.id)
    .with_for_update()
)
"""The held jobs of an instance, locked. Index `jobs_held`."""

_HELD_JOB: Final = _HELD_OF_INSTANCE.where(jobs.c.id == bindparam("of_job"))
"""One of them. Primary key of `jobs`."""

_RELEASE: Final = update(jobs).where(jobs.c.id.in_(bindparam("ids", expanding=True)), IS_HELD).values(held=null())
"""Lets held jobs be claimed again. Primary key of `jobs`."""

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

_ROUTED: Final = (
    select(*JOB_COLUMNS, CLOCK.label("now"))
    .where(jobs.c.id == bindparam("of_job"), jobs.c.executor == bindparam("at_executor"), IS_ROUTED)
    .with_for_update()
)
"""A job that still waits on an executor that was chosen for it, and the time. Primary key of `jobs`."""

_ENDED: Final = select(*JOB_COLUMNS).where(
    jobs.c.id == bindparam("of_job"),
    jobs.c.fence == bindparam("under_fence"),
    jobs.c.state == bindparam("in_state"),
)
"""A job that ended under a fence and in a state. Primary key of `jobs`."""

_HOLDING: Final = select(jobs.c.id, jobs.c.fence).where(IS_RUNNING).order_by(jobs.c.id).with_for_update()
"""Base of `renew`, which adds the claims: those among them that still hold. Primary key of `jobs`."""

_DRAIN: Final = (
    update(executors).where(executors.c.name == bindparam("of_executor")).values(draining=bindparam("is_draining"))
)
"""Has an executor drain, or go on. Primary key of `executors`."""


class SqlQueue(SqlPart):
    """A `QueueStore`."""

    @uninterrupted
    async def claim(
        self, executor: ExecutorName, holder: Holder, *, lease: timedelta, long_slots: int | None = None
    ) -> Claim | None:
        """See `QueueStore.claim`."""

        def start(connection: Connection) -> Claim | None:
            found = next_job(connection, executor, long_slots)
            if found is None:
                return None
            now = self._database.at(found.now)
            job = transitions.start(connection, found.job, holder, now=now, lease=lease, in_row=found.in_row)
            if job is None:
                return None
            return Claim(
                job=job,
                params=small_params(connection, job),
                seconds_per_day=found.granted,
                last=found.last,
            )

        return await self._database.change(start)

    @uninterrupted
    async def take_over(self, executor: ExecutorName, *, lease: timedelta) -> Claim | None:
        """See `QueueStore.take_over`."""

        def take(connection: Connection) -> Claim | None:
            now = self._database.now(connection)
            row = first(connection, _LOST, at_executor=executor, now=now.lease)
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
        if rows:
            await self._database.refuse_if_full(size_of(rows), to_begin=False)

        def end(connection: Connection) -> Job | None:
            held = first(connection, _HELD, of_job=claim.job.id, under_fence=claim.job.fence)
            if held is None:
                return _as_ended(connection, claim, outcome) if self._database.in_doubt() else None
            before, now = job_of(held), held["now"]
            job = ended(before, outcome, now)
            transitions.end(connection, before, job, now, result_bytes=size_of(rows))
            write_document(connection, claim.job.id, DocumentKind.RESULT, rows)
            return job

        job = await self._database.change(end)
        if job is not None:
            self._database.announce_end(job)
        return job is not None

    @uninterrupted
    async def requeue(self, claim: Claim, why: RetryReason, *, reason: str) -> Job | None:
        """See `QueueStore.requeue`."""

        def put_back(connection: Connection) -> Job | None:
            held = first(connection, _HELD, of_job=claim.job.id, under_fence=claim.job.fence)
            return None if held is None else _put_back(connection, job_of(held), why, reason, held["now"])

        job = await self._database.change(put_back)
        if job is not None and job.state.terminal:
            self._database.announce_end(job)
        elif job is not None:
            self._database.announce(Queued(executor=job.executor))
        return job

    @uninterrupted
    async def route(self, claim: Claim, executor: ExecutorName, routing: Routing) -> Job | None:
        """See `QueueStore.route`."""

        def put(connection: Connection) -> Job | None:
            held = first(connection, _HELD, of_job=claim.job.id, under_fence=claim.job.fence)
            if held is None:
                return None
            before = job_of(held)
            return _moved(connection, before, routed(before, executor, routing), held["now"])

        return await self._queued(put)

    @uninterrupted
    async def move(self, job: Job, executor: ExecutorName) -> Job | None:
        """See `QueueStore.move`."""

        def put(connection: Connection) -> Job | None:
            row = first(connection, _ROUTED, of_job=job.id, at_executor=job.executor)
            if row is None:
                return None
            before = job_of(row)
            return _moved(connection, before, moved(before, executor), row["now"])

        return await self._queued(put)

    async def _queued(self, put: Callable[[Connection], Job | None]) -> Job | None:
        """Put a job into a queue, and tell of it."""
        job = await self._database.change(put)
        if job is not None:
            self._database.announce(Queued(executor=job.executor))
        return job

    @uninterrupted
    async def found_long(self, claim: Claim, *, long_slots: int) -> Job | None:
        """See `QueueStore.found_long`."""

        def note(connection: Connection) -> Job | None:
            held = first(connection, _HELD, of_job=claim.job.id, under_fence=claim.job.fence)
            if held is None:
                return None
            before = job_of(held)
            others = running_long(connection, before.executor) - (before.long_since is not None)
            job = found_long(before, held["now"], goes_on=others < long_slots)
            if job.state is JobState.RUNNING:
                connection.execute(_MARK_LONG, {"of_job": job.id, "since": job.long_since})
            else:
                transitions.requeue(connection, before, job, held["now"])
            return job

        job = await self._database.change(note)
        if job is not None and job.state is JobState.QUEUED:
            self._database.announce(Queued(executor=job.executor))
        return job

    @uninterrupted
    async def note_progress(self, claim: Claim, progress: Progress) -> None:
        """See `QueueStore.note_progress`."""
        which = {"of_job": claim.job.id, "under_fence": claim.job.fence, "new_progress": json_text(progress)}
        await self._database.change(lambda connection: connection.execute(_NOTE_PROGRESS, which).rowcount)

    @uninterrupted
    async def hold(self, claim: Claim, *, reason: str) -> Job | None:
        """See `QueueStore.hold`."""

        def hold(connection: Connection) -> Job | None:
            held = first(connection, _HELD, of_job=claim.job.id, under_fence=claim.job.fence)
            if held is None:
                return None
            before = job_of(held)
            job = held_back(before, reason=reason)
            transitions.requeue(connection, before, job, held["now"])
            return job

        return await self._database.change(hold)

    @reading
    async def held(self) -> Sequence[HeldJobs]:
        """See `QueueStore.held`."""
        rows = await self._database.read(lambda connection: connection.execute(_HELD_JOBS).mappings().all())
        return [HeldJobs(**row) for row in rows]

    @uninterrupted
    async def release(self, account: AccountId, instance: str, job_id: JobId | None = None) -> int:
        """See `QueueStore.release`."""

        def release(connection: Connection) -> Sequence[tuple[str, str]]:
            which = {"of_account": account, "of_instance": instance}
            statement = _HELD_OF_INSTANCE
            if job_id is not None:
                statement, which = _HELD_JOB, {**which, "of_job": job_id}
            found = [(row.id, row.executor) for row in connection.execute(statement, which)]
            if found:
                connection.execute(_RELEASE, {"ids": [job_id for job_id, _ in found]})
            return found

        found = await self._database.change(release)
        for executor in {executor for _, executor in found}:
            self._database.announce(Queued(executor=ExecutorName(executor)))
        return len(found)

    @uninterrupted
    async def drain(self, executor: ExecutorName, *, draining: bool) -> None:
        """See `QueueStore.drain`."""

        def mark(connection: Connection) -> None:
            insert_unless_there(connection, OPEN_EXECUTOR, {"name": executor})
            connection.execute(_DRAIN, {"of_executor": executor, "is_draining": draining})

        await self._database.change(mark)
        if not draining:
            self._database.announce(Queued(executor=executor))


def _moved(connection: Connection, before: Job, after: Job, now: datetime) -> Job:
    transitions.move(connection, before, after, now)
    return after


def _put_back(connection: Connection, held: Job, why: RetryReason, reason: str, now: datetime) -> Job:
    job = requeued(held, why, now, reason=reason)
    if job.state.terminal:
        transitions.end(connection, held, job, now)
    else:
        transitions.requeue(connection, held, job, now)
    return job


def _as_ended(connection: Connection, claim: Claim, outcome: Outcome) -> Job | None:
    """Return the job if it ended like that under that claim."""
    row = first(connection, _ENDED, of_job=claim.job.id, under_fence=claim.job.fence, in_state=outcome.state)
    return None if row is None else job_of(row)
