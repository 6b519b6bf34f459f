"""Backups are SQLite databases, whatever database the store is on; how they are written, read and put into a folder."""

import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from sqlalchemy import Connection, create_engine
from sqlalchemy.exc import SQLAlchemyError

from qiskit_runtime_server.errors import BackupError, DatabaseDamagedError
from qiskit_runtime_server.store.backup.transfer import has_jobs, number_of_jobs, queue_again
from qiskit_runtime_server.store.sql.migration import migrate
from qiskit_runtime_server.store.sqlite.check import refuse_damage, wal_of
from qiskit_runtime_server.store.sqlite.database import SqliteDatabase
from qiskit_runtime_server.store.sqlite.folder import DRAFT_NAME, FILE_NAME, new_file, take_folder


@contextmanager
def new_backup(file: Path) -> Iterator[Path]:
    """Yield where to write a backup, which is called `file` once it is whole, checked and on the disk.

    Raises:
        BackupError: If there is such a file already, or it cannot be written.
        DatabaseDamagedError: If what was written is not sound.
    """
    draft = file.with_name(f"{file.name}.part")
    try:
        if file.exists():
            raise BackupError(f"{file} exists already; nothing was written.")
        draft.unlink(missing_ok=True)
        new_file(draft)
        try:
            yield draft
            refuse_damage(draft, used=True, patient=True)
            _synchronise(draft)
            draft.replace(file)
            _synchronise(file.absolute().parent)
        finally:
            draft.unlink(missing_ok=True)
    except OSError as error:
        raise BackupError(f"The backup {file} cannot be written: {error.strerror or error}.") from error


def back_up_folder(folder: Path, target: Path) -> int:
    """Copy the database in a folder as it is at one moment, beside a server that uses it; return how many jobs it has.

    Raises:
        BackupError: If there is no database.
        DatabaseDamagedError: If it is damaged.
    """
    source = folder / FILE_NAME
    if not source.exists():
        raise BackupError(f"There is no database in {folder} ({FILE_NAME}); --data-dir says where it is.")
    _copy(source, target)
    with closing(sqlite3.connect(target)) as copied:
        return int(copied.execute("SELECT count(*) FROM jobs").fetchone()[0])


def _copy(source: Path, target: Path) -> None:
    """Copy a database in one step, which sees one moment; others go on writing meanwhile."""
    try:
        with (
            closing(sqlite3.connect(f"{source.absolute().as_uri()}?mode=ro", uri=True)) as read,
            closing(sqlite3.connect(target)) as written,
        ):
            read.backup(written)
            # One file, without a log beside it.
            written.execute("PRAGMA journal_mode = DELETE").fetchall()
    except sqlite3.OperationalError as error:
        raise BackupError(f"{source} cannot be copied to {target}: {error}.") from error
    except sqlite3.DatabaseError as error:
        raise DatabaseDamagedError(
            f"The database {source} is damaged ({error}), so there is nothing to copy."
        ) from error


@contextmanager
def rows_of_backup(file: Path) -> Iterator[Connection]:
    """Yield a connection to a backup that has the schema of this release; it is changed, if need be."""
    engine = create_engine(f"sqlite:///{file}")
    try:
        with engine.begin() as connection:
            migrate(connection)
            yield connection
    finally:
        engine.dispose()


@contextmanager
def working_copy(file: Path, copy: Path) -> Iterator[Path]:
    """Yield a copy of a backup that may be changed, and is removed.

    Raises:
        BackupError: If `file` is no backup.
        DatabaseDamagedError: If it is damaged.
    """
    if not file.is_file() or file.stat().st_size == 0:
        raise BackupError(f"There is no backup {file}.")
    refuse_damage(file, used=True, patient=True)
    with closing(sqlite3.connect(f"{file.absolute().as_uri()}?mode=ro", uri=True)) as opened:
        if not opened.execute("SELECT 1 FROM sqlite_schema WHERE name = 'alembic_version'").fetchall():
            raise BackupError(f"{file} is a database, but no backup of this server.")
    _remove(copy)
    new_file(copy)
    try:
        _copy(file, copy)
        yield copy
    finally:
        _remove(copy)


async def restore_folder(file: Path, folder: Path, *, overwrite: bool) -> tuple[int, int]:
    """Put a backup into a folder, as the schema of this release; return how many jobs it has, and how many had run.

    Raises:
        DataDirectoryError: If a server uses the folder.
        BackupError: If the folder has jobs that may not be overwritten.
    """
    lock = take_folder(folder)
    try:
        target = folder / FILE_NAME
        if not overwrite and _may_have_jobs(target):
            raise BackupError(
                f"The database {target} has jobs, or cannot be read: restore into another folder (--data-dir), or give"
                " --overwrite to lose them."
            )
        with working_copy(file, folder / DRAFT_NAME) as draft:
            numbers = await _made_ready(draft)
            _synchronise(draft)
            # SQLite would apply the log of the one before to this one.
            for leftover in (wal_of(target), target.with_name(f"{FILE_NAME}-shm")):
                leftover.unlink(missing_ok=True)
            draft.replace(target)
            _synchronise(folder)
        return numbers
    finally:
        lock.release()


async def _made_ready(draft: Path) -> tuple[int, int]:
    database = SqliteDatabase(draft, time.monotonic, 0)
    try:

        def make_ready(connection: Connection) -> tuple[int, int]:
            migrate(connection)
            again = queue_again(connection, lambda connection: database.now(connection).utc)
            return number_of_jobs(connection), again

        return await database.change(make_ready)
    finally:
        await database.close()


def _may_have_jobs(file: Path) -> bool:
    if not file.exists() or file.stat().st_size == 0:
        return wal_of(file).exists() and wal_of(file).stat().st_size > 0
    engine = create_engine(f"sqlite:///{file}")
    try:
        with engine.connect() as connection:
            return has_jobs(connection)
    except SQLAlchemyError:
        return True
    finally:
        engine.dispose()


def _remove(database: Path) -> None:
    for path in (database, wal_of(database), database.with_name(f"{database.name}-shm")):
        path.unlink(missing_ok=True)


def _synchronise(path: Path) -> None:
    """Have a file, or the names in a folder, on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
