"""The data folder: one server at a time, and never on a network file system."""

import fcntl
import os
import re
from pathlib import Path
from typing import Final

from qiskit_runtime_server.errors import DataDirectoryError, DataDirectoryInUseError

_LOCK_NAME: Final = "lock"
_MOUNTS: Final = Path("/proc/self/mounts")
_NETWORK_FILE_SYSTEM: Final = re.compile(
    r"(fuse\.)?(9p|afp|afs|beegfs|ceph|cephfs|cifs|davfs2?|gcsfuse|glusterfs|gpfs|juicefs|lustre|ncpfs|nfs4?|orangefs"
    r"|pvfs2|rclone|s3fs|smb2|smb3|smbfs|sshfs)"
)


class FolderLock:
    """The sole right to a folder, until released or until the process ends, however it ends."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def release(self) -> None:
        """Let another process have the folder."""
        os.close(self._descriptor)


def take_folder(folder: Path) -> FolderLock:
    """Create the folder if need be, readable by its owner only, and lock it.

    Raises:
        DataDirectoryInUseError: If another process has it.
        DataDirectoryError: If the folder cannot be written to, or lies on a network file system.
    """
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        _refuse_network_file_system(folder.resolve())
        return _lock(folder / _LOCK_NAME)
    except OSError as error:
        raise DataDirectoryError(f"The data folder {folder} cannot be used: {error.strerror or error}.") from error


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
            f"The data folder {folder} lies on a network file system ({kind}), where SQLite can lose data."
            " Choose a folder on a local disk."
        )


def _lock(path: Path) -> FolderLock:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        owner = os.read(descriptor, 32).decode(errors="replace").strip()
        os.close(descriptor)
        process = f" (process {owner})" if owner else ""
        raise DataDirectoryInUseError(f"The data folder {path.parent} is in use by another server{process}.") from error
    except BaseException:
        os.close(descriptor)
        raise
    os.ftruncate(descriptor, 0)
    os.write(descriptor, f"{os.getpid()}\n".encode())
    return FolderLock(descriptor)
