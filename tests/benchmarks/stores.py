"""What the calls of a job's life take beside a long queue, with every commit on the disk."""

import asyncio
import gc
import statistics
import tempfile
from collections.abc import Iterator
from pathlib import Path

from benchmarks.table import Row
from kit.server.store_speed import (
    SUBMITTERS,
    Milliseconds,
    Opened,
    crowded,
    fill,
    fill_at_once,
    fsync_times,
    measured,
    postgresql_store,
    sqlite_store,
)

_STORES: dict[str, Opened] = {"SQLite": sqlite_store, "PostgreSQL": postgresql_store}
_GOALS = {f"add, {SUBMITTERS} at once": "p99 20 ms", "claim beside": "p99 10 ms", "first page beside": "p99 20 ms"}
_SAID = {
    f"add, {SUBMITTERS} at once": f"submit, {SUBMITTERS} submitters",
    "claim beside": "claim, one claimer",
    "first page beside": "list, first page",
}
_CALLS = {
    "add": "submit, one submitter",
    "claim": "claim, one claimer",
    "renew": "renew a lease",
    "finish": "write a result",
    "get": "read a job",
    "first page": "list, first page of an account",
    "load": "load of all executors",
    "queue position": "place in the queue of the youngest job",
}


async def _measured(opened: Opened, folder: Path) -> Milliseconds:
    async with opened(folder) as store:
        await fill(store)
        # What the other benchmarks have left on the heap, qiskit above all, is in no api.
        gc.collect()
        gc.freeze()
        return await crowded(store)


def store_rows(*, quick: bool) -> Iterator[Row]:
    """Submit, claim and list at the same time, a hundred jobs a second; then the disk by itself."""
    del quick  # It takes seconds.
    for name, opened in _STORES.items():
        with tempfile.TemporaryDirectory() as folder:
            times = asyncio.run(_measured(opened, Path(folder)))
        for call, goal in _GOALS.items():
            yield Row(what=f"{name}: {_SAID[call]}", ours=_spread(times[call]), goal=goal)
    with tempfile.TemporaryDirectory() as folder:
        yield Row(what="The disk itself: fsync of one page", ours=_spread(fsync_times(Path(folder))))


def queue_rows(*, quick: bool, size: int, owners: int) -> Iterator[Row]:
    """Measure the calls of a job's life beside a long queue in PostgreSQL, one after the other and beside each other.

    Args:
        quick: Whether a hundredth of it will do.
        size: How many jobs wait.
        owners: How many accounts they are of, as many each.
    """
    if quick:
        size, owners = size // 100, owners // 100
    with tempfile.TemporaryDirectory() as folder:
        alone, beside = asyncio.run(_measured_at(Path(folder), size, owners))
    queue = f"{size:,} queued jobs of {owners:,} accounts"
    for call, words in _CALLS.items():
        yield Row(what=f"{queue}: {words}", ours=_spread(alone[call]), peer="measured")
    for call, words in _SAID.items():
        yield Row(what=f"... 100 jobs a second: {words}", ours=_spread(beside[call]), peer="measured")


async def _measured_at(folder: Path, size: int, owners: int) -> tuple[Milliseconds, Milliseconds]:
    async with postgresql_store(folder) as store:
        await fill_at_once(store, size=size, owners=owners)
        gc.collect()
        gc.freeze()
        return await measured(store), await crowded(store)


def _spread(times: list[float]) -> str:
    p99 = statistics.quantiles(times, n=100, method="inclusive")[98]
    return f"p50 {statistics.median(times):.3g} ms, p99 {p99:.3g} ms"
