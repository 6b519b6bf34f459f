"""Jobs as their owners see them, in SQL."""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Final

from sqlalchemy import (
    ColumnElement,
    Connection,
    FromClause,
    Select,
    and_,
    bindparam,
    delete,
    func,
    insert,
    not_,
    or_,
    select,
    true,
    tuple_,
    update,
)

from qiskit_runtime_server.accounts.limits import NO_LIMITS, AccountLimits
from qiskit_runtime_server.backends.names import DRY_RUN
from qiskit_runtime_server.errors import JobNotFoundError, SessionNotFoundError
from qiskit_runtime_server.jobs import AccountId, Job, JobState, cancelled
from qiskit_runtime_server.store.port import BY_OWNER, DocumentKind, Ended, JobQuery, Queued
from qiskit_runtime_server.store.sql import transitions
from qiskit_runtime_server.store.sql.accounting import granted, refuse_beyond, stored_bytes
from qiskit_runtime_server.store.sql.database import SqlPart, reading, uninterrupted
from qiskit_runtime_server.store.sql.documents import write_document
from qiskit_runtime_server.store.sql.packing import packed, size_of
from qiskit_runtime_server.store.sql.rows import JOB_COLUMNS, job_of, job_row, json_text, session_of
from qiskit_runtime_server.store.sql.schema import CLOCK, IS_PENDING, IS_QUEUED, IS_RUNNING, job_tags, jobs, sessions

_OF_ANYBODY: Final = select(*JOB_COLUMNS).where(jobs.c.id == bindparam("job_id"))
"""A job. Primary key of `jobs`."""

_OF_OWNER: Final = _OF_ANYBODY.where(jobs.c.account == bindparam("account_id"))
"""A job, if it is the account's. Primary key of `jobs`."""

_KNOWN: Final = select(jobs.c.id).where(jobs.c.id == bindparam("job_id"))
"""Whether there is a job. Primary key of `jobs`."""

_SESSION: Final = select(sessions, CLOCK.label("now")).where(
    sessions.c.id == bindparam("session_id"), sessions.c.account == bindparam("account_id")
)
"""A session of the account, and the time. Primary key of `sessions`."""

# Not against those who have just referred to the session in a job of theirs: they may wait for this transaction.
_SESSION_LOCKED: Final = _SESSION.with_for_update(key_share=True)
"""The same, locked so that it is not closed before this transaction ends. Primary key of `sessions`."""

_ADD: Final = insert(jobs)
"""Adds a job."""

_DELETE: Final = delete(jobs).where(jobs.c.id == bindparam("job_id"))
"""Removes a job; its documents and tags go with it. Primary key of `jobs`."""

_ADD_TAGS: Final = insert(job_tags)
"""Adds a tag of a job, by which it is found."""

_DELETE_TAGS: Final = delete(job_tags).where(job_tags.c.job_id == bindparam("of_job"))
"""Removes all tags of a job. Index `job_tags_of_job`."""

_SET_TAGS: Final = update(jobs).where(jobs.c.id == bindparam("of_job")).values(tags=bindparam("new_tags"))
"""Replaces the tags that a job shows. Primary key of `jobs`."""

_CONDITIONS: Final[dict[str, ColumnElement[bool]]] = {
    **{name: jobs.c[name] == bindparam(name) for name in ("account", "backend", "program_id", "session_id", "state")},
    "owners": jobs.c.account.in_(bindparam("owners", expanding=True)),
    # The CRN of an instance names its account.
    "under_instances": or_(
        jobs.c.account.in_(bindparam("whole_accounts", expanding=True)),
        jobs.c.instance.in_(bindparam("under_instances", expanding=True)),
    ),
    "no_dry_runs": not_(jobs.c.backend.startswith(DRY_RUN, autoescape=True)),
    # The first follows from the second, and is what an index is for.
    "queued": and_(IS_PENDING, IS_QUEUED),
    "running": IS_RUNNING,
    "pending": IS_PENDING,
    "ended": not_(IS_PENDING),
    "created_after": jobs.c.created > bindparam("created_after"),
    "created_before": jobs.c.created < bindparam("created_before"),
}
_SPELLED_STATES: Final[dict[JobState | None, str]] = {JobState.QUEUED: "queued", JobState.RUNNING: "running"}


