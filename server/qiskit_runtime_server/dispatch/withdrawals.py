"""Submissions that the store left in doubt: it may have written the job, but nobody was told its id."""

import logging
from collections.abc import Callable
from functools import partial

from qiskit_runtime_server.dispatch.store_calls import insist
from qiskit_runtime_server.errors import JobNotFoundError, UnavailableError
from qiskit_runtime_server.jobs import Job, JobId
from qiskit_runtime_server.log.trace import of_job
from qiskit_runtime_server.store.port import Store
from qiskit_runtime_server.waiting import KeptTasks

logger = logging.getLogger(__name__)


class Withdrawals:
    """Removes such jobs once the store is back, in the background.

    Args:
        store: Where the jobs may be.
        end_run: Told of each job that was removed, as it may run by then.
    """

    def __init__(self, store: Store, end_run: Callable[[JobId], None]) -> None:
        self._store = store
        self._end_run = end_run
        self._tasks = KeptTasks()

    def begin(self, job: Job) -> None:
        """Remove this job, now or later."""
        self._tasks.begin(self._withdraw(job))

    async def close(self) -> None:
        """Give up what is not removed yet."""
        await self._tasks.cancel()

    async def _withdraw(self, job: Job) -> None:
        try:
            await insist(partial(self._store.jobs.delete, job.account, job.id))
        except JobNotFoundError:
            return
        except UnavailableError as error:
            logger.warning(
                "The submission of job %s failed, perhaps after it was stored; it could not be withdrawn, so it runs if"
                " it was: %s",
                job.id,
                error,
                extra=of_job(job.id, job.traceparent),
            )
            return
        self._end_run(job.id)
        logger.info(
            "The submission of job %s failed after it was stored; the job is withdrawn.",
            job.id,
            extra=of_job(job.id, job.traceparent),
        )
