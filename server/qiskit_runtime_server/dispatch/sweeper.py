"""Removes ended jobs that are over a limit, in the background."""

import asyncio
import logging
import time
from datetime import timedelta
from typing import Final

from qiskit_runtime_server.dispatch.metrics import JobMetrics
from qiskit_runtime_server.store.port import Archive, Retention

# At most this part of the time is spent on sweeping; the store has more to do.
_SHARE: Final = 0.2
_SHORTEST_PAUSE_SECONDS: Final = 0.02

logger = logging.getLogger(__name__)


class Sweeper:
    """Sweeps an archive again and again; in each replica, as none knows whether another does."""

    def __init__(self, archive: Archive, retention: Retention, metrics: JobMetrics, *, every: timedelta) -> None:
        self._archive = archive
        self._retention = retention
        self._metrics = metrics
        self._every = every.total_seconds()

    async def run(self) -> None:
        """Sweep until cancelled; at once if there is no limit."""
        while self._retention != Retention():
            try:
                await self.sweep()
            except Exception:
                logger.exception("The sweep of ended jobs failed; the next try is in %g s.", self._every)
            await asyncio.sleep(self._every)

    async def sweep(self) -> None:
        """Remove everything that is over a limit now."""
        jobs = 0
        start = time.monotonic()
        while (swept := await self._archive.sweep(self._retention)) is not None:
            jobs += swept.jobs
            self._metrics.swept(swept)
            took = time.monotonic() - start
            await asyncio.sleep(max(_SHORTEST_PAUSE_SECONDS, took / _SHARE - took))
            start = time.monotonic()
        if jobs:
            logger.info("Removed %d ended jobs that were over a limit.", jobs)
