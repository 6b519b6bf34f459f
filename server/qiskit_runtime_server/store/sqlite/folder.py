"""The data folder: one server at a time, nobody else's business, and never on a network file system."""

import fcntl
import logging
import os
import re
import stat
from pathlib import Path
from typing import Final

from qiskit_runtime_server.errors import DataDirectoryError, DataDirectoryInUseError

KEY_NAME: Final = "signing.key"
"""What a server that is given no key makes in its folder, once its database is there."""

FILE_NAME: Final = "store.db"
"""The database."""

DRAFT_NAME: Final = f"{FILE_NAME}.restored"
"""The database that a backup is restored into, until it is whole."""

_LOCK_NAME: Final = "lock"
_DATABASES: Final = {f"{name}{suffix}" for name in (FILE_NAME, DRAFT_NAME) for suffix in ("", "-wal", "-shm")}
_FILES: Final = {*_DATABASES, _LOCK_NAME, KEY_NAME}
# What the root of a volume may hold, too.
_OF_A_VOLUME: Final = {"lost+found"}
_OTHERS: Final = 0o077
_ANOTHER: Final = "--data-dir or QRS_DATA_DIR names another folder, which has to be on a local disk."
_MOUNTS: Final = Path("/proc/self/mounts")
_NETWORK_FILE_SYSTEM: Final = re.compile(
    r"(fuse\.)?(9p|afp|afs|beegfs|ceph|cephfs|cifs|davfs2?|gcsfuse|glusterfs|gpfs|juicefs|lustre|ncpfs|nfs4?|orangefs"
    r"|pvfs2|rclone|s3fs|smb2|smb3|smbfs|sshfs)"
)

logger = logging.getLogger(__name__)


class FolderLock:
    """The sole right to a folder, until released or until the process ends, however it ends."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def release(self) -> None:
        """Let another process have the folder."""
        os.close(self._descriptor)


def take_folder(folder: Path) -> FolderLock:
    """Create the folder if need be, take from others what they may do with it and its files, and lock it.

    What belongs to another user, as the root of a volume does, and a folder that holds other things, are left as they
    are.

    Raises:
        DataDirectoryInUseError: If another process has it.
        DataDirectoryError: If the folder cannot be written to, or lies on a network file system.
    """
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        _refuse_network_file_system(folder.resolve())
        _close_to_others(folder)
        return _lock(folder / _LOCK_NAME)
    except OSError as error:
        raise DataDirectoryError(
            f"The data folder {folder} cannot be used: {error.strerror or error}. {_ANOTHER}"
        ) from error


def new_file(path: Path) -> None:
    """Make an empty file that only its owner may read; what SQLite puts beside it gets the same mode."""
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))


def _close_to_others(folder: Path) -> None:
    for name in _FILES:
        _close(folder / name)
    if {path.name for path in folder.iterdir()} <= _FILES | _OF_A_VOLUME:
        _close(folder)
    mode = folder.stat().st_mode
    if mode & stat.S_IWOTH and not mode & stat.S_ISVTX:
        logger.warning(
            "Everybody on this machine may replace the files in the data folder %s: change its mode.", folder
        )


def _close(path: Path) -> None:
    try:
        status = path.stat(follow_symlinks=False)
    except FileNotFoundError:
        return
    if status.st_mode & _OTHERS and status.st_uid == os.geteuid() and not stat.S_ISLNK(status.st_mode):
        path.chmod(stat.S_IMODE(status.st_mode) & ~_OTHERS)


def file_system_type(folder: Path, mounts: str) -> str | None:
    """Return the type of the file system that holds `folder`, or None if the table does not tell.

    Args:
        folder: An absolute path without links.
        mounts: Text as in /proc/mounts.
    """
    holding: tuple[int, str] | None = None
    for line in mounts.splitlines():
        _, point, kind, *_ = line.split(" ")
        mount_point = Path(_unescaped(point))
        depth = len(mount_point.parts)
        # A later mount at the same place hides the earlier one.
        if folder.is_relative_to(mount_point) and (holding is None or depth >= holding[0]):
            holding = (depth, kind)
    return None if holding is None else holding[1]


def _unescaped(mount_point: str) -> str:
    r"""Undo the octal escapes (``\040`` is a space), which stand for bytes."""
    return (
        mount_point.encode(errors="surrogateescape")
        .decode("unicode_escape")
        .encode("latin-1")
        .decode(errors="surrogateescape")
    )


def _refuse_network_file_system(folder: Path) -> None:
    if not _MOUNTS.exists():  # Not Linux.
        return
    kind = file_system_type(folder, _MOUNTS.read_text(errors="surrogateescape"))
    if kind is not None and _NETWORK_FILE_SYSTEM.fullmatch(kind):
        raise DataDirectoryError(
            f"The data folder {folder} lies on a network file system ({kind}), where SQLite can lose data. {_ANOTHER}"
        )


def _lock(path: Path) -> FolderLock:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        owner = os.read(descriptor, 32).decode(errors="replace").strip()
        os.close(descriptor)
        process = f" (process {owner})" if owner else ""
        raise DataDirectoryInUseError(
            f"The data folder {path.parent} is in use by another server{process}. {_ANOTHER}"
        ) from error
    except BaseException:
        os.close(descriptor)
        raise
    os.ftruncate(descriptor, 0)
    os.write(descriptor, f"{os.getpid()}\n".encode())
    return FolderLock(descriptor)
