"""Claims queued jobs while slots are free, follows their runs, and writes down how they end."""

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Mapping, Sequence
from contextlib import aclosing, suppress
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Any, TypeVar

from qiskit_runtime_server.backends.names import ExecutorName
from qiskit_runtime_server.byte_budget import ByteBudget
from qiskit_runtime_server.dispatch.metrics import JobMetrics
from qiskit_runtime_server.dispatch.pools import LastingPool, LastingReservation, Pool, Reservation, RunLost
from qiskit_runtime_server.errors import (
    InternalError,
    JobNotFoundError,
    NoFreeSlotError,
    ServerError,
    StoreFullError,
    UnavailableError,
)
from qiskit_runtime_server.jobs import Job, JobId, JobState, Outcome, RetryReason
from qiskit_runtime_server.messages.messages import Completed, Event, Failed, HandedBack, Holder, Log, Task
from qiskit_runtime_server.store.port import Claim, Ended, Queued, Store

_POLL_SECONDS = 1.0
_OTHERS_FIRST_SECONDS = 0.1
_RENEWALS_PER_LEASE = 3
_MAX_BACKOFF_SECONDS = 30.0
# How long a job that runs, or a result, is held on to while the store is away.
_INSIST_SECONDS = 600.0
# The same while its disk is full, which passes less often.
_INSIST_ON_ROOM_SECONDS = 60.0
_FIRST_RETRY_SECONDS = 0.1

T = TypeVar("T")

logger = logging.getLogger(__name__)


@dataclass(slots=True, kw_only=True)
class _Run:
    """A job that this process follows.

    Attributes:
        left: It goes on without us: nothing is to be written down about it.
        ending: Its end is being written down, or it is being ended for us.
    """

    claim: Claim
    reservation: Reservation
    task: asyncio.Task[None] | None = None
    left: bool = False
    ending: bool = False

    def stop(self, why: str) -> bool:
        """End it, unless it is ending already and has only to tell its executor; return whether it was not."""
        if self.task is None or self.ending:
            return False
        logger.info("Job %s is not ours any more, under fence %d: %s.", *self.claim.key, why)
        self.ending = True
        return self.task.cancel()


class _Bell:
    """Wakes who waits for a job of one executor.

    The replica that takes a submission in claims the job at once if there is a slot. If all others tried as well, each
    job would cost as many transactions as there are replicas; so they try later, once for all that has arrived by then.
    """

    def __init__(self) -> None:
        self._rung = asyncio.Event()
        self._later: asyncio.TimerHandle | None = None

    def ring(self, *, later: bool = False) -> None:
        loop = asyncio.get_running_loop()
        if not later:
            self._rung.set()
        elif self._later is None or self._later.when() < loop.time():
            self._later = loop.call_later(_OTHERS_FIRST_SECONDS, self._rung.set)

    def hush(self) -> None:
        self._rung.clear()

    async def wait(self) -> None:
        """Return when it has been rung since it was hushed, or after a while."""
        with suppress(TimeoutError):
            async with asyncio.timeout(_POLL_SECONDS):
                await self._rung.wait()


