"""Lets status calls wait for the end of a job."""

import asyncio
from collections import defaultdict
from collections.abc import Iterator
from contextlib import aclosing, contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta

from qiskit_runtime_server.jobs import Job, JobId
from qiskit_runtime_server.store.port import Ended, Signals


@dataclass(slots=True, eq=False)
class Ending:
    """The end of a job, which may have come already.

    Attributes:
        job: As it has ended, if that is known here.
    """

    event: asyncio.Event
    job: Job | None = None

    async def wait(self, limit: timedelta) -> Job | None:
        """Return when the job ends, or after `limit`, or at once when nobody may wait any more.

        Returns:
            The job as it has ended; None if it has not, or the store has to be asked.
        """
        with suppress(TimeoutError):
            async with asyncio.timeout(max(0.0, limit.total_seconds())):
                await self.event.wait()
        return self.job


class Endings:
    """Who waits for the end of which job, in this process."""

    def __init__(self) -> None:
        self._waiting: defaultdict[JobId, set[Ending]] = defaultdict(set)
        self._open = True

    @contextmanager
    def watch(self, job_id: JobId) -> Iterator["Ending"]:
        """Notice the end of a job from now on."""
        ending = Ending(asyncio.Event())
        if not self._open:
            ending.event.set()
        self._waiting[job_id].add(ending)
        try:
            yield ending
        finally:
            waiting = self._waiting[job_id]
            waiting.discard(ending)
            if not waiting:
                del self._waiting[job_id]

    def announce(self, job_id: JobId, job: Job | None = None) -> None:
        """Wake everybody who waits for this job; `job` is it as it has ended."""
        for ending in self._waiting.get(job_id, ()):
            ending.job = job
            ending.event.set()

    async def follow(self, signals: Signals) -> None:
        """Announce the ends that `signals` tells of, also those in other replicas, for ever."""
        async with aclosing(signals.watch()) as watched:
            async for signal in watched:
                if isinstance(signal, Ended):
                    self.announce(signal.job_id, signal.job)

    def close(self) -> None:
        """Wake everybody, and let nobody wait from now on."""
        self._open = False
        for job_id in list(self._waiting):
            self.announce(job_id)
