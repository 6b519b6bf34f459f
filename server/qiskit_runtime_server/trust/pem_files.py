"""Certificates in files that somebody replaces while a process uses them, as a kubelet or certbot does."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Final

LOOK_SECONDS: Final = 10.0


class PemFiles:
    """Some files, and how they were when they were last looked at."""

    def __init__(self, *files: Path | None) -> None:
        self._files = [file for file in files if file is not None]
        self._stamps = self._look()

    def __str__(self) -> str:
        return " and ".join(map(str, self._files))

    def have_changed(self) -> bool:
        """Tell whether one was written, or replaced as kubelets do by another link, since they were looked at."""
        before, self._stamps = self._stamps, self._look()
        return before != self._stamps

    def _look(self) -> list[tuple[int, int] | None]:
        return [_stamp(file) for file in self._files]


async def follow(read_again: Callable[[], None]) -> None:
    """Call `read_again` in a thread, again and again, for as long as this task runs."""
    while True:
        await asyncio.sleep(LOOK_SECONDS)
        await asyncio.to_thread(read_again)


def why(error: OSError) -> str:
    """Return what OpenSSL or the system says, without numbers and addresses, which would make every line a new one."""
    reason = getattr(error, "reason", None) or error.strerror or type(error).__name__
    return str(reason).lower().replace("_", " ")


def _stamp(file: Path) -> tuple[int, int] | None:
    try:
        found = file.stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns
