"""Opens a store on PostgreSQL; all that is special to it is in this folder."""

import asyncio
import logging
import re
import time
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final, TypeVar
from uuid import uuid4

import asyncpg
from asyncpg.connect_utils import SessionAttribute
from sqlalchemy import Connection, event, func, select, text
from sqlalchemy.engine import ExceptionContext
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import DisconnectionError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.pool import ConnectionPoolEntry, NullPool, PoolProxiedConnection

from qiskit_runtime_server.errors import MalformedRequestError, StartupError, StoreFullError, StoreUnavailableError
from qiskit_runtime_server.log.failures import FailureLog
from qiskit_runtime_server.store.port import Signal, Store
from qiskit_runtime_server.store.postgresql.errors import (
    UrlError,
    breaks_connection,
    is_bad_value,
    is_full,
    passes,
    sqlstate,
)
from qiskit_runtime_server.store.postgresql.notifications import Notifications
from qiskit_runtime_server.store.sql.database import CommitInDoubtError, Database, Now
from qiskit_runtime_server.store.sql.migration import migrate
from qiskit_runtime_server.store.sql.store import SqlStore

logger = logging.getLogger(__name__)

T = TypeVar("T")

_READERS: Final = 4
_WRITERS: Final = 8
CONNECTIONS: Final = _READERS + _WRITERS + 1
"""The most connections that a store has open, but for the moment of its start."""

APPLICATION: Final = "qiskit-runtime-server"
"""What connections are called in `pg_stat_activity`."""

OLDEST_RELEASE: Final = 14
_CONNECT_SECONDS: Final = 5.0
_POOL_SECONDS: Final = 15.0
_CACHED_STATEMENTS: Final = 100
# A process that is stopped in the midst of a transaction must not keep its rows locked.
_IDLE_IN_TRANSACTION: Final = "10s"
MIGRATION_LOCK: Final = int.from_bytes(b"qrs-mig")
"""Held by who changes the schema or all of the content."""

_FIRST_PAUSE_SECONDS: Final = 0.05
_LONGEST_PAUSE_SECONDS: Final = 1.0

_FITNESS: Final = text(
    "SELECT current_setting('server_version_num')::int / 10000 AS release,"
    " current_setting('server_encoding') AS encoding, current_setting('synchronous_commit') AS commit"
)
DRIVER_ERRORS: Final = (
    SQLAlchemyError,
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    OSError,
)
"""What the driver raises, directly or through SQLAlchemy."""

# Up to an @, user and password; then hosts and database, which are the groups. An unescaped / ? or # in a password ends
# that part of a URL, so what comes after it has no @.
_HOST: Final = r"(?:\[[0-9A-Fa-f:.%]*\]|[^\s/?#@:,\[\]]*)(?::\d{1,5})?"
_URL: Final = re.compile(rf"postgresql://(?:[^\s/?#]*@)?({_HOST}(?:,{_HOST})*)(/[^\t\n\r@?#]*)?(?:[?#][^\t\n\r@]*)?")
_LAST_PORT: Final = 65535