class SqlJobs(SqlPart):
    """A `JobStore`."""

    @uninterrupted
    async def add(self, job: Job, params: bytes | memoryview, limits: AccountLimits = NO_LIMITS) -> None:
        """See `JobStore.add`."""
        rows = await packed(params)
        size = size_of(rows)
        await self._refuse_beyond_room(job, size, limits)

        def add(connection: Connection) -> None:
            if self._database.in_doubt() and connection.scalar(_KNOWN, {"job_id": job.id}) is not None:
                return
            _check_session(connection, _SESSION, job)
            in_force = limits.granting(granted(connection, job.account, job.instance))
            refuse_beyond(connection, job, in_force, arrived=0)
            connection.execute(_ADD, job_row(job) | {"stored_bytes": size})
            _add_tags(connection, job, job.tags)
            write_document(connection, job.id, DocumentKind.PARAMS, rows)
            transitions.arrive(connection, job, in_force)
            _check_session(connection, _SESSION_LOCKED, job)
            # Again, now that no other transaction can count as well.
            refuse_beyond(connection, job, in_force, arrived=1)

        await self._database.change(add)
        self._database.announce(Queued(executor=job.executor))

    @reading
    async def get(self, account: AccountId | None, job_id: str) -> Job:
        """See `JobStore.get`."""
        return await self._database.read(lambda connection: _read(connection, account, job_id))

    @reading
    async def find(self, account: AccountId | None, query: JobQuery) -> tuple[Sequence[Job], int]:
        """See `JobStore.find`."""
        values = _values(account, query)
        page = _page(tuple(values), oldest_first=query.oldest_first)

        def read(connection: Connection) -> tuple[Sequence[Job], int]:
            # Where there is a thread for it, 200 rows do not hold up the event loop.
            found = connection.execute(page, values).mappings().all()
            return [job_of(row) for row in found if row["id"] is not None], found[0]["count_over_all_pages"]

        return await self._database.read(read)

    @uninterrupted
    async def cancel(self, account: AccountId | None, job_id: str, *, reason: str) -> Job:
        """See `JobStore.cancel`."""

        def cancel(connection: Connection) -> tuple[Job, Job]:
            job = _read(connection, account, job_id, locked=True)
            if job.state is JobState.CANCELLED and self._database.in_doubt():
                return job, job
            return job, self._cancel(connection, job, reason)

        before, after = await self._database.change(cancel)
        self._database.announce_end(after)
        return before

    async def delete(self, account: AccountId | None, job_id: str, *, reason: str = BY_OWNER) -> Job:
        """See `JobStore.delete`."""
        return await self._delete(account, job_id, reason, [])

    @uninterrupted
    async def _delete(self, account: AccountId | None, job_id: str, reason: str, found: list[tuple[Job, Job]]) -> Job:
        """Delete a job; `found` keeps it as it was and as it ended, should nobody know whether that was committed."""

        def delete(connection: Connection) -> tuple[Job, Job]:
            try:
                job = _read(connection, account, job_id, locked=True)
            except JobNotFoundError:
                if not found or not self._database.in_doubt():
                    raise
                return found[-1]
            found.append((job, job if job.state.terminal else self._cancel(connection, job, reason)))
            connection.execute(_DELETE, {"job_id": job.id})
            return found[-1]

        before, after = await self._database.change(delete)
        if before.state.terminal:
            self._database.announce(Ended(job_id=before.id))
        else:
            self._database.announce_end(after, deleted=True)
        return before

    @uninterrupted
    async def set_tags(self, account: AccountId, job_id: str, tags: Sequence[str]) -> None:
        """See `JobStore.set_tags`."""

        def replace(connection: Connection) -> None:
            job = _read(connection, account, job_id, locked=True)
            connection.execute(_SET_TAGS, {"of_job": job.id, "new_tags": json_text(tuple(tags))})
            connection.execute(_DELETE_TAGS, {"of_job": job.id})
            _add_tags(connection, job, tags)

        await self._database.change(replace)

    async def _refuse_beyond_room(self, job: Job, size: int, limits: AccountLimits) -> None:
        await self._database.refuse_if_full(size, to_begin=True)
        if limits.stored_bytes is not None:
            # Before the transaction, which others wait for: it reads the sizes of all jobs of the account.
            stored = await self._database.read(lambda connection: stored_bytes(connection, job.account))
            limits.check_stored(job.account, stored, size)

    def _cancel(self, connection: Connection, job: Job, reason: str) -> Job:
        now = self._database.now(connection).utc
        after = cancelled(job, now, reason=reason)
        transitions.end(connection, job, after, now)
        return after


