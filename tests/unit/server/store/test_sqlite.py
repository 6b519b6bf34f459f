"""What is special to the store in a folder: its lock, its durability, its migrations, its behaviour under load."""

import asyncio
import os
import re
import signal
import sqlite3
import subprocess
import sys
import tracemalloc
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, create_engine, event
from sqlalchemy.schema import CreateIndex, CreateTable

from kit.server.store_calls import AER, HERE, LEASE, seconds_used, seconds_used_today
from qiskit_runtime_server.accounts.limits import AccountLimits
from qiskit_runtime_server.errors import DataDirectoryError, InvalidStateError, StartupError, StoreFullError
from qiskit_runtime_server.jobs import AccountId, Job, JobId, JobState, Outcome, Session
from qiskit_runtime_server.store.port import JobQuery, Owners, Store
from qiskit_runtime_server.store.sql import migration
from qiskit_runtime_server.store.sql.schema import HEAD, metadata
from qiskit_runtime_server.store.sql.store import SqlStore
from qiskit_runtime_server.store.sqlite.database import SqliteDatabase, open_sqlite
from qiskit_runtime_server.store.sqlite.folder import file_system_type, take_folder

ALICE, BOB = AccountId("alice"), AccountId("bob")
CLASS = Owners(accounts=(ALICE, BOB))
COMPLETED = Outcome(state=JobState.COMPLETED)


NewJob = Callable[..., Job]

ADD_JOBS_FOREVER = """
import asyncio, itertools, sys
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from qiskit_runtime_server.jobs import Job
from qiskit_runtime_server.store.sqlite.database import open_sqlite

JOB = Job(
    id="", account="alice", instance="", program_id="sampler", backend="fake_manila@aer", executor="aer",
    created=datetime.now(UTC), max_seconds=1, seed=1, calibration_digest="",
)

async def main():
    store = await open_sqlite(Path(sys.argv[1]))
    for number in itertools.count():
        await store.jobs.add(replace(JOB, id=f"job-{number}"), b"x" * 10_000)
        print(f"job-{number}", flush=True)

asyncio.run(main())
"""

REPORT_MEMORY = """
import asyncio, re, sys
from pathlib import Path
from qiskit_runtime_server.store.sqlite.database import open_sqlite

async def main():
    store = await open_sqlite(Path(sys.argv[1]))
    await store.counts.load()
    print("alembic" in sys.modules, re.search(r"VmRSS:\\s+(\\d+)", Path("/proc/self/status").read_text())[1])
    await store.close()

asyncio.run(main())
"""


@pytest.fixture
async def folder(migrated_folder: Path, tmp_path: Path) -> Path:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "store.db").write_bytes((migrated_folder / "store.db").read_bytes())
    return tmp_path / "data"


@pytest.fixture
async def sqlite_store(folder: Path) -> AsyncIterator[Store]:
    store = await open_sqlite(folder)
    yield store
    await store.close()


# The folder


async def test_the_folder_is_made_for_its_owner_only(tmp_path: Path) -> None:
    folder = tmp_path / "a" / "b"
    store = await open_sqlite(folder)
    await store.close()
    assert folder.stat().st_mode & 0o777 == 0o700


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


def modes(folder: Path) -> dict[str, int]:
    return {path.name: mode(path) for path in folder.iterdir()}


def open_to_all(folder: Path, *names: str) -> None:
    """Make files in a folder, if they are missing, and let everybody read them and do anything with the folder."""
    for name in names:
        (folder / name).touch()
        (folder / name).chmod(0o644)
    folder.chmod(0o777)


async def test_the_databases_files_are_their_owners_only(tmp_path: Path, new_job: NewJob) -> None:
    umask = os.umask(0o022)
    try:
        store = await open_sqlite(tmp_path / "data")
        await store.jobs.add(new_job(), b"{}")
        found = modes(tmp_path / "data")
        await store.close()
    finally:
        os.umask(umask)
    assert found == dict.fromkeys(("lock", "store.db", "store.db-wal", "store.db-shm"), 0o600)


