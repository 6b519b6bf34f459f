"""Backups of a store that is in use, restored into a folder or a database, whichever the store was on."""

import asyncio
import itertools
import os
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Protocol

import pytest

from kit.server.store_calls import AER, LEASE, claimed
from qiskit_runtime_server.errors import BackupError, DatabaseDamagedError, DataDirectoryError, StartupError
from qiskit_runtime_server.jobs import AccountId, Job, JobId, JobState, Outcome, Session
from qiskit_runtime_server.roles.backup import back_up, restore
from qiskit_runtime_server.settings import Settings
from qiskit_runtime_server.store.port import JobQuery, Store
from qiskit_runtime_server.store.postgresql.database import open_postgresql
from qiskit_runtime_server.store.sql import migration
from qiskit_runtime_server.store.sqlite.database import open_sqlite

ALICE = AccountId("alice")
DONE = Outcome(state=JobState.COMPLETED)

NewJob = Callable[..., Job]
NewSession = Callable[..., Session]
NewDatabase = Callable[[], AbstractAsyncContextManager[str]]


@dataclass(frozen=True)
class Place:
    """Where a store is, or is to be."""

    settings: Settings
    open: Callable[[], Awaitable[Store]]


class NewPlace(Protocol):
    def __call__(self, kind: str) -> AbstractAsyncContextManager[Place]: ...


@pytest.fixture
def new_place(tmp_path: Path, new_database: NewDatabase) -> NewPlace:
    numbers = itertools.count()

    @asynccontextmanager
    async def new(kind: str) -> AsyncIterator[Place]:
        folder = tmp_path / f"place-{next(numbers)}"
        if kind == "sqlite":
            yield Place(Settings(data_dir=folder), lambda: open_sqlite(folder))
            return
        async with new_database() as url:
            yield Place(Settings(data_dir=folder, database_url=url), lambda: open_postgresql(url))

    return new


def modes_beside(file: Path) -> dict[str, int]:
    """Return the files that may have to do with one, with their modes."""
    return {path.name: path.stat().st_mode & 0o777 for path in file.parent.glob(f"{file.name}*")}


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not condition():  # noqa: ASYNC110 - nobody tells of it
            await asyncio.sleep(0.01)


async def fill(store: Store, new_job: NewJob, new_session: NewSession) -> dict[JobState, list[JobId]]:
    """Add jobs of every state, and return their ids."""
    session = new_session()
    await store.sessions.add(session)
    completed, running, in_session, *queued = (new_job(session_id=s) for s in (None, None, session.id, None, None))
    for job in (completed, running, in_session, *queued):
        await store.jobs.add(job, params_of(job.id))
    claim = await claimed(store)
    await store.documents.append_log(claim.job.id, "a line")
    assert await store.queue.finish(claim, DONE, b"result" * 10_000)
    ran = [(await claimed(store)).job.id for _ in range(2)]
    cancelled = new_job()
    await store.jobs.add(cancelled, b"")
    await store.jobs.cancel(ALICE, cancelled.id, reason="not wanted")
    waiting = {job.id for job in (running, in_session, *queued, completed)} - {claim.job.id, *ran}
    return {
        JobState.COMPLETED: [claim.job.id],
        JobState.RUNNING: ran,
        JobState.QUEUED: sorted(waiting),
        JobState.CANCELLED: [cancelled.id],
    }


def params_of(job_id: str) -> bytes:
    return job_id.encode() * 200_000  # More than a row of documents holds.


