"""How long the calls of a job's life take beside a long queue."""

import math
from pathlib import Path
from statistics import median

import pytest

from kit.server.store_speed import (
    ACCOUNTS,
    JOBS,
    Milliseconds,
    Opened,
    crowded,
    fill,
    fsync_times,
    measured,
    postgresql_store,
    sqlite_store,
)


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
@pytest.mark.serial
async def test_a_long_queue_makes_no_call_slower(tmp_path: Path, opened: Opened) -> None:
    async with opened(tmp_path / "short") as store:
        short = await measured(store)
        short |= await crowded(store)
    async with opened(tmp_path / "long") as store:
        await fill(store)
        long = await measured(store)
        long |= await crowded(store)

    print_table(short, {**long, "fsync": fsync_times(tmp_path)})
    for name, times in long.items():
        # Twice the time and a millisecond: room for the noise of a shared machine, not for reading the queue.
        assert median(times) < 2 * median(short[name]) + 1, name
    assert median(long["claim"]) < 10
