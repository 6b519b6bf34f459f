"""Listings over jobs and sessions, and sums over what they have used, in SQL."""

import re
from collections.abc import Sequence
from datetime import date, datetime
from functools import lru_cache, partial
from typing import Any, Final

from sqlalchemy import (
    ColumnElement,
    Connection,
    Date,
    Row,
    Select,
    Subquery,
    and_,
    bindparam,
    case,
    delete,
    exists,
    false,
    func,
    insert,
    literal,
    not_,
    or_,
    select,
    tuple_,
    union_all,
    update,
)
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement

from qiskit_runtime_server.backends.names import DRY_RUN
from qiskit_runtime_server.jobs import AccountId, Job, Session, SessionMode
from qiskit_runtime_server.store.overviews import (
    MODE_OF_SESSION,
    STATUS_OF_JOB,
    KeptText,
    UsageGroup,
    UsageKey,
    UsageOfMode,
    UsageQuery,
    WorkloadMode,
    WorkloadPage,
    WorkloadQuery,
    WorkloadStatus,
)
from qiskit_runtime_server.store.sql.accounting import granted, insert_unless_there
from qiskit_runtime_server.store.sql.database import SqlPart, reading, uninterrupted
from qiskit_runtime_server.store.sql.rows import JOB_COLUMNS, job_of, session_of
from qiskit_runtime_server.store.sql.schema import (
    counts,
    instance_limits,
    job_tags,
    jobs,
    kept_texts,
    sessions,
    slot_times,
)

_TAGS: Final = (
    select(job_tags.c.tag)
    .distinct()
    .where(job_tags.c.account == bindparam("of_account"))
    .where(func.lower(job_tags.c.tag).like(bindparam("pattern"), escape="/"))
    .order_by(job_tags.c.tag)
    .limit(bindparam("most"))
)
"""Tags of an account's jobs that contain a text; reads all tags of the account. Primary key of `job_tags`."""

_ACCOUNTS: Final = select(counts.c.account).distinct().order_by(counts.c.account)
"""All accounts; reads the whole of the index, a row for each and each executor. Index `counts_of_account`."""

_OF_INSTANCE: Final = and_(
    instance_limits.c.account == bindparam("of_account"), instance_limits.c.instance == bindparam("of_instance")
)
_UNLIMIT: Final = delete(instance_limits).where(_OF_INSTANCE)
"""Removes the limit of an instance. Primary key of `instance_limits`."""

_LIMIT_INSTANCE: Final = insert(instance_limits)
"""Limits an instance that has no limit."""

_CHANGE_LIMIT: Final = update(instance_limits).where(_OF_INSTANCE).values(seconds_per_day=bindparam("seconds"))
"""Changes the limit of an instance. Primary key of `instance_limits`."""

_KEPT: Final = (
    select(kept_texts).where(kept_texts.c.name == bindparam("of_name")).order_by(kept_texts.c.since.desc()).limit(1)
)
"""A kept text. Primary key of `kept_texts`."""

_FORGET_TEXTS: Final = delete(kept_texts).where(
    kept_texts.c.name == bindparam("of_name"), kept_texts.c.since < bindparam("until")
)
"""Removes what a kept text was before. Primary key of `kept_texts`."""

_KEEP_TEXT: Final = insert(kept_texts)
"""Keeps a text."""

_JOBS: Final = select(*JOB_COLUMNS).where(jobs.c.id.in_(bindparam("ids", expanding=True)))
"""Some jobs. Primary key of `jobs`."""

_SESSIONS: Final = select(sessions).where(sessions.c.id.in_(bindparam("ids", expanding=True)))
"""Some sessions. Primary key of `sessions`."""


