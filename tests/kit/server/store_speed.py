"""How long the calls of a job's life take, also beside a long queue."""

import asyncio
import itertools
import os
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Integer,
    Interval,
    String,
    bindparam,
    cast,
    func,
    insert,
    literal,
    select,
)

from kit.server.postgresql_server import PostgresqlServer
from kit.server.store_calls import seconds_used
from qiskit_runtime_server.accounts.identity import DEFAULT_INSTANCE
from qiskit_runtime_server.accounts.teaching import crn_of
from qiskit_runtime_server.backends.names import ExecutorName
from qiskit_runtime_server.jobs import AccountId, Job, JobId, JobState, Outcome
from qiskit_runtime_server.messages.messages import Holder
from qiskit_runtime_server.store.port import Claim, JobQuery, Store
from qiskit_runtime_server.store.postgresql.database import open_postgresql
from qiskit_runtime_server.store.sql.rows import job_row
from qiskit_runtime_server.store.sql.schema import EPOCH, counts, documents, job_tags, jobs, slot_times
from qiskit_runtime_server.store.sql.store import SqlStore
from qiskit_runtime_server.store.sqlite.database import open_sqlite

JOBS = 100_000
ACCOUNTS = 1_000
CALLS = 200
SUBMITTERS = 8
JOBS_PER_SECOND = 100
PARAMS = b"x" * 3_000
AER = ExecutorName("aer")
HERE = Holder(endpoint="here", boot_id="1")
LEASE = timedelta(seconds=30)
COMPLETED = Outcome(state=JobState.COMPLETED)
_BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
_NUMBERS = itertools.count()
_STATEMENT = 1_000
_TRANSACTION = 20_000

Milliseconds = dict[str, list[float]]


def _job(account: AccountId) -> Job:
    """Return a job that is a second younger than the one before."""
    number = next(_NUMBERS)
    return Job(
        id=JobId(f"job-{number:09}"),
        account=account,
        instance=f"crn:{account}",
        program_id="sampler",
        backend=f"fake_manila@{AER}",
        executor=AER,
        created=_BEGIN + timedelta(seconds=number),
        max_seconds=600,
        seed=2**63 - 1,
        calibration_digest="sha256:0",
    )


@asynccontextmanager
async def sqlite_store(folder: Path) -> AsyncIterator[SqlStore]:
    store = await open_sqlite(folder)
    assert isinstance(store, SqlStore)
    try:
        yield store
    finally:
        await store.close()


@asynccontextmanager
async def postgresql_store(_folder: Path) -> AsyncIterator[SqlStore]:
    with PostgresqlServer(fsync=True) as server:
        store = await open_postgresql(server.url())
        assert isinstance(store, SqlStore)
        try:
            yield store
        finally:
            await store.close()


Opened = Callable[[Path], AbstractAsyncContextManager[SqlStore]]


async def fill(store: SqlStore, *, size: int = JOBS, owners: int = ACCOUNTS) -> None:
    """Queue many jobs of many accounts past the store's methods, as many of each."""
    accounts = [AccountId(f"account-{number}") for number in range(owners)]
    await _add_all(store, size, lambda number: _job(accounts[number % owners]))
    await store.database.change(partial(_count, size=size, owners=owners))


async def fill_with_ended(store: SqlStore, account: AccountId, *, size: int) -> None:
    """Give an account many jobs that have taken a second each, with one of a hundred tags, past the store's methods."""

    def ended(number: int) -> Job:
        job = _job(account)
        finished = job.created + timedelta(seconds=1)
        tags = (f"batch-{number % 100}",)
        crn = crn_of(account, DEFAULT_INSTANCE.name)
        return replace(job, instance=crn, state=JobState.COMPLETED, started=job.created, finished=finished, tags=tags)

    await _add_all(store, size, ended)
    columns = [jobs.c[name] for name in ("account", "instance", "executor", "program_id", "backend")]
    times = select(jobs.c.id, *columns, jobs.c.finished, literal(1.0)).where(jobs.c.account == account)
    names = ["job_id", *(column.name for column in columns), "ended", "seconds"]
    await store.database.change(lambda connection: connection.execute(insert(slot_times).from_select(names, times)))


async def _add_all(store: SqlStore, size: int, job: Callable[[int], Job]) -> None:
    def add(connection: Connection, begin: int) -> None:
        # Neither a statement nor a transaction may take longer than a server may be silent.
        for start in range(begin, min(begin + _TRANSACTION, size), _STATEMENT):
            some = [job(number) for number in range(start, min(start + _STATEMENT, size))]
            connection.execute(insert(jobs), [job_row(one) for one in some])
            params = [{"job_id": one.id, "kind": "params", "seq": 0, "data": b"{}"} for one in some]
            connection.execute(insert(documents), params)
            if tags := [{"account": one.account, "tag": tag, "job_id": one.id} for one in some for tag in one.tags]:
                connection.execute(insert(job_tags), tags)

    for begin in range(0, size, _TRANSACTION):
        await store.database.change(partial(add, begin=begin))


