"""Claims queued jobs while slots are free, follows their runs, and writes down how they end."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from contextlib import aclosing, suppress
from datetime import timedelta
from functools import partial

from qiskit_runtime_server.backends.names import ExecutorName
from qiskit_runtime_server.dispatch.endings import Endings
from qiskit_runtime_server.dispatch.events import Completed, Event, Failed, Holder, Log, Task
from qiskit_runtime_server.dispatch.pools import Pool, Reservation
from qiskit_runtime_server.errors import NoFreeSlotError
from qiskit_runtime_server.jobs import Job, JobId, JobState
from qiskit_runtime_server.store.port import Claim, Outcome, Setback, Store

_POLL_SECONDS = 1.0
_RENEWALS_PER_LEASE = 3

logger = logging.getLogger(__name__)


class Dispatcher:
    """Runs the queued jobs of some executors."""

    def __init__(self, store: Store, pools: Mapping[ExecutorName, Pool], endings: Endings, *, lease: timedelta) -> None:
        self._store = store
        self._pools = pools
        self._endings = endings
        self._lease = lease
        self._queued = {name: asyncio.Event() for name in pools}
        self._runs: dict[tuple[JobId, int], asyncio.Task[None]] = {}
        self._loops: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Begin to claim jobs."""
        steps = [partial(self._renew)]
        for name, pool in self._pools.items():
            steps += [partial(self._dispatch, name, pool), partial(self._take_over, name)]
        self._loops = [asyncio.create_task(_forever(step)) for step in steps]

    def wake(self, executor: ExecutorName) -> None:
        """Say that a job has been queued for `executor`."""
        self._queued[executor].set()

    def abandon(self, job_id: JobId) -> None:
        """End the runs of a job that was cancelled or deleted: its process is killed, its slot freed."""
        for (running, _), run in self._runs.items():
            if running == job_id:
                run.cancel()
        self._endings.announce(job_id)

    async def drain(self, limit: timedelta) -> None:
        """Claim nothing more, give running jobs up to `limit` to end, and put the others back into the queue."""
        for loop in self._loops:
            loop.cancel()
        await asyncio.gather(*self._loops, return_exceptions=True)
        runs = dict(self._runs)
        if not runs:
            return
        logger.info("Waiting up to %g s for %d running jobs.", limit.total_seconds(), len(runs))
        _, unfinished = await asyncio.wait(runs.values(), timeout=limit.total_seconds())
        for run in unfinished:
            run.cancel("drain")
        await asyncio.gather(*unfinished, return_exceptions=True)

    async def _dispatch(self, executor: ExecutorName, pool: Pool) -> None:
        """Bring one job to one slot."""
        reservation = await pool.reserve()
        try:
            claim = await self._next(executor, reservation.holder)
        except BaseException:
            reservation.release()
            raise
        run = asyncio.create_task(self._run(claim, reservation))
        self._runs[claim.key] = run
        run.add_done_callback(partial(self._forget, claim))

    async def _next(self, executor: ExecutorName, holder: Holder) -> Claim:
        queued = self._queued[executor]
        while True:
            queued.clear()
            if claim := await self._store.queue.claim(executor, holder, lease=self._lease):
                return claim
            with suppress(TimeoutError):
                await asyncio.wait_for(queued.wait(), _POLL_SECONDS)

    async def _run(self, claim: Claim, reservation: Reservation) -> None:
        try:
            task = _task(claim.job, await self._store.documents.params(claim.job.id))
            async with aclosing(reservation.run(task)) as events:
                async for event in events:
                    await self._note(claim, event)
        except NoFreeSlotError as error:
            await self._give_back(claim, Setback.NOT_STARTED, str(error))
        except asyncio.CancelledError:
            # Harmless for a cancelled job, whose claim is void; a drained one goes back to its place in the queue.
            await self._give_back(claim, Setback.NOT_STARTED, "The server stopped.")
            raise
        finally:
            reservation.release()

    async def _note(self, claim: Claim, event: Event) -> None:
        match event:
            case Log(text=text):
                await self._store.documents.append_log(claim.job.id, text)
            case Completed(metrics=metrics, result=result):
                await self._finish(claim, Outcome(state=JobState.COMPLETED, metrics=metrics), result)
            case Failed(worker_died=True, reason=reason):
                logger.warning("Job %s: %s", claim.job.id, reason)
                await self._give_back(claim, Setback.WORKER_DIED, reason)
            case Failed(reason=reason, code=code, metrics=metrics):
                outcome = Outcome(state=JobState.FAILED, reason=reason, reason_code=code, metrics=metrics)
                await self._finish(claim, outcome, None)
            case _:
                pass

    async def _finish(self, claim: Claim, outcome: Outcome, result: bytes | None) -> None:
        if await self._store.queue.finish(claim, outcome, result):
            self._endings.announce(claim.job.id)

    async def _give_back(self, claim: Claim, setback: Setback, reason: str) -> None:
        job = await self._store.queue.give_back(claim, setback, reason=reason)
        if job is None:
            return
        if job.state.terminal:
            self._endings.announce(job.id)
        else:
            self.wake(job.executor)

    async def _take_over(self, executor: ExecutorName) -> None:
        claim = await self._store.queue.take_over(executor, lease=self._lease)
        if claim is None:
            await asyncio.sleep(_POLL_SECONDS)
            return
        logger.warning("Job %s was lost by whoever ran it and goes back to the queue.", claim.job.id)
        await self._give_back(claim, Setback.LOST, "The executor that ran the job was lost.")

    async def _renew(self) -> None:
        await asyncio.sleep(self._lease.total_seconds() / _RENEWALS_PER_LEASE)
        claims = set(self._runs)
        held = await self._store.queue.renew(claims, lease=self._lease) if claims else set()
        for key in claims - held:
            if run := self._runs.get(key):
                run.cancel()

    def _forget(self, claim: Claim, run: asyncio.Task[None]) -> None:
        del self._runs[claim.key]
        if not run.cancelled() and (error := run.exception()):
            logger.error("The run of job %s broke; its lease will run out.", claim.job.id, exc_info=error)


async def _forever(step: Callable[[], Awaitable[None]]) -> None:
    while True:
        try:
            await step()
        except Exception:
            logger.exception("The dispatcher stumbled and goes on in %g s.", _POLL_SECONDS)
            await asyncio.sleep(_POLL_SECONDS)


def _task(job: Job, params: bytes) -> Task:
    return Task(
        job_id=job.id,
        fence=job.fence,
        program_id=job.program_id,
        backend_name=job.backend,
        calibration_digest=job.calibration_digest,
        seed=job.seed,
        seconds=float(job.max_seconds),
        params=params,
    )
