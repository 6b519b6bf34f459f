"""Tells what an error of PostgreSQL means for the call that met it."""

from typing import Final

import asyncpg
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from qiskit_runtime_server.store.sql.database import CommitInDoubtError

# https://www.postgresql.org/docs/current/errcodes-appendix.html
_CONNECTION_LOST: Final = ("08", "57P")
_READ_ONLY: Final = "25006"  # A primary that has become a standby.
_TOO_MANY_CONNECTIONS: Final = "53300"
_DISK_FULL: Final = "53100"
_TRY_AGAIN: Final = {"40001", "40P01"}
_BAD_VALUE: Final = "22"
# A wrong password, which may be about to be rotated here, too.
_NOT_AUTHORIZED: Final = "28"


class UrlError(OSError):
    """What should be the database's URL is none; the message has nothing of it, as it may hold a password."""

    def __init__(self) -> None:
        super().__init__(
            "The URL of the database cannot be read. It looks like postgresql://user:password@host:5432/name;"
            " characters of a password such as / ? # @ : are percent-encoded in it, as in %2F for /."
        )


def sqlstate(error: BaseException) -> str:
    """Return the code that the server gave to an error, as the driver or SQLAlchemy reports it; empty if none."""
    cause = error.orig if isinstance(error, DBAPIError) else error
    return getattr(cause, "sqlstate", None) or ""


def breaks_connection(error: BaseException) -> bool:
    """Return whether the connection should be thrown away, be it open or not."""
    return isinstance(error, OSError) or sqlstate(error).startswith(_CONNECTION_LOST) or sqlstate(error) == _READ_ONLY


def passes(error: BaseException) -> bool:
    """Return whether the same call may succeed when it is made again: its transaction has not been committed."""
    return (
        breaks_connection(error)
        or (isinstance(error, DBAPIError) and error.connection_invalidated)
        or isinstance(error, CommitInDoubtError | PoolTimeoutError | asyncpg.TargetServerAttributeNotMatched)
        or sqlstate(error) in _TRY_AGAIN | {_TOO_MANY_CONNECTIONS}
        or sqlstate(error).startswith(_NOT_AUTHORIZED)
    )


def is_full(error: BaseException) -> bool:
    """Return whether the database has no room for what the call writes."""
    return sqlstate(error) == _DISK_FULL


def is_bad_value(error: BaseException) -> bool:
    """Return whether the call has a value that the database cannot hold."""
    return sqlstate(error).startswith(_BAD_VALUE)
