"""What is special to the store on PostgreSQL: its start, its clock, its limits, and a database that goes away."""

import asyncio
import logging
import signal
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Connection
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncEngine

from kit.server.postgresql_server import PostgresqlServer
from kit.server.store_calls import AER, HERE, LEASE, claimed, seconds_used
from qiskit_runtime_server.errors import (
    InvalidStateError,
    JobNotFoundError,
    MalformedRequestError,
    StartupError,
    StoreFullError,
    StoreUnavailableError,
)
from qiskit_runtime_server.jobs import AccountId, Job, JobId, JobState, Outcome, RetryReason, Session
from qiskit_runtime_server.messages.messages import Metrics
from qiskit_runtime_server.store.port import JobQuery, Load, Store
from qiskit_runtime_server.store.postgresql.database import CONNECTIONS, PostgresqlDatabase, open_postgresql
from qiskit_runtime_server.store.sql import migration
from qiskit_runtime_server.store.sql.schema import HEAD, metadata
from qiskit_runtime_server.store.sql.store import SqlStore

ALICE = AccountId("alice")
COMPLETED = Outcome(state=JobState.COMPLETED, metrics=Metrics(seconds=1.5))

NewJob = Callable[..., Job]
NewDatabase = Callable[[], AbstractAsyncContextManager[str]]
RunSql = Callable[..., Any]


@asynccontextmanager
async def opened_store(url: str | Path, **options: Any) -> AsyncIterator[SqlStore]:
    store = await open_postgresql(url, **options)
    assert isinstance(store, SqlStore)
    try:
        yield store
    finally:
        await store.close()


def writer(store: SqlStore) -> AsyncEngine:
    assert isinstance(store.database, PostgresqlDatabase)
    return store.database.writer


# The start


async def test_several_replicas_start_at_once_on_an_empty_database(new_database: NewDatabase, new_job: NewJob) -> None:
    async with new_database() as url:
        stores = await asyncio.gather(*(open_postgresql(url) for _ in range(4)))
        jobs = [new_job() for _ in stores]
        for store, job in zip(stores, jobs, strict=True):
            await store.jobs.add(job, b"{}")
        for store in stores:
            assert (await store.counts.load())[AER].queued == len(jobs)
            await store.close()


async def test_migrations_make_the_schema_that_the_queries_use(new_database: NewDatabase) -> None:
    def differences(connection: Connection) -> list[Any]:
        return list(compare_metadata(MigrationContext.configure(connection), metadata))

    async with new_database() as url, opened_store(url) as store, writer(store).connect() as connection:
        assert await connection.run_sync(differences) == []


async def with_version(url: str, version: str, run_sql: RunSql) -> None:
    async with opened_store(url):
        await run_sql(url, "UPDATE alembic_version SET version_num = $1", version)


async def test_a_database_of_the_next_minor_release_still_serves(
    new_database: NewDatabase, run_sql: RunSql, new_job: NewJob
) -> None:
    newer = f"{int(HEAD) + 100:04}"
    async with new_database() as url:
        await with_version(url, newer, run_sql)
        async with opened_store(url) as store:
            await store.jobs.add(new_job(), b"{}")
        [row] = await run_sql(url, "SELECT version_num FROM alembic_version")
        assert row["version_num"] == newer


