"""The stores that the suite runs on; another implementation is one more entry of `OPENERS`."""

import asyncio
import itertools
import random
import shutil
import sys
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta, tzinfo
from pathlib import Path
from typing import Any, Protocol
from uuid import uuid4

import asyncpg
import pytest
from sqlalchemy import Row, Select, create_engine, func, make_url, select

from kit.server.postgresql_server import PgBouncer, PostgresqlServer
from qiskit_runtime_server.backends.names import ExecutorName
from qiskit_runtime_server.jobs import AccountId, Job, JobId, Session, SessionId, SessionMode
from qiskit_runtime_server.store.fair_share import Counts
from qiskit_runtime_server.store.memory.state import State
from qiskit_runtime_server.store.memory.store import MemoryStore
from qiskit_runtime_server.store.port import Store
from qiskit_runtime_server.store.postgresql.database import open_postgresql
from qiskit_runtime_server.store.sql.schema import UNLIMITED, counts, documents, metadata, slot_times
from qiskit_runtime_server.store.sqlite.database import open_sqlite


@dataclass
class LeaseClock:
    """Stands still until told otherwise."""

    seconds: float = 1000.0

    def __call__(self) -> float:
        return self.seconds


class OpenedStore(Protocol):
    """An open store and what a test may do behind its back."""

    store: Store

    async def let_leases_age(self, seconds: float) -> None:
        """Make every lease older."""

    async def restart(self) -> bool:
        """Replace the store as a new process would; return whether leases of the old one have run out with that."""

    async def counts(self) -> dict[tuple[ExecutorName, AccountId], Counts]:
        """Return what the store keeps of every account on every executor; when it began to wait is left out."""

    async def slot_seconds(self) -> dict[AccountId, float]:
        """Return the slot time that is kept for good, summed over the jobs of each account."""

    async def documents_kept(self) -> int:
        """Return how many pieces of documents there are."""


class SqlTables:
    """What the tables of a SQL store hold."""

    async def rows(self, statement: Select[Any]) -> Sequence[Sequence[Any]]:
        """Run a query on the tables themselves."""
        raise NotImplementedError

    async def counts(self) -> dict[tuple[ExecutorName, AccountId], Counts]:
        return {
            (row[0], row[1]): Counts(
                queued=row[2],
                queued_in_sessions=row[3],
                running=row[4],
                weight=row[5],
                max_running=None if row[6] == UNLIMITED else row[6],
                claims_in_turn=row[7],
                session_claims_in_row=row[8],
            )
            for row in await self.rows(select(*counts.c[*COUNTS]))
        }

    async def slot_seconds(self) -> dict[AccountId, float]:
        sums = select(slot_times.c.account, func.sum(slot_times.c.seconds)).group_by(slot_times.c.account)
        return {row[0]: row[1] for row in await self.rows(sums)}

    async def documents_kept(self) -> int:
        [(count,)] = [tuple(row) for row in await self.rows(select(func.count()).select_from(documents))]
        return int(count)


COUNTS = (
    "executor",
    "account",
    "queued",
    "queued_in_sessions",
    "running",
    "weight",
    "max_running",
    "claims_in_turn",
    "session_claims_in_row",
)

OpenStore = Callable[[], AbstractAsyncContextManager[OpenedStore]]


@dataclass
class OpenedMemoryStore:
    clock: LeaseClock = field(default_factory=LeaseClock)

    def __post_init__(self) -> None:
        self.state = State(clock=self.clock)
        self.store: Store = MemoryStore(self.state)

    async def let_leases_age(self, seconds: float) -> None:
        self.clock.seconds += seconds

    async def restart(self) -> bool:
        """Open the same memory again."""
        await self.store.close()
        self.store = MemoryStore(self.state)
        return False

    async def counts(self) -> dict[tuple[ExecutorName, AccountId], Counts]:
        return {
            (executor, account): replace(counts, waiting_since=Counts().waiting_since)
            for executor, accounts in self.state.counts.items()
            for account, counts in accounts.items()
        }

    async def slot_seconds(self) -> dict[AccountId, float]:
        seconds: defaultdict[AccountId, float] = defaultdict(float)
        for used in self.state.slot_times:
            seconds[used.job.account] += used.job.metrics.charged
        return dict(seconds)

    async def documents_kept(self) -> int:
        return sum(len(kept.documents) for kept in self.state.jobs.values())


