"""Bounds of what the kernel counts for no single process: a worker's threads, and all files that it has written.

They are looked at from outside every other second, so that a worker may be over them for that long. Linux's own limit
of threads (RLIMIT_NPROC) is of a user, whom other containers may have, too; that of a file's size
(`confinement.kernel`) says nothing of how many files there are. A file counts with the blocks that it takes, also one
that has no name any more and is open; one without a name that is only mapped into memory is not seen.
"""

import os
import stat
from collections.abc import Iterator
from contextlib import suppress
from itertools import chain
from pathlib import Path
from typing import Final

MOST_THREADS: Final = 1_000 + 10 * (os.cpu_count() or 1)
"""Several libraries start one for each core."""

MOST_FILES: Final = 10_000
MOST_BYTES: Final = 2 << 30

_DEEPEST: Final = 32
_BLOCK: Final = 512
_FOLDER: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class _HiddenError(Exception):
    """There are files where nobody can look."""


def excess(pid: int, scratch: Path) -> str | None:
    """Return what a worker, which may write to `scratch`, has more of than it may, for people; None if nothing."""
    if _threads(pid) > MOST_THREADS:
        return f"more than {MOST_THREADS:,} threads"
    files, size = 0, 0
    try:
        for found in chain(_nameless(pid), _named(scratch)):
            files += 1
            size += found.st_blocks * _BLOCK
            if files > MOST_FILES or size > MOST_BYTES:
                break
    except _HiddenError:
        return "files where they cannot be counted"
    if files > MOST_FILES:
        return f"more than {MOST_FILES:,} files"
    return f"files of more than {MOST_BYTES >> 20:,} MiB" if size > MOST_BYTES else None


def _threads(pid: int) -> int:
    """Return how many a process has; 0 if it is gone, or the system does not say."""
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("Threads:"):
                return int(line.split()[1])
    return 0


def _nameless(pid: int) -> Iterator[os.stat_result]:
    """Yield the open files of a process that are in no folder, as far as this one may look."""
    with suppress(OSError), os.scandir(f"/proc/{pid}/fd") as descriptors:
        for descriptor in descriptors:
            with suppress(OSError):
                found = descriptor.stat()
                if stat.S_ISREG(found.st_mode) and found.st_nlink == 0:
                    yield found


def _named(folder: Path) -> Iterator[os.stat_result]:
    """Yield what is in a folder and in all below, as far as this process can look.

    No link is followed, as the worker may put one in the place of a folder meanwhile.

    Raises:
        _HiddenError: If a folder below cannot be read, or is nested deeper than anybody does.
    """
    with suppress(OSError):
        descriptor = os.open(folder, _FOLDER)
        try:
            yield from _within(descriptor, 0)
        finally:
            os.close(descriptor)


def _within(folder: int, depth: int) -> Iterator[os.stat_result]:
    with os.scandir(folder) as entries:
        for entry in entries:
            try:
                yield entry.stat(follow_symlinks=False)
                inner = os.open(entry.name, _FOLDER, dir_fd=folder) if entry.is_dir(follow_symlinks=False) else None
            except (FileNotFoundError, NotADirectoryError):
                continue  # it is gone, or something else by now
            except PermissionError as error:
                raise _HiddenError from error
            if inner is None:
                continue
            try:
                if depth == _DEEPEST:
                    raise _HiddenError
                yield from _within(inner, depth + 1)
            finally:
                os.close(inner)
