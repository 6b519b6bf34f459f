"""Jobs as their owners see them, in SQL."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy import ColumnElement, Select, bindparam, delete, func, insert, not_, select, true, update
from sqlalchemy.ext.asyncio import AsyncConnection

from qiskit_runtime_server.backends.names import DRY_RUN
from qiskit_runtime_server.errors import InvalidStateError, JobNotFoundError, SessionNotFoundError
from qiskit_runtime_server.jobs import AccountId, Job, JobState
from qiskit_runtime_server.store import transitions
from qiskit_runtime_server.store.accounting import refuse_beyond
from qiskit_runtime_server.store.database import SqlPart, uninterrupted
from qiskit_runtime_server.store.packing import packed, size_of
from qiskit_runtime_server.store.port import DocumentKind, Ended, JobQuery, Outcome, Queued
from qiskit_runtime_server.store.rows import JOB_COLUMNS, job_of, job_row, json_text, session_of
from qiskit_runtime_server.store.schema import IS_PENDING, job_tags, jobs, sessions
from qiskit_runtime_server.store.sql_documents import write_document
from qiskit_runtime_server.terms import DEFAULT_TERMS, Terms

_OF_ANYBODY = select(*JOB_COLUMNS).where(jobs.c.id == bindparam("job_id"))
_OF_OWNER = _OF_ANYBODY.where(jobs.c.account == bindparam("account_id"))
_KNOWN = select(jobs.c.id).where(jobs.c.id == bindparam("job_id"))
_SESSION = select(sessions).where(
    sessions.c.id == bindparam("session_id"), sessions.c.account == bindparam("account_id")
)
# Not against those who have just referred to the session in a job of theirs: they may wait for this transaction.
_SESSION_LOCKED = _SESSION.with_for_update(key_share=True)
_ADD = insert(jobs)
_DELETE = delete(jobs).where(jobs.c.id == bindparam("job_id"))
_ADD_TAGS = insert(job_tags)
_DELETE_TAGS = delete(job_tags).where(job_tags.c.job_id == bindparam("of_job"))
_SET_TAGS = update(jobs).where(jobs.c.id == bindparam("of_job")).values(tags=bindparam("new_tags"))


class SqlJobs(SqlPart):
    """A `JobStore`."""

    @uninterrupted
    async def add(self, job: Job, params: bytes | memoryview, terms: Terms = DEFAULT_TERMS) -> None:
        """See `JobStore.add`."""
        rows = await packed(params)
        async with self._database.transaction() as connection:
            if self._database.in_doubt() and await connection.scalar(_KNOWN, {"job_id": job.id}) is not None:
                return
            now = (await self._database.now(connection)).utc
            await _check_session(connection, _SESSION, job, now)
            await refuse_beyond(connection, job, terms, now, arrived=0)
            await connection.execute(_ADD, job_row(job) | {"stored_bytes": size_of(rows)})
            await _add_tags(connection, job, job.tags)
            await write_document(connection, job.id, DocumentKind.PARAMS, rows)
            await transitions.arrive(connection, job, terms, now)
            await _check_session(connection, _SESSION_LOCKED, job, now)
            # Again, now that no other transaction can count as well.
            await refuse_beyond(connection, job, terms, now, arrived=1)
        self._database.announce(Queued(executor=job.executor))

    @uninterrupted
    async def get(self, account: AccountId | None, job_id: str) -> Job:
        """See `JobStore.get`."""
        async with self._database.reader.connect() as connection:
            result = await connection.execute(*_job(account, job_id))
        if (row := result.mappings().first()) is None:
            raise _not_found(job_id)
        return job_of(row)

    @uninterrupted
    async def find(self, account: AccountId | None, query: JobQuery) -> tuple[Sequence[Job], int]:
        """See `JobStore.find`."""
        conditions = _conditions(account, query)
        order = _by_age(jobs.c.created, jobs.c.id, query)
        page = (
            select(*JOB_COLUMNS).where(*conditions).order_by(*order).limit(query.limit).offset(query.offset).subquery()
        )
        count = select(func.count().label("count_over_all_pages")).select_from(jobs).where(*conditions).subquery()
        # One statement, so that page and count are of the same moment.
        both = select(count, page).select_from(count.outerjoin(page, true()))
        both = both.order_by(*_by_age(page.c.created, page.c.id, query))
        async with self._database.reader.connect() as connection:
            found = (await connection.execute(both)).mappings().all()
        return [job_of(row) for row in found if row["id"] is not None], found[0]["count_over_all_pages"]

    @uninterrupted
    async def cancel(self, account: AccountId | None, job_id: str, *, reason: str) -> Job:
        """See `JobStore.cancel`."""
        async with self._database.transaction() as connection:
            job = await _locked(connection, account, job_id)
            if job.state is JobState.CANCELLED and self._database.in_doubt():
                return job
            if job.state.terminal:
                raise InvalidStateError(f"Job {job_id} is {job.state} and cannot be cancelled.")
            await self._cancel(connection, job, reason)
        self._database.announce(Ended(job_id=job.id))
        return job

    @uninterrupted
    async def delete(self, account: AccountId, job_id: str) -> Job:
        """See `JobStore.delete`."""
        async with self._database.transaction() as connection:
            job = await _locked(connection, account, job_id)
            if not job.state.terminal:
                await self._cancel(connection, job, "Deleted by its owner.")
            await connection.execute(_DELETE, {"job_id": job.id})
        self._database.announce(Ended(job_id=job.id))
        return job

    @uninterrupted
    async def set_tags(self, account: AccountId, job_id: str, tags: Sequence[str]) -> None:
        """See `JobStore.set_tags`."""
        async with self._database.transaction() as connection:
            job = await _locked(connection, account, job_id)
            await connection.execute(_SET_TAGS, {"of_job": job.id, "new_tags": json_text(tuple(tags))})
            await connection.execute(_DELETE_TAGS, {"of_job": job.id})
            await _add_tags(connection, job, tags)

    async def _cancel(self, connection: AsyncConnection, job: Job, reason: str) -> None:
        """End the job; the time that it spent in a slot counts."""
        now = (await self._database.now(connection)).utc
        metrics = msgspec.structs.replace(job.metrics, seconds=_seconds_in_slot(job, now))
        await transitions.end(connection, job, Outcome(state=JobState.CANCELLED, reason=reason, metrics=metrics), now)


async def _check_session(
    connection: AsyncConnection, session: Select[*tuple[Any, ...]], job: Job, now: datetime
) -> None:
    if job.session_id is None:
        return
    result = await connection.execute(session, {"session_id": job.session_id, "account_id": job.account})
    if (row := result.mappings().first()) is None:
        raise SessionNotFoundError(f"Session {job.session_id} not found.")
    if not session_of(row).accepts_jobs(now):
        raise InvalidStateError(f"Session {job.session_id} accepts no more jobs.")


def _not_found(job_id: str) -> JobNotFoundError:
    return JobNotFoundError(f"Job {job_id} not found.")


def _job(account: AccountId | None, job_id: str) -> tuple[Select[*tuple[Any, ...]], dict[str, str]]:
    """Return the query for a job, and its values."""
    if account is None:
        return _OF_ANYBODY, {"job_id": job_id}
    return _OF_OWNER, {"job_id": job_id, "account_id": account}


async def _locked(connection: AsyncConnection, account: AccountId | None, job_id: str) -> Job:
    query, values = _job(account, job_id)
    result = await connection.execute(query.with_for_update(), values)
    if (row := result.mappings().first()) is None:
        raise _not_found(job_id)
    return job_of(row)


async def _add_tags(connection: AsyncConnection, job: Job, tags: Sequence[str]) -> None:
    if tags:
        rows = [{"account": job.account, "tag": tag, "job_id": job.id} for tag in sorted(set(tags))]
        await connection.execute(_ADD_TAGS, rows)


def _conditions(account: AccountId | None, query: JobQuery) -> list[ColumnElement[bool]]:
    exact = (
        (jobs.c.account, account),
        (jobs.c.backend, query.backend),
        (jobs.c.program_id, query.program_id),
        (jobs.c.session_id, query.session_id),
    )
    conditions = [column == wanted for column, wanted in exact if wanted is not None]
    if query.backend is None and not query.dry_runs:
        conditions.append(not_(jobs.c.backend.startswith(DRY_RUN, autoescape=True)))
    if query.pending is not None:
        conditions.append(IS_PENDING if query.pending else not_(IS_PENDING))
    for tag in query.tags:
        tagged = select(job_tags.c.job_id).where(job_tags.c.tag == tag)
        conditions.append(jobs.c.id.in_(tagged if account is None else tagged.where(job_tags.c.account == account)))
    if query.created_after is not None:
        conditions.append(jobs.c.created > query.created_after)
    if query.created_before is not None:
        conditions.append(jobs.c.created < query.created_before)
    return conditions


def _by_age(created: ColumnElement[Any], job_id: ColumnElement[Any], query: JobQuery) -> list[ColumnElement[Any]]:
    return [column if query.oldest_first else column.desc() for column in (created, job_id)]


def _seconds_in_slot(job: Job, now: datetime) -> float:
    if job.state is not JobState.RUNNING or job.started is None:
        return 0.0
    return max(0.0, (now - job.started).total_seconds())