class SqlOverviews(SqlPart):
    """An `Overviews`."""

    @reading
    async def workloads(self, account: AccountId, query: WorkloadQuery) -> WorkloadPage:
        """See `Overviews.workloads`."""

        def read(connection: Connection) -> WorkloadPage:
            all_of = _workloads(account, query, self._database.now(connection).utc)
            # Pages that are read backwards, and those with the newest first, go down; both together go up.
            down = query.newest_first != query.backwards
            count = connection.scalars(select(func.count()).select_from(all_of)).one()
            rows = connection.execute(_place(all_of, query, down=down)).all()
            found = _with_content(connection, rows[: query.limit])
            return WorkloadPage(
                workloads=found[::-1] if query.backwards else found, count=count, more=len(rows) > query.limit
            )

        return await self._database.read(read)

    @reading
    async def tags(self, account: AccountId, search: str, *, limit: int) -> Sequence[str]:
        """See `Overviews.tags`."""
        escaped = re.sub("[%_/]", r"/\g<0>", search.lower())
        which = {"of_account": account, "pattern": f"%{escaped}%", "most": limit}
        return await self._database.read(lambda connection: connection.scalars(_TAGS, which).all())

    @reading
    async def accounts(self) -> Sequence[AccountId]:
        """See `Overviews.accounts`."""
        return await self._database.read(lambda connection: list(map(AccountId, connection.scalars(_ACCOUNTS))))

    @reading
    async def usage(self, query: UsageQuery) -> Sequence[UsageGroup]:
        """See `Overviews.usage`."""
        values: dict[str, object] = {name: list(getattr(query, name)) for name in _FILTERS if getattr(query, name)}
        if query.account is not None:
            values["account"] = query.account
        statement = _usage(tuple(values), query.by, by_day=query.by_day)
        values |= {"since": query.since, "until": query.until}
        rows = await self._database.read(lambda connection: connection.execute(statement, values).all())
        return [_group(row) for row in rows]

    @reading
    async def instance_limit(self, account: AccountId, instance: str) -> int | None:
        """See `Overviews.instance_limit`."""
        return await self._database.read(lambda connection: granted(connection, account, instance))

    @uninterrupted
    async def limit_instance(self, account: AccountId, instance: str, seconds_per_day: int | None) -> None:
        """See `Overviews.limit_instance`."""

        def write(connection: Connection) -> None:
            which = {"of_account": account, "of_instance": instance}
            if seconds_per_day is None:
                connection.execute(_UNLIMIT, which)
                return
            change = {**which, "seconds": seconds_per_day}
            if connection.execute(_CHANGE_LIMIT, change).rowcount == 0:
                row = {"account": account, "instance": instance, "seconds_per_day": seconds_per_day}
                insert_unless_there(connection, _LIMIT_INSTANCE, row)
                connection.execute(_CHANGE_LIMIT, change)

        await self._database.change(write)

    @reading
    async def kept_text(self, name: str) -> KeptText | None:
        """See `Overviews.kept_text`."""
        return await self._database.read(partial(_kept_text, name=name))

    @uninterrupted
    async def keep_text(self, name: str, text: str) -> None:
        """See `Overviews.keep_text`."""

        def write(connection: Connection) -> None:
            kept = _kept_text(connection, name)
            if kept is not None and kept.text == text:
                return
            # Two apis that start at once both add a row, and neither waits for the other.
            since = self._database.now(connection).utc
            connection.execute(_KEEP_TEXT, {"name": name, "text": text, "since": since})
            connection.execute(_FORGET_TEXTS, {"of_name": name, "until": since})

        await self._database.change(write)


def _kept_text(connection: Connection, name: str) -> KeptText | None:
    row = connection.execute(_KEPT, {"of_name": name}).first()
    return None if row is None else KeptText(text=row.text, since=row.since)


def _workloads(account: AccountId, query: WorkloadQuery, now: datetime) -> Subquery:
    """Return creation, id and whether it is a job of everything that the query shows, in any order."""
    of_jobs = select(jobs.c.created, jobs.c.id, literal(value=True).label("is_job")).where(
        jobs.c.account == account, jobs.c.session_id.is_(None), jobs.c.instance == query.instance
    )
    of_sessions = select(sessions.c.created, sessions.c.id, literal(value=False).label("is_job")).where(
        sessions.c.account == account, sessions.c.instance == query.instance
    )
    for condition in _of_jobs(query):
        of_jobs = of_jobs.where(condition)
    for condition in _of_sessions(query, now):
        of_sessions = of_sessions.where(condition)
    for table in (jobs, sessions):
        shared = list(_of_both(table, query))
        of_jobs = of_jobs.where(*shared) if table is jobs else of_jobs
        of_sessions = of_sessions.where(*shared) if table is sessions else of_sessions
    return union_all(of_jobs, of_sessions).subquery()


