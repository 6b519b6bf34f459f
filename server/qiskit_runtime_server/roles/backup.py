"""Backs the store of the settings up, and restores it: the commands `backup` and `restore`."""

import shutil
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from qiskit_runtime_server.machine import in_words
from qiskit_runtime_server.settings import Settings
from qiskit_runtime_server.store.backup.sqlite import back_up_folder, new_backup, restore_folder

STDOUT: Final = Path("-")


async def back_up(settings: Settings, file: Path) -> str:
    """Write a backup, and return what to tell.

    Args:
        settings: Say where the store is.
        file: A new file, or `STDOUT`.

    Raises:
        BackupError: If that cannot be done.
        StartupError: If the database cannot be reached, or is damaged.
    """
    if file == STDOUT:
        with TemporaryDirectory(prefix="qiskit-runtime-server-") as folder:
            whole = Path(folder) / "backup.db"
            said = await back_up(settings, whole)
            with whole.open("rb") as opened:
                shutil.copyfileobj(opened, sys.stdout.buffer)
        return said.replace(f" to {whole}", "")
    with new_backup(file) as draft:
        url = _direct_url(settings)
        if url is None:
            jobs = back_up_folder(settings.data_dir, draft)
        else:
            from qiskit_runtime_server.store.backup.postgresql import back_up_postgresql  # noqa: PLC0415 - SQLite does without asyncpg

            jobs = await back_up_postgresql(url, draft)
    return f"Backed up {jobs} jobs to {file} ({_size(file)})."


async def restore(settings: Settings, file: Path, *, overwrite: bool) -> str:
    """Make a backup the store of the settings, and return what to tell; errors as above.

    Args:
        settings: Say where the store is; no server uses it.
        file: From `back_up`, of this release or an older one, on whatever database.
        overwrite: Whether jobs that the store has may be lost.
    """
    url = _direct_url(settings)
    if url is None:
        jobs, again = await restore_folder(file, settings.data_dir, overwrite=overwrite)
        where = str(settings.data_dir)
    else:
        from qiskit_runtime_server.store.backup.postgresql import restore_postgresql  # noqa: PLC0415 - see above

        jobs, again = await restore_postgresql(file, url, overwrite=overwrite)
        where = "the database"
    return f"Restored {jobs} jobs into {where}; {again} that ran at the time of the backup are queued again."


def _size(file: Path) -> str:
    return in_words(file.stat().st_size)


def _direct_url(settings: Settings) -> str | Path | None:
    """Return the URL of the database past a connection pooler, or the file that holds it; None for the embedded one."""
    for file, url in (
        (settings.database_direct_url_file, settings.database_direct_url),
        (settings.database_url_file, settings.database_url),
    ):
        if file is not None or url is not None:
            return file or (url.get_secret_value() if url else None)
    return None