async def test_servers_of_the_revision_before_go_on_under_the_old_names_of_the_counts(
    new_database: NewDatabase, run_sql: RunSql, new_job: NewJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What they run on `ledger`, with what they had written before the table was renamed."""
    async with new_database() as url:
        with monkeypatch.context() as before:
            before.setattr(migration, "HEAD", "0004")
            async with opened_store(url):
                pass
        await run_sql(
            url,
            "INSERT INTO ledger (executor, account, queued, queued_in_sessions, running, last_served, seconds, jobs)"
            " VALUES ('aer', 'alice', 0, 0, 0, '2026-01-01', 7.5, 3)",
        )
        async with opened_store(url) as store:
            assert await seconds_used(store, ALICE) == 7.5
            job = new_job()
            await store.jobs.add(job, b"{}")
            turns = (
                "SELECT account, queued, last_served FROM ledger WHERE executor = 'aer' AND queued > 0"
                " AND running < max_running ORDER BY share, last_served LIMIT 1 FOR UPDATE SKIP LOCKED"
            )
            [turn] = await run_sql(url, turns)
            assert (turn["account"], turn["queued"]) == (ALICE, 1)
            assert turn["last_served"].year > 2025
            taken = "UPDATE ledger SET queued = queued - 1, running = running + 1, claims_in_turn = claims_in_turn + 1"
            where = " WHERE executor = 'aer' AND account = 'alice' AND running < max_running"
            assert len(await run_sql(url, taken + where + " RETURNING share, weight, max_running")) == 1
            assert (await store.counts.load())[AER].running == 1
            await run_sql(
                url,
                "INSERT INTO ledger"
                " (executor, account, queued, queued_in_sessions, running, last_served, seconds, jobs)"
                " VALUES ('aer', 'bob', 0, 0, 0, '1970-01-01', 0, 0)",
            )
            await store.jobs.add(new_job(account=AccountId("bob")), b"{}")
            assert (await claimed(store)).job.account == "bob"


async def test_a_database_of_a_later_release_is_refused(new_database: NewDatabase, run_sql: RunSql) -> None:
    async with new_database() as url:
        await with_version(url, f"{int(HEAD) + 200:04}", run_sql)
        with pytest.raises(StartupError, match="newer"):
            await open_postgresql(url)


@pytest.mark.parametrize("scheme", ["postgres", "postgresql+asyncpg", "postgresql+psycopg"])
async def test_urls_are_read_as_other_programs_spell_them(postgresql_server: PostgresqlServer, scheme: str) -> None:
    async with opened_store(postgresql_server.url().replace("postgresql", scheme, 1)) as store:
        await store.counts.load()


async def test_the_host_that_takes_writes_is_found_among_several(
    postgresql_server: PostgresqlServer, tmp_path: Path
) -> None:
    url = postgresql_server.url()
    async with opened_store(url.replace("host=", f"host={tmp_path},")) as store:
        await store.counts.load()


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("postgresql://me:secret@127.0.0.1:1/jobs?application_name=x", "127.0.0.1:1/jobs does not answer"),
        ("mysql://me:secret@db/jobs", "cannot be read"),
        ("postgresql://me:sec/ret@db/jobs", "percent-encoded"),
        ("postgresql://me:sec?ret@db/jobs", "percent-encoded"),
        ("postgresql://me:sec#ret@db/jobs", "percent-encoded"),
        ("postgresql://me:sec%zzret@127.0.0.1:1/jobs", "127.0.0.1:1/jobs does not answer"),
        ("postgresql://127.0.0.1:1/jobs?user=me&password=sec@ret", "percent-encoded"),
        ("postgresql://me:secret@db:port/jobs", "cannot be read"),
        ("postgresql://me:x@sec/ret@db/jobs", "percent-encoded"),
        ("postgresql://me:x@sec?ret@db/jobs", "percent-encoded"),
        ("postgresql://me:x@db:sec/ret", "^The database cannot be used: The URL"),
        ("postgresql://me:x@db:99999/secret", "^The database cannot be used: The URL"),
        ("postgresql://me:x@127.0.0.1:1/jobs\nsecret", "^The database cannot be used: The URL"),
        ("postgresql://me:sec[ret@127.0.0.1:1/jobs", "127.0.0.1:1/jobs cannot be used.*percent-encoded"),
        ("postgresql://[sec/ret", "^The database cannot be used: The URL"),
    ],
)
async def test_a_database_that_cannot_be_reached_is_named_without_its_password(url: str, reason: str) -> None:
    with pytest.raises(StartupError, match=reason) as caught:
        await open_postgresql(url, patience=timedelta(seconds=0.2))
    assert "sec" not in str(caught.value)
    assert "ret" not in str(caught.value)


def in_file(path: Path, url: str) -> Path:
    path.write_text(f"{url}\n")
    return path


async def test_a_rotated_password_is_taken_up_without_a_restart_and_missed_without_an_error_of_ours(
    own_server: PostgresqlServer, run_sql: RunSql, new_job: NewJob, tmp_path: Path
) -> None:
    admin, file = own_server.url(), tmp_path / "url"
    await run_sql(admin, "CREATE ROLE lab LOGIN SUPERUSER PASSWORD 'first'")
    rules = own_server.data / "pg_hba.conf"
    rules.write_text(f"local all lab scram-sha-256\n{rules.read_text()}")
    await run_sql(admin, "SELECT pg_reload_conf()")
    url = admin.replace("postgres@", "lab:first@", 1)
    async with opened_store(in_file(file, url), patience=timedelta(seconds=1)) as store:
        first = new_job()
        await store.jobs.add(first, b"{}")
        await run_sql(admin, "ALTER ROLE lab PASSWORD 'second'")
        await run_sql(admin, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'lab'")
        with pytest.raises(StoreUnavailableError, match="password authentication failed"):
            await store.jobs.add(new_job(), b"{}")
        in_file(file, url.replace("first", "second"))
        assert await store.jobs.get(ALICE, first.id) == first


async def test_a_file_whose_url_is_spoiled_is_waited_for(
    own_server: PostgresqlServer, run_sql: RunSql, tmp_path: Path
) -> None:
    file = in_file(tmp_path / "url", own_server.url())
    async with opened_store(file, patience=timedelta(seconds=0.5)) as store:
        await store.counts.load()
        in_file(file, "postgresql://me:sec/ret@db/jobs")
        mine = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'qiskit-runtime-server'"
        await run_sql(own_server.url(), mine)
        with pytest.raises(StoreUnavailableError, match="percent-encoded") as caught:
            await store.counts.load()
        assert "sec/ret" not in str(caught.value)
        in_file(file, own_server.url())
        await store.counts.load()


async def test_a_wrong_port_is_one_line_in_the_log_however_often_it_is_tried(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, logger="qiskit_runtime_server")
    with pytest.raises(StartupError, match="does not answer"):
        await open_postgresql("postgresql://user@127.0.0.1:1/jobs", patience=timedelta(seconds=3))
    of_calls = [message for message in caplog.messages if "calls are repeated" in message]
    assert len(of_calls) == 1, caplog.messages
    assert len(caplog.messages) <= 2  # the other is that there are no notifications


async def test_a_database_that_does_not_exist_is_refused_at_once(postgresql_server: PostgresqlServer) -> None:
    with pytest.raises(StartupError, match='database "nowhere" does not exist'):
        await asyncio.wait_for(open_postgresql(postgresql_server.url("nowhere"), patience=timedelta(seconds=60)), 30)


async def test_a_database_that_may_lose_commits_is_refused(postgresql_server: PostgresqlServer) -> None:
    with pytest.raises(StartupError, match="synchronous_commit is off"):
        await open_postgresql(postgresql_server.url() + "&synchronous_commit=off")


async def test_a_database_that_cannot_hold_all_letters_is_refused(
    postgresql_server: PostgresqlServer, run_sql: RunSql
) -> None:
    latin = "CREATE DATABASE latin TEMPLATE template0 ENCODING LATIN1 LC_COLLATE 'C' LC_CTYPE 'C'"
    await run_sql(postgresql_server.url(), latin)
    with pytest.raises(StartupError, match="LATIN1; it must be UTF8"):
        await open_postgresql(postgresql_server.url("latin"))


# Clock and limits


async def test_leases_and_times_are_the_databases(
    open_postgresql_store: Callable[..., Any], run_sql: RunSql, new_job: NewJob
) -> None:
    # The fixture turns the clocks of this process by an hour, to and fro.
    async with open_postgresql_store() as opened:
        await opened.store.jobs.add(new_job(), b"{}")
        claim = await claimed(opened.store)
        [row] = await run_sql(
            opened.url,
            "SELECT lease_until - extract(epoch FROM clock_timestamp()) AS seconds, clock_timestamp() AS now FROM jobs",
        )
        assert 0 < row["seconds"] <= 30
        assert claim.job.started is not None
        assert timedelta(0) <= row["now"] - claim.job.started < timedelta(minutes=1)


@pytest.mark.usefixtures("jumping_clocks")
async def test_the_clocks_of_this_process_do_jump_in_these_tests() -> None:
    from qiskit_runtime_server.store.sqlite import database  # noqa: PLC0415 - after the fixture

    seen = {round((vars(database)["datetime"].now(UTC) - datetime.now(UTC)).total_seconds() / 3600) for _ in range(50)}
    assert seen == {-1, 1}


async def test_many_calls_at_once_share_a_bounded_number_of_connections(
    new_database: NewDatabase, run_sql: RunSql, new_job: NewJob
) -> None:
    async with new_database() as url, opened_store(url) as store:
        writes = [store.jobs.add(new_job(), b"{}") for _ in range(50)]
        reads = [store.jobs.find(ALICE, JobQuery()) for _ in range(50)]
        await asyncio.gather(*writes, *reads)
        [row] = await run_sql(url, "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'qiskit%'")
        assert 2 < row["count"] <= CONNECTIONS


async def test_calls_of_one_session_at_once_never_wait_for_each_other_in_a_circle(
    new_database: NewDatabase, run_sql: RunSql, new_job: NewJob, new_session: Callable[..., Session]
) -> None:
    """The database would end such a circle after a second, by an error upon which the call is made again."""

    async def run(store: Store) -> None:
        for _ in range(30):
            if claim := await store.queue.claim(AER, HERE, lease=LEASE):
                await store.queue.finish(claim, COMPLETED, b"{}")

    async def submit(store: Store, session: Session) -> None:
        job = new_job(session_id=session.id)
        with suppress(InvalidStateError):
            await store.jobs.add(job, b"{}")
            await store.jobs.cancel(ALICE, job.id, reason="enough")

    async with new_database() as url, opened_store(url) as one, opened_store(url) as other:
        for _ in range(3):
            session = new_session()
            await one.sessions.add(session)
            submissions = (submit(store, session) for _ in range(20) for store in (one, other))
            closing = one.sessions.close(ALICE, session.id)
            await asyncio.gather(run(one), *submissions, run(other), closing, run(one))
        await asyncio.sleep(1.5)  # Until idle connections have reported.
        [row] = await run_sql(url, "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()")
        assert row["deadlocks"] == 0


async def test_a_stopped_replica_cannot_keep_rows_locked(postgresql_server: PostgresqlServer) -> None:
    async with opened_store(postgresql_server.url()) as store, writer(store).connect() as connection:
        limit = await connection.exec_driver_sql("SHOW idle_in_transaction_session_timeout")
        assert limit.scalar() == "10s"


async def test_without_prepared_statements_none_outlives_its_transaction(
    open_pooled_store: Callable[..., Any], new_job: NewJob
) -> None:
    async with open_pooled_store() as opened:
        store, job = opened.store, new_job()
        await store.jobs.add(job, b"{}")
        await store.jobs.delete(ALICE, job.id)
        assert store.database.reader.get_execution_options().get("isolation_level") != "AUTOCOMMIT"
        async with writer(store).connect() as connection:
            count = await connection.exec_driver_sql("SELECT count(*) FROM pg_prepared_statements")
            assert count.scalar_one() <= 1  # This one.


async def test_values_that_the_database_cannot_hold_are_the_clients_fault(
    open_postgresql_store: Callable[..., Any], new_job: NewJob
) -> None:
    async with open_postgresql_store() as opened:
        jobs = opened.store.jobs
        with pytest.raises(MalformedRequestError):
            await jobs.add(new_job(tags=("a\0b",)), b"{}")
        with pytest.raises(MalformedRequestError):
            await jobs.get(ALICE, "a\0b")
        with pytest.raises(MalformedRequestError):
            await jobs.find(ALICE, JobQuery(tags=("a\0b",)))
        with pytest.raises(MalformedRequestError):
            await jobs.add(new_job(cost=2**40), b"{}")
        assert await jobs.find(ALICE, JobQuery()) == ([], 0)


_FULL = (
    """CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        RAISE EXCEPTION 'could not extend file' USING ERRCODE = 'disk_full';
    END $$""",
    (
        "CREATE TRIGGER full_disk BEFORE INSERT ON documents FOR EACH ROW WHEN (NEW.kind = 'result')"
        " EXECUTE FUNCTION refuse()"
    ),
)


async def test_a_full_disk_is_told_and_what_fits_is_kept_nevertheless(
    new_database: NewDatabase, new_job: NewJob
) -> None:
    async with new_database() as url, opened_store(url) as store:
        await store.jobs.add(new_job(), b"{}")
        claim = await claimed(store)
        async with writer(store).begin() as connection:
            for statement in _FULL:
                await connection.exec_driver_sql(statement)
        with pytest.raises(StoreFullError, match="no room: could not extend file"):
            await store.queue.finish(claim, COMPLETED, b"x" * 1_000_000)
        assert await store.queue.finish(claim, COMPLETED, None)


# A database that goes away


@pytest.fixture
def own_server() -> Iterator[PostgresqlServer]:
    with PostgresqlServer() as server:
        yield server


async def test_no_job_is_lost_when_the_database_restarts_or_crashes_under_load(
    own_server: PostgresqlServer, new_job: NewJob, run_sql: RunSql
) -> None:
    lease = timedelta(seconds=1)
    submitted: list[JobId] = []
    finished: list[JobId] = []
    stop = asyncio.Event()

    async def submit(store: Store) -> None:
        while not stop.is_set():
            job = new_job()
            await store.jobs.add(job, b"x" * 1000)
            submitted.append(job.id)

    async def run(store: Store) -> None:
        while not (stop.is_set() and (await store.counts.load())[AER] == Load()):
            claim = await store.queue.claim(AER, HERE, lease=lease)
            if claim is not None:
                if await store.queue.finish(claim, COMPLETED, claim.job.id.encode()):
                    finished.append(claim.job.id)
            elif (lost := await store.queue.take_over(AER, lease=lease)) is not None:
                await store.queue.requeue(lost, RetryReason.NOT_STARTED, reason="Its claim was lost.")
            else:
                await asyncio.sleep(0.02)

    async def disturb() -> None:
        for how in (signal.SIGINT, signal.SIGQUIT) * 3:
            enough = len(submitted) + 20
            await asyncio.sleep(0.4)
            while len(submitted) < enough:  # noqa: ASYNC110 - its own load tells nobody
                await asyncio.sleep(0.02)
            await asyncio.to_thread(own_server.stop, how)
            await asyncio.to_thread(own_server.start)
        await asyncio.sleep(0.3)
        stop.set()

    async with opened_store(own_server.url()) as one, opened_store(own_server.url()) as two, asyncio.timeout(200):
        await asyncio.gather(disturb(), *(work(store) for store in (one, two) for work in (submit, submit, run, run)))
        assert sorted(finished) == sorted(submitted)
        for job_id in submitted:
            assert await two.documents.result(job_id) == job_id.encode()
        rows = await run_sql(own_server.url(), "SELECT id FROM jobs WHERE state = 'Completed'")
        assert {row["id"] for row in rows} == set(submitted)
        assert await seconds_used(one, ALICE) == pytest.approx(1.5 * len(submitted))


async def test_a_start_waits_for_the_database(own_server: PostgresqlServer) -> None:
    own_server.stop()
    opening = asyncio.create_task(open_postgresql(own_server.url()))
    await asyncio.sleep(0.2)
    own_server.start()
    await (await opening).close()


async def test_a_database_that_stays_away_is_reported_and_used_again_when_it_is_back(
    own_server: PostgresqlServer, new_job: NewJob
) -> None:
    async with opened_store(own_server.url(), patience=timedelta(seconds=1)) as store:
        own_server.stop()
        job = new_job()
        for call in (store.jobs.add(job, b"{}"), store.counts.load()):
            with pytest.raises(StoreUnavailableError, match="does not answer"):
                await call
        own_server.start()
        await store.jobs.add(job, b"{}")
        assert await store.jobs.get(ALICE, job.id) == job


class Line:
    """What leads to the database, and can be cut once.

    Attributes:
        cut: When: "before" a commit is sent, or "after" it has been carried out and before that is known.
        silent: Whether nothing gets through any more.
    """

    def __init__(self, server: PostgresqlServer) -> None:
        self._server = server
        self.cut: str | None = None
        self.silent = False
        self.url = ""
        self._connections: set[asyncio.Task[None] | None] = set()

    async def ended(self) -> None:
        """Wait until both sides of all connections are closed; their tasks are nobody else's."""
        await asyncio.gather(*filter(None, self._connections))

    async def connect(self, client: asyncio.StreamReader, to_client: asyncio.StreamWriter) -> None:
        self._connections.add(asyncio.current_task())
        server, to_server = await asyncio.open_unix_connection(str(self._server.socket))
        muted = asyncio.Event()

        async def pass_requests() -> None:
            while data := await client.read(1 << 16):
                cut, self.cut = (self.cut, None) if b"COMMIT" in data else (None, self.cut)
                if cut == "before":
                    return
                if cut == "after":
                    muted.set()
                if not self.silent:
                    to_server.write(data)

        async def pass_answers() -> None:
            while data := await server.read(1 << 16):
                if muted.is_set():
                    return
                if not self.silent:
                    to_client.write(data)

        answers = asyncio.create_task(pass_answers())
        requests = asyncio.create_task(pass_requests())
        await asyncio.wait({answers, requests}, return_when=asyncio.FIRST_COMPLETED)
        for task in (answers, requests):
            task.cancel()
        for writer in (to_client, to_server):
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()


@pytest.fixture
async def line(postgresql_server: PostgresqlServer) -> AsyncIterator[Line]:
    line = Line(postgresql_server)
    with tempfile.TemporaryDirectory() as folder:
        socket = Path(folder) / postgresql_server.socket.name
        line.url = postgresql_server.url().replace(str(postgresql_server.socket.parent), folder)
        async with await asyncio.start_unix_server(line.connect, socket):
            yield line
        await line.ended()


@pytest.fixture
async def cut_off(open_postgresql_store: Callable[..., Any], line: Line) -> AsyncIterator[SqlStore]:
    """A store at the end of the line."""
    async with open_postgresql_store(), opened_store(line.url) as store:
        yield store


both_ways = pytest.mark.parametrize("cut", ["before", "after"])


@both_ways
async def test_a_job_is_added_once_although_the_line_is_cut_at_its_commit(
    cut_off: SqlStore, line: Line, new_job: NewJob, new_session: Callable[..., Session], cut: str
) -> None:
    session = new_session()
    line.cut = cut
    await cut_off.sessions.add(session)
    assert line.cut is None
    assert await cut_off.sessions.get(ALICE, session.id) == session
    job = new_job(tags=("x",), session_id=session.id)
    line.cut = cut
    await cut_off.jobs.add(job, b"{}")
    assert line.cut is None
    assert await cut_off.jobs.get(ALICE, job.id) == job
    assert (await cut_off.counts.load())[AER].queued == 1
    # Later calls are not in doubt.
    with pytest.raises(IntegrityError):
        await cut_off.jobs.add(job, b"{}")


@both_ways
async def test_a_job_ends_once_although_the_line_is_cut_at_its_commit(
    cut_off: SqlStore, line: Line, new_job: NewJob, cut: str
) -> None:
    job = new_job()
    await cut_off.jobs.add(job, b"{}")
    claim = await claimed(cut_off)
    line.cut = cut
    assert await cut_off.queue.finish(claim, COMPLETED, b"result")
    assert line.cut is None
    assert await cut_off.documents.result(job.id) == b"result"
    assert await seconds_used(cut_off, ALICE) == 1.5
    assert not await cut_off.queue.finish(claim, COMPLETED, b"result")


@both_ways
async def test_a_cut_line_neither_undoes_nor_denies_a_cancellation(
    cut_off: SqlStore, line: Line, new_job: NewJob, cut: str
) -> None:
    job = new_job()
    await cut_off.jobs.add(job, b"{}")
    line.cut = cut
    assert (await cut_off.jobs.cancel(ALICE, job.id, reason="enough")).id == job.id
    assert line.cut is None
    assert (await cut_off.counts.load())[AER] == Load()
    with pytest.raises(InvalidStateError):
        await cut_off.jobs.cancel(ALICE, job.id, reason="enough")


@both_ways
async def test_a_cut_line_neither_denies_a_deletion_nor_hides_an_end(
    cut_off: SqlStore, line: Line, new_job: NewJob, cut: str
) -> None:
    ends: list[Job] = []
    cut_off.signals.on_end(ends.append)
    jobs = [new_job() for _ in range(3)]
    for job in jobs:
        await cut_off.jobs.add(job, b"{}")
    claim = await claimed(cut_off)
    line.cut = cut
    assert await cut_off.queue.finish(claim, COMPLETED, None)
    line.cut = cut
    await cut_off.jobs.cancel(ALICE, jobs[1].id, reason="enough")
    line.cut = cut
    assert (await cut_off.jobs.delete(ALICE, jobs[2].id)).id == jobs[2].id
    assert line.cut is None
    assert (await cut_off.counts.load())[AER] == Load()
    with pytest.raises(JobNotFoundError):
        await cut_off.jobs.delete(ALICE, jobs[2].id)
    assert [(job.id, job.state) for job in ends] == [
        (jobs[0].id, JobState.COMPLETED),
        (jobs[1].id, JobState.CANCELLED),
        (jobs[2].id, JobState.CANCELLED),
    ]


@both_ways
async def test_a_private_result_is_not_lost_with_the_line(
    cut_off: SqlStore, line: Line, new_job: NewJob, cut: str
) -> None:
    job = new_job()
    await cut_off.jobs.add(job, b"{}")
    await cut_off.queue.finish(await claimed(cut_off), COMPLETED, b"secret")
    line.cut = cut
    assert await cut_off.documents.take_result(job.id) == b"secret"
    assert line.cut is None


@both_ways
async def test_a_claim_that_was_cut_off_is_made_again_or_taken_over(
    cut_off: SqlStore, line: Line, new_job: NewJob, cut: str
) -> None:
    await cut_off.jobs.add(new_job(), b"{}")
    line.cut = cut
    claim = await cut_off.queue.claim(AER, HERE, lease=timedelta(0))
    assert line.cut is None
    assert (claim is not None) == (cut == "before")
    taken = await cut_off.queue.take_over(AER, lease=LEASE)
    assert taken is not None
    line.cut = cut
    await cut_off.queue.requeue(taken, RetryReason.LOST, reason="gone")
    again = await claimed(cut_off)
    assert again.job.losses == 1
    assert (await cut_off.counts.load())[AER] == Load(running=1)


async def test_a_database_that_does_not_answer_is_not_waited_for_without_end(
    open_postgresql_store: Callable[..., Any], line: Line, new_job: NewJob
) -> None:
    job = new_job()
    async with open_postgresql_store(), opened_store(line.url, patience=timedelta(seconds=1)) as store:
        await store.jobs.add(job, b"{}")
        line.silent = True
        async with asyncio.timeout(60):
            for call in (store.jobs.get(ALICE, job.id), store.jobs.set_tags(ALICE, job.id, ["x"])):
                with pytest.raises(StoreUnavailableError):
                    await call
        line.silent = False
        assert await store.jobs.get(ALICE, job.id) == job
