"""The stores that the suite runs on; a second implementation is one more entry of `OPENERS`."""

import asyncio
import itertools
import shutil
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Protocol

import pytest
from sqlalchemy import Executable, Row, create_engine

from qiskit_runtime_server.backends.names import ExecutorName
from qiskit_runtime_server.jobs import AccountId, Job, JobId, Session, SessionId, SessionMode
from qiskit_runtime_server.store.port import Store
from qiskit_runtime_server.store.sql import open_sqlite


@dataclass
class LeaseClock:
    """Stands still until told otherwise."""

    seconds: float = 1000.0

    def __call__(self) -> float:
        return self.seconds


class OpenedStore(Protocol):
    """An open store and what a test may do behind its back."""

    store: Store

    def let_leases_age(self, seconds: float) -> None:
        """Make every lease older."""

    def rows(self, statement: Executable) -> Sequence[Row[Any]]:
        """Run a query on the tables themselves."""


OpenStore = Callable[[], AbstractAsyncContextManager[OpenedStore]]


@dataclass
class SqliteStore:
    store: Store
    folder: Path
    clock: LeaseClock = field(default_factory=LeaseClock)

    def let_leases_age(self, seconds: float) -> None:
        self.clock.seconds += seconds

    def rows(self, statement: Executable) -> Sequence[Row[Any]]:
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
        store = await open_sqlite(folder, clock=clock)
        try:
            yield SqliteStore(store, folder, clock)
        finally:
            await store.close()

    return opened


OPENERS = {"sqlite": "open_sqlite_store"}


@pytest.fixture(params=OPENERS)
def open_store(request: pytest.FixtureRequest) -> OpenStore:
    """Return a function that opens a new, empty store."""
    opener: OpenStore = request.getfixturevalue(OPENERS[request.param])
    return opener


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

    def new(**changes: object) -> Job:
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

    def new(**changes: object) -> Session:
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
