"""Counts that transitions keep up to date, in SQL."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import date, datetime
from functools import partial
from typing import Final

from sqlalchemy import ColumnElement, Connection, Integer, and_, bindparam, case, func, select, tuple_

from qiskit_runtime_server.backends.names import ExecutorName
from qiskit_runtime_server.jobs import AccountId, Job
from qiskit_runtime_server.store.port import COUNTED_JOBS, MOST_RUNNING, Load, QueuedTime, Standing, UsageDay
from qiskit_runtime_server.store.sql.accounting import GRANTED, USED_TODAY
from qiskit_runtime_server.store.sql.database import SqlPart, reading
from qiskit_runtime_server.store.sql.rows import JOB_COLUMNS, job_of
from qiskit_runtime_server.store.sql.schema import (
    CLOCK,
    IS_HELD,
    IS_ROUTED,
    IS_RUNNING,
    IS_WAITING,
    IS_WAITING_LONG,
    MAY_RUN,
    counts,
    executors,
    jobs,
    usage_days,
)

_OLDEST_QUEUED: Final = (
    select(func.min(jobs.c.created)).where(IS_WAITING, jobs.c.executor == counts.c.executor).scalar_subquery()
)


def _startable(waiting: ColumnElement[int]) -> ColumnElement[int]:
    """Return how many of the `waiting` jobs of an account may run now, as `fair_share.Counts.startable` does."""
    room = counts.c.max_running - counts.c.running
    return case((room <= 0, 0), (waiting < room, waiting), else_=room)


_LOAD: Final = select(
    counts.c.executor,
    func.sum(counts.c.queued).label("queued"),
    func.sum(_startable(counts.c.queued)).label("startable"),
    func.sum(counts.c.running).label("running"),
    _OLDEST_QUEUED.label("oldest_queued"),
).group_by(counts.c.executor)
"""What is queued and runs on every executor, and since when; reads the whole table of counts. Index `jobs_waiting`."""

_HELD_OF: Final = (
    select(jobs.c.executor, jobs.c.account, func.count().label("jobs"))
    .where(IS_HELD)
    .group_by(jobs.c.executor, jobs.c.account)
    .subquery()
)
_HELD: Final = (
    select(
        counts.c.executor,
        func.sum(_HELD_OF.c.jobs),
        func.sum(_startable(counts.c.queued) - _startable(counts.c.queued - _HELD_OF.c.jobs)),
    )
    .join(_HELD_OF, and_(_HELD_OF.c.executor == counts.c.executor, _HELD_OF.c.account == counts.c.account))
    .group_by(counts.c.executor)
)
"""How many jobs of every executor are held, and how many of them count as startable above; reads the whole index.

Index `jobs_held`.
"""

_LONG_WAITS: Final = (
    select(counts.c.executor)
    .join(jobs, and_(jobs.c.executor == counts.c.executor, jobs.c.account == counts.c.account))
    .where(IS_WAITING_LONG, MAY_RUN)
    .distinct()
)
"""Where a job waits that is known as long and may run beside those of its account; reads the whole index.

Index `jobs_waiting_long`.
"""

_ITS_AGE: Final = tuple_(bindparam("its_created", type_=jobs.c.created.type), bindparam("its_id"))
_AGE: Final = tuple_(jobs.c.created, jobs.c.id)
_WAITING_THERE: Final = (
    select(jobs.c.created)
    .where(IS_WAITING, jobs.c.executor == bindparam("at_executor"))
    .limit(bindparam("at_most", type_=Integer()))
)
"""Base of the two below: when waiting jobs of an executor were created, some of them."""

_OLDEST: Final = _WAITING_THERE.where(_AGE < _ITS_AGE).order_by(jobs.c.created, jobs.c.id).subquery()
_YOUNGEST: Final = _WAITING_THERE.where(_AGE > _ITS_AGE).order_by(jobs.c.created.desc(), jobs.c.id.desc()).subquery()
_OLDER: Final = select(func.count(), func.max(_OLDEST.c.created))
"""How many of an executor's oldest waiting jobs are older than one; when the last was made. Index `jobs_waiting`."""

_YOUNGER: Final = select(func.count(), func.min(_YOUNGEST.c.created))
"""How many of its youngest are younger, and when the first was made. Index `jobs_waiting`."""

_PREDICTED_THERE: Final = (
    select(jobs.c.predicted_seconds)
    .where(IS_WAITING, jobs.c.executor == bindparam("at_executor"))
    .order_by(jobs.c.created, jobs.c.id)
    .limit(COUNTED_JOBS)
    .subquery()
)
_QUEUED_TIME: Final = select(
    func.count(),
    func.count(_PREDICTED_THERE.c.predicted_seconds),
    func.coalesce(func.sum(_PREDICTED_THERE.c.predicted_seconds), 0.0),
)
"""How many of an executor's oldest waiting jobs there are, and what is predicted of them. Index `jobs_waiting`."""

_ROUTED: Final = (
    select(*JOB_COLUMNS)
    .where(IS_ROUTED, jobs.c.executor == bindparam("at_executor"))
    .order_by(jobs.c.created.desc(), jobs.c.id.desc())
    .limit(bindparam("at_most", type_=Integer()))
)
"""The youngest jobs that wait on an executor that was chosen for them. Index `jobs_routed`."""

_QUEUED: Final = select(func.coalesce(func.sum(counts.c.queued), 0)).where(
    counts.c.executor == bindparam("at_executor")
)
"""How many jobs of an executor are queued, held ones too. Primary key of `counts`."""

_HELD_THERE: Final = select(func.count()).select_from(jobs).where(IS_HELD, jobs.c.executor == bindparam("at_executor"))
"""How many of them are held; reads the whole index. Index `jobs_held`."""

