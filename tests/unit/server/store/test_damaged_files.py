"""Database files that are really damaged: the start ends with one line that says what is wrong and what to do."""

import asyncio
import os
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from qiskit_runtime_server.errors import DatabaseDamagedError, StartupError, StoreUnavailableError
from qiskit_runtime_server.jobs import AccountId, Job
from qiskit_runtime_server.store.port import JobQuery
from qiskit_runtime_server.store.sqlite import check
from qiskit_runtime_server.store.sqlite.database import open_sqlite

ALICE = AccountId("alice")
PAGE = 4096

NewJob = Callable[..., Job]

ADD_AND_WAIT = """
import asyncio, sys
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
    for number in range(30):
        await store.jobs.add(replace(JOB, id=f"job-{number:02}"), b"x" * 10_000)
    print("added", flush=True)
    await asyncio.sleep(600)

asyncio.run(main())
"""


def overwrite(file: Path, at: int, data: bytes) -> None:
    with file.open("r+b") as opened:
        opened.seek(at)
        opened.write(data)


@pytest.fixture
async def closed(migrated_folder: Path, tmp_path: Path, new_job: NewJob) -> Path:
    """Return the folder of a store that was closed, with some jobs."""
    folder = tmp_path / "data"
    shutil.copytree(migrated_folder, folder)
    store = await open_sqlite(folder)
    for _ in range(50):
        await store.jobs.add(new_job(), os.urandom(10_000))
    await store.close()
    return folder


