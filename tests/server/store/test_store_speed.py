"""How long the calls of a job's life take beside a long queue."""

import asyncio
import math
import os
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import timedelta
from pathlib import Path
from statistics import median

import pytest
from postgresql_server import PostgresqlServer
from sqlalchemy import insert

from qiskit_runtime_server.backends.names import ExecutorName
from qiskit_runtime_server.dispatch.events import Holder
from qiskit_runtime_server.jobs import AccountId, Job, JobState
from qiskit_runtime_server.store.port import Claim, JobQuery, Outcome, Store
from qiskit_runtime_server.store.postgresql import open_postgresql
from qiskit_runtime_server.store.rows import job_row
from qiskit_runtime_server.store.schema import EPOCH, documents, jobs, ledger
from qiskit_runtime_server.store.sql import SqlStore, open_sqlite

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

Milliseconds = dict[str, list[float]]


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


async def fill(store: SqlStore, new_job: Callable[..., Job]) -> None:
    """Queue many jobs of many accounts past the store's methods."""
    accounts = [AccountId(f"account-{number}") for number in range(ACCOUNTS)]
    rows = [job_row(new_job(account=accounts[number % ACCOUNTS])) for number in range(JOBS)]
    counts = {"queued": JOBS // ACCOUNTS, "queued_in_sessions": 0, "running": 0, "seconds": 0.0, "jobs": 0}
    async with store.database.writer.begin() as connection:
        for start in range(0, JOBS, 1000):  # A statement must not take longer than a server may be silent.
            some = rows[start : start + 1000]
            await connection.execute(insert(jobs), some)
            params = [{"job_id": row["id"], "kind": "params", "seq": 0, "data": b"{}"} for row in some]
            await connection.execute(insert(documents), params)
        await connection.execute(
            insert(ledger),
            [{"executor": AER, "account": account, "last_served": EPOCH, **counts} for account in accounts],
        )


async def timed(times: Milliseconds, name: str, call: Awaitable[object]) -> object:
    start = time.perf_counter()
    result = await call
    times.setdefault(name, []).append((time.perf_counter() - start) * 1e3)
    return result


async def measured(store: Store, new_job: Callable[..., Job]) -> Milliseconds:
    """Return how long each call of a job's life took, in milliseconds."""
    times: Milliseconds = {}
    for number in range(CALLS):
        job = new_job(account=AccountId(f"account-{number % ACCOUNTS}"))
        await timed(times, "add", store.jobs.add(job, PARAMS))
        await timed(times, "get", store.jobs.get(job.account, job.id))
        await timed(times, "first page", store.jobs.find(job.account, JobQuery()))
        await timed(times, "load", store.ledger.load())
        await timed(times, "seconds used", store.ledger.seconds_used(job.account))
        claim = await timed(times, "claim", store.queue.claim(AER, HERE, lease=LEASE))
        assert isinstance(claim, Claim)
        await timed(times, "params", store.documents.params(claim.job.id))
        await timed(times, "renew", store.queue.renew([claim.key], lease=LEASE))
        await timed(times, "finish", store.queue.finish(claim, COMPLETED, PARAMS))
    return times


async def crowded(store: Store, new_job: Callable[..., Job]) -> Milliseconds:
    """Return how long calls took beside each other: of several who submit, one who claims and one who looks.

    They pause between calls, together as often as a hundred jobs per second: without, only their queue is measured.
    """
    times: Milliseconds = {}
    submitted = asyncio.Event()
    pause = SUBMITTERS / JOBS_PER_SECOND
    rng = random.Random(1)  # noqa: S311 - reproducible

    async def submit(number: int) -> None:
        for turn in range(CALLS // 4):
            job = new_job(account=AccountId(f"account-{number * CALLS + turn}"))
            await timed(times, f"add, {SUBMITTERS} at once", store.jobs.add(job, PARAMS))
            await asyncio.sleep(2 * pause * rng.random())

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


def print_table(short: Milliseconds, long: Milliseconds) -> None:
    print(f"\nmilliseconds         empty queue        {JOBS:,} jobs of {ACCOUNTS:,} accounts")
    print(f"{'':18} {'p50':>7} {'p99':>7} {'p50':>9} {'p99':>7}")
    for name, times in long.items():
        before, after = sorted(short.get(name, [math.nan])), sorted(times)
        p99 = (before[len(before) * 99 // 100], after[len(after) * 99 // 100])
        print(f"{name:18} {median(before):7.2f} {p99[0]:7.2f} {median(after):9.2f} {p99[1]:7.2f}")


@pytest.mark.slow
@pytest.mark.benchmark
@pytest.mark.parametrize("opened", [sqlite_store, postgresql_store], ids=["sqlite", "postgresql"])
async def test_a_long_queue_makes_no_call_slower(tmp_path: Path, new_job: Callable[..., Job], opened: Opened) -> None:
    async with opened(tmp_path / "short") as store:
        short = await measured(store, new_job)
        short |= await crowded(store, new_job)
    async with opened(tmp_path / "long") as store:
        await fill(store, new_job)
        long = await measured(store, new_job)
        long |= await crowded(store, new_job)

    print_table(short, {**long, "fsync": fsync_times(tmp_path)})
    for name, times in long.items():
        # Twice the time and a millisecond: room for the noise of a shared machine, not for reading the queue.
        assert median(times) < 2 * median(short[name]) + 1, name
    assert median(long["claim"]) < 10
