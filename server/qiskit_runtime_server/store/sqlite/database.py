"""Opens a store in a folder with SQLite; all that is special to it is in this package."""

import asyncio
import logging
import shutil
import sqlite3
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final, TypeVar

from sqlalchemy import URL, Connection, Engine, create_engine, event, update
from sqlalchemy.exc import DatabaseError, SQLAlchemyError
from sqlalchemy.pool import ConnectionPoolEntry

from qiskit_runtime_server.errors import (
    DatabaseDamagedError,
    DataDirectoryInUseError,
    StartupError,
    StoreFullError,
    StoreUnavailableError,
)
from qiskit_runtime_server.store.port import Store
from qiskit_runtime_server.store.sql.database import Database, Now
from qiskit_runtime_server.store.sql.migration import migrate
from qiskit_runtime_server.store.sql.schema import IS_RUNNING, jobs
from qiskit_runtime_server.store.sql.store import SqlStore
from qiskit_runtime_server.store.sqlite.check import damaged, is_damage, refuse_damage
from qiskit_runtime_server.store.sqlite.folder import FILE_NAME, KEY_NAME, FolderLock, new_file, take_folder

logger = logging.getLogger(__name__)
_FOLDER_CHECK_SECONDS: Final = 0.5
_READERS: Final = 2
_FREE_PAGES: Final = ("freelist_count", "page_size")
_BUSY_MILLISECONDS: Final = 10_000
_WAL_BYTES_KEPT: Final = 64 << 20
# https://www.sqlite.org/rescode.html
_PRIMARY_CODE: Final = 0xFF
_AWAY: Final = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_IOERR}

T = TypeVar("T")


