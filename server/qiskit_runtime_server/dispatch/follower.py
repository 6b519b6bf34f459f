"""Follows one run from its first event to its last, and writes down what it tells."""

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import dataclass, replace
from functools import partial
from typing import Final

from qiskit_runtime_server.backends.aliases import Aliases
from qiskit_runtime_server.backends.names import AUTO, VirtualBackend
from qiskit_runtime_server.byte_budget import ByteBudget
from qiskit_runtime_server.chaos.chaos import Chaos
from qiskit_runtime_server.dispatch import job_log
from qiskit_runtime_server.dispatch.allowances import Allowance, Allowances, Refusal
from qiskit_runtime_server.dispatch.chaos import with_faults
from qiskit_runtime_server.dispatch.metrics import JobMetrics
from qiskit_runtime_server.dispatch.pools import LastingReservation, Reservation, RunLost
from qiskit_runtime_server.dispatch.queue_spans import QueueSpans
from qiskit_runtime_server.dispatch.routing.auto_pool import AutoPool
from qiskit_runtime_server.dispatch.routing.router import Router, WorkerDiedInLookError
from qiskit_runtime_server.dispatch.store_calls import insist, params_of
from qiskit_runtime_server.errors import (
    InternalError,
    JobNotFoundError,
    NoFreeSlotError,
    OutOfMemoryError,
    StoreFullError,
    UnavailableError,
)
from qiskit_runtime_server.jobs import Job, JobId, JobState, Outcome, RetryReason
from qiskit_runtime_server.log.failures import FailureLog
from qiskit_runtime_server.log.trace import begin_job
from qiskit_runtime_server.messages.messages import Completed, Event, Failed, HandedBack, Log, Progress, Task
from qiskit_runtime_server.store.port import Claim, Store
from qiskit_runtime_server.waiting import backoff_seconds

_FIRST_BACKOFF_SECONDS: Final = 1.0
_MAX_BACKOFF_SECONDS: Final = 30.0

logger = logging.getLogger(__name__)


@dataclass(slots=True, kw_only=True)
class FollowedRun:
    """A job that this process follows.

    Attributes:
        attached: It was begun by another dispatcher, and goes on where it is.
        task: Follows it.
        handed_over: It goes on without us: nothing is to be written down about it.
        ending: Its end is being written down, or it is being ended for us.
        on_estimate: Told for how many seconds a part of the job is expected to run.
    """

    claim: Claim
    reservation: Reservation
    attached: bool = False
    task: asyncio.Task[None] | None = None
    handed_over: bool = False
    ending: bool = False
    on_estimate: Callable[[float], None] = lambda _seconds: None

    def hand_over(self) -> bool:
        """Let it go on without us, if it can; return whether it does."""
        self.handed_over = isinstance(self.reservation, LastingReservation) and self.reservation.detach()
        return self.handed_over

    def stop_following(self) -> bool:
        """End it without a word to the store, unless it is ending already; return whether it was not."""
        if self.task is None or self.ending:
            return False
        self.ending = True
        return self.task.cancel()


