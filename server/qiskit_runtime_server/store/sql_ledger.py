"""Counts that transitions keep up to date, in SQL."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import date

from sqlalchemy import bindparam, func, select, tuple_

from qiskit_runtime_server.backends.names import ExecutorName
from qiskit_runtime_server.jobs import AccountId, Job
from qiskit_runtime_server.store.accounting import USED_TODAY
from qiskit_runtime_server.store.database import SqlPart, uninterrupted
from qiskit_runtime_server.store.port import Load, UsageDay
from qiskit_runtime_server.store.schema import IS_QUEUED, executors, jobs, ledger, usage_days

_OLDEST_QUEUED = (
    select(func.min(jobs.c.created)).where(IS_QUEUED, jobs.c.executor == ledger.c.executor).scalar_subquery()
)
_LOAD = select(
    ledger.c.executor,
    func.sum(ledger.c.queued).label("queued"),
    func.sum(ledger.c.running).label("running"),
    _OLDEST_QUEUED.label("oldest_queued"),
).group_by(ledger.c.executor)
_ITS_AGE = tuple_(bindparam("its_created", type_=jobs.c.created.type), bindparam("its_id"))
_OLDER = (
    select(func.count())
    .select_from(jobs)
    .where(IS_QUEUED, jobs.c.executor == bindparam("at_executor"))
    .where(tuple_(jobs.c.created, jobs.c.id) < _ITS_AGE)
)
_DRAINING = select(executors.c.name).where(executors.c.draining)
_DAYS = (
    select(usage_days)
    .where(usage_days.c.day.between(bindparam("since"), bindparam("until")))
    .order_by(*usage_days.c["day", "account", "instance", "executor"])
)
_SECONDS = select(func.coalesce(func.sum(ledger.c.seconds), 0.0)).where(ledger.c.account == bindparam("of_account"))


class SqlLedger(SqlPart):
    """A `Ledger`."""

    @uninterrupted
    async def load(self) -> Mapping[ExecutorName, Load]:
        """See `Ledger.load`."""
        async with self._database.reader.connect() as connection:
            rows = (await connection.execute(_LOAD)).all()
            draining = (await connection.scalars(_DRAINING)).all()
        loads = {
            ExecutorName(row.executor): Load(queued=row.queued, running=row.running, oldest_queued=row.oldest_queued)
            for row in rows
        }
        for name in map(ExecutorName, draining):
            loads[name] = replace(loads.get(name, Load()), draining=True)
        return loads

    @uninterrupted
    async def queue_position(self, job: Job) -> int:
        """See `Ledger.queue_position`."""
        age = {"its_created": job.created, "its_id": job.id}
        async with self._database.reader.connect() as connection:
            older: int | None = await connection.scalar(_OLDER, {"at_executor": job.executor, **age})
        return (older or 0) + 1

    @uninterrupted
    async def seconds_used(self, account: AccountId) -> float:
        """See `Ledger.seconds_used`."""
        async with self._database.reader.connect() as connection:
            seconds: float | None = await connection.scalar(_SECONDS, {"of_account": account})
        return seconds or 0.0

    @uninterrupted
    async def seconds_used_today(self, account: AccountId, instance: str) -> float:
        """See `Ledger.seconds_used_today`."""
        async with self._database.reader.connect() as connection:
            today = (await self._database.now(connection)).utc.date()
            which = {"of_account": account, "of_instance": instance, "of_day": today}
            seconds: float | None = await connection.scalar(USED_TODAY, which)
        return seconds or 0.0

    @uninterrupted
    async def usage(self, since: date, until: date) -> Sequence[UsageDay]:
        """See `Ledger.usage`."""
        async with self._database.reader.connect() as connection:
            rows = (await connection.execute(_DAYS, {"since": since, "until": until})).mappings().all()
        return [UsageDay(**row) for row in rows]