class Dispatcher:
    """Runs the queued jobs of some executors."""

    def __init__(
        self,
        store: Store,
        pools: Mapping[ExecutorName, Pool],
        metrics: JobMetrics,
        budget: ByteBudget,
        *,
        lease: timedelta,
    ) -> None:
        self._store = store
        self._pools = pools
        self._metrics = metrics
        self._budget = budget
        self._lease = lease
        self._bells = {name: _Bell() for name in pools}
        self._runs: dict[tuple[JobId, int], _Run] = {}
        self._loops: list[asyncio.Task[None]] = []
        self._withdrawals: set[asyncio.Task[None]] = set()

    def start(self) -> None:
        """Begin to claim jobs."""
        steps = [partial(self._listen), partial(self._renew)]
        for name, pool in self._pools.items():
            steps += [partial(self._dispatch, name, pool), partial(self._take_over, name, pool)]
        self._loops = [asyncio.create_task(_forever(step)) for step in steps]

    def abandon(self, job_id: JobId) -> None:
        """End the runs of a job that was cancelled or deleted: its process is killed, its slot freed."""
        if not self._stop(job_id):
            for pool in self._pools.values():
                if isinstance(pool, LastingPool):
                    pool.end_everywhere(job_id)

    def withdraw(self, job: Job) -> None:
        """Remove a job whose submission the store left in doubt, once the store is back: nobody was told its id."""
        task = asyncio.create_task(self._withdraw(job))
        self._withdrawals.add(task)
        task.add_done_callback(self._withdrawals.discard)

    async def drain(self, limit: timedelta) -> bool:
        """Claim nothing more, hand over what can go on without us, give other jobs up to `limit` to end, then requeue.

        What is handed over is taken up at once by another dispatcher of the same store, or by the next one.

        Returns:
            Whether there were jobs to wait for, whose owners may now want the results.
        """
        for loop in self._loops:
            loop.cancel()
        await asyncio.gather(*self._loops, return_exceptions=True)
        await self._hand_over()
        await _cancelled(list(self._withdrawals))
        tasks = [run.task for run in self._runs.values() if run.task is not None]
        if not tasks:
            return False
        logger.info("Waiting up to %g s for %d running jobs.", limit.total_seconds(), len(tasks))
        renewing = asyncio.create_task(_forever(self._renew))
        _, unfinished = await asyncio.wait(tasks, timeout=limit.total_seconds())
        await _cancelled([renewing, *unfinished])
        return True

    async def _hand_over(self) -> None:
        lasting = {key: run for key, run in self._runs.items() if isinstance(run.reservation, LastingReservation)}
        handed = {key for key, run in lasting.items() if _leave(run)}
        await _cancelled([run.task for run in lasting.values() if run.task is not None])
        if handed:
            logger.info("Handing over %d running jobs.", len(handed))
            try:
                await self._store.queue.renew(handed, lease=timedelta(0))
            except UnavailableError as error:
                logger.warning("They will be taken up when their leases have run out: %s", error)

    async def _listen(self) -> None:
        """Notice what is queued and what is ended, here or in another replica."""
        async with aclosing(self._store.signals.watch()) as signals:
            async for signal in signals:
                match signal:
                    case Queued(executor=executor, elsewhere=elsewhere) if executor in self._bells:
                        self._bells[executor].ring(later=elsewhere)
                    case Ended(job_id=job_id):
                        self._stop(job_id)

    def _stop(self, job_id: JobId) -> bool:
        """End the runs of a job that has ended otherwise; return whether there are any here."""
        ours = [run for (running, _), run in self._runs.items() if running == job_id]
        for run in ours:
            run.stop("it has ended")
        return bool(ours)

    async def _dispatch(self, executor: ExecutorName, pool: Pool) -> None:
        """Bring one job to one slot, or wait a while for a job.

        The slot is chosen anew each time: one that is kept while the queue is empty may be busy, or gone, by the time
        that a job arrives.
        """
        bell = self._bells[executor]
        reservation = await pool.reserve()
        bell.hush()
        try:
            claim = await self._claim(executor, reservation.holder)
        except BaseException:
            reservation.release()
            raise
        if claim is not None:
            self._metrics.started(claim.job)
            self._begin(_Run(claim=claim, reservation=reservation), self._started)
            return
        reservation.release()
        await bell.wait()

    async def _claim(self, executor: ExecutorName, holder: Holder) -> Claim | None:
        claiming = self._store.queue.claim(executor, holder, lease=self._lease)
        stopped = partial(self._give_back, why=RetryReason.NOT_STARTED, reason="The server stopped.")
        return await _undone_if_cancelled(claiming, stopped)

    async def _take_over(self, executor: ExecutorName, pool: Pool) -> None:
        """Follow one job whose dispatcher was lost, where it runs, or bring it back to the queue."""
        taking = self._store.queue.take_over(executor, lease=self._lease)
        claim = await _undone_if_cancelled(taking, self._let_go)
        if claim is None:
            await asyncio.sleep(_POLL_SECONDS)
            return
        previous = claim.previous
        reservation = pool.attach(previous) if isinstance(pool, LastingPool) and previous is not None else None
        self._metrics.taken_over(executor, followed=reservation is not None)
        if reservation is not None:
            logger.info("Job %s was lost by its dispatcher and is followed from here.", claim.job.id)
            self._begin(_Run(claim=claim, reservation=reservation), self._followed)
        else:
            logger.warning("Job %s was lost by whoever ran it and goes back to the queue.", claim.job.id)
            await self._give_back(claim, RetryReason.LOST, "The executor that ran the job was lost.")

    async def _let_go(self, claim: Claim) -> None:
        await self._store.queue.renew([claim.key], lease=timedelta(0))

    def _begin(self, run: _Run, events: Callable[[_Run], AsyncGenerator[Event, None]]) -> None:
        run.task = asyncio.create_task(self._run(run, events))
        self._runs[run.claim.key] = run
        run.task.add_done_callback(partial(self._forget, run))

    async def _started(self, run: _Run) -> AsyncGenerator[Event, None]:
        with self._budget.share() as share:
            await share.hold(run.claim.job.params_bytes)
            params = await _insist(partial(self._store.documents.params, run.claim.job.id))
            async with aclosing(run.reservation.run(_task(run.claim.job, params))) as events:
                del params
                async for event in events:
                    # From the first event on, the executor has the params.
                    share.clear()
                    yield event

    async def _followed(self, run: _Run) -> AsyncGenerator[Event, None]:
        assert isinstance(run.reservation, LastingReservation)  # noqa: S101 - only these are attached
        async with aclosing(run.reservation.follow(run.claim.job.id, run.claim.job.fence)) as events:
            async for event in events:
                yield event

    async def _run(self, run: _Run, events_of: Callable[[_Run], AsyncGenerator[Event, None]]) -> None:
        claim = run.claim
        try:
            async with aclosing(events_of(run)) as events:
                async for event in events:
                    await self._note(run, event)
        except NoFreeSlotError as error:
            await self._give_back(claim, RetryReason.NOT_STARTED, str(error))
        except RunLost as error:
            logger.warning("Job %s: %s", claim.job.id, error)
            await asyncio.sleep(_backoff_seconds(claim.job.losses))
            await self._give_back(claim, RetryReason.LOST, str(error))
        except JobNotFoundError:
            logger.info("Job %s was deleted before it started.", claim.job.id)
        except asyncio.CancelledError:
            # Harmless for a cancelled job, whose claim is void; a drained one goes back to its place in the queue.
            if not run.left:
                await self._give_back(claim, RetryReason.NOT_STARTED, "The server stopped.")
            raise

    async def _note(self, run: _Run, event: Event) -> None:
        claim = run.claim
        run.ending = isinstance(event, Completed | Failed | HandedBack)
        try:
            match event:
                case Log(text=text):
                    await self._append_log(claim.job.id, text)
                case Completed(metrics=metrics, result=result):
                    await self._finish(claim, Outcome(state=JobState.COMPLETED, metrics=metrics), result)
                case Failed(worker_died=True, reason=reason):
                    logger.warning("Job %s: %s", claim.job.id, reason)
                    await self._give_back(claim, RetryReason.WORKER_DIED, reason)
                case Failed(reason=reason, code=code, metrics=metrics):
                    outcome = Outcome(state=JobState.FAILED, reason=reason, reason_code=code, metrics=metrics)
                    await self._finish(claim, outcome, None)
                case HandedBack():
                    await self._give_back(claim, RetryReason.NOT_STARTED, "The executor stopped.")
                case _:
                    pass
        except Exception:
            # What could not be written down is still to be had where the job runs, by whoever takes it over.
            _leave(run)
            raise

    async def _finish(self, claim: Claim, outcome: Outcome, result: bytes | None) -> None:
        try:
            await self._end(claim, outcome, result)
        except StoreFullError as error:
            reason = f"The result, {len(result or b'')} bytes, could not be stored: {error}"
            logger.error("Job %s: %s", claim.job.id, reason)  # noqa: TRY400 - the reason says it
            failed = Outcome(
                state=JobState.FAILED, reason=reason, reason_code=InternalError.code, metrics=outcome.metrics
            )
            await self._end(claim, failed, None)

    async def _end(self, claim: Claim, outcome: Outcome, result: bytes | None) -> None:
        if await _insist(partial(self._store.queue.finish, claim, outcome, result)):
            self._metrics.ended(claim.job.executor, outcome.state, run_seconds=outcome.metrics.seconds)
        else:
            logger.info("Job %s is not ours any more, under fence %d: its end is refused.", *claim.key)
            self._metrics.result_refused(claim.job.executor)

    async def _append_log(self, job_id: JobId, text: str) -> None:
        try:
            await _insist(partial(self._store.documents.append_log, job_id, text))
        except StoreFullError as error:
            logger.warning("Job %s loses a part of its log: %s", job_id, error)

    async def _withdraw(self, job: Job) -> None:
        try:
            await _insist(partial(self._store.jobs.delete, job.account, job.id))
        except JobNotFoundError:
            return
        except UnavailableError as error:
            logger.warning("Job %s, whose submission was in doubt, runs if it exists: %s", job.id, error)
            return
        self.abandon(job.id)
        logger.info("Job %s, whose submission was in doubt, is withdrawn.", job.id)

    async def _give_back(self, claim: Claim, why: RetryReason, reason: str) -> None:
        job = await _insist(partial(self._store.queue.give_back, claim, why, reason=reason))
        if job is None:
            return
        if job.state.terminal:
            self._metrics.ended(job.executor, job.state)
        else:
            self._metrics.retried(job.executor, why)

    async def _renew(self) -> None:
        await asyncio.sleep(self._lease.total_seconds() / _RENEWALS_PER_LEASE)
        claims = set(self._runs)
        held = await self._store.queue.renew(claims, lease=self._lease) if claims else set()
        for key in claims - held:
            if (run := self._runs.get(key)) and run.stop("its claim is void"):
                self._metrics.lease_lost(run.claim.job.executor)

    def _forget(self, run: _Run, task: asyncio.Task[None]) -> None:
        # Not at the end of `_run`: a task that is cancelled before it begins never gets there.
        run.reservation.release()
        del self._runs[run.claim.key]
        if not task.cancelled() and (error := task.exception()):
            logger.error("The run of job %s broke; its lease will run out.", run.claim.job.id, exc_info=error)