_RUNNING: Final = select(*JOB_COLUMNS).where(IS_RUNNING, jobs.c.executor == bindparam("at_executor"))
"""The jobs that run on an executor. Index `jobs_leases`."""

_RUNNING_OF_INSTANCE: Final = (
    select(*JOB_COLUMNS)
    .where(IS_RUNNING, jobs.c.account == bindparam("of_account"), jobs.c.instance == bindparam("of_instance"))
    .order_by(jobs.c.created.desc(), jobs.c.id.desc())
    .limit(MOST_RUNNING)
)
"""The jobs of an instance that run, the newest first. Index `jobs_running`."""

_DRAINING: Final = select(executors.c.name).where(executors.c.draining)
"""The executors that drain; reads the whole table, which has a row for each executor."""

_DAYS: Final = (
    select(usage_days)
    .where(usage_days.c.day.between(bindparam("since"), bindparam("until")))
    .order_by(*usage_days.c["day", "account", "instance", "executor"])
)
"""What was used on the days between two, by day, account, instance and executor. Index `usage_days_by_day`."""

_STANDING: Final = select(
    CLOCK.label("now"),
    GRANTED.scalar_subquery().label("granted"),
    func.coalesce(func.sum(counts.c.seconds), 0.0).label("of_account"),
).where(counts.c.account == bindparam("of_account"))
"""The time, what an admin has set for an instance, and the slot time of its account. Index `counts_of_account`."""


class SqlCounts(SqlPart):
    """A `CountStore`."""

    @reading
    async def load(self) -> Mapping[ExecutorName, Load]:
        """See `CountStore.load`."""
        return await self._database.read(_load)

    @reading
    async def queue_position(self, job: Job) -> int:
        """See `CountStore.queue_position`."""
        return 1 + await self._database.read(partial(_older, job=job))

    @reading
    async def expected_ends(self, executor: ExecutorName) -> Sequence[datetime | None]:
        """See `CountStore.expected_ends`."""
        which = {"at_executor": executor}
        rows = await self._database.read(lambda connection: connection.execute(_RUNNING, which).mappings().all())
        return [job_of(row).expected_end() for row in rows]

    @reading
    async def queued_time(self, executor: ExecutorName) -> QueuedTime:
        """See `CountStore.queued_time`."""
        which = {"at_executor": executor}
        row = await self._database.read(lambda connection: connection.execute(_QUEUED_TIME, which).one())
        return QueuedTime(jobs=row[0], predicted=row[1], seconds=row[2])

    @reading
    async def routed(self, executor: ExecutorName, *, limit: int) -> Sequence[Job]:
        """See `CountStore.routed`."""
        which = {"at_executor": executor, "at_most": limit}
        rows = await self._database.read(lambda connection: connection.execute(_ROUTED, which).mappings().all())
        return [job_of(row) for row in rows]

    @reading
    async def standing(self, account: AccountId, instance: str) -> Standing:
        """See `CountStore.standing`."""
        which = {"of_account": account, "of_instance": instance}

        def standing(connection: Connection) -> Standing:
            found = connection.execute(_STANDING, which).one()
            return Standing(
                granted=found.granted,
                today=connection.scalars(USED_TODAY, {**which, "of_day": found.now.date()}).one(),
                of_account=found.of_account,
                running=[job_of(row) for row in connection.execute(_RUNNING_OF_INSTANCE, which).mappings()],
            )

        return await self._database.read(standing)

    @reading
    async def usage(self, since: date, until: date) -> Sequence[UsageDay]:
        """See `CountStore.usage`."""
        days = {"since": since, "until": until}
        rows = await self._database.read(lambda connection: connection.execute(_DAYS, days).mappings().all())
        return [UsageDay(**row) for row in rows]


def _older(connection: Connection, job: Job) -> int:
    """Return how many waiting jobs are older; counted from the nearer end of the queue, or estimated between both."""
    which = {"at_executor": job.executor, "its_created": job.created, "its_id": job.id, "at_most": COUNTED_JOBS}
    older: int
    younger: int
    older, last_older = connection.execute(_OLDER, which).one()
    if older < COUNTED_JOBS:
        return older
    younger, first_younger = connection.execute(_YOUNGER, which).one()
    executor = {"at_executor": job.executor}
    # Statements of several moments.
    others: int = max(
        0, connection.scalars(_QUEUED, executor).one() - connection.scalars(_HELD_THERE, executor).one() - 1
    )
    if younger < COUNTED_JOBS:
        return max(older, others - younger)
    whole = first_younger - last_older
    part = (job.created - last_older) / whole if whole else 0.5
    # From the last one that is counted on this side to the first one on the other.
    estimate: int = older - 1 + round(part * (others - older - younger + 2))
    return max(older, min(estimate, others - younger))


def _load(connection: Connection) -> Mapping[ExecutorName, Load]:
    loads = {
        ExecutorName(row.executor): Load(
            queued=row.queued, running=row.running, oldest_queued=row.oldest_queued, startable=row.startable
        )
        for row in connection.execute(_LOAD)
    }
    for executor, held, startable in connection.execute(_HELD):
        load = loads.get(ExecutorName(executor), Load())
        # Two statements, of two moments.
        loads[ExecutorName(executor)] = replace(
            load, queued=max(0, load.queued - held), startable=max(0, load.startable - startable)
        )
    for name in map(ExecutorName, connection.scalars(_LONG_WAITS)):
        loads[name] = replace(loads.get(name, Load()), long_waits=True)
    for name in map(ExecutorName, connection.scalars(_DRAINING)):
        loads[name] = replace(loads.get(name, Load()), draining=True)
    return loads