def _of_both(table: Any, query: WorkloadQuery) -> list[ColumnElement[bool]]:  # noqa: ANN401 - one of two tables
    conditions: list[ColumnElement[bool]] = []
    if query.backend is not None:
        conditions.append(table.c.backend == query.backend)
    elif not query.dry_runs:
        conditions.append(not_(table.c.backend.startswith(DRY_RUN, autoescape=True)))
    if query.created_after is not None:
        conditions.append(table.c.created > query.created_after)
    if query.created_before is not None:
        conditions.append(table.c.created < query.created_before)
    return conditions


def _of_jobs(query: WorkloadQuery) -> list[ColumnElement[bool]]:
    if query.mode not in {None, WorkloadMode.JOB}:
        return [false()]
    conditions: list[ColumnElement[bool]] = []
    if query.statuses:
        conditions.append(jobs.c.state.in_([state for state, name in STATUS_OF_JOB.items() if name in query.statuses]))
    if query.search is not None:
        text = query.search.lower()
        of_job = job_tags.c.job_id == jobs.c.id
        tagged = exists().where(of_job, func.lower(job_tags.c.tag).contains(text, autoescape=True))
        conditions.append(or_(func.lower(jobs.c.id).contains(text, autoescape=True), tagged))
    conditions += [exists().where(job_tags.c.job_id == jobs.c.id, job_tags.c.tag == tag) for tag in query.tags]
    return conditions


def _of_sessions(query: WorkloadQuery, now: datetime) -> list[ColumnElement[bool]]:
    if query.mode is WorkloadMode.JOB or query.tags:
        return [false()]
    conditions: list[ColumnElement[bool]] = []
    if query.mode is not None:
        conditions.append(sessions.c.mode == next(mode for mode, it in MODE_OF_SESSION.items() if it is query.mode))
    if query.search is not None:
        conditions.append(func.lower(sessions.c.id).contains(query.search.lower(), autoescape=True))
    if query.statuses:
        over = or_(sessions.c.closed.is_not(None), func.coalesce(sessions.c.expires <= now, false()))
        closed = and_(sessions.c.active_jobs == 0, over)
        started = sessions.c.first_job_started.is_not(None)
        states: dict[WorkloadStatus, ColumnElement[bool]] = {
            WorkloadStatus.COMPLETED: closed,
            WorkloadStatus.PENDING: and_(not_(closed), not_(started)),
            WorkloadStatus.IN_PROGRESS: and_(not_(closed), started),
        }
        conditions.append(or_(false(), *(states[status] for status in query.statuses if status in states)))
    return conditions


def _place(all_of: Subquery, query: WorkloadQuery, *, down: bool) -> Select[Any]:
    """Return the query for a page, and for one workload beyond it."""
    place = tuple_(all_of.c.created, all_of.c.id)
    page = select(all_of).limit(query.limit + 1)
    page = page.order_by(*(column.desc() if down else column for column in (all_of.c.created, all_of.c.id)))
    if query.past is None:
        return page
    created, workload_id = query.past
    past = tuple_(literal(created, all_of.c.created.type), literal(workload_id))
    return page.where(place < past if down else place > past)


def _with_content(connection: Connection, rows: Sequence[Row[Any]]) -> list[Job | Session]:
    """Return the jobs and sessions of a page; all of them are there, as this is one transaction."""
    ids = {"ids": [row.id for row in rows]}
    found: dict[str, Job | Session] = {row["id"]: job_of(row) for row in connection.execute(_JOBS, ids).mappings()}
    found |= {row["id"]: session_of(row) for row in connection.execute(_SESSIONS, ids).mappings()}
    return [found[row.id] for row in rows if row.id in found]


class _UtcDay(FunctionElement[date]):
    """The day (UTC) of a time."""

    inherit_cache = True
    type = Date()
    name = "utc_day"


