"""From every older schema, with live jobs: they survive the migration, and are run to their ends."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, MetaData, Table, create_engine, insert, select
from sqlalchemy.ext.asyncio import create_async_engine

from kit.server.store_calls import AER, HERE, LEASE, claimed, seconds_used
from qiskit_runtime_server.accounts.limits import AccountLimits
from qiskit_runtime_server.jobs import AccountId, Job, JobId, JobState, Outcome, Session
from qiskit_runtime_server.store.port import JobQuery, Store
from qiskit_runtime_server.store.postgresql.database import open_postgresql
from qiskit_runtime_server.store.sql import migration
from qiskit_runtime_server.store.sql.packing import unpacked
from qiskit_runtime_server.store.sql.schema import HEAD, metadata
from qiskit_runtime_server.store.sqlite.database import open_sqlite

SCRIPTS = ScriptDirectory(str(Path(migration.__file__).parents[1] / "migrations"))
OLDER = sorted(script.revision for script in SCRIPTS.walk_revisions() if script.revision != HEAD)
ALICE, BOB = AccountId("alice"), AccountId("bob")
DONE = Outcome(state=JobState.COMPLETED)

Rows = dict[str, list[dict[str, Any]]]
NewJob = Callable[..., Job]
NewSession = Callable[..., Session]
NewDatabase = Callable[[], AbstractAsyncContextManager[str]]


@dataclass(frozen=True)
class Older:
    """A database that a test brings up to date.

    Attributes:
        open: Opens the store, with the migrations up to `migration.HEAD`.
        run: Runs a function in a transaction.
    """

    open: Callable[[], Awaitable[Store]]
    run: Callable[[Callable[[Connection], None]], Awaitable[None]]


@pytest.fixture(params=["sqlite", "postgresql"])
async def older(request: pytest.FixtureRequest, tmp_path: Path, new_database: NewDatabase) -> AsyncIterator[Older]:
    if request.param == "sqlite":
        folder = tmp_path / "older"

        async def run(change: Callable[[Connection], None]) -> None:
            engine = create_engine(f"sqlite:///{folder / 'store.db'}")
            with engine.begin() as connection:
                change(connection)
            engine.dispose()

        yield Older(lambda: open_sqlite(folder), run)
        return
    async with new_database() as url:

        async def run_there(change: Callable[[Connection], None]) -> None:
            engine = create_async_engine(url.replace("postgresql://", "postgresql+asyncpg://"))
            async with engine.begin() as connection:
                await connection.run_sync(change)
            await engine.dispose()

        yield Older(lambda: open_postgresql(url), run_there)


def params_of(job_id: str) -> bytes:
    return job_id.encode() * 200_000


@dataclass(frozen=True)
class Live:
    """What a store holds.

    Attributes:
        rows: Of every table.
        running: Jobs of both accounts.
        queued: Those that wait: two of one account in the order in which they are served, and one of the other.
        completed: One that has ended.
    """

    rows: Rows
    running: set[JobId]
    queued: list[JobId]
    completed: JobId
    session: Session


@pytest.fixture
async def live(migrated_folder: Path, tmp_path: Path, new_job: NewJob, new_session: NewSession) -> Live:
    """Return the rows of a store of today with jobs that run and wait, two of them in a session."""
    folder = tmp_path / "live"
    folder.mkdir()
    (folder / "store.db").write_bytes((migrated_folder / "store.db").read_bytes())
    store = await open_sqlite(folder)
    session = new_session()
    await store.sessions.add(session)
    completed = new_job()
    await store.jobs.add(completed, params_of(completed.id))
    assert await store.queue.finish(await claimed(store), DONE, b"result" * 10_000)
    running = [new_job(session_id=session.id), new_job(account=BOB)]
    for job in running:
        await store.jobs.add(job, params_of(job.id))
        await claimed(store)
    queued = [new_job(session_id=session.id), new_job(tags=("x",)), new_job(account=BOB)]
    for job in queued:
        await store.jobs.add(job, params_of(job.id))
    await store.close()
    engine = create_engine(f"sqlite:///{folder / 'store.db'}")
    with engine.connect() as connection:
        rows = {
            table.name: [dict(row) for row in connection.execute(select(table)).mappings()]
            for table in metadata.sorted_tables
        }
    engine.dispose()
    return Live(
        rows=rows,
        running={job.id for job in running},
        queued=[job.id for job in queued],
        completed=completed.id,
        session=session,
    )


def columns_of(table: Table) -> list[str]:
    return [column.name for column in table.c]


def as_before(rows: Rows, tables: MetaData) -> Rows:
    """Return rows as an older release has written them: in the tables and columns that it has."""
    if "counts" not in tables.tables:
        old = [{**row, "last_served": row["waiting_since"]} for row in rows["counts"]]
        rows = {**rows, "ledger": old}
    if "codec" not in tables.tables["documents"].c:
        documents = [{**row, "data": unpacked(row["codec"], row["data"])} for row in rows["documents"]]
        rows = {**rows, "documents": documents}
    return {
        table.name: [{name: row[name] for name in columns_of(table)} for row in rows[table.name]]
        for table in tables.sorted_tables
        if table.name != "alembic_version"
    }


def write_as_before(connection: Connection, rows: Rows) -> None:
    tables = MetaData()
    tables.reflect(connection)
    for name, written in as_before(rows, tables).items():
        if written:
            connection.execute(insert(tables.tables[name]), written)


@pytest.mark.slow
@pytest.mark.parametrize("revision", OLDER)
async def test_live_jobs_of_every_older_schema_survive_and_end(
    older: Older, live: Live, new_job: NewJob, monkeypatch: pytest.MonkeyPatch, revision: str
) -> None:
    with monkeypatch.context() as before:
        before.setattr(migration, "HEAD", revision)
        await (await older.open()).close()
    await older.run(lambda connection: write_as_before(connection, live.rows))
    store = await older.open()
    try:
        for account in (ALICE, BOB):
            found, _ = await store.jobs.find(account, JobQuery())
            for job in found:
                assert await store.documents.params(job.id) == params_of(job.id)
        assert await store.documents.result(live.completed) == b"result" * 10_000
        ended = await run_to_the_end(store)
        assert set(ended) == live.running | set(live.queued)
        assert [job_id for job_id in ended if job_id in live.queued[:2]] == live.queued[:2]  # Those of one account.
        load = (await store.counts.load())[AER]
        assert (load.queued, load.running) == (0, 0)
        session = await store.sessions.get(ALICE, live.session.id)
        assert session.active_jobs == 0
        for account in (ALICE, BOB):
            assert await seconds_used(store, account) >= 0
        await store.jobs.add(new_job(), b"", AccountLimits(queued=1, running=1, seconds_per_day=100))
        assert await store.queue.finish(await claimed(store), DONE, b"")
    finally:
        await store.close()


async def run_to_the_end(store: Store) -> list[JobId]:
    """Take over what runs, claim what waits, and end all of it; return the jobs in this order."""
    ended: list[JobId] = []
    while claim := (await store.queue.take_over(AER, lease=LEASE) or await store.queue.claim(AER, HERE, lease=LEASE)):
        assert await store.queue.finish(claim, DONE, b"late")
        assert await store.documents.result(claim.job.id) == b"late"
        ended.append(claim.job.id)
    return ended
