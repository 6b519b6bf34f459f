"""Looks whether a database's files are whole, before anything is written to them.

SQLite itself finds some damage only when it comes to the page, and to two kinds it says nothing: it deletes a
write-ahead log whose database is empty or missing, and reads a log up to the first frame whose checksum is wrong, so
that what was committed after it is gone.
"""

import logging
import sqlite3
import threading
import time
from contextlib import closing
from pathlib import Path
from typing import Final

from qiskit_runtime_server.errors import DatabaseDamagedError
from qiskit_runtime_server.store.sqlite.wal import first_lost_frame, is_blank

WHAT_TO_DO: Final = (
    "Restore a backup into a new folder (qiskit-runtime-server restore);"
    " docs/how-to/backup.md says what else can be saved."
)
# 2.5 s for each GiB that is in the page cache; a disk may take longer. Pages are torn when the power fails, and hardly
# ever after a server has closed its database.
_SECONDS: Final = 30.0
_SECONDS_AFTER_CLEAN_END: Final = 3.0
# The largest table by far, so it comes last.
_LAST: Final = "documents"
_DAMAGED: Final = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}
_PRIMARY_CODE: Final = 0xFF

logger = logging.getLogger(__name__)


def is_damage(error: BaseException | None) -> bool:
    """Tell whether SQLite has found that a file is damaged."""
    return getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & _PRIMARY_CODE in _DAMAGED


def damaged(file: Path, what: object) -> str:
    """Return the line that says so."""
    return f"The database {file} is damaged ({what}). {WHAT_TO_DO}"


def wal_of(file: Path) -> Path:
    """Return where the write-ahead log of a database is, which is there until it is closed."""
    return file.with_name(f"{file.name}-wal")


def refuse_damage(file: Path, *, used: bool, patient: bool = False) -> None:
    """Look at every table, the small ones first, for as long as that may take; nothing is written.

    Args:
        file: The database; nobody else writes to it meanwhile. It need not be there.
        used: Whether there has been something in it.
        patient: Whether it may take any time.

    Raises:
        DatabaseDamagedError: If something is wrong; the message says what, and what to do.
    """
    wal = wal_of(file)
    ended_cleanly = not wal.exists() or is_blank(wal)
    if not file.exists() or file.stat().st_size == 0:
        if not ended_cleanly:
            raise DatabaseDamagedError(damaged(file, f"it is empty or missing, beside its log {wal.name}"))
        if file.exists() and used:
            raise DatabaseDamagedError(damaged(file, "it is empty, but has been in use"))
        return
    seconds = _SECONDS_AFTER_CLEAN_END if ended_cleanly else _SECONDS
    try:
        with closing(sqlite3.connect(f"{file.absolute().as_uri()}?mode=ro", uri=True, check_same_thread=False)) as db:
            problem = _problem(db, file, threading.TIMEOUT_MAX if patient else seconds)
            if problem is None and not ended_cleanly and (frame := first_lost_frame(wal)) is not None:
                problem = f"its log {wal.name} is damaged: what was committed from frame {frame} on cannot be read"
    except sqlite3.DatabaseError as error:
        if not is_damage(error):
            raise
        problem = str(error)
    if problem is not None:
        raise DatabaseDamagedError(damaged(file, problem))


def _problem(db: sqlite3.Connection, file: Path, seconds: float) -> str | None:
    deadline = time.monotonic() + seconds
    tables = [name for (name,) in db.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")]
    for table in sorted(tables, key=lambda name: name == _LAST):
        try:
            found = _checked(db, table, deadline - time.monotonic())
        except TimeoutError:
            logger.info(
                "The database %s was not checked in full: that takes more than %g s. Table %s is the first that was"
                " left out.", file, seconds, table,
            )  # fmt: skip
            return None
        if found != "ok":
            return found
    return None


def _checked(db: sqlite3.Connection, table: str, seconds: float) -> str:
    """Return `ok`, or what is wrong with a table and its indexes, in one line.

    Raises:
        TimeoutError: If that takes longer.
    """
    if seconds <= 0:
        raise TimeoutError
    # A limit for the number of steps is not looked at within this pragma before SQLite 3.43.
    timer = threading.Timer(seconds, db.interrupt)
    timer.start()
    try:
        [found] = db.execute("SELECT quick_check FROM pragma_quick_check(?) LIMIT 1", (table,)).fetchone()
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode == sqlite3.SQLITE_INTERRUPT:
            raise TimeoutError from error
        raise
    finally:
        timer.cancel()
    return f"table {table}: {' '.join(str(found).split())}" if found != "ok" else "ok"