@pytest.fixture
def killed(migrated_folder: Path, tmp_path: Path) -> Path:
    """Return the folder of a process that was killed: what it has committed is in the write-ahead log."""
    folder = tmp_path / "data"
    shutil.copytree(migrated_folder, folder)
    with subprocess.Popen(
        [sys.executable, "-c", ADD_AND_WAIT, str(folder)], stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "added\n"
        child.send_signal(signal.SIGKILL)
    assert (folder / "store.db-wal").stat().st_size > 100 * PAGE
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    """Return what the database's files hold; the index of its log is made again whenever it is opened."""
    files = {path.name: path.read_bytes() for path in folder.glob("store.db*")}
    return {name: data for name, data in files.items() if data and not name.endswith("-shm")}


async def refused(folder: Path, match: str) -> str:
    """Assert that the folder is refused in one line, its files are left as they are, and it is given back."""
    before = contents(folder)
    for _ in range(2):
        with pytest.raises(DatabaseDamagedError, match=match) as caught:
            await open_sqlite(folder)
        said = str(caught.value)
        assert "\n" not in said
        assert str(folder) in said
        assert "qiskit-runtime-server restore" in said
    assert contents(folder) == before
    return said


async def jobs_in(folder: Path) -> int:
    store = await open_sqlite(folder)
    try:
        return (await store.jobs.find(ALICE, JobQuery()))[1]
    finally:
        await store.close()


async def test_whole_files_pass(closed: Path) -> None:
    assert await jobs_in(closed) == 50


async def test_a_log_that_was_left_by_a_killed_process_passes(killed: Path) -> None:
    assert await jobs_in(killed) == 30


async def test_a_header_of_zeros_is_found(closed: Path) -> None:
    overwrite(closed / "store.db", 0, bytes(100))
    await refused(closed, "not a database")


async def test_a_file_that_is_no_database_is_found(closed: Path) -> None:
    (closed / "store.db").write_bytes(b"this is no database" * 100)
    await refused(closed, "not a database")


@pytest.mark.parametrize("part", [0.1, 0.5, 0.9])
async def test_a_truncated_file_is_found(closed: Path, part: float) -> None:
    file = closed / "store.db"
    os.truncate(file, int(file.stat().st_size * part) // PAGE * PAGE)
    await refused(closed, "malformed|not a database|smaller")


async def test_a_file_that_was_emptied_is_found(closed: Path) -> None:
    (closed / "signing.key").write_text("key")  # The server that used the folder has made one.
    os.truncate(closed / "store.db", 0)
    await refused(closed, "empty")


@pytest.mark.parametrize("size", [None, 0])
async def test_a_log_without_its_database_is_kept(killed: Path, size: int | None) -> None:
    """SQLite deletes such a log."""
    if size is None:
        (killed / "store.db").unlink()
    else:
        os.truncate(killed / "store.db", size)
    await refused(killed, "store.db-wal")


@pytest.mark.parametrize("table", ["jobs", "documents", "counts", "sqlite_autoindex_jobs_1", "jobs_waiting"])
async def test_torn_pages_are_found_wherever_they_are(closed: Path, table: str) -> None:
    file = closed / "store.db"
    with sqlite3.connect(file) as connection:
        [root] = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = ?", (table,)).fetchone()
    connection.close()
    overwrite(file, (root - 1) * PAGE, os.urandom(PAGE))
    await refused(closed, "damaged")


async def test_bytes_overwritten_in_the_middle_are_found(closed: Path) -> None:
    file = closed / "store.db"
    middle = file.stat().st_size // 2 // PAGE * PAGE
    overwrite(file, middle, os.urandom(16 * PAGE))
    await refused(closed, "damaged")


@pytest.mark.parametrize("frame", [1, 10, 40])
async def test_a_commit_that_the_log_has_lost_is_found(killed: Path, frame: int) -> None:
    """SQLite reads the log up to there and forgets the rest, which was acknowledged."""
    overwrite(killed / "store.db-wal", 32 + frame * (24 + PAGE) + 100, os.urandom(64))
    said = await refused(killed, "store.db-wal is damaged")
    [lost] = re.findall(r"from frame (\d+) on", said)
    assert 1 <= int(lost) <= frame + 1  # The transaction that the damaged frame is in has some more before it.


async def test_a_damaged_header_of_the_log_is_found(killed: Path) -> None:
    overwrite(killed / "store.db-wal", 4, os.urandom(28))
    await refused(killed, "store.db-wal is damaged")


async def test_a_log_that_ends_in_a_commit_that_was_never_acknowledged_passes(killed: Path) -> None:
    """After a power failure the last transaction may be there in parts: it was not synchronised, nor answered."""
    wal = killed / "store.db-wal"
    frames = (wal.stat().st_size - 32) // (24 + PAGE)
    os.truncate(wal, 32 + (frames - 1) * (24 + PAGE) + 1000)
    assert await jobs_in(killed) == 29


async def test_a_log_of_zeros_passes(closed: Path) -> None:
    """A file system may have made the file longer before the power failed, and written nothing."""
    (closed / "store.db-wal").write_bytes(bytes(10 * PAGE))
    assert await jobs_in(closed) == 50


async def test_a_check_that_takes_too_long_is_broken_off_and_told(
    closed: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(check, "_SECONDS_AFTER_CLEAN_END", 0.0)
    with caplog.at_level("INFO"):
        assert await jobs_in(closed) == 50
    assert "was not checked in full" in caplog.text


async def test_what_is_found_while_the_server_runs_is_an_answer_with_a_reason(closed: Path) -> None:
    store = await open_sqlite(closed)
    try:
        with sqlite3.connect(closed / "store.db") as connection:
            query = "SELECT rootpage FROM sqlite_master WHERE name = 'sqlite_autoindex_instance_limits_1'"
            [root] = connection.execute(query).fetchone()
        connection.close()
        overwrite(closed / "store.db", (root - 1) * PAGE, os.urandom(PAGE))
        with pytest.raises(StoreUnavailableError, match="is damaged"):
            await store.overviews.instance_limit(ALICE, "crn")
    finally:
        await store.close()


async def test_a_schema_that_is_no_schema_of_ours_is_refused_in_one_line(tmp_path: Path) -> None:
    folder = tmp_path / "other"
    folder.mkdir()
    with sqlite3.connect(folder / "store.db") as connection:
        connection.execute("CREATE TABLE jobs (something TEXT)")
    connection.close()
    with pytest.raises(StartupError, match=r"store\.db.*cannot be used.*jobs.*already exists") as caught:
        await open_sqlite(folder)
    assert "\n" not in str(caught.value)


def started_on(folder: Path) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "qiskit_runtime_server", "serve", "--port=0", f"--data-dir={folder}"]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


@pytest.mark.slow
async def test_the_command_line_says_it_in_one_line(closed: Path) -> None:
    overwrite(closed / "store.db", 0, bytes(100))
    done = await asyncio.to_thread(started_on, closed)
    assert done.returncode == 1
    [line] = done.stderr.strip().splitlines()
    assert line.startswith("error: The database ")


@pytest.mark.slow
async def test_the_command_line_says_in_one_line_that_a_newer_release_has_written_it(closed: Path) -> None:
    with sqlite3.connect(closed / "store.db") as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    connection.close()
    done = await asyncio.to_thread(started_on, closed)
    assert done.returncode == 1
    [line] = done.stderr.strip().splitlines()
    assert line.startswith("error: A newer release has written the database")
    assert "run that release" in line
