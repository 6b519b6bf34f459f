"""Lets status calls wait for the end of a job."""

import asyncio
from collections import defaultdict
from contextlib import suppress
from datetime import timedelta

from qiskit_runtime_server.jobs import JobId


class Endings:
    """Who waits for the end of which job, in this process."""

    def __init__(self) -> None:
        self._waiting: defaultdict[JobId, set[asyncio.Future[None]]] = defaultdict(set)
        self._open = True

    async def wait(self, job_id: JobId, limit: timedelta) -> None:
        """Return when the job ends, or after `limit`, or at once after `close`."""
        if not self._open or limit <= timedelta(0):
            return
        ending: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting[job_id].add(ending)
        try:
            with suppress(TimeoutError):
                await asyncio.wait_for(ending, limit.total_seconds())
        finally:
            waiting = self._waiting[job_id]
            waiting.discard(ending)
            if not waiting:
                del self._waiting[job_id]

    def announce(self, job_id: JobId) -> None:
        """Wake everybody who waits for this job."""
        for ending in self._waiting.get(job_id, ()):
            if not ending.done():
                ending.set_result(None)

    def close(self) -> None:
        """Wake everybody, and let nobody wait from now on."""
        self._open = False
        for job_id in list(self._waiting):
            self.announce(job_id)
