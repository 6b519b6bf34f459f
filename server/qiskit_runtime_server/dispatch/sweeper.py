"""Removes ended jobs that are over a limit, in the background."""

import asyncio
import logging
import time
from datetime import timedelta
from typing import Final

from qiskit_runtime_server.dispatch.metrics import JobMetrics
from qiskit_runtime_server.errors import UnavailableError
from qiskit_runtime_server.log.failures import FailureLog
from qiskit_runtime_server.machine import in_words
from qiskit_runtime_server.store.port import Archive, Retention

# At most this part of the time is spent on sweeping; the store has more to do.
_SHARE: Final = 0.2
_SHORTEST_PAUSE_SECONDS: Final = 0.02

logger = logging.getLogger(__name__)


class Sweeper:
    """Sweeps an archive again and again, of jobs and of sessions that are never used.

    In each replica, as none knows whether another does.
    """

    def __init__(self, archive: Archive, retention: Retention, metrics: JobMetrics, *, every: timedelta) -> None:
        self._archive = archive
        self._retention = retention
        self._metrics = metrics
        self._every = every.total_seconds()

    async def run(self) -> None:
        """Sweep until cancelled."""
        announced, failures = self._retention == Retention(), FailureLog(logger)
        while True:
            try:
                if not announced:
                    await self._announce()
                    announced = True
                await self.sweep()
            except Exception as error:  # noqa: BLE001 - the next try may do better, and the log says what it was
                mistake = None if isinstance(error, UnavailableError) else error
                failures.failed(
                    f"The sweep of ended jobs failed and is tried every {self._every:g} s: {error}", mistake
                )
            else:
                failures.succeeded("Ended jobs are swept again")
            await asyncio.sleep(self._every)

    async def _announce(self) -> None:
        """Say what the first sweep will remove, before it does: a limit that was mistyped is seen then."""
        found = await self._archive.surplus(self._retention)
        reasons = [
            f"{found.too_old} ended longer ago than QRS_RETAIN_FOR" if found.too_old else "",
            f"{found.too_many} are more than QRS_RETAIN_JOBS of their accounts" if found.too_many else "",
            f"{in_words(found.excess_bytes)} are more than QRS_RETAIN_BYTES" if found.excess_bytes else "",
        ]
        said = "; ".join(reason for reason in reasons if reason)
        jobs, size = found.jobs, in_words(found.stored_bytes)
        if said:
            logger.warning("Retention removes jobs now: of %d that have ended, with %s, %s.", jobs, size, said)
        else:
            logger.info("Retention keeps all %d jobs that have ended, with %s, for now.", jobs, size)

    async def sweep(self) -> None:
        """Remove everything that is over a limit now, and sessions that are never used."""
        jobs = sessions = 0
        start = time.monotonic()
        while removed := await self._archive.sweep_sessions():
            sessions += removed
            start = await self._rest(start)
        if sessions:
            logger.info("Removed %d sessions that were never used.", sessions)
        while (swept := await self._archive.sweep(self._retention)) is not None:
            jobs += swept.jobs
            self._metrics.swept(swept)
            start = await self._rest(start)
        if jobs:
            logger.info("Removed %d ended jobs that were over a limit.", jobs)

    async def _rest(self, since: float) -> float:
        """Leave the store to others for as long as the work since then is worth, and return the time."""
        took = time.monotonic() - since
        await asyncio.sleep(max(_SHORTEST_PAUSE_SECONDS, took / _SHARE - took))
        return time.monotonic()
