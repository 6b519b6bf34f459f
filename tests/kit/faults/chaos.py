"""Jobs of real clients in a storm, and what is to be said about them afterwards."""

import asyncio
import itertools
import random
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import asyncpg

from kit.faults.customers import BITS, Customer, Errand
from kit.faults.storm import EXECUTOR, Fleet, Storm
from kit.server.cluster_processes import Cluster, Plugins, workers_of
from kit.server.ingress import Ingress
from kit.server.postgresql_server import PostgresqlServer
from qiskit_runtime_server.backends.names import AUTO

LONG_SECONDS = 10
_THREADS = 8
_CALM_SECONDS = 120
# How long a busy machine may take to end a process that has been killed.
_DEATH_SECONDS = 20
_WITNESS = (
    "CREATE TABLE witness (job_id text, before text, after text, fence int, at timestamptz DEFAULT clock_timestamp())",
    """CREATE FUNCTION testify() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        INSERT INTO witness VALUES (NEW.id, OLD.state, NEW.state, NEW.fence);
        RETURN NULL;
    END $$""",
    """CREATE TRIGGER testimony AFTER UPDATE OF state, fence ON jobs FOR EACH ROW
    WHEN (OLD.state IS DISTINCT FROM NEW.state OR OLD.fence IS DISTINCT FROM NEW.fence) EXECUTE FUNCTION testify()""",
)
# What the processes say in their logs, by what it means.
_LINES = {
    "ends refused to an api whose job had been taken over": "is not ours any more",
    "runs followed by another api": "is followed from here",
    "submissions in doubt, withdrawn": "is withdrawn",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """How many jobs there are at least, how many faults they have to meet, and in how many seconds in all.

    On a fast machine there are more short jobs, until there have been as many faults.
    """

    short: int
    long: int
    faults: int
    patience: float


FULL = Size(short=1_000, long=20, faults=50, patience=1_500)
TENTH = Size(short=100, long=2, faults=6, patience=500)
GUST = Size(short=32, long=0, faults=3, patience=300)


@dataclass(slots=True, kw_only=True)
class Report:
    """What happened.

    Attributes:
        figures: For people.
        faults: How many of each kind there were.
        problems: What must not be; none if all is well.
    """

    figures: dict[str, object] = field(default_factory=dict)
    faults: Counter[str] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)


def endure(size: Size, folder: Path, *, seed: int) -> Report:
    """Run jobs in a storm, and look at everything once it is over."""
    with ExitStack() as stack:
        database = stack.enter_context(PostgresqlServer())
        plugins = Plugins(folder)
        cluster = Cluster(folder, plugins, stack)
        fleet = Fleet(cluster, database, stack)
        _sql(database, *_WITNESS)
        ingress = stack.enter_context(Ingress([api.url for api in fleet.apis]))
        storm = Storm(fleet, random.Random(seed))  # noqa: S311 - reproducible
        start = time.monotonic()
        customers = _customers(ingress.url, size, lambda: storm.faults.total() < size.faults)
        for customer in customers:
            customer.start()
        storm.blow(lambda: not any(customer.is_alive() for customer in customers))
        seconds = time.monotonic() - start
        report = Report(faults=storm.faults)
        for words in storm.gone:
            print(f"A process ended by itself: {words}")
        for customer in customers:
            report.problems += customer.problems
        _wait_for_calm(database, report)
        acknowledged = {job: errand for customer in customers for job, errand in customer.acknowledged.items()}
        _look_at_jobs(database, acknowledged, report)
        _look_at_workers(fleet, plugins, report)
        refusals = sum((customer.refusals for customer in customers), Counter[str]())
        report.figures |= {
            "seconds": round(seconds),
            "faults": dict(report.faults.most_common()),
            "processes that ended by themselves and were started again": len(storm.gone),
            "jobs acknowledged": len(acknowledged),
            "calls that a client gave up after its own retries, made again": refusals.total(),
            "answers of the proxy in place of an api": dict(ingress.refusals),
            **_said(fleet),
            **_starts(cluster.all_starts(), acknowledged),
        }
        return report