_in_doubt: ContextVar[bool] = ContextVar("in_doubt", default=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class DatabaseServer:
    """How connections are made.

    Attributes:
        source: The URL as asyncpg reads it, or a file that holds it and is read for each connection; several hosts are
            tried in turn, and a standby is never taken.
        answer_seconds: How long a statement may take; None for any time.
        prepared_statements: Whether a connection leads to the same server process for as long as it lasts.
    """

    source: str | Path
    answer_seconds: float | None
    prepared_statements: bool = True

    @property
    def url(self) -> str:
        """The URL, without the name of a driver, which other programs of its user may need.

        Raises:
            OSError: If the file cannot be read.
            UrlError: If it is no URL.
        """
        text = self.source.read_text().strip() if isinstance(self.source, Path) else self.source
        url = re.sub(r"^(postgresql|postgres)(\+\w+)?://", "postgresql://", text)
        where = _URL.fullmatch(url)
        ports = re.findall(r":(\d*)(?=,|$)", where[1]) if where else ()
        if where is None or any(int(port or 0) > _LAST_PORT for port in ports):
            raise UrlError
        return url

    @property
    def name(self) -> str:
        """Hosts and database, without user and password."""
        where = _URL.fullmatch(self.url)
        return "".join(where.groups("")) if where and any(where.groups()) else "PostgreSQL"

    async def connect(self) -> "asyncpg.Connection[asyncpg.Record]":
        """Return a new connection of the driver.

        Raises:
            UrlError: If what should be the URL is none.
        """
        settings = {"idle_in_transaction_session_timeout": _IDLE_IN_TRANSACTION}
        try:
            return await asyncpg.connect(
                self.url,
                timeout=min(_CONNECT_SECONDS, self.answer_seconds or _CONNECT_SECONDS),
                command_timeout=self.answer_seconds,
                target_session_attrs=SessionAttribute.read_write,
                statement_cache_size=_CACHED_STATEMENTS if self.prepared_statements else 0,
                server_settings={"application_name": APPLICATION} | (settings if self.prepared_statements else {}),
            )
        except ValueError as error:
            # The parser's own words may be a part of a password.
            raise UrlError from error

    def engine(self, *, size: int) -> AsyncEngine:
        """Return a pool of at most `size` connections."""
        engine = create_async_engine(
            "postgresql+asyncpg://",
            async_creator=self.connect,
            connect_args=self._dialect_options,
            pool_size=size,
            max_overflow=0,
            pool_timeout=_POOL_SECONDS,
        )
        event.listen(engine.sync_engine, "checkout", _refuse_closed)
        event.listen(engine.sync_engine, "handle_error", _note_broken)
        return engine

    def engine_for_migrations(self) -> AsyncEngine:
        """Return an engine whose statements may take any time."""
        return create_async_engine(
            "postgresql+asyncpg://",
            async_creator=replace(self, answer_seconds=None).connect,
            connect_args=self._dialect_options,
            poolclass=NullPool,
        )

    @property
    def _dialect_options(self) -> dict[str, Any]:
        if self.prepared_statements:
            return {}
        # https://docs.sqlalchemy.org/en/21/dialects/postgresql.html#prepared-statement-name-with-pgbouncer
        return {
            "prepared_statement_cache_size": 0,
            "prepared_statement_name_func": lambda: f"__asyncpg_{uuid4()}__",
        }


class PostgresqlDatabase(Database):
    """A database that other processes use, too, and that may be away for a while.

    Args:
        patience: How long a call waits for the database to come back.
    """

    def __init__(self, server: DatabaseServer, direct: DatabaseServer, patience: timedelta) -> None:
        reader = server.engine(size=_READERS)
        # A single statement needs no transaction, which takes two more messages; but without one, a connection
        # pooler may hand its parts to different processes.
        if server.prepared_statements:
            reader = reader.execution_options(isolation_level="AUTOCOMMIT")
        super().__init__()
        self.reader = reader
        self.writer = server.engine(size=_WRITERS)
        self._name = server.name
        self._patience = patience.total_seconds()
        self._failures = FailureLog(logger)
        self._notifications = Notifications(direct.connect, self.hub)

    def __str__(self) -> str:
        return f"PostgreSQL at {self._name}"

    async def read(self, query: Callable[[Connection], T]) -> T:
        """See `Database.read`."""
        # A connection whose user is cancelled would be thrown away.
        return await asyncio.shield(self.start(self._found(query)))

    async def _found(self, query: Callable[[Connection], T]) -> T:
        async with self.reader.connect() as connection:
            return await connection.run_sync(query)

    async def change(self, change: Callable[[Connection], T]) -> T:
        """See `Database.change`."""
        async with self.writer.connect() as connection:
            transaction = await connection.begin()
            result = await connection.run_sync(change)
            try:
                await transaction.commit()
            except DRIVER_ERRORS as error:
                if passes(error):
                    raise CommitInDoubtError(said_by(error)) from error
                raise
        return result

    def at(self, utc: datetime) -> Now:
        """See `Database.at`."""
        return Now(utc=utc, lease=utc.timestamp())

    def in_doubt(self) -> bool:
        """See `Database.in_doubt`."""
        return _in_doubt.get()

    async def complete(self, call: Callable[[], Awaitable[T]]) -> T:
        """Run `call`, again when the database was away, for as long as patience lasts but twice at least.

        Raises:
            StoreUnavailableError: If it is still away.
            StoreFullError: If its disk is full.
            MalformedRequestError: If the call has a value that the database cannot hold.
        """
        deadline, pause = time.monotonic() + self._patience, 0.0
        while True:
            try:
                answer = await call()
            except (*DRIVER_ERRORS, CommitInDoubtError) as error:
                if is_bad_value(error):
                    raise MalformedRequestError(
                        f"The request has a value that cannot be kept: {said_by(error)}"
                    ) from error
                if is_full(error):
                    raise StoreFullError(f"The database {self._name} has no room: {said_by(error)}") from error
                if isinstance(error, UrlError):
                    raise StoreUnavailableError(f"The database {self._name} cannot be used: {error}") from error
                if not passes(error):
                    raise
                if pause and time.monotonic() > deadline:
                    raise StoreUnavailableError(
                        f"The database {self._name} does not answer: {said_by(error)}"
                    ) from error
                if isinstance(error, CommitInDoubtError):
                    _in_doubt.set(True)
                self._failures.failed(
                    f"The database {self._name} does not answer, and calls are repeated until it does: {said_by(error)}"
                )
            else:
                self._failures.succeeded(f"The database {self._name} answers again")
                return answer
            await asyncio.sleep(pause)
            pause = min(2 * pause or _FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS)

    def announce(self, signal: Signal) -> None:
        """See `Database.announce`."""
        super().announce(signal)
        self._notifications.send(signal)

    async def close(self) -> None:
        """See `Database.close`."""
        await self.come_to_rest()
        for engine in (self.reader, self.writer):
            await engine.dispose()
        await self._notifications.close()


async def open_postgresql(
    url: str | Path,
    *,
    direct_url: str | Path | None = None,
    prepared_statements: bool = True,
    patience: timedelta = timedelta(seconds=15),
) -> Store:
    """Open the store in a database, whose schema is brought to this release's.

    Any number of processes may do so at the same time. The user must be allowed to create tables.

    Args:
        url: `postgresql://user:password@host:port/database?sslmode=...`, or a file that holds it and is read for each
            connection, so that another password needs no restart; after a fail-over among several hosts
            (`host1:port1,host2:port2`), the one that takes writes is found.
        direct_url: For what needs a session of its own, where `url` leads to a connection pooler.
        prepared_statements: False where `url` leads to a pooler that hands out server processes by transaction, such as
            PgBouncer, which cannot pass on `idle_in_transaction_session_timeout` either: set it for the user.
        patience: How long the start and, later, every call waits for a database that is away, and every statement
            for one that does not answer.

    Raises:
        StartupError: If the database cannot be reached, is unfit, or was written by a newer release.
    """
    answer_seconds = patience.total_seconds()
    server = DatabaseServer(source=url, answer_seconds=answer_seconds, prepared_statements=prepared_statements)
    direct = server if direct_url is None else DatabaseServer(source=direct_url, answer_seconds=answer_seconds)
    try:
        database = PostgresqlDatabase(server, direct, patience)
    except OSError as error:
        raise StartupError(f"The database cannot be used: {error}") from error
    try:
        await database.complete(lambda: _prepare(direct))
    except StoreUnavailableError as error:
        await database.close()
        raise StartupError(str(error)) from error
    except (*DRIVER_ERRORS, ValueError) as error:
        await database.close()
        raise StartupError(f"The database {direct.name} cannot be used: {said_by(error)}") from error
    except BaseException:
        await database.close()
        raise
    return SqlStore(database)


async def _prepare(server: DatabaseServer) -> None:
    engine = server.engine_for_migrations()
    try:
        async with engine.begin() as connection:
            await refuse_unfit(connection, server)
            # Held until the transaction ends, so that of several that start at once, one migrates.
            await connection.execute(select(func.pg_advisory_xact_lock(MIGRATION_LOCK)))
            await connection.run_sync(migrate)
    finally:
        await engine.dispose()


async def refuse_unfit(connection: AsyncConnection, server: DatabaseServer) -> None:
    """Look whether a database keeps what it is given.

    Raises:
        StartupError: If it does not.
    """
    release, encoding, commit = (await connection.execute(_FITNESS)).one()
    if release < OLDEST_RELEASE:
        raise StartupError(f"The database {server.name} is PostgreSQL {release}; {OLDEST_RELEASE} is the oldest one.")
    if encoding != "UTF8":
        raise StartupError(f"The database {server.name} is encoded in {encoding}; it must be UTF8.")
    if commit == "off":
        raise StartupError(f"The database {server.name} may lose commits: synchronous_commit is off for this user.")


def _refuse_closed(connection: DBAPIConnection, _entry: ConnectionPoolEntry, _proxy: PoolProxiedConnection) -> None:
    """Have the pool replace a connection that the server has closed meanwhile; this asks nobody and costs nothing."""
    if connection.driver_connection.is_closed():
        raise DisconnectionError


def _note_broken(context: ExceptionContext) -> None:
    if breaks_connection(context.original_exception):
        context.is_disconnect = True


def said_by(error: BaseException) -> str:
    """Return what the driver said, without the statement and its parameters."""
    cause = getattr(error, "orig", None) or error
    said = str(cause).rpartition(">: ")[2] or type(cause).__name__
    return f"{said} ({code})" if (code := sqlstate(error)) else said