async def check(store: Store, ids: dict[JobState, list[JobId]]) -> None:
    """Assert that nothing is missing, and that everything that had not ended can be run to its end."""
    for state, job_ids in ids.items():
        for job_id in job_ids:
            job = await store.jobs.get(ALICE, job_id)
            assert job.state is (JobState.QUEUED if state is JobState.RUNNING else state)
            assert (job.worker_deaths, job.losses) == (0, 0)
            if state is not JobState.CANCELLED:
                assert await store.documents.params(job_id) == params_of(job_id)
    [completed] = ids[JobState.COMPLETED]
    assert await store.documents.result(completed) == b"result" * 10_000
    assert await store.documents.log(completed) == "a line"
    load = (await store.counts.load())[AER]
    unfinished = {*ids[JobState.RUNNING], *ids[JobState.QUEUED]}
    assert (load.queued, load.running) == (len(unfinished), 0)
    assert await store.queue.take_over(AER, lease=LEASE) is None
    for _ in range(len(unfinished)):
        claim = await claimed(store)
        unfinished.remove(claim.job.id)
        assert await store.queue.finish(claim, DONE, b"late")
    assert not unfinished
    load = (await store.counts.load())[AER]
    assert (load.queued, load.running) == (0, 0)


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
@pytest.mark.parametrize("target", ["sqlite", "postgresql"])
async def test_a_store_in_use_is_restored_with_all_that_it_had(
    new_place: NewPlace, new_job: NewJob, new_session: NewSession, tmp_path: Path, kind: str, target: str
) -> None:
    file = tmp_path / "backup.db"
    async with new_place(kind) as source, new_place(target) as place:
        store = await source.open()
        try:
            ids = await fill(store, new_job, new_session)
            said = await back_up(source.settings, file)
            await store.jobs.add(new_job(), b"after it")
        finally:
            await store.close()
        assert f"Backed up 6 jobs to {file}" in said
        assert modes_beside(file) == {"backup.db": 0o600}
        said = await restore(place.settings, file, overwrite=False)
        assert "Restored 6 jobs" in said
        assert "; 2 that ran" in said
        store = await place.open()
        try:
            await check(store, ids)
        finally:
            await store.close()


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
async def test_a_store_with_jobs_is_overwritten_only_when_that_is_asked_for(
    new_place: NewPlace, new_job: NewJob, new_session: NewSession, tmp_path: Path, kind: str
) -> None:
    file = tmp_path / "backup.db"
    async with new_place("sqlite") as source, new_place(kind) as place:
        store = await source.open()
        ids = await fill(store, new_job, new_session)
        await store.close()
        await back_up(source.settings, file)
        store = await place.open()
        other = new_job()
        await store.jobs.add(other, b"other")
        await store.close()
        with pytest.raises(BackupError, match=r"has jobs.*--overwrite"):
            await restore(place.settings, file, overwrite=False)
        store = await place.open()
        assert await store.documents.params(other.id) == b"other"
        await store.close()
        await restore(place.settings, file, overwrite=True)
        store = await place.open()
        try:
            assert other.id not in {job.id for job in (await store.jobs.find(ALICE, JobQuery()))[0]}
            await check(store, ids)
        finally:
            await store.close()


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
async def test_a_store_that_a_server_uses_is_not_restored(
    new_place: NewPlace, new_job: NewJob, tmp_path: Path, kind: str
) -> None:
    file = tmp_path / "backup.db"
    async with new_place(kind) as place:
        store = await place.open()
        try:
            await store.jobs.add(new_job(), b"")
            await back_up(place.settings, file)
            with pytest.raises((DataDirectoryError, BackupError), match=r"in use by another server|Servers have"):
                await restore(place.settings, file, overwrite=True)
        finally:
            await store.close()


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
async def test_what_is_backed_up_while_jobs_are_added_is_of_one_moment(
    new_place: NewPlace, new_job: NewJob, tmp_path: Path, kind: str
) -> None:
    """All jobs that were answered before it began are there, whole, and the counts are those of the jobs."""
    async with new_place(kind) as source, new_place("sqlite") as place:
        store = await source.open()
        answered: list[JobId] = []

        async def add() -> None:
            while True:
                job = new_job()
                await store.jobs.add(job, os.urandom(50_000))
                answered.append(job.id)

        def enough(number: int) -> bool:
            return len(answered) >= number

        adding = [asyncio.create_task(add()) for _ in range(4)]
        try:
            for number in range(3):
                await until(partial(enough, 40 * (number + 1)))
                before = list(answered)
                file = tmp_path / f"backup-{number}.db"
                await asyncio.to_thread(asyncio.run, back_up(source.settings, file))
                await restore(place.settings, file, overwrite=True)
                restored = await place.open()
                found, total = await restored.jobs.find(ALICE, JobQuery(limit=100_000))
                assert {job.id for job in found} >= set(before)
                assert (await restored.counts.load())[AER].queued == total
                for job in found:
                    assert len(await restored.documents.params(job.id)) == 50_000
                await restored.close()
        finally:
            for task in adding:
                task.cancel()
            await asyncio.gather(*adding, return_exceptions=True)
            await store.close()


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
async def test_a_backup_of_an_older_release_is_brought_to_this_ones_schema(
    new_place: NewPlace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    async with new_place("sqlite") as source, new_place(kind) as place:
        with monkeypatch.context() as before:
            before.setattr(migration, "HEAD", "0004")
            await (await source.open()).close()
        file = tmp_path / "backup.db"
        await back_up(source.settings, file)
        await restore(place.settings, file, overwrite=False)
        await (await place.open()).close()


async def test_a_backup_of_a_newer_release_is_refused(new_place: NewPlace, tmp_path: Path) -> None:
    async with new_place("sqlite") as source, new_place("sqlite") as place:
        await (await source.open()).close()
        file = tmp_path / "backup.db"
        await back_up(source.settings, file)
        with sqlite3.connect(file) as connection:
            connection.execute("UPDATE alembic_version SET version_num = '9999'")
        connection.close()
        with pytest.raises(StartupError, match="newer release"):
            await restore(place.settings, file, overwrite=False)
        assert not (place.settings.data_dir / "store.db").exists()


async def test_a_damaged_or_foreign_backup_is_refused(new_place: NewPlace, new_job: NewJob, tmp_path: Path) -> None:
    async with new_place("sqlite") as source, new_place("sqlite") as place:
        store = await source.open()
        await store.jobs.add(new_job(), os.urandom(200_000))
        await store.close()
        file = tmp_path / "backup.db"
        await back_up(source.settings, file)
        with pytest.raises(BackupError, match="exists already"):
            await back_up(source.settings, file)
        whole = file.read_bytes()
        file.write_bytes(whole[: len(whole) // 2])
        with pytest.raises(DatabaseDamagedError, match="malformed"):
            await restore(place.settings, file, overwrite=False)
        for foreign in (b"", b"some text" * 1000):
            file.write_bytes(foreign)
            with pytest.raises((BackupError, DatabaseDamagedError)):
                await restore(place.settings, file, overwrite=False)
        file.unlink()
        sqlite3.connect(file).execute("CREATE TABLE other (a TEXT)").connection.close()
        with pytest.raises(BackupError, match="no backup of this server"):
            await restore(place.settings, file, overwrite=False)
        assert not (place.settings.data_dir / "store.db").exists()


async def test_a_damaged_store_is_told_instead_of_backed_up(
    new_place: NewPlace, new_job: NewJob, tmp_path: Path
) -> None:
    async with new_place("sqlite") as source:
        store = await source.open()
        await store.jobs.add(new_job(), os.urandom(200_000))
        await store.close()
        file = source.settings.data_dir / "store.db"
        data = file.read_bytes()
        file.write_bytes(data[:40_960] + os.urandom(40_960) + data[81_920:])
        with pytest.raises(DatabaseDamagedError):
            await back_up(source.settings, tmp_path / "backup.db")
        assert modes_beside(tmp_path / "backup.db") == {}


async def test_a_folder_without_a_database_is_told(new_place: NewPlace, tmp_path: Path) -> None:
    async with new_place("sqlite") as source:
        with pytest.raises(BackupError, match="no database"):
            await back_up(source.settings, tmp_path / "backup.db")
