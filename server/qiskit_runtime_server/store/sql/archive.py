"""Jobs that have ended, in SQL."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Connection, Select, bindparam, delete, exists, func, not_, select, tuple_

from qiskit_runtime_server.jobs import AccountId
from qiskit_runtime_server.store.port import UNUSED_FOR, Forgotten, Retention, Surplus, Swept
from qiskit_runtime_server.store.sql.database import SqlPart, uninterrupted
from qiskit_runtime_server.store.sql.schema import IS_ENDED, IS_UNUSED, instance_limits, jobs, sessions

# What one transaction removes at most: others wait meanwhile where one writes at a time.
_BATCH_JOBS: Final = 20
_BATCH_BYTES: Final = 4 << 20
_BATCH_SESSIONS: Final = 200

_OLDEST: Final = (
    select(jobs.c.id, jobs.c.stored_bytes).where(IS_ENDED).order_by(jobs.c.finished, jobs.c.id).limit(_BATCH_JOBS)
)
"""Base of the next and of `_OLDER`: a few ended jobs with their sizes, those first that ended first."""

_OLD: Final = _OLDEST.where(jobs.c.finished <= bindparam("before"))
"""The oldest jobs among those that ended before a time. Index `jobs_ended`."""

_OF_ACCOUNT: Final = (IS_ENDED, jobs.c.account == bindparam("of_account"))
_NEWEST_FIRST: Final = (jobs.c.finished.desc(), jobs.c.id.desc())

_TOO_MANY: Final = (
    select(jobs.c.account).where(IS_ENDED).group_by(jobs.c.account).having(func.count() > bindparam("most")).limit(1)
)
"""An account that has more ended jobs than it may; reads the whole index. Index `jobs_ended_of_account`."""

_LAST_TO_KEEP: Final = (
    select(jobs.c.finished, jobs.c.id).where(*_OF_ACCOUNT).order_by(*_NEWEST_FIRST).offset(bindparam("newer")).limit(1)
)
"""The oldest ended job of an account that is still to be kept. Index `jobs_ended_of_account`."""

_OLDER: Final = _OLDEST.where(
    *_OF_ACCOUNT,
    tuple_(jobs.c.finished, jobs.c.id) < tuple_(bindparam("its_end", type_=jobs.c.finished.type), bindparam("its_id")),
)
"""The oldest jobs of an account among those that ended before one of them. Index `jobs_ended_of_account`."""

_SIZES: Final = (
    select(jobs.c.account, func.sum(jobs.c.stored_bytes).label("stored_bytes"), func.count().label("number"))
    .where(IS_ENDED)
    .group_by(jobs.c.account)
)
"""How many ended jobs each account has, and what they take; reads the whole index. Index `jobs_ended_of_account`."""

_HOW_MANY_OLD: Final = select(func.count()).where(IS_ENDED, jobs.c.finished <= bindparam("before"))
"""How many jobs ended before a time. Index `jobs_ended`."""

_ADDED_UP: Final = (
    select(
        jobs.c.id,
        jobs.c.stored_bytes,
        jobs.c.finished,
        func.sum(jobs.c.stored_bytes).over(order_by=_NEWEST_FIRST).label("with_newer"),
    )
    .where(*_OF_ACCOUNT)
    .subquery()
)
_BEYOND: Final = (
    select(_ADDED_UP.c.id, _ADDED_UP.c.stored_bytes)
    .where(_ADDED_UP.c.with_newer > bindparam("allowed"))
    .order_by(_ADDED_UP.c.finished, _ADDED_UP.c.id)
    .limit(_BATCH_JOBS)
)
"""The oldest jobs of an account that take, with all newer ones, more than is allowed. Index `jobs_ended_of_account`."""

_LOCK: Final = (
    select(jobs.c.id)
    .where(IS_ENDED, jobs.c.id.in_(bindparam("ids", expanding=True)))
    .order_by(jobs.c.id)
    .with_for_update(skip_locked=True)
)
"""Those of some ended jobs that nobody else is about to remove. Primary key of `jobs`."""

_DELETE: Final = delete(jobs).where(jobs.c.id.in_(bindparam("ids", expanding=True)))
"""Removes jobs; documents and tags go with them. Primary key of `jobs`."""


_OLD_UNUSED: Final = (
    select(sessions.c.id)
    .where(IS_UNUSED, sessions.c.created <= bindparam("before"))
    .where(not_(exists().where(jobs.c.session_id == sessions.c.id)))
    .order_by(sessions.c.created, sessions.c.id)
    .limit(_BATCH_SESSIONS)
    .with_for_update(skip_locked=True)
)
"""A few sessions without jobs that were opened before a time and never used. Index `sessions_unused`."""

_DELETE_SESSIONS: Final = delete(sessions).where(sessions.c.id.in_(bindparam("ids", expanding=True)))
"""Removes sessions. Primary key of `sessions`."""


_OF_ACCOUNT_OLDEST: Final = _OLDEST.where(*_OF_ACCOUNT)
"""The oldest ended jobs of an account. Index `jobs_ended_of_account`."""

_SESSIONS_OF_ACCOUNT: Final = (
    select(sessions.c.id)
    .where(sessions.c.account == bindparam("of_account"))
    .where(not_(exists().where(jobs.c.session_id == sessions.c.id)))
    .limit(_BATCH_SESSIONS)
    .with_for_update(skip_locked=True)
)
"""A few sessions of an account without jobs. Index `sessions_of_account`."""

_DELETE_LIMITS: Final = delete(instance_limits).where(instance_limits.c.account == bindparam("of_account"))
"""Removes the limits that admins have set for an account. Primary key of `instance_limits`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Batch:
    """Jobs that are over a limit, by id, with the size of each."""

    limit: str
    sizes: dict[str, int]