async def test_what_others_may_do_with_a_folder_of_before_is_taken_from_them(folder: Path) -> None:
    open_to_all(folder, "store.db", "signing.key")
    await (await open_sqlite(folder)).close()
    assert mode(folder) == 0o700
    assert set(modes(folder).values()) == {0o600}


async def test_a_folder_that_holds_other_things_keeps_its_mode_but_not_the_databases_files(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    open_to_all(folder, "store.db", "thesis.txt")
    await (await open_sqlite(folder)).close()
    assert mode(folder) == 0o777
    assert modes(folder) == {"lock": 0o600, "store.db": 0o600, "thesis.txt": 0o644}
    assert "Everybody on this machine may replace the files" in caplog.text


@pytest.mark.usefixtures("sqlite_store")
async def test_a_second_server_on_the_folder_is_refused_and_told_who_has_it(folder: Path) -> None:
    with pytest.raises(
        DataDirectoryError, match=rf"{re.escape(str(folder))} is in use .*process {os.getpid()}.*--data-dir"
    ):
        await open_sqlite(folder)


async def test_a_server_that_waits_gets_the_folder_when_the_other_leaves(folder: Path) -> None:
    leaving = await open_sqlite(folder)
    opening = asyncio.create_task(open_sqlite(folder, wait=timedelta(seconds=30)))
    await asyncio.sleep(0.1)
    assert not opening.done()
    await leaving.close()
    await (await opening).close()


async def test_a_closed_store_gives_its_folder_back(folder: Path, new_job: NewJob) -> None:
    job = new_job()
    for expected in ([], [job]):
        store = await open_sqlite(folder)
        assert (await store.jobs.find(ALICE, JobQuery()))[0] == expected
        if not expected:
            await store.jobs.add(job, b"{}")
        await store.close()


async def test_closing_waits_for_the_calls_that_are_under_way(folder: Path, new_job: NewJob) -> None:
    store = await open_sqlite(folder)
    calls = [asyncio.create_task(store.jobs.add(new_job(), b"{}")) for _ in range(5)]
    await asyncio.sleep(0)
    await store.close()
    await asyncio.gather(*calls)
    store = await open_sqlite(folder)
    assert (await store.jobs.find(ALICE, JobQuery()))[1] == 5
    await store.close()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_cannot_be_written_is_refused_by_name(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(DataDirectoryError, match=re.escape(str(tmp_path))):
        take_folder(tmp_path / "data")


def test_a_file_in_place_of_the_folder_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("")
    with pytest.raises(DataDirectoryError, match=rf"{re.escape(str(tmp_path / 'data'))} cannot be used.*--data-dir"):
        take_folder(tmp_path / "data")


@pytest.mark.parametrize(
    "kind", ["nfs", "nfs4", "cifs", "smb3", "9p", "ceph", "fuse.sshfs", "fuse.glusterfs", "lustre"]
)
def test_network_file_systems_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    mounts = tmp_path / "mounts"
    mounts.write_text(f"/dev/sda / ext4 rw 0 0\nserver:/home {tmp_path.resolve()} {kind} rw 0 0\n")
    monkeypatch.setattr("qiskit_runtime_server.store.sqlite.folder._MOUNTS", mounts)
    with pytest.raises(DataDirectoryError, match=rf"network file system \({re.escape(kind)}\).*local disk"):
        take_folder(tmp_path / "data")


def test_the_deepest_and_latest_mount_holds_a_folder() -> None:
    mounts = (
        "overlay / overlay rw 0 0\nserver:/x /home nfs rw 0 0\n"
        "/dev/sdb /home/my\\040disk\\303\\274 xfs rw 0 0\n/dev/sdc /late ext4 rw 0 0\nserver:/y /late nfs4 rw 0 0\n"
    )
    expected = {
        "/data": "overlay",
        "/home/me": "nfs",
        "/homestead": "overlay",
        "/home/my diskü/x": "xfs",
        "/late/x": "nfs4",
    }
    assert {folder: file_system_type(Path(folder), mounts) for folder in expected} == expected
    assert file_system_type(Path("/data"), "") is None


def test_local_file_systems_are_accepted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mounts = tmp_path / "mounts"
    mounts.write_text("/dev/sda / fuseblk rw 0 0\n")
    monkeypatch.setattr("qiskit_runtime_server.store.sqlite.folder._MOUNTS", mounts)
    take_folder(tmp_path / "data").release()


# Durability


async def test_connections_keep_what_they_have_written(sqlite_store: SqlStore) -> None:
    def pragmas(connection: Connection) -> list[object]:
        names = ("journal_mode", "synchronous", "foreign_keys")
        return [connection.exec_driver_sql(f"PRAGMA {name}").scalar() for name in names]

    for run in (sqlite_store.database.read, sqlite_store.database.change):
        assert await run(pragmas) == ["wal", 2, 1]


async def test_an_added_job_is_committed_before_add_returns(folder: Path, sqlite_store: Store, new_job: NewJob) -> None:
    job = new_job()
    await sqlite_store.jobs.add(job, b"{}")
    with sqlite3.connect(folder / "store.db") as other:
        assert other.execute("SELECT id FROM jobs").fetchall() == [(job.id,)]
    other.close()


async def test_a_full_disk_is_told_and_what_fits_is_kept_nevertheless(sqlite_store: SqlStore, new_job: NewJob) -> None:
    job = new_job()
    await sqlite_store.jobs.add(job, b"{}")
    claim = await sqlite_store.queue.claim(job.executor, HERE, lease=LEASE)
    assert claim is not None

    def leave_little_room(connection: Connection) -> None:
        pages = connection.exec_driver_sql("PRAGMA page_count").scalar_one()
        connection.exec_driver_sql(f"PRAGMA max_page_count = {pages + 4}")

    await sqlite_store.database.change(leave_little_room)
    outcome = Outcome(state=JobState.COMPLETED)
    with pytest.raises(StoreFullError, match="is full"):
        await sqlite_store.queue.finish(claim, outcome, os.urandom(1_000_000))
    assert await sqlite_store.queue.finish(claim, outcome, b"x")


def answered_until_killed(folder: Path) -> list[str]:
    """Return the jobs that a process says it has added until it is killed in the midst of it."""
    with subprocess.Popen(
        [sys.executable, "-c", ADD_JOBS_FOREVER, str(folder)], stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout is not None
        answered = [child.stdout.readline().strip() for _ in range(20)]
        child.send_signal(signal.SIGKILL)
        return answered + re.findall(r"(.+)\n", child.stdout.read())


async def test_no_answered_job_is_lost_when_the_process_is_killed(folder: Path) -> None:
    answered = await asyncio.to_thread(answered_until_killed, folder)
    store = await open_sqlite(folder)
    for job_id in answered:
        assert (await store.jobs.get(ALICE, job_id)).state is JobState.QUEUED
        assert await store.documents.params(JobId(job_id)) == b"x" * 10_000
    assert (await store.counts.load())[AER].queued == len((await store.jobs.find(ALICE, JobQuery(limit=100_000)))[0])
    await store.close()


async def test_a_restart_takes_over_every_running_job_at_once(folder: Path, new_job: NewJob) -> None:
    store = await open_sqlite(folder, clock=lambda: 1e9)
    ids = set()
    for _ in range(3):
        await store.jobs.add(new_job(), b"{}")
        claim = await store.queue.claim(AER, HERE, lease=LEASE)
        assert claim is not None
        ids.add(claim.job.id)
    assert await store.queue.take_over(AER, lease=LEASE) is None
    await store.close()
    # The clock starts again with the machine.
    store = await open_sqlite(folder, clock=lambda: 0.0)
    taken = set()
    while claim := await store.queue.take_over(AER, lease=LEASE):
        assert claim.previous == HERE
        taken.add(claim.job.id)
    assert taken == ids
    await store.close()


# Migrations


def spelled(sql: str) -> str:
    """Return SQL without what may be written in different ways; predicates may have the table's name or not."""
    return re.sub(r"[\s\"]+|jobs\.|counts\.", "", sql)


def parts(sql: str) -> set[str]:
    """Return the columns and constraints of a table, whose order depends on its history."""
    return set(re.split(r",(?![^(]*\))", spelled(sql).partition("(")[2].removesuffix(")")))


async def test_migrations_make_the_schema_that_the_queries_use(migrated_folder: Path) -> None:
    def ddl(statement: CreateTable | CreateIndex) -> str:
        return str(statement.compile(dialect=engine.dialect))

    engine = create_engine(f"sqlite:///{migrated_folder / 'store.db'}")
    with engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []
        names = connection.exec_driver_sql("SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL").all()
    engine.dispose()
    found = {row.name: row.sql for row in names}
    for table in metadata.tables.values():
        assert parts(found[table.name]) == parts(ddl(CreateTable(table)))
        for index in table.indexes:
            assert spelled(found[str(index.name)]) == spelled(ddl(CreateIndex(index)))


def test_head_is_the_newest_migration() -> None:
    assert ScriptDirectory(str(Path(migration.__file__).parents[1] / "migrations")).get_heads() == [HEAD]


async def test_the_counts_of_the_revision_before_are_kept_when_they_are_renamed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, new_job: NewJob
) -> None:
    with monkeypatch.context() as before:
        before.setattr(migration, "HEAD", "0004")
        await (await open_sqlite(tmp_path)).close()
    with sqlite3.connect(tmp_path / "store.db") as connection:
        connection.execute(
            "INSERT INTO ledger (executor, account, queued, queued_in_sessions, running, last_served, seconds, jobs)"
            " VALUES ('aer', 'alice', 0, 0, 0, '2026-01-01 00:00:00.000000', 7.5, 3)"
        )
    connection.close()
    store = await open_sqlite(tmp_path)
    try:
        assert await seconds_used(store, ALICE) == 7.5
        await store.jobs.add(new_job(), b"{}")
        assert await store.queue.claim(AER, HERE, lease=LEASE) is not None
    finally:
        await store.close()


async def test_a_folder_of_a_newer_release_is_refused_and_left_alone(folder: Path) -> None:
    with sqlite3.connect(folder / "store.db") as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    connection.close()
    with pytest.raises(StartupError, match="newer"):
        await open_sqlite(folder)
    with sqlite3.connect(folder / "store.db") as connection:
        assert connection.execute("SELECT version_num FROM alembic_version").fetchall() == [("9999",)]
    connection.close()


async def test_a_migration_that_breaks_off_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def break_off(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("alembic.runtime.migration.HeadMaintainer.update_to_step", break_off)
    with pytest.raises(KeyboardInterrupt):
        await open_sqlite(tmp_path)
    with sqlite3.connect(tmp_path / "store.db") as connection:
        assert connection.execute("SELECT name FROM sqlite_master").fetchall() == []
    connection.close()


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads memory from /proc")
def test_opening_a_current_store_imports_no_migrations_and_stays_small(folder: Path) -> None:
    report = subprocess.run(
        [sys.executable, "-c", REPORT_MEMORY, str(folder)], capture_output=True, text=True, check=True
    )
    imported, kibibytes = report.stdout.split()
    assert imported == "False"
    assert int(kibibytes) < 64 * 1024


# Load


async def test_a_large_document_is_in_memory_once(sqlite_store: Store, new_job: NewJob) -> None:
    size = 24 << 20
    job = new_job()
    await sqlite_store.jobs.add(job, bytes(size))
    tracemalloc.start()
    try:
        assert len(await sqlite_store.documents.params(job.id)) == size
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 1.5 * size


@contextmanager
def recorded_statements(store: SqlStore) -> Iterator[list[tuple[str, Any]]]:
    """Collect what is run, with parameters."""
    statements: list[tuple[str, Any]] = []

    def record(_connection: object, _cursor: object, statement: str, parameters: list[Any], *last: object) -> None:
        _context, executemany = last
        if statement.startswith(("SELECT", "UPDATE", "DELETE")):
            statements.append((statement, parameters[0] if executemany else parameters))

    database = store.database
    assert isinstance(database, SqliteDatabase)
    engines = [database.reader, database.writer]
    for engine in engines:
        event.listen(engine, "before_cursor_execute", record)
    yield statements
    for engine in engines:
        event.remove(engine, "before_cursor_execute", record)


def plans_of(folder: Path, statements: Iterable[tuple[str, Any]]) -> Iterator[tuple[str, str]]:
    """Yield the steps in which SQLite runs each statement, behind it."""
    with sqlite3.connect(folder / "store.db") as connection:
        connection.create_function("clock_timestamp", 0, str)
        for statement, parameters in statements:
            for step in connection.execute(f"EXPLAIN QUERY PLAN {statement}", parameters):
                yield statement, step[-1]
    connection.close()


@pytest.mark.parametrize("oldest_first", [False, True])
@pytest.mark.parametrize(
    ("query", "index"),
    [
        (JobQuery(), "jobs_by_age"),
        (JobQuery(state=JobState.RUNNING), "jobs_by_age"),
        (JobQuery(pending=True), "jobs_by_age"),
        (JobQuery(owners=CLASS), "jobs_of_account (account=?)"),
        (JobQuery(owners=CLASS, pending=True), "jobs_pending (account=?)"),
        (JobQuery(owners=CLASS, state=JobState.QUEUED), "jobs_pending (account=?)"),
        (JobQuery(owners=CLASS, state=JobState.RUNNING), "jobs_running (account=?)"),
        (JobQuery(owners=replace(CLASS, instances=((ALICE, "crn:alice"),))), "jobs_of_account (account=?)"),
    ],
)
async def test_lists_of_jobs_of_many_accounts_read_what_an_index_says(
    folder: Path, sqlite_store: SqlStore, query: JobQuery, index: str, *, oldest_first: bool
) -> None:
    with recorded_statements(sqlite_store) as statements:
        await sqlite_store.jobs.find(None, replace(query, oldest_first=oldest_first))
    on_jobs = [step for _, step in plans_of(folder, statements) if re.match("(SCAN|SEARCH) jobs", step)]
    assert len(on_jobs) == 2  # for the count and for the page
    assert all("INDEX" in step for step in on_jobs), on_jobs
    assert on_jobs[-1].endswith(index)


async def test_no_query_of_a_jobs_life_reads_a_whole_table(
    folder: Path, sqlite_store: SqlStore, new_job: NewJob, new_session: Callable[..., Session]
) -> None:
    store = sqlite_store
    with recorded_statements(store) as statements:
        session = new_session()
        await store.sessions.add(session)
        for session_id in (None, session.id):
            job = new_job(session_id=session_id, tags=("x",))
            await store.jobs.add(job, b"{}", AccountLimits(queued=10, seconds_per_day=10))
            claim = await store.queue.claim(AER, HERE, lease=LEASE)
            assert claim is not None
            await store.queue.renew([claim.key], lease=LEASE)
            await store.queue.take_over(AER, lease=LEASE)
            await store.documents.append_log(job.id, "line")
            await store.queue.finish(claim, COMPLETED, b"{}")
            await store.jobs.get(ALICE, job.id)
            await store.documents.result(job.id)
            for query in (JobQuery(), JobQuery(pending=True), JobQuery(tags=("x",)), JobQuery(session_id=session.id)):
                await store.jobs.find(ALICE, query)
            await store.counts.queue_position(job)
            await seconds_used(store, ALICE)
            await seconds_used_today(store, ALICE, job.instance)
            await store.sessions.queued_jobs(session.id)
            with pytest.raises(InvalidStateError):
                await store.jobs.cancel(ALICE, job.id, reason="late")
            await store.jobs.delete(ALICE, job.id)
    plans = set(plans_of(folder, statements))
    assert len(plans) > 20
    whole = [plan for plan in plans if re.match(r"SCAN (jobs|documents|job_tags|sessions|counts)", plan[1])]
    sorting = [plan for plan in plans if "TEMP B-TREE" in plan[1] and "count_over_all_pages" not in plan[0]]
    assert whole == []
    assert sorting == []
