"""Brings a database to the schema of this release."""

from typing import Final

from sqlalchemy import Connection, inspect, text

from qiskit_runtime_server.errors import StartupError
from qiskit_runtime_server.store.sql.schema import HEAD

_SCRIPTS: Final = "qiskit_runtime_server.store:migrations"


def migrate(connection: Connection) -> None:
    """Run the migrations that are missing, inside the connection's transaction.

    A schema of the next minor release is left as it is, for servers of both releases run beside each other while one
    replaces the other: migrations only add what the release before can do without, and where they rename something on
    PostgreSQL, it is there under both names. A folder belongs to one server, so what opens it next has the newer schema
    to itself; an older release than the one that migrated a folder may not find what it looks for.

    Raises:
        StartupError: If a newer release has written the database.
    """
    # Alembic takes 12 MB and a quarter of a second; most starts do not need it.
    if not _serves(version_of(connection)):
        _upgrade(connection)


def _serves(version: str | None) -> bool:
    if version is None or not version.isdecimal():
        return False
    return version >= HEAD and _minor_release(version) - _minor_release(HEAD) <= 1


def _minor_release(version: str) -> int:
    return int(version[:-2])


def version_of(connection: Connection) -> str | None:
    """Return the newest migration that a database has had; None if it has had none."""
    if not inspect(connection).has_table("alembic_version"):
        return None
    version: str | None = connection.scalar(text("SELECT version_num FROM alembic_version"))
    return version


def _upgrade(connection: Connection) -> None:
    from alembic import command  # noqa: PLC0415 - see above
    from alembic.config import Config  # noqa: PLC0415
    from alembic.util import CommandError  # noqa: PLC0415

    config = Config()
    config.set_main_option("script_location", _SCRIPTS)
    config.attributes["connection"] = connection
    try:
        command.upgrade(config, HEAD)
    except CommandError as error:
        raise StartupError(
            f"A newer release has written the database, whose schema this one does not know ({error}): run that"
            " release, or restore a backup from before the upgrade."
        ) from error