@pytest.fixture
def open_memory_store() -> OpenStore:
    @asynccontextmanager
    async def opened() -> AsyncIterator[OpenedMemoryStore]:
        yield OpenedMemoryStore()

    return opened


@dataclass
class SqliteStore(SqlTables):
    store: Store
    folder: Path
    clock: LeaseClock = field(default_factory=LeaseClock)

    async def let_leases_age(self, seconds: float) -> None:
        self.clock.seconds += seconds

    async def restart(self) -> bool:
        await self.store.close()
        self.store = await open_sqlite(self.folder, clock=self.clock)
        return True

    async def rows(self, statement: Select[Any]) -> Sequence[Row[Any]]:
        engine = create_engine(f"sqlite:///{self.folder / 'store.db'}")
        try:
            with engine.connect() as connection:
                return connection.execute(statement).all()
        finally:
            engine.dispose()


@pytest.fixture(scope="session")
def migrated_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a closed, empty store, to be copied: that is faster than migrating."""
    folder = tmp_path_factory.mktemp("migrated")

    async def create() -> None:
        await (await open_sqlite(folder)).close()

    asyncio.run(create())
    return folder


@pytest.fixture
def open_sqlite_store(migrated_folder: Path, tmp_path: Path) -> OpenStore:
    numbers = itertools.count()

    @asynccontextmanager
    async def opened() -> AsyncIterator[SqliteStore]:
        folder = tmp_path / f"store-{next(numbers)}"
        shutil.copytree(migrated_folder, folder)
        clock = LeaseClock()
        opened = SqliteStore(await open_sqlite(folder, clock=clock), folder, clock)
        try:
            yield opened
        finally:
            await opened.store.close()

    return opened


@dataclass
class PostgresqlStore(SqlTables):
    store: Store
    url: str
    options: Mapping[str, Any]
    connection: asyncpg.Connection

    async def let_leases_age(self, seconds: float) -> None:
        """Move the leases: the clock is the database's, and nobody else can turn it."""
        age = "UPDATE jobs SET lease_until = lease_until - $1::float8 WHERE state = 'Running'"
        await self.connection.execute(age, seconds)

    async def restart(self) -> bool:
        await self.store.close()
        self.store = await open_postgresql(self.url, **self.options)
        return False

    async def rows(self, statement: Select[Any]) -> Sequence[Sequence[Any]]:
        dialect = make_url(self.url).get_dialect()()
        compiled = statement.compile(dialect=dialect, compile_kwargs={"literal_binds": True})
        return [tuple(row) for row in await self.connection.fetch(str(compiled))]


async def run_sql(url: str, statement: str, *values: object) -> Sequence[asyncpg.Record]:
    """Run a statement on a connection of its own."""
    connection = await asyncpg.connect(url, statement_cache_size=0)
    try:
        return await connection.fetch(statement, *values)
    finally:
        await connection.close()


@pytest.fixture(scope="session")
def postgresql_server() -> Iterator[PostgresqlServer]:
    """Return a server for all tests that do not stop it."""
    with PostgresqlServer() as server:
        yield server


NewDatabase = Callable[[], AbstractAsyncContextManager[str]]


@pytest.fixture
def new_database(postgresql_server: PostgresqlServer) -> NewDatabase:
    """Return a function that makes an empty database and returns its URL."""

    @asynccontextmanager
    async def created() -> AsyncIterator[str]:
        name = f"store_{uuid4().hex}"
        await run_sql(postgresql_server.url(), f"CREATE DATABASE {name}")
        try:
            yield postgresql_server.url(name)
        finally:
            await run_sql(postgresql_server.url(), f"DROP DATABASE {name}")

    return created


def postgresql_opener(url: str, **options: Any) -> OpenStore:
    """Return a function that opens the one store of a server after emptying it: that is faster than making another."""

    @asynccontextmanager
    async def opened() -> AsyncIterator[PostgresqlStore]:
        connection = await asyncpg.connect(url, statement_cache_size=0)
        opened = PostgresqlStore(await open_postgresql(url, **options), url, options, connection)
        try:
            # To truncate makes new files of all tables and indexes, which takes fifty times as long.
            await connection.execute("; ".join(str(table.delete()) for table in reversed(metadata.sorted_tables)))
            yield opened
        finally:
            await connection.close()
            await opened.store.close()

    return opened