def _leave(run: _Run) -> bool:
    """Let a run go on without us, if it can; return whether it does."""
    run.left = isinstance(run.reservation, LastingReservation) and run.reservation.detach()
    return run.left


def _backoff_seconds(losses: int) -> float:
    """Return how long to wait before a job that was lost `losses` times before goes back to the queue."""
    return 0.0 if losses == 0 else min(2.0 ** (losses - 1), _MAX_BACKOFF_SECONDS)


async def _cancelled(tasks: Sequence[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def _undone_if_cancelled(
    call: Coroutine[Any, Any, Claim | None], undo: Callable[[Claim], Awaitable[None]]
) -> Claim | None:
    """Return what the store answers; it finishes what it has begun, so a claim that comes too late is undone."""
    calling = asyncio.ensure_future(call)
    try:
        return await asyncio.shield(calling)
    except asyncio.CancelledError:
        if claim := await calling:
            await undo(claim)
        raise


async def _insist(call: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Make a call to the store, and make it again while the store is away.

    Raises:
        ServerError: At once, if it is an answer.
        Exception: If the store is away, or full, for too long.
    """
    start = time.monotonic()
    backoff = _FIRST_RETRY_SECONDS
    while True:
        try:
            return await call()
        except Exception as error:
            if isinstance(error, ServerError) and not isinstance(error, UnavailableError):
                raise
            limit = _INSIST_ON_ROOM_SECONDS if isinstance(error, StoreFullError) else _INSIST_SECONDS
            if time.monotonic() - start > limit:
                raise
            logger.warning("The store does not answer; the next try is in %g s.", backoff, exc_info=True)
        await asyncio.sleep(backoff)
        backoff = min(2 * backoff, _POLL_SECONDS)


async def _forever(step: Callable[[], Awaitable[None]]) -> None:
    while True:
        try:
            await step()
        except Exception as error:
            if (task := asyncio.current_task()) is not None and task.cancelling():
                raise asyncio.CancelledError from error  # the error came in its way
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
        log_level=job.log_level or "WARNING",
        max_qubits=job.max_qubits,
    )
