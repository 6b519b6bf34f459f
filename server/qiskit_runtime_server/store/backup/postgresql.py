"""Copies a store on PostgreSQL to a backup and back, without tools of PostgreSQL's own."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from sqlalchemy import Connection, func, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from qiskit_runtime_server.errors import BackupError, StartupError
from qiskit_runtime_server.store.backup.sqlite import rows_of_backup, working_copy
from qiskit_runtime_server.store.backup.transfer import copy_rows, has_jobs, number_of_jobs, queue_again
from qiskit_runtime_server.store.postgresql.database import (
    APPLICATION,
    DRIVER_ERRORS,
    MIGRATION_LOCK,
    DatabaseServer,
    refuse_unfit,
    said_by,
)
from qiskit_runtime_server.store.sql.migration import migrate, version_of
from qiskit_runtime_server.store.sql.schema import ASK_CLOCK, HEAD, metadata

_OTHERS: Final = text(
    "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name = :name"
    " AND pid <> pg_backend_pid()"
)
"""How many connections servers have to the database."""

_EMPTY: Final = text(f"TRUNCATE {', '.join(metadata.tables)}")
"""Removes all rows; the names are those of our own tables."""


async def back_up_postgresql(url: str | Path, target: Path) -> int:
    """Copy a database as it is at one moment, while servers use it; return how many jobs it has.

    Args:
        url: As for `open_postgresql`; it leads to the database itself, not to a connection pooler.
        target: An empty file.

    Raises:
        BackupError: If another release serves the database.
        StartupError: If it cannot be reached.
    """

    def copy(source: Connection) -> int:
        if (version := version_of(source)) != HEAD:
            raise BackupError(
                f"The database has schema {version or 'none'}, and this release {HEAD}: make the backup with the"
                " release that serves it."
            )
        with rows_of_backup(target) as rows:
            copy_rows(source, rows)
            return number_of_jobs(rows)

    async with _connected(url) as connection:
        await connection.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
        return await connection.run_sync(copy)


async def restore_postgresql(file: Path, url: str | Path, *, overwrite: bool) -> tuple[int, int]:
    """Put a backup into a database, all or nothing; return how many jobs it has, and how many had run.

    Args:
        file: The backup, of this release or an older one.
        url: As above.
        overwrite: Whether jobs that the database has may be lost.

    Raises:
        BackupError: If servers use the database, or it has jobs that may not be overwritten.
        StartupError: If it cannot be reached.
    """

    def restore(rows: Connection, target: Connection) -> tuple[int, int]:
        migrate(target)
        if not overwrite and has_jobs(target):
            raise BackupError(
                "The database has jobs: restore into another one (QRS_DATABASE_URL), or give --overwrite to lose them."
            )
        target.execute(_EMPTY)
        copy_rows(rows, target)
        again = queue_again(target, lambda connection: connection.execute(ASK_CLOCK).scalar_one())
        return number_of_jobs(target), again

    with (
        TemporaryDirectory(prefix="qiskit-runtime-server-") as folder,
        working_copy(file, Path(folder) / "store.db") as draft,
        rows_of_backup(draft) as rows,
    ):
        async with _connected(url) as connection:
            if servers := await connection.scalar(_OTHERS, {"name": APPLICATION}):
                raise BackupError(
                    f"Servers have {servers} connections to the database: stop them first, so that none of them sees"
                    " half of a restore."
                )
            await connection.execute(select(func.pg_advisory_xact_lock(MIGRATION_LOCK)))
            numbers = await connection.run_sync(lambda target: restore(rows, target))
            await connection.commit()
            return numbers


@asynccontextmanager
async def _connected(url: str | Path) -> AsyncIterator[AsyncConnection]:
    server = DatabaseServer(source=url, answer_seconds=None)
    try:
        engine = server.engine_for_migrations()
        try:
            async with engine.connect() as connection:
                await refuse_unfit(connection, server)
                await connection.rollback()
                yield connection
        finally:
            await engine.dispose()
    except DRIVER_ERRORS as error:
        raise StartupError(f"The database {server.name} cannot be used: {said_by(error)}") from error
