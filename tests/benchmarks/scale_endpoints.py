"""Apis before hundreds of executor endpoints: what they cost at rest, and how many jobs run at the same time.

The endpoints are played (`kit.server.played_executors`), so that all that is measured is the apis, PostgreSQL and HTTP.
"""

import os
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import cycle, islice
from pathlib import Path

from benchmarks.table import Row
from kit.server.cluster_processes import Cluster, Plugins, shared_by_apis
from kit.server.http_jobs import signed_in, submission
from kit.server.played_executors import played_executors
from kit.server.postgresql_server import PostgresqlServer
from kit.server.server_process import ServerProcess

SLOTS = 4
JOB_SECONDS = 20
SENDERS = 8
# Accounts of each sender: what jobs of one account end in is one row.
TOKENS = 5
LIMIT_SECONDS = 120
REST_SECONDS = 10
_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """How much is played."""

    endpoints: int = 200
    apis: tuple[int, ...] = (1, 2, 4)

    @property
    def jobs(self) -> int:
        """Half as many as there are slots, the same for each account: apis, database and endpoints share two cores."""
        return self.endpoints * SLOTS // 2


def endpoint_rows(*, quick: bool) -> Iterator[Row]:
    """One, two and four apis share a database and all endpoints."""
    sizes = Sizes(endpoints=20, apis=(1, 2)) if quick else Sizes()
    for apis in sizes.apis:
        yield from measured(sizes, apis)


def measured(sizes: Sizes, count: int) -> Iterator[Row]:
    """Measure so many apis at rest and at work."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        database = stack.enter_context(PostgresqlServer(fsync=True))
        endpoints = stack.enter_context(played_executors(sizes.endpoints, slots=SLOTS, seconds=JOB_SECONDS))
        cluster = Cluster(folder, Plugins(folder), stack)
        apis = [cluster.api(*endpoints.urls, name="played", **shared_by_apis(database.url())) for _ in range(count)]
        what = f"{count} api{'s' * (count > 1)}, {sizes.endpoints} endpoints of {SLOTS} slots"
        time.sleep(3)  # until all of them have said how busy they are
        before = [cpu_seconds(api) for api in apis]
        time.sleep(REST_SECONDS)
        rest = [(cpu_seconds(api) - was) / REST_SECONDS for api, was in zip(apis, before, strict=True)]
        memory = [rss(api) for api in apis]
        yield Row(
            what=f"{what}, at rest: each api",
            ours=f"{sum(rest) / count:.1%} of a core, {max(memory) / 1e6:.0f} MB, {streams(apis[0])} connections",
            peer="measured",
        )
        took, ended, busy = at_work(sizes, apis)
        tally = endpoints.tally()
        rate = f"{ended:,} have ended after {took:.0f} s, for {sum(busy) / ended * 1e3:.3g} ms of api processes each"
        lost = f"{tally['refused']} claims found no free slot"
        yield Row(
            what=f"... {sizes.jobs:,} jobs of {JOB_SECONDS} s from {SENDERS} senders",
            ours=f"{rate}; at most {tally['most']} ran at the same time; {lost}; {max(map(rss, apis)) / 1e6:.0f} MB",
            peer="measured",
        )


def at_work(sizes: Sizes, apis: list[ServerProcess]) -> tuple[float, int, list[float]]:
    """Submit all jobs at once; return after how many seconds how many have ended, and each api's processor time."""
    before = [cpu_seconds(api) for api in apis]
    body = submission(backend="fake_manila@played")
    share = sizes.jobs // (SENDERS * TOKENS)

    def send(sender: int, url: str) -> None:
        for token in range(TOKENS):
            with signed_in(url, f"account-{sender}-{token}") as client:
                for _ in range(share):
                    client.post("/jobs", json=body).raise_for_status()

    urls = islice(cycle(api.url for api in apis), SENDERS)
    threads = [threading.Thread(target=send, args=pair) for pair in enumerate(urls)]
    began = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    while (ended := sum(ended_jobs(apis[0], sender) for sender in range(SENDERS))) < sizes.jobs:
        if time.monotonic() - began > LIMIT_SECONDS:
            break
        time.sleep(2)
    took = time.monotonic() - began
    return took, ended, [cpu_seconds(api) - was for api, was in zip(apis, before, strict=True)]


def ended_jobs(api: ServerProcess, sender: int) -> int:
    """Return how many jobs of a sender have ended, all of them well."""
    found = 0
    for token in range(TOKENS):
        with signed_in(api.url, f"account-{sender}-{token}") as client:
            page = client.get("/jobs", params={"pending": "false", "limit": 200}).raise_for_status().json()
        assert {job["status"] for job in page["jobs"]} <= {"Completed"}
        found += page["count"]
    return found


def cpu_seconds(server: ServerProcess) -> float:
    """Return how much processor time a process has used, in user and kernel mode (proc(5))."""
    fields = Path(f"/proc/{server.process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def rss(server: ServerProcess) -> int:
    """Return how much memory a process has in use, in bytes."""
    pages = int(Path(f"/proc/{server.process.pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def streams(server: ServerProcess) -> int:
    """Return how many sockets a process has open."""
    return sum(str(path.readlink()).startswith("socket:") for path in Path(f"/proc/{server.process.pid}/fd").iterdir())