class HeldError(Exception):
    """The job may not start now."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.reason)


class Follower:
    """Follows runs for a dispatcher. Every write holds only while the claim does, so that each job ends once.

    Args:
        store: Where jobs, their params and their results are.
        metrics: Count what happens.
        budget: Bounds the params on their way.
        allowances: Say how long runs may take; without them, what each job's `max_seconds` says.
        chaos: Says what happens to jobs on purpose; by default nothing does.
        aliases: Further names of backends; by default there are none.
        auto: The executors among which is chosen; by default nothing is.
        queue_spans: Told of each job that begins to run.
    """

    def __init__(  # noqa: PLR0913, PLR0917 - what runs depend on
        self,
        store: Store,
        metrics: JobMetrics,
        budget: ByteBudget,
        allowances: Allowances | None = None,
        chaos: Chaos | None = None,
        aliases: Aliases | None = None,
        auto: AutoPool | None = None,
        queue_spans: QueueSpans | None = None,
    ) -> None:
        self._auto = auto
        self.router = None if auto is None else Router(store, auto, budget)
        self._queue_spans = queue_spans or QueueSpans()
        self._aliases = aliases or Aliases()
        self._chaos = chaos or Chaos()
        self._allowances = allowances
        self._store = store
        self._metrics = metrics
        self._budget = budget
        self._failures = FailureLog(logger)

    async def follow(self, run: FollowedRun) -> None:
        """Follow `run` to its end: the job is then ended, requeued, held, or handed over; or its executor is chosen."""
        claim = run.claim
        begin_job(claim.job.id, claim.job.traceparent)
        try:
            if claim.job.executor == AUTO and self.router is not None:
                await self.router.route(claim, run.reservation, self._plain(claim.job))
                return
            async with aclosing(self._attached(run) if run.attached else self._started(run)) as events:
                async for event in events:
                    await self._note(run, event)
        except NoFreeSlotError as error:
            await self.requeue(claim, RetryReason.NOT_STARTED, str(error))
        except RunLost as error:
            logger.warning("Job %s: %s", claim.job.id, error)
            await asyncio.sleep(_pause_seconds(claim.job.losses))
            await self.requeue(claim, RetryReason.LOST, str(error))
        except WorkerDiedInLookError as error:
            logger.warning("Job %s: %s", claim.job.id, error)
            await self.requeue(claim, RetryReason.WORKER_DIED, str(error))
        except HeldError as error:
            await self._hold(claim, str(error))
        except JobNotFoundError:
            logger.info("Job %s was deleted before it started.", claim.job.id)
        except asyncio.CancelledError:
            # Harmless for a cancelled job, whose claim is void; a drained one goes back to its place in the queue.
            if not run.handed_over:
                await self.requeue(claim, RetryReason.NOT_STARTED, "The server stopped.")
            raise

    async def requeue(self, claim: Claim, why: RetryReason, reason: str) -> None:
        """Bring the job back to its place in the queue, or fail it with `reason` if that has been once too often."""
        job = await insist(partial(self._store.queue.requeue, claim, why, reason=reason))
        if job is not None and not job.state.terminal:
            self._metrics.retried(job.executor, why)

    async def tell(self, job: Job, line: str) -> None:
        """Add a line of ours to the job's log."""
        await self._append_log(job.id, f"{line}\n")

    async def _hold(self, claim: Claim, why: str) -> None:
        """Keep the job in the queue, and say why where its owner looks."""
        reason = f"Held: {why}."
        job = await insist(partial(self._store.queue.hold, claim, reason=reason))
        if job is not None:
            job_log.held(job)
            await self.tell(job, reason)

    async def _allowance(self, claim: Claim) -> Allowance:
        if self._allowances is None:
            return Allowance(seconds=float(claim.job.max_seconds), limit="")
        found = await insist(partial(self._allowances.of, claim))
        if isinstance(found, Refusal):
            raise HeldError(found)
        return found

    async def _started(self, run: FollowedRun) -> AsyncGenerator[Event, None]:
        allowance = await self._allowance(run.claim)
        job_log.started(run.claim.job)
        self._queue_spans.started(run.claim.job)
        self._metrics.started(run.claim.job)
        with self._budget.share() as share:
            await share.hold(run.claim.job.params_bytes)
            params = await params_of(self._store, run.claim)
            task = _task(
                run.claim.job,
                params,
                allowance,
                backend_name=self._plain(run.claim.job),
                ideal_qubits=await self._ideal_qubits(run.claim.job),
            )
            events = run.reservation.run(task)
            del params, task
            if self._chaos.covers(run.claim.job.backend):
                events = with_faults(events, self._chaos.fate(run.claim.job), allowance.seconds)
            async with aclosing(events):
                async for event in events:
                    # From the first event on, the executor has the params.
                    share.clear()
                    yield event

    def _plain(self, job: Job) -> str:
        """Return what simulators call a job's backend."""
        name = self._chaos.plain(self._aliases.plain(job.backend))
        if job.routing is None:
            return name
        pair = VirtualBackend.parse(name, AUTO)
        return str(replace(pair, executor=job.executor))

    async def _ideal_qubits(self, job: Job) -> int | None:
        """Return how large an ideal device its client was shown that was not told the executor."""
        if job.routing is None or self._auto is None:
            return None
        return (await self._auto.capabilities()).num_qubits

    async def _attached(self, run: FollowedRun) -> AsyncGenerator[Event, None]:
        assert isinstance(run.reservation, LastingReservation)  # noqa: S101 - only these are attached
        async with aclosing(run.reservation.follow(run.claim.job.id, run.claim.job.fence)) as events:
            async for event in events:
                yield event

    async def _note(self, run: FollowedRun, event: Event) -> None:
        claim = run.claim
        run.ending = isinstance(event, Completed | Failed | HandedBack)
        try:
            match event:
                case Log(text=text, expected_seconds=expected, progress=progress):
                    if expected is not None:
                        run.on_estimate(expected)
                    if progress is not None:
                        await self._note_progress(claim, progress)
                    if text:
                        await self._append_log(claim.job.id, text)
                case Completed(metrics=metrics, result=result):
                    await self._end(claim, Outcome(state=JobState.COMPLETED, metrics=metrics), result)
                case Failed(worker_died=True, reason=reason):
                    logger.warning("Job %s: %s", claim.job.id, reason)
                    await self.requeue(claim, RetryReason.WORKER_DIED, reason)
                case Failed(reason=reason, code=OutOfMemoryError.code) if await self._goes_elsewhere(claim, reason):
                    pass
                case Failed(reason=reason, code=code, metrics=metrics):
                    outcome = Outcome(state=JobState.FAILED, reason=reason, reason_code=code, metrics=metrics)
                    await self._end(claim, outcome, None)
                case HandedBack():
                    await self.requeue(claim, RetryReason.NOT_STARTED, "The executor stopped.")
                case _:
                    pass
        except Exception:
            # What could not be written down is still to be had where the job runs, by whoever takes it over.
            run.hand_over()
            raise

    async def _goes_elsewhere(self, claim: Claim, reason: str) -> bool:
        """Have a job that its executor has too little memory for wait on another; return whether there is one."""
        job = None if self.router is None else await self.router.refused(claim, reason)
        if job is None:
            return False
        job_log.routed(job)
        await self.tell(job, f"{claim.job.executor} refused the job, which goes to {job.executor}: {reason}")
        return True

    async def _note_progress(self, claim: Claim, progress: Progress) -> None:
        """Keep how far the run has come, if the store answers: the next word says more than this one."""
        try:
            await self._store.queue.note_progress(claim, progress)
        except Exception as error:  # noqa: BLE001 - as in `insist`, but for something that nobody needs
            mistake = None if isinstance(error, UnavailableError) else error
            self._failures.failed(f"How far a job is could not be kept: {error}", mistake)
        else:
            self._failures.succeeded("How far jobs are is kept again")

    async def _append_log(self, job_id: JobId, text: str) -> None:
        try:
            await insist(partial(self._store.documents.append_log, job_id, text))
        except StoreFullError as error:
            logger.warning("A part of the log of job %s could not be stored and is lost: %s", job_id, error)

    async def _end(self, claim: Claim, outcome: Outcome, result: bytes | None) -> None:
        try:
            await self._write_end(claim, outcome, result)
        except StoreFullError as error:
            reason = f"The result, {len(result or b'')} bytes, could not be stored: {error}"
            logger.error("Job %s: %s", claim.job.id, reason)  # noqa: TRY400 - the reason says it
            failed = Outcome(
                state=JobState.FAILED, reason=reason, reason_code=InternalError.code, metrics=outcome.metrics
            )
            await self._write_end(claim, failed, None)

    async def _write_end(self, claim: Claim, outcome: Outcome, result: bytes | None) -> None:
        if not await insist(partial(self._store.queue.finish, claim, outcome, result)):
            logger.info(
                "Job %s is not ours any more under fence %d: it ended otherwise, or was taken over.",
                *claim.key,
            )
            self._metrics.result_refused(claim.job.executor)


def _pause_seconds(losses: int) -> float:
    """Return how long to wait before a job that was lost `losses` times before goes back to the queue."""
    if losses == 0:
        return 0.0
    return backoff_seconds(losses, first=_FIRST_BACKOFF_SECONDS, most=_MAX_BACKOFF_SECONDS)


def _task(job: Job, params: bytes, allowance: Allowance, *, backend_name: str, ideal_qubits: int | None) -> Task:
    return Task(
        job_id=job.id,
        fence=job.fence,
        program_id=job.program_id,
        backend_name=backend_name,
        calibration_digest=job.calibration_digest,
        seed=job.seed,
        seconds=allowance.seconds,
        limit=allowance.limit,
        params=params,
        log_level=job.log_level or "WARNING",
        max_qubits=job.max_qubits,
        account=job.account,
        ideal_qubits=ideal_qubits,
        routing=job.routing,
        traceparent=job.traceparent,
    )
