"""How long the calls of a job's life take beside a long queue."""

import math
import os
import time
from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path
from statistics import median

import pytest
from sqlalchemy import create_engine, insert

from qiskit_runtime_server.backends.names import ExecutorName
from qiskit_runtime_server.dispatch.events import Holder
from qiskit_runtime_server.jobs import AccountId, Job, JobState
from qiskit_runtime_server.store.port import Claim, JobQuery, Outcome, Store
from qiskit_runtime_server.store.rows import job_row
from qiskit_runtime_server.store.schema import EPOCH, documents, jobs, ledger
from qiskit_runtime_server.store.sql import open_sqlite

JOBS = 100_000
ACCOUNTS = 1_000
CALLS = 200
PARAMS = b"x" * 3_000
AER = ExecutorName("aer")
HERE = Holder(endpoint="here", boot_id="1")
LEASE = timedelta(seconds=30)
COMPLETED = Outcome(state=JobState.COMPLETED)

Milliseconds = dict[str, list[float]]


def fill(folder: Path, new_job: Callable[..., Job]) -> None:
    """Queue many jobs of many accounts past the store."""
    accounts = [AccountId(f"account-{number}") for number in range(ACCOUNTS)]
    rows = [job_row(new_job(account=accounts[number % ACCOUNTS])) for number in range(JOBS)]
    counts = {"queued": JOBS // ACCOUNTS, "queued_in_sessions": 0, "running": 0, "seconds": 0.0, "jobs": 0}
    engine = create_engine(f"sqlite:///{folder / 'store.db'}")
    with engine.begin() as connection:
        connection.execute(insert(jobs), rows)
        params = [{"job_id": row["id"], "kind": "params", "seq": 0, "data": b"{}"} for row in rows]
        connection.execute(insert(documents), params)
        connection.execute(
            insert(ledger),
            [{"executor": AER, "account": account, "last_served": EPOCH, **counts} for account in accounts],
        )
    engine.dispose()


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
    print(f"\nmilliseconds     empty queue        {JOBS:,} jobs of {ACCOUNTS:,} accounts")
    print(f"{'':14} {'p50':>7} {'p99':>7} {'p50':>9} {'p99':>7}")
    for name, times in long.items():
        before, after = sorted(short.get(name, [math.nan])), sorted(times)
        p99 = (before[len(before) * 99 // 100], after[len(after) * 99 // 100])
        print(f"{name:14} {median(before):7.2f} {p99[0]:7.2f} {median(after):9.2f} {p99[1]:7.2f}")


@pytest.mark.slow
@pytest.mark.benchmark
async def test_a_long_queue_makes_no_call_slower(tmp_path: Path, new_job: Callable[..., Job]) -> None:
    store = await open_sqlite(tmp_path / "short")
    short = await measured(store, new_job)
    await store.close()

    store = await open_sqlite(tmp_path / "long")
    fill(tmp_path / "long", new_job)
    long = await measured(store, new_job)
    await store.close()

    print_table(short, {**long, "fsync": fsync_times(tmp_path)})
    for name, times in long.items():
        # Twice the time and a millisecond: room for the noise of a shared machine, not for reading the queue.
        assert median(times) < 2 * median(short[name]) + 1, name
    assert median(long["claim"]) < 10