@compiles(_UtcDay)
def _utc_day(element: _UtcDay, compiler: SQLCompiler, **options: Any) -> str:
    return f"date({compiler.process(element.clauses, **options)})"


@compiles(_UtcDay, "postgresql")
def _utc_day_of_postgresql(element: _UtcDay, compiler: SQLCompiler, **options: Any) -> str:
    return f"date(timezone('UTC', {compiler.process(element.clauses, **options)}))"


_KEYS: Final = {
    UsageKey.INSTANCE: slot_times.c.instance,
    UsageKey.BACKEND: slot_times.c.backend,
    UsageKey.ACCOUNT: slot_times.c.account,
}
_FILTERS: Final = {
    "instances": slot_times.c.instance,
    "backends": slot_times.c.backend,
    "accounts": slot_times.c.account,
}
_INDIVIDUAL: Final = "individual"
_MODES: Final = {"batches": SessionMode.BATCH, "dedicated": SessionMode.DEDICATED, "individual": _INDIVIDUAL}


@lru_cache(maxsize=128)
def _usage(conditions: tuple[str, ...], by: UsageKey | None, *, by_day: bool) -> Select[Any]:
    """Return the query for groups of slot time under the conditions with these names.

    First all jobs of a session are one row, so that sessions can be counted and the one with the most be found.
    """
    keys: dict[str, ColumnElement[Any]] = {"key": literal(None) if by is None else _KEYS[by], "day": literal(None)}
    if by_day:
        keys["day"] = _UtcDay(slot_times.c.ended)
    groups = [name for name in keys if (name == "key" and by is not None) or (name == "day" and by_day)]
    # A session that is not there any more was one nevertheless.
    mode = case(
        (slot_times.c.session_id.is_(None), _INDIVIDUAL), else_=func.coalesce(sessions.c.mode, SessionMode.DEDICATED)
    )
    workload = func.coalesce(slot_times.c.session_id, slot_times.c.job_id)
    inner = (
        select(
            *(column.label(name) for name, column in keys.items()),
            func.min(mode).label("mode"),
            func.count().label("jobs"),
            func.sum(slot_times.c.seconds).label("seconds"),
            func.sum(slot_times.c.queue_seconds).label("queue_seconds"),
            func.max(slot_times.c.queue_seconds).label("longest_queue"),
        )
        .select_from(slot_times.outerjoin(sessions, sessions.c.id == slot_times.c.session_id))
        .where(slot_times.c.ended >= bindparam("since"), slot_times.c.ended < bindparam("until"))
        .where(*(_condition(name) for name in conditions))
        .group_by(workload, *(keys[name] for name in groups))
        .subquery()
    )
    sums: list[ColumnElement[Any]] = [
        func.coalesce(func.sum(inner.c.jobs), 0).label("jobs"),
        *(func.coalesce(func.sum(inner.c[name]), 0.0).label(name) for name in ("seconds", "queue_seconds")),
        func.coalesce(func.max(inner.c.longest_queue), 0.0).label("longest_queue"),
    ]
    for name, of_mode in _MODES.items():
        is_mode = inner.c.mode == of_mode
        seconds = case((is_mode, inner.c.seconds), else_=0.0)
        sums += [
            func.coalesce(func.sum(case((is_mode, 1), else_=0)), 0).label(f"{name}_number"),
            func.coalesce(func.sum(seconds), 0.0).label(f"{name}_seconds"),
            func.coalesce(func.max(seconds), 0.0).label(f"{name}_longest"),
        ]
    by_columns = [inner.c[name] for name in groups]
    return select(*by_columns, *sums).group_by(*by_columns).order_by(*reversed(by_columns))


def _condition(name: str) -> ColumnElement[bool]:
    if name == "account":
        return slot_times.c.account == bindparam("account")
    return _FILTERS[name].in_(bindparam(name, expanding=True))


def _group(row: Row[Any]) -> UsageGroup:
    values: dict[str, Any] = dict(row._mapping)  # the library's public name for it
    modes: dict[str, Any] = {
        name: UsageOfMode(**{part: values.pop(f"{name}_{part}") for part in ("number", "seconds", "longest")})
        for name in _MODES
    }
    return UsageGroup(**values, **modes)
