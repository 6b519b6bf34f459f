"""Brings a database to the schema of this release."""

from sqlalchemy import Connection, inspect, text

from qiskit_runtime_server.errors import DataDirectoryError
from qiskit_runtime_server.store.schema import HEAD

_SCRIPTS = "qiskit_runtime_server.store:migrations"


def migrate(connection: Connection) -> None:
    """Run the migrations that are missing, inside the connection's transaction.

    Raises:
        DataDirectoryError: If a newer release has written the database.
    """
    # Alembic takes 12 MB and a quarter of a second; most starts do not need it.
    if _version(connection) != HEAD:
        _upgrade(connection)


def _version(connection: Connection) -> str | None:
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
        raise DataDirectoryError(
            f"The database has a schema that this release does not know; a newer one has written it ({error})."
        ) from error