def _check_session(connection: Connection, session: Select[*tuple[Any, ...]], job: Job) -> None:
    if job.session_id is None:
        return
    result = connection.execute(session, {"session_id": job.session_id, "account_id": job.account})
    if (row := result.mappings().first()) is None:
        raise SessionNotFoundError(f"Session {job.session_id} not found.")
    session_of(row).check_accepts_jobs(row["now"])


def _read(connection: Connection, account: AccountId | None, job_id: str, *, locked: bool = False) -> Job:
    query = _OF_ANYBODY if account is None else _OF_OWNER
    if locked:
        query = query.with_for_update()
    row = connection.execute(query, {"job_id": job_id, "account_id": account}).mappings().first()
    if row is None:
        raise JobNotFoundError(f"Job {job_id} not found.")
    return job_of(row)


def _add_tags(connection: Connection, job: Job, tags: Sequence[str]) -> None:
    if tags:
        rows = [{"account": job.account, "tag": tag, "job_id": job.id} for tag in sorted(set(tags))]
        connection.execute(_ADD_TAGS, rows)


def _values(account: AccountId | None, query: JobQuery) -> dict[str, object]:
    """Return the values of a page's query, by the names of the conditions that they belong to, and of its place."""
    # States for which there are partial indexes are spelled out.
    spelled = _SPELLED_STATES.get(query.state)
    fields = ("backend", "program_id", "session_id", "created_after", "created_before")
    values: dict[str, object] = {"account": account} | {field: getattr(query, field) for field in fields}
    values |= {f"tag_{number}": tag for number, tag in enumerate(query.tags)}
    values["state" if spelled is None else spelled] = query.state
    values = {name: value for name, value in values.items() if value is not None}
    if (owners := query.owners) is not None:
        values["owners"] = (*owners.accounts, *(account for account, _ in owners.instances))
        if owners.instances:
            values["whole_accounts"] = owners.accounts
            values["under_instances"] = [instance for _, instance in owners.instances]
    if query.backend is None and not query.dry_runs:
        values["no_dry_runs"] = True
    if query.pending is not None:
        values["pending" if query.pending else "ended"] = True
    if query.beyond is not None:
        values["beyond_created"], values["beyond_id"] = query.beyond
    return values | {"limit": query.limit, "offset": query.offset}


# To build it takes longer than to run it, and clients ask for the same few over and over.
@lru_cache(maxsize=256)
def _page(names: tuple[str, ...], *, oldest_first: bool) -> Select[*tuple[Any, ...]]:
    """Return the query for a page of jobs under the conditions with these names, and for how many there are in all.

    Without accounts, jobs are read in the order of index `jobs_by_age` until the page is full; those of one or some
    accounts in that of `jobs_of_account`, `jobs_pending` or `jobs_running`. For the count, the index is read over all
    jobs that match, and their rows too where a condition is on what is not in it.
    """
    conditions = [_CONDITIONS[name] for name in names if name in _CONDITIONS]
    conditions += [_tagged(name, of_account="account" in names) for name in names if name.startswith("tag_")]
    count = select(func.count().label("count_over_all_pages")).select_from(jobs).where(*conditions).subquery()
    page = select(*JOB_COLUMNS).where(*conditions).order_by(*_by_age(jobs, oldest_first=oldest_first))
    if "beyond_id" in names:
        age = tuple_(jobs.c.created, jobs.c.id)
        beyond = tuple_(bindparam("beyond_created", type_=jobs.c.created.type), bindparam("beyond_id"))
        page = page.where(age > beyond if oldest_first else age < beyond)
    some = page.limit(bindparam("limit")).offset(bindparam("offset")).subquery()
    # One statement, so that page and count are of the same moment.
    both = select(count, some).select_from(count.outerjoin(some, true()))
    return both.order_by(*_by_age(some, oldest_first=oldest_first))


def _tagged(name: str, *, of_account: bool) -> ColumnElement[bool]:
    tagged = select(job_tags.c.job_id).where(job_tags.c.tag == bindparam(name))
    return jobs.c.id.in_(tagged.where(job_tags.c.account == bindparam("account")) if of_account else tagged)


def _by_age(of: FromClause, *, oldest_first: bool) -> list[ColumnElement[Any]]:
    return [column if oldest_first else column.desc() for column in (of.c.created, of.c.id)]