@pytest.fixture
def jumping_clocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the wall clock of this process go wrong by an hour, to and fro: only the database's may count."""
    rng = random.Random(1)  # noqa: S311 - reproducible
    right = time.time

    class Jumping(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> datetime:  # type: ignore[override]
            return datetime.now(tz) + timedelta(hours=rng.choice((-1, 1)))

    for name, module in list(sys.modules.items()):
        if name.startswith("qiskit_runtime_server.") and getattr(module, "datetime", None) is datetime:
            monkeypatch.setattr(module, "datetime", Jumping)
    monkeypatch.setattr(time, "time", lambda: right() + rng.choice((-3600, 3600)))


@pytest.fixture(name="run_sql")
def sql_runner() -> Callable[..., Awaitable[Sequence[asyncpg.Record]]]:
    """Return a function that runs a statement on a connection of its own."""
    return run_sql


@pytest.fixture
def open_postgresql_store(
    postgresql_server: PostgresqlServer,
    jumping_clocks: None,  # noqa: ARG001 - all tests run with them
) -> OpenStore:
    return postgresql_opener(postgresql_server.url())


@pytest.fixture(scope="session")
def pooled_url(postgresql_server: PostgresqlServer) -> Iterator[str]:
    """Return what leads through PgBouncer where it is installed; where not, the same calls are made without it."""
    if shutil.which("pgbouncer") is None:
        yield postgresql_server.url()
        return
    pooler = PgBouncer(postgresql_server)
    yield pooler.url
    pooler.close()


@pytest.fixture
def open_pooled_store(postgresql_server: PostgresqlServer, pooled_url: str) -> OpenStore:
    return postgresql_opener(pooled_url, direct_url=postgresql_server.url(), prepared_statements=False)


OPENERS = {
    "memory": "open_memory_store",
    "sqlite": "open_sqlite_store",
    "postgresql": "open_postgresql_store",
    "postgresql-pooled": "open_pooled_store",
}


@pytest.fixture(params=OPENERS)
def open_store(request: pytest.FixtureRequest) -> OpenStore:
    """Return a function that opens a new, empty store."""
    opener: OpenStore = request.getfixturevalue(OPENERS[request.param])
    return opener


@pytest.fixture(params=[name for name in OPENERS if name != "memory"])
async def sql_store(request: pytest.FixtureRequest) -> AsyncIterator[Store]:
    """Return a new, empty store of each kind that has a database."""
    opener: OpenStore = request.getfixturevalue(OPENERS[request.param])
    async with opener() as opened:
        yield opened.store


@pytest.fixture
async def opened(open_store: OpenStore) -> AsyncIterator[OpenedStore]:
    async with open_store() as opened:
        yield opened


@pytest.fixture
def store(opened: OpenedStore) -> Store:
    return opened.store


@pytest.fixture
def new_job() -> Callable[..., Job]:
    """Return a function that makes jobs, each a second younger than the one before."""
    numbers = itertools.count()
    start = datetime(2026, 1, 1, tzinfo=UTC)

    def new(**changes: Any) -> Job:
        number = next(numbers)
        job = Job(
            id=JobId(f"job-{number:06}"),
            account=AccountId("alice"),
            instance="crn:alice",
            program_id="sampler",
            backend="fake_manila@aer",
            executor=ExecutorName("aer"),
            created=start + timedelta(seconds=number),
            max_seconds=600,
            seed=2**63 - 1,
            calibration_digest="sha256:0",
        )
        return replace(job, **changes)

    return new


@pytest.fixture
def new_session() -> Callable[..., Session]:
    """Return a function that makes sessions."""
    numbers = itertools.count()

    def new(**changes: Any) -> Session:
        session = Session(
            id=SessionId(f"session-{next(numbers)}"),
            account=AccountId("alice"),
            instance="crn:alice",
            backend="fake_manila@aer",
            mode=SessionMode.BATCH,
            created=datetime(2026, 1, 1, tzinfo=UTC),
            max_ttl=timedelta(hours=8),
            interactive_ttl=timedelta(minutes=1),
        )
        return replace(session, **changes)

    return new
