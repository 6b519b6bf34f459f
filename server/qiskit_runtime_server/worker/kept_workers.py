"""Workers that wait until their account has another job, so that no two accounts need to share one."""

import asyncio
import secrets
from collections.abc import Callable
from typing import Final, NamedTuple

from qiskit_runtime_server.worker.process import WorkerProcess

# An honest one grows by a quarter of it, and by as much again with what it keeps of circuits.
_MOST_GROWN_BYTES: Final = 2**27
_KEPT_SECONDS: Final = 600.0


class _Kept(NamedTuple):
    account: str
    process: WorkerProcess
    leaving: asyncio.TimerHandle


class KeptWorkers:
    """Workers of accounts whose next job they wait for; what they have prepared for a device would be lost with them.

    They are paused: what code of a client may have left in one computes nothing and takes no memory while others' jobs
    run. One that has taken more memory than preparations do is ended, and so is one that has waited for long.
    """

    def __init__(self, most: int, end: Callable[[WorkerProcess], None]) -> None:
        """Keep `most` at once, and have the others ended by `end`."""
        self._most = most
        self._end = end
        self._kept: list[_Kept] = []

    def keep(self, account: str, process: WorkerProcess) -> None:
        """Take a worker, which ran jobs of `account` only, or none if that is empty."""
        if not process.is_connected or process.grown_bytes > _MOST_GROWN_BYTES:
            self._end(process)
            return
        process.pause()
        leaving = asyncio.get_running_loop().call_later(_KEPT_SECONDS, self._expire, process)
        self._kept.append(_Kept(account, process, leaving))
        if len(self._kept) > self._most:
            # Any of them: where more accounts take turns than there is room for, the one that has waited for longest is
            # the one whose turn is next.
            self._end(self._remove(secrets.randbelow(len(self._kept))))

    def take(self, account: str) -> WorkerProcess | None:
        """Return a worker of an account that has not ended, the last one kept; None if there is none."""
        for index in reversed(range(len(self._kept))):
            if self._kept[index].account == account:
                process = self._remove(index)
                if process.is_connected:
                    process.resume()
                    return process
                self._end(process)
        return None

    async def keep_within_bounds(self) -> None:
        """End those that have taken more than a worker may before they were paused, and those that were killed."""
        for kept in list(self._kept):
            await kept.process.keep_within_bounds()
        for index in reversed(range(len(self._kept))):
            if not self._kept[index].process.is_connected:
                self._end(self._remove(index))

    async def stop(self) -> None:
        """Kill all of them."""
        await asyncio.gather(*(self._remove(0).stop() for _ in list(self._kept)), return_exceptions=True)

    def _expire(self, process: WorkerProcess) -> None:
        self._end(self._remove([kept.process for kept in self._kept].index(process)))

    def _remove(self, index: int) -> WorkerProcess:
        kept = self._kept.pop(index)
        kept.leaving.cancel()
        return kept.process