class SqliteDatabase(Database):
    """One connection that writes, in transactions that begin with the lock, beside some that only read.

    A whole transaction runs on the writer's thread: to go there for each statement, as drivers for asyncio do, takes
    longer than what the statement does.

    Args:
        clock: Measures leases, in seconds.
        keep_free: How many bytes new jobs leave free on the disk.
    """

    def __init__(self, file: Path, clock: Callable[[], float], keep_free: int) -> None:
        super().__init__(keep_free)
        self.reader = _reader(file)
        self.writer = _writer(file)
        self._reading = ThreadPoolExecutor(_READERS, "qrs-reader")
        self._writing = ThreadPoolExecutor(1, "qrs-writer")
        self._file = file
        self._clock = clock

    def __str__(self) -> str:
        return f"SQLite in {self._file.parent}"

    async def complete(self, call: Callable[[], Awaitable[T]]) -> T:
        """Run `call`.

        Raises:
            StoreFullError: If the disk is full.
            StoreUnavailableError: If the file cannot be reached, or is damaged.
        """
        try:
            return await call()
        except DatabaseError as error:
            if is_damage(error.orig):
                raise StoreUnavailableError(damaged(self._file, error.orig)) from error
            code = getattr(error.orig, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & _PRIMARY_CODE
            if code == sqlite3.SQLITE_FULL:
                raise StoreFullError(f"The disk of {self._file.parent} is full.") from error
            if code in _AWAY:
                raise StoreUnavailableError(f"The database {self._file} cannot be reached: {error.orig}") from error
            raise

    async def room(self) -> int:
        """See `Database.room`: what is free on the disk and, if that is little, in the file."""
        free = shutil.disk_usage(self._file.parent).free
        if free >= 2 * self._keep_free:
            return free

        def in_file(connection: Connection) -> int:
            pages, size = (connection.exec_driver_sql(f"PRAGMA {name}").scalar_one() for name in _FREE_PAGES)
            return int(pages) * int(size)

        return free + await self.read(in_file)

    async def read(self, query: Callable[[Connection], T]) -> T:
        """See `Database.read`."""

        def read() -> T:
            with self.reader.connect() as connection:
                return query(connection)

        return await asyncio.get_running_loop().run_in_executor(self._reading, read)

    async def change(self, change: Callable[[Connection], T]) -> T:
        """See `Database.change`; one after the other."""

        def write() -> T:
            with self.writer.begin() as connection:
                return change(connection)

        return await asyncio.get_running_loop().run_in_executor(self._writing, write)

    def at(self, utc: datetime) -> Now:
        """See `Database.at`."""
        return Now(utc=utc, lease=self._clock())

    async def close(self) -> None:
        """See `Database.close`."""
        await self.come_to_rest()
        for engine, threads in ((self.reader, self._reading), (self.writer, self._writing)):
            await asyncio.to_thread(threads.shutdown)
            engine.dispose()


async def open_sqlite(
    folder: Path,
    *,
    wait: timedelta = timedelta(0),
    clock: Callable[[], float] = time.monotonic,
    keep_free: int = 0,
) -> Store:
    """Open the store in `folder`, which is created if need be; all leases of the server before count as run out.

    Args:
        folder: Belongs to this process until the store is closed.
        wait: How long another server may take to leave it.
        clock: Measures leases, in seconds.
        keep_free: How many bytes new jobs leave free on the disk; a quarter of them is for what removes jobs.

    Raises:
        DataDirectoryError: If the folder is in use or of a kind that loses data.
        DatabaseDamagedError: If a part of the database cannot be read.
        StartupError: If a newer release has written the database, or something else than this server.
    """
    lock = await _take(folder, wait)
    file = folder / FILE_NAME
    try:
        await asyncio.to_thread(refuse_damage, file, used=(folder / KEY_NAME).exists())
        if not file.exists():
            new_file(file)
    except BaseException:
        lock.release()
        raise
    database = SqliteDatabase(file, clock, keep_free)
    store = SqlStore(database, lock.release)
    try:
        await database.change(_prepare)
    except SQLAlchemyError as error:
        await store.close()
        cause = getattr(error, "orig", None) or error
        if is_damage(cause):
            raise DatabaseDamagedError(damaged(file, cause)) from error
        raise StartupError(f"The database {file} cannot be used: {cause}.") from error
    except BaseException:
        await store.close()
        raise
    return store


async def _take(folder: Path, wait: timedelta) -> FolderLock:
    began, told = time.monotonic(), False
    while True:
        try:
            return take_folder(folder)
        except DataDirectoryInUseError as error:
            if time.monotonic() - began >= wait.total_seconds():
                raise
            if not told:
                logger.info("%s Waiting up to %g s for it to leave.", error, wait.total_seconds())
            told = True
        await asyncio.sleep(_FOLDER_CHECK_SECONDS)


def _writer(file: Path) -> Engine:
    """Return an engine with one connection: writers wait for it in turn and never meet a locked database."""
    engine = _engine(file, size=1)

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    return engine


def _reader(file: Path) -> Engine:
    engine = _engine(file, size=_READERS, skip_autocommit_rollback=True, isolation_level="AUTOCOMMIT")

    @event.listens_for(engine, "connect")
    def connect(connection: sqlite3.Connection, _entry: ConnectionPoolEntry) -> None:
        _run(connection, "PRAGMA query_only = ON")

    return engine


def _engine(file: Path, *, size: int, **options: object) -> Engine:
    engine = create_engine(
        URL.create("sqlite", database=str(file)),
        # The driver begins no transactions by itself: https://docs.sqlalchemy.org/en/20/dialects/sqlite.html
        connect_args={"isolation_level": None, "check_same_thread": False},
        pool_size=size,
        max_overflow=0,
        pool_timeout=None,
        pool_reset_on_return=None,
        **options,
    )

    @event.listens_for(engine, "connect")
    def connect(connection: sqlite3.Connection, _entry: ConnectionPoolEntry) -> None:
        for pragma in (
            f"busy_timeout = {_BUSY_MILLISECONDS}",
            "journal_mode = WAL",
            "synchronous = FULL",
            "foreign_keys = ON",
            f"journal_size_limit = {_WAL_BYTES_KEPT}",
        ):
            _run(connection, f"PRAGMA {pragma}")
        connection.create_function("clock_timestamp", 0, _clock_timestamp)

    return engine


def _clock_timestamp() -> str:
    """Return the time as SQLAlchemy writes it."""
    return datetime.now(UTC).replace(tzinfo=None).isoformat(" ", "microseconds")


def _run(connection: sqlite3.Connection, statement: str) -> None:
    cursor = connection.cursor()
    cursor.execute(statement)
    cursor.close()


def _prepare(connection: Connection) -> None:
    migrate(connection)
    # Whoever held them is gone: this process holds the folder.
    connection.execute(update(jobs).where(IS_RUNNING).values(lease_until=float("-inf")))