class SqlArchive(SqlPart):
    """An `Archive`."""

    @uninterrupted
    async def sweep(self, retention: Retention) -> Swept | None:
        """See `Archive.sweep`."""
        # Between the queries another replica may remove jobs. What is looked for is older than what is to be kept, be
        # the rest there or not, so that two together do not remove too much.
        batch = await self._database.read(lambda connection: self._over_a_limit(connection, retention))
        if batch is None:
            return None

        def remove(connection: Connection) -> Sequence[str]:
            ids = connection.scalars(_LOCK, {"ids": sorted(batch.sizes)}).all()
            if ids:
                connection.execute(_DELETE, {"ids": ids})
            return ids

        ids = await self._database.change(remove)
        return Swept(limit=batch.limit, jobs=len(ids), stored_bytes=sum(batch.sizes[job_id] for job_id in ids))

    async def surplus(self, retention: Retention) -> Surplus:
        """See `Archive.surplus`."""

        def read(connection: Connection) -> Surplus:
            accounts = connection.execute(_SIZES).all()
            most = retention.jobs
            stored_bytes = int(sum(account.stored_bytes for account in accounts))
            too_old = 0
            if retention.age is not None:
                before = self._database.now(connection).utc - retention.age
                too_old = connection.execute(_HOW_MANY_OLD, {"before": before}).scalar_one()
            return Surplus(
                jobs=sum(account.number for account in accounts),
                stored_bytes=stored_bytes,
                too_old=too_old,
                too_many=0 if most is None else sum(max(0, account.number - most) for account in accounts),
                excess_bytes=0 if retention.stored_bytes is None else max(0, stored_bytes - retention.stored_bytes),
            )

        return await self._database.read(read)

    @uninterrupted
    async def sweep_sessions(self) -> int:
        """See `Archive.sweep_sessions`."""

        def remove(connection: Connection) -> int:
            before = self._database.now(connection).utc - UNUSED_FOR
            ids = connection.scalars(_OLD_UNUSED, {"before": before}).all()
            if ids:
                connection.execute(_DELETE_SESSIONS, {"ids": ids})
            return len(ids)

        return await self._database.change(remove)

    @uninterrupted
    async def forget(self, account: AccountId) -> Forgotten:
        """See `Archive.forget`."""

        def remove(connection: Connection) -> Forgotten:
            oldest = sorted(_few(connection, _OF_ACCOUNT_OLDEST, of_account=account))
            if oldest:
                ids = connection.scalars(_LOCK, {"ids": oldest}).all()
                connection.execute(_DELETE, {"ids": ids})
                return Forgotten(jobs=len(ids))
            unused = connection.scalars(_SESSIONS_OF_ACCOUNT, {"of_account": account}).all()
            connection.execute(_DELETE_SESSIONS, {"ids": unused})
            connection.execute(_DELETE_LIMITS, {"of_account": account})
            return Forgotten(sessions=len(unused))

        return await self._database.change(remove)

    def _over_a_limit(self, connection: Connection, retention: Retention) -> _Batch | None:
        return next((batch for batch in self._batches(connection, retention) if batch.sizes), None)

    def _batches(self, connection: Connection, retention: Retention) -> Iterator[_Batch]:
        if retention.age is not None:
            before = self._database.now(connection).utc - retention.age
            yield _Batch(limit="age", sizes=_few(connection, _OLD, before=before))
        if retention.jobs is not None:
            yield _Batch(limit="jobs", sizes=_too_many(connection, retention.jobs))
        if retention.stored_bytes is not None:
            yield _Batch(limit="stored_bytes", sizes=_too_large(connection, retention.stored_bytes))


def _too_many(connection: Connection, most: int) -> dict[str, int]:
    account = connection.scalar(_TOO_MANY, {"most": most})
    if account is None:
        return {}
    last = connection.execute(_LAST_TO_KEEP, {"of_account": account, "newer": most - 1}).first()
    if last is None:
        return {}
    return _few(connection, _OLDER, of_account=account, its_end=last.finished, its_id=last.id)


def _too_large(connection: Connection, most: int) -> dict[str, int]:
    accounts = connection.execute(_SIZES).all()
    excess = int(sum(account.stored_bytes for account in accounts)) - most
    if excess <= 0:
        return {}
    largest = max(accounts, key=lambda account: account.stored_bytes)
    allowed = int(largest.stored_bytes) - excess
    return _few(connection, _BEYOND, of_account=largest.account, allowed=allowed)


def _few(connection: Connection, oldest: Select[tuple[str, int]], **values: Any) -> dict[str, int]:
    """Return the oldest jobs up to the one with which a transaction is large enough."""
    rows: Sequence[Any] = connection.execute(oldest, values).all()
    sizes: dict[str, int] = {}
    for row in rows:
        sizes[row.id] = row.stored_bytes
        if sum(sizes.values()) >= _BATCH_BYTES:
            break
    return sizes
