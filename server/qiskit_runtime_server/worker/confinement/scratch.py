"""The folders that workers write to, which are gone with them, or when the next server starts.

A server that is killed removes nothing. So all that it and its workers have in the temporary folder is in one folder of
its own there, its home, whose lock each of them holds while it lives:

    qrs-k2f81xqe/
    ├── .qiskit-runtime-server    locked by the server, and by each of its workers
    ├── listener-…                the socket of multiprocessing's fork server
    ├── worker-p0s9w3d_/          what a worker may write to
    └── worker-…

Whoever makes a home looks for others whose lock nobody holds, and removes them. The kernel takes a lock from a process
that has ended, however it ended: so no id of a process is looked at, which another one may have by now, or which is one
of another container. What belongs to another user, what is a link, and what has no such lock, is left alone.
"""

import fcntl
import os
import secrets
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from multiprocessing import util
from pathlib import Path
from threading import Thread
from typing import Final

_PREFIX: Final = "qrs-"
_LOCK: Final = ".qiskit-runtime-server"
# After what multiprocessing ends itself, as are the workers.
_LAST: Final = -100


@cache
def home() -> Path:
    """Return this process's home, which is there until the process ends; begin to remove those that nobody has."""
    folder = _new_home()
    util.Finalize(None, remove, (folder,), exitpriority=_LAST)
    # It may take long: a job may have left a million files.
    Thread(target=sweep, args=(folder.parent,), daemon=True).start()
    return folder


def new_scratch() -> Path:
    """Make a folder for a worker in this process's home."""
    return Path(tempfile.mkdtemp(prefix="worker-", dir=home()))


def keep(folder: Path) -> None:
    """Hold the lock of a home for as long as this process lives.

    Raises:
        OSError: If it is gone, or is just being removed.
    """
    fcntl.flock(os.open(folder / _LOCK, os.O_RDONLY | os.O_CLOEXEC), fcntl.LOCK_SH | fcntl.LOCK_NB)


def sweep(temporary: Path) -> None:
    """Remove the homes in a folder that belong to this user and that no process keeps."""
    for path in temporary.glob(f"{_PREFIX}*"):
        with suppress(OSError), _abandoned(path):
            remove(path)


def remove(folder: Path) -> None:
    """Remove a folder that no process uses any more, with all that is in it; what cannot be removed is left.

    Code that ran in a worker may have nested folders deeper than descriptors, paths and Python's stack go, for which
    `shutil.rmtree` raises RecursionError, or have taken all rights from them. So what is in a folder of the folder is
    moved up, until there is none.
    """
    with suppress(OSError):
        while _flattened(folder):
            pass
        # Last, so that what a process leaves that is killed meanwhile can be swept, too.
        (folder / _LOCK).unlink(missing_ok=True)
        folder.rmdir()


def _flattened(folder: Path) -> bool:
    """Remove files, and folders but for those in them, which are moved up; return whether there was any folder."""
    found = False
    for path, is_folder in _entries(folder):
        if is_folder:
            found = True
            _dissolve(path, folder)
        elif path.name != _LOCK:
            path.unlink()
    return found


def _dissolve(inner: Path, folder: Path) -> None:
    for path, is_folder in _entries(inner):
        if is_folder:
            # To move a folder is to write into it.
            path.chmod(stat.S_IRWXU)
            path.rename(folder / secrets.token_hex(16))
        else:
            path.unlink()
    inner.rmdir()


def _entries(folder: Path) -> Iterator[tuple[Path, bool]]:
    """Yield what is in a folder, which need not be readable, and whether it is a folder; it may be gone after that."""
    folder.chmod(stat.S_IRWXU)
    with os.scandir(folder) as entries:
        for entry in entries:
            yield Path(entry.path), entry.is_dir(follow_symlinks=False)


def _new_home() -> Path:
    while True:
        folder = Path(tempfile.mkdtemp(prefix=_PREFIX))
        with suppress(OSError):
            os.close(os.open(folder / _LOCK, os.O_CREAT | os.O_EXCL | os.O_WRONLY, stat.S_IRUSR | stat.S_IWUSR))
            keep(folder)
            if folder.exists():
                return folder
        # Another process took it for one that nobody has, in the moment before it was locked.


@contextmanager
def _abandoned(folder: Path) -> Iterator[None]:
    """Hold the lock of a home of this user that nobody keeps.

    Raises:
        OSError: If it is no such home.
    """
    # Of the folder first, as the way to its lock must not lead through a link.
    within = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        lock = os.open(_LOCK, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=within)
        try:
            if {os.fstat(within).st_uid, os.fstat(lock).st_uid} != {os.geteuid()}:
                raise PermissionError(f"{folder} belongs to another user")
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            yield
        finally:
            os.close(lock)
    finally:
        os.close(within)