def _customers(url: str, size: Size, more: Callable[[], bool]) -> list[Customer]:
    """Share the jobs of a size among customers, who go on with short ones as long as there are to be `more`.

    Every second one leaves the choice of an executor to the server.
    """
    errands = [Errand(number=number) for number in range(size.short)]
    errands += [Errand(number=size.short + number, seconds=LONG_SECONDS) for number in range(size.long)]
    random.Random(0).shuffle(errands)  # noqa: S311 - reproducible

    def spare_errands(first: int) -> Iterator[Errand]:
        for number in range(len(errands) + first, 2**BITS, _THREADS):
            if not more():
                return
            yield Errand(number=number)

    shares = [itertools.chain(errands[number::_THREADS], spare_errands(number)) for number in range(_THREADS)]
    backends = [f"fake_quantum_sim@{executor}" for executor in (EXECUTOR, AUTO)]
    return [
        Customer(url, f"customer-{number}", backends[number % 2], share, patience=size.patience)
        for number, share in enumerate(shares)
    ]


def _sql(database: PostgresqlServer, *statements: str) -> Sequence[Mapping[str, Any]]:
    """Run statements and return the rows of the last one."""

    async def run() -> Sequence[Mapping[str, Any]]:
        connection = await asyncpg.connect(database.url())
        try:
            for statement in statements:
                rows = await connection.fetch(statement)
            return [dict(row) for row in rows]
        finally:
            await connection.close()

    return asyncio.run(run())


def _wait_for_calm(database: PostgresqlServer, report: Report) -> None:
    """Wait for the jobs that nobody waits for, as their ids were never answered."""
    deadline = time.monotonic() + _CALM_SECONDS
    while rest := _sql(database, "SELECT id FROM jobs WHERE state IN ('Queued', 'Running')"):
        if time.monotonic() > deadline:
            report.problems.append(f"{len(rest)} jobs have not ended {_CALM_SECONDS} s after the storm")
            return
        time.sleep(0.5)


def _look_at_jobs(database: PostgresqlServer, acknowledged: Mapping[str, Errand], report: Report) -> None:
    states = {row["id"]: row["state"] for row in _sql(database, "SELECT id, state FROM jobs")}
    for job in acknowledged:
        if states.get(job) != "Completed":
            report.problems.append(f"Job {job} was acknowledged and is {states.get(job, 'gone')}")
    report.figures["jobs made by lost answers, beside those"] = len(states.keys() - acknowledged.keys())
    ends: Counter[str] = Counter()
    fences: dict[str, int] = {}
    for row in _sql(database, "SELECT * FROM witness ORDER BY at"):
        if row["fence"] < fences.get(row["job_id"], 0):
            report.problems.append(f"The fence of job {row['job_id']} fell to {row['fence']}")
        fences[row["job_id"]] = row["fence"]
        if row["before"] not in {"Queued", "Running"}:
            report.problems.append(f"Job {row['job_id']} went from {row['before']} to {row['after']}")
        ends[row["job_id"]] += row["after"] not in {"Queued", "Running"}
    report.problems += [f"Job {job} ended {ends[job]} times" for job in acknowledged if ends[job] != 1]
    report.figures["claims of the job that was claimed most often"] = max(fences.values(), default=0)


def _look_at_workers(fleet: Fleet, plugins: Plugins, report: Report) -> None:
    """Look for worker processes that belong to none of the executors, and stay."""
    strays = _strays(fleet, plugins)
    deadline = time.monotonic() + _DEATH_SECONDS
    while strays and time.monotonic() < deadline:
        time.sleep(0.5)
        strays &= _strays(fleet, plugins)
    report.problems += [f"Process {stray} is a worker without an executor" for stray in strays]


def _strays(fleet: Fleet, plugins: Plugins) -> set[int]:
    """Return the workers that belong to no executor now: one that is being started may be among them."""
    strays = set()
    wanted = set().union(*(workers_of(executor.server, paused=True) for executor in fleet.executors))
    for path in Path("/proc").glob("[0-9]*"):
        try:
            ours = str(plugins.starts).encode() in (path / "environ").read_bytes()
            worker = (path / "comm").read_text() == "qrs-worker\n"
        except OSError:
            continue
        if ours and worker and int(path.name) not in wanted:
            strays.add(int(path.name))
    return strays


def _said(fleet: Fleet) -> dict[str, int]:
    output = [line for member in fleet.members for life in member.lives for line in life.output]
    return {meaning: sum(words in line for line in output) for meaning, words in _LINES.items()}


def _starts(starts: Sequence[tuple[int, str]], acknowledged: Mapping[str, Errand]) -> dict[str, int]:
    by_name = Counter(name for _, name in starts)
    names = {errand.name for errand in acknowledged.values()}
    return {"starts of jobs in a worker": sum(by_name[name] for name in names)}