async def fill_at_once(store: SqlStore, *, size: int, owners: int) -> None:
    """Do as `fill` does, with rows that PostgreSQL makes itself: a million in a minute."""
    template = job_row(_job(AccountId("")))
    begin = next(_NUMBERS)
    number = func.generate_series(
        *(bindparam(name, type_=Integer()) for name in ("first", "last")), type_=Integer()
    ).column_valued("number")
    account = "account-" + cast(number % owners, String)
    own: dict[str, ColumnElement[Any]] = {
        "id": "job-" + func.lpad(cast(begin + number, String), 9, "0"),
        "account": account,
        "instance": "crn:account-" + cast(number % owners, String),
        "created": literal(_BEGIN, jobs.c.created.type) + (begin + number) * literal(timedelta(seconds=1), Interval()),
    }
    values = [
        own.get(name, cast(literal(value, jobs.c[name].type), jobs.c[name].type)) for name, value in template.items()
    ]
    add_jobs = insert(jobs).from_select(list(template), select(*values))
    document = (own["id"], literal("params"), literal(0), cast(literal(b"{}"), documents.c.data.type))
    add_documents = insert(documents).from_select(["job_id", "kind", "seq", "data"], select(*document))

    def add(connection: Connection, start: int) -> None:
        which = {"first": start, "last": min(start + _TRANSACTION, size) - 1}
        connection.execute(add_jobs, which)
        connection.execute(add_documents, which)

    for start in range(0, size, _TRANSACTION):
        await store.database.change(partial(add, start=start))
    for _ in range(size):
        next(_NUMBERS)
    await store.database.change(partial(_count, size=size, owners=owners))


def _count(connection: Connection, size: int, owners: int) -> None:
    row = {"queued": size // owners, "queued_in_sessions": 0, "running": 0, "seconds": 0.0, "jobs": 0}
    accounts = (AccountId(f"account-{number}") for number in range(owners))
    rows = [{"executor": AER, "account": account, "waiting_since": EPOCH, **row} for account in accounts]
    connection.execute(insert(counts), rows)


async def timed(times: Milliseconds, name: str, call: Awaitable[object]) -> object:
    start = time.perf_counter()
    result = await call
    times.setdefault(name, []).append((time.perf_counter() - start) * 1e3)
    return result


async def measured(store: Store) -> Milliseconds:
    """Return how long each call of a job's life took, in milliseconds."""
    times: Milliseconds = {}
    for number in range(CALLS):
        job = _job(AccountId(f"account-{number % ACCOUNTS}"))
        await timed(times, "add", store.jobs.add(job, PARAMS))
        await timed(times, "get", store.jobs.get(job.account, job.id))
        await timed(times, "first page", store.jobs.find(job.account, JobQuery()))
        await timed(times, "load", store.counts.load())
        await timed(times, "queue position", store.counts.queue_position(job))
        await timed(times, "seconds used", seconds_used(store, job.account))
        claim = await timed(times, "claim", store.queue.claim(AER, HERE, lease=LEASE))
        assert isinstance(claim, Claim)
        await timed(times, "params", store.documents.params(claim.job.id))
        await timed(times, "renew", store.queue.renew([claim.key], lease=LEASE))
        await timed(times, "finish", store.queue.finish(claim, COMPLETED, PARAMS))
    return times


async def crowded(store: Store) -> Milliseconds:
    """Return how long calls took beside each other: of several who submit, one who claims and one who looks.

    They pause between calls, together as often as a hundred jobs per second: without, only their queue is measured.
    The first call of each submitter opens a connection and is not counted.
    """
    times: Milliseconds = {}
    submitted = asyncio.Event()
    pause = SUBMITTERS / JOBS_PER_SECOND
    rng = random.Random(1)  # noqa: S311 - reproducible

    async def submit(number: int) -> None:
        await store.jobs.add(_job(AccountId(f"account-{number}")), PARAMS)
        for turn in range(CALLS // 4):
            await asyncio.sleep(2 * pause * rng.random())
            job = _job(AccountId(f"account-{number * CALLS + turn}"))
            await timed(times, f"add, {SUBMITTERS} at once", store.jobs.add(job, PARAMS))

    async def claim() -> None:
        while not submitted.is_set():
            claim = await timed(times, "claim beside", store.queue.claim(AER, HERE, lease=LEASE))
            if isinstance(claim, Claim):  # The short queue may be empty.
                await timed(times, "finish beside", store.queue.finish(claim, COMPLETED, PARAMS))
            await asyncio.sleep(pause / SUBMITTERS)

    async def look() -> None:
        while not submitted.is_set():
            await timed(times, "first page beside", store.jobs.find(AccountId("account-1"), JobQuery()))
            await asyncio.sleep(pause / SUBMITTERS)

    others = asyncio.gather(claim(), look())
    await asyncio.gather(*(submit(number) for number in range(SUBMITTERS)))
    submitted.set()
    await others
    return times


def fsync_times(folder: Path) -> list[float]:
    """Return how long the disk takes for a page, in milliseconds."""
    times = []
    descriptor = os.open(folder / "page", os.O_CREAT | os.O_WRONLY)
    for _ in range(CALLS):
        os.write(descriptor, bytes(4096))
        start = time.perf_counter()
        os.fsync(descriptor)
        times.append((time.perf_counter() - start) * 1e3)
    os.close(descriptor)
    return times
