"""Claims queued jobs while slots are free, and sees that each of them ends once.

A *claim* marks a job as running for this process. It has a *fence*, a number that rises with every claim of the job,
and a *lease*, which is renewed while the run is followed. The store takes no word about a job except under the fence
that holds, so of two dispatchers that both believe in a job only one can end it. A process that dies renews nothing;
when the lease is over, another dispatcher claims the job anew and follows it where it still runs, at an executor
service, or brings it back to the queue.

For each executor one loop waits for a free slot, claims a job for it, and sleeps until there is news of the queue; it
also polls, as news may be lost. What becomes of a run that does not end by itself has one of four names:

    stop_following  its claim is void: the run ends, and nothing is written
    end_run         its job was cancelled or deleted: the same, wherever it runs
    requeue         the run came to nothing: its job goes back to its old place, which is written
    hand_over       the run goes on without us: that its lease is over is written, so that another dispatcher takes it

Jobs whose executor is to be chosen are claimed the same way, for a slot of any executor, but only to be looked at
(`routing.router`).

Where an executor has several slots, one of them is kept for short jobs: a run that turns out to be none goes back to
the queue if as many long ones as may are running already, and is claimed again when one of these has ended.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection, Mapping
from contextlib import aclosing
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Final

from qiskit_runtime_server.backends.aliases import Aliases
from qiskit_runtime_server.backends.names import AUTO, ExecutorName
from qiskit_runtime_server.byte_budget import ByteBudget
from qiskit_runtime_server.chaos.chaos import Chaos
from qiskit_runtime_server.dispatch import job_log
from qiskit_runtime_server.dispatch.allowances import Allowances, Releases
from qiskit_runtime_server.dispatch.chaos import TimedFaults
from qiskit_runtime_server.dispatch.cold_starts import ColdStarts
from qiskit_runtime_server.dispatch.follower import FollowedRun, Follower
from qiskit_runtime_server.dispatch.metrics import JobMetrics
from qiskit_runtime_server.dispatch.pools import LastingPool, LastingReservation, Pool, long_slots
from qiskit_runtime_server.dispatch.queue_spans import QueueSpans
from qiskit_runtime_server.dispatch.routing.auto_pool import AutoPool
from qiskit_runtime_server.dispatch.routing.router import Router
from qiskit_runtime_server.dispatch.store_calls import insist, undone_if_cancelled
from qiskit_runtime_server.dispatch.withdrawals import Withdrawals
from qiskit_runtime_server.errors import JobNotFoundError, UnavailableError
from qiskit_runtime_server.jobs import JobId, JobState, RetryReason
from qiskit_runtime_server.log.failures import FailureLog
from qiskit_runtime_server.log.trace import begin_job, of_job
from qiskit_runtime_server.messages.messages import PATIENCE, Holder
from qiskit_runtime_server.store.port import Claim, Ended, Queued, Store
from qiskit_runtime_server.waiting import KeptTasks, News, cancelled

_POLL_SECONDS: Final = 1.0
_OTHERS_FIRST_SECONDS: Final = 0.1
_RENEWALS_PER_LEASE: Final = 3
# How soon held jobs are started after the reason is gone, as when the day turns.
_RELEASE_SECONDS: Final = 5.0
_REBALANCE_SECONDS: Final = 1.0

logger = logging.getLogger(__name__)


class _QueueNews(News):
    """Wakes who waits for a job of one executor.

    The replica that takes a submission in claims the job at once if there is a slot. If all others tried as well, each
    job would cost as many transactions as there are replicas; so they try later, once for all that has arrived by then.
    """

    def __init__(self) -> None:
        super().__init__()
        self._later: asyncio.TimerHandle | None = None

    def tell_later(self) -> None:
        """Wake them in a moment, once for all calls until then."""
        loop = asyncio.get_running_loop()
        if self._later is None or self._later.when() < loop.time():
            self._later = loop.call_later(_OTHERS_FIRST_SECONDS, self.tell)


class Dispatcher:
    """Runs the queued jobs of some executors.

    Args:
        store: Where the jobs are.
        pools: Where they run, by executor.
        metrics: Count what happens.
        budget: Bounds their params on their way.
        lease: How long a claim holds that nobody renews.
        short: How long a job may run that counts as short; with 0, no slot is kept for these.
        allowances: Say how long runs may take, and which jobs are held; by default none are.
        chaos: Says what happens to jobs on purpose; by default nothing does.
        aliases: Further names of backends; by default there are none.
        auto: The executors among which is chosen for jobs that leave it to the server; by default there are no such.
        queue_spans: Told of each job that begins to run.

    Attributes:
        cold_starts: What is known of how long executors take to come up for a job.
        withdrawals: Removes the jobs whose submission was in doubt.
        timed_faults: Makes happen what happens to jobs after a time.
    """

    def __init__(  # noqa: PLR0913 - what dispatching is made of
        self,
        store: Store,
        pools: Mapping[ExecutorName, Pool],
        metrics: JobMetrics,
        budget: ByteBudget,
        *,
        lease: timedelta,
        short: timedelta = timedelta(0),
        allowances: Allowances | None = None,
        chaos: Chaos | None = None,
        aliases: Aliases | None = None,
        auto: AutoPool | None = None,
        queue_spans: QueueSpans | None = None,
    ) -> None:
        self.cold_starts = ColdStarts() if auto is None else auto.cold_starts
        self.withdrawals = Withdrawals(store, self.end_run)
        self._store = store
        self._pools: Mapping[ExecutorName, Pool] = pools if auto is None else {**pools, AUTO: auto}
        self._metrics = metrics
        self.timed_faults = TimedFaults(store)
        self._follower = Follower(store, metrics, budget, allowances, chaos, aliases, auto, queue_spans)
        self._releases = None if allowances is None else Releases(store, allowances.refusal, self.timed_faults.waits)
        self._lease = lease
        self._short_seconds = short.total_seconds()
        self._judging = KeptTasks()
        self._news = {name: _QueueNews() for name in self._pools}
        self._runs: dict[tuple[JobId, int], FollowedRun] = {}
        self._loops: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Begin to claim jobs."""
        steps = [partial(self._listen), partial(self._renew)]
        if self._releases is not None:
            steps.append(partial(self._release, self._releases))
        if self._follower.router is not None:
            steps.append(partial(self._rebalance, self._follower.router))
        for name, pool in self._pools.items():
            steps += [partial(self._dispatch, name, pool), partial(self._take_over, name, pool)]
        self._loops = [asyncio.create_task(_forever(step)) for step in steps]

    def end_run(self, job_id: JobId) -> None:
        """End the runs of a job that was cancelled or deleted: its process is killed, its slot freed."""
        if not self._stop_following(job_id):
            for pool in self._pools.values():
                if isinstance(pool, LastingPool):
                    pool.end_everywhere(job_id)

    async def drain(self, limit: timedelta) -> bool:
        """Claim nothing more, hand over what can go on without us, give other jobs up to `limit` to end, then requeue.

        What is handed over is taken up at once by another dispatcher of the same store, or by the next one.

        Returns:
            Whether there were jobs to wait for, whose owners may now want the results.
        """
        await cancelled(*self._loops)
        await self._judging.cancel()
        await self.timed_faults.close()
        await self._hand_over()
        await self.withdrawals.close()
        tasks = [run.task for run in self._runs.values() if run.task is not None]
        if not tasks:
            return False
        logger.info("Waiting up to %g s for %d running jobs.", limit.total_seconds(), len(tasks))
        renewing = asyncio.create_task(_forever(self._renew))
        _, unfinished = await asyncio.wait(tasks, timeout=limit.total_seconds())
        await cancelled(renewing, *unfinished)
        return True

    async def _listen(self) -> None:
        """Notice what is queued and what is ended, here or in another replica."""
        async with aclosing(self._store.signals.watch()) as signals:
            async for signal in signals:
                match signal:
                    case Queued(executor=executor, elsewhere=elsewhere) if executor in self._news:
                        news = self._news[executor]
                        news.tell_later() if elsewhere else news.tell()
                    case Ended(job_id=job_id):
                        self._stop_following(job_id)

    async def _dispatch(self, executor: ExecutorName, pool: Pool) -> None:
        """Bring one job to one slot, and wait a while for a job where none is left.

        The slot is chosen anew each time: one that is kept while the queue is empty may be busy, or gone, by the time
        that a job arrives.
        """
        news = self._news[executor]
        away_since = _away_since(pool)
        if away_since is not None:
            await self.cold_starts.recall(executor, self._store.overviews)
        reservation = await pool.reserve()
        back = datetime.now(UTC)
        known = news.count
        try:
            limit = None if executor == AUTO else long_slots(pool.size, self._short_seconds)
            claim = await self._claim(executor, reservation.holder, limit)
        except BaseException:
            reservation.release()
            raise
        if claim is not None:
            self._follow(FollowedRun(claim=claim, reservation=reservation))
            if away_since is not None and self.cold_starts.claimed(
                claim.job, away_since=away_since, back=back, slots=pool.size
            ):
                await self.cold_starts.keep(executor, self._store.overviews)
        else:
            reservation.release()
        if claim is None or claim.last:
            await news.wait(_POLL_SECONDS, since=known)

    async def _claim(self, executor: ExecutorName, holder: Holder, limit: int | None) -> Claim | None:
        claiming = self._store.queue.claim(executor, holder, lease=self._lease, long_slots=limit)
        stopped = partial(self._follower.requeue, why=RetryReason.NOT_STARTED, reason="The server stopped.")
        return await undone_if_cancelled(claiming, stopped)

    async def _take_over(self, executor: ExecutorName, pool: Pool) -> None:
        """Follow one job whose dispatcher was lost, where it runs, or bring it back to the queue."""
        taking = self._store.queue.take_over(executor, lease=self._lease)
        claim = await undone_if_cancelled(taking, lambda late: self._end_leases([late.key]))
        if claim is None:
            await asyncio.sleep(_POLL_SECONDS)
            return
        previous = claim.previous
        reservation = pool.attach(previous) if isinstance(pool, LastingPool) and previous is not None else None
        self._metrics.taken_over(executor, followed=reservation is not None)
        if reservation is not None:
            logger.info(
                "Job %s was lost by its dispatcher and is followed from here.",
                claim.job.id,
                extra=of_job(claim.job.id, claim.job.traceparent),
            )
            self._follow(FollowedRun(claim=claim, reservation=reservation, attached=True))
        else:
            logger.warning(
                "Job %s was lost by whoever ran it and goes back to the queue.",
                claim.job.id,
                extra=of_job(claim.job.id, claim.job.traceparent),
            )
            await self._follower.requeue(claim, RetryReason.LOST, "The executor that ran the job was lost.")

    def _follow(self, run: FollowedRun) -> None:
        run.task = asyncio.create_task(self._follower.follow(run))
        self._runs[run.claim.key] = run
        run.task.add_done_callback(partial(self._forget, run))
        job = run.claim.job
        if job.executor == AUTO or job.long_since is not None or self._short_seconds <= 0:
            return
        rest = self._short_seconds - job.seconds_so_far(datetime.now(UTC))
        timer = asyncio.get_running_loop().call_later(max(0.0, rest), self._judge, run)
        run.task.add_done_callback(lambda _: timer.cancel())

        def estimated(seconds: float) -> None:
            if seconds > PATIENCE * self._short_seconds and not timer.cancelled():
                timer.cancel()
                self._judge(run)

        run.on_estimate = estimated

    def _judge(self, run: FollowedRun) -> None:
        """Begin to treat a run as a long one, unless it is ending."""
        if not run.ending:
            self._judging.begin(self._found_long(run))

    async def _found_long(self, run: FollowedRun) -> None:
        """Let a long run go on in one of the slots for these, or bring it back to the queue."""
        job = run.claim.job
        begin_job(job.id, job.traceparent)
        limit = long_slots(self._pools[job.executor].size, self._short_seconds)
        if limit is None:
            return
        found = await insist(partial(self._store.queue.found_long, run.claim, long_slots=limit))
        if found is None or found.state is JobState.RUNNING:
            return
        run.stop_following()
        job_log.requeued(found, self._short_seconds)
        line = "The job is no short one, and as many long jobs run as may: it goes back to its place in the queue."
        await self._follower.tell(found, line)

    async def _rebalance(self, router: Router) -> None:
        await router.rebalance()
        await asyncio.sleep(_REBALANCE_SECONDS)

    async def _release(self, releases: Releases) -> None:
        await releases.look()
        await asyncio.sleep(_RELEASE_SECONDS)

    def _forget(self, run: FollowedRun, task: asyncio.Task[None]) -> None:
        # Not at the end of `follow`: a task that is cancelled before it begins never gets there.
        run.reservation.release()
        del self._runs[run.claim.key]
        if not task.cancelled() and (error := task.exception()):
            logger.error(
                "Following the run of job %s failed; it is tried again when the job's lease has run out.",
                run.claim.job.id,
                exc_info=error,
                extra=of_job(run.claim.job.id, run.claim.job.traceparent),
            )

    def _stop_following(self, job_id: JobId) -> bool:
        """Stop following the runs of a job that has ended otherwise; return whether there are any here."""
        ours = [run for (running, _), run in self._runs.items() if running == job_id]
        for run in ours:
            if run.stop_following():
                logger.info("Job %s has ended otherwise: its run is ended.", job_id, extra=of_job(job_id))
        return bool(ours)

    async def _renew(self) -> None:
        await asyncio.sleep(self._lease.total_seconds() / _RENEWALS_PER_LEASE)
        claims = set(self._runs)
        held = await self._store.queue.renew(claims, lease=self._lease) if claims else set()
        for key in claims - held:
            if (run := self._runs.get(key)) and run.stop_following():
                if await self._has_ended(key[0]):
                    logger.info(
                        "Job %s has ended at another replica: its run is ended.",
                        key[0],
                        extra=of_job(key[0]),
                    )
                    continue
                logger.info(
                    "Job %s is not ours any more under fence %d: another replica has it.", *key, extra=of_job(key[0])
                )
                self._metrics.lease_lost(run.claim.job.executor)

    async def _has_ended(self, job_id: JobId) -> bool:
        try:
            return (await self._store.jobs.get(None, job_id)).state.terminal
        except JobNotFoundError:
            return True

    async def _hand_over(self) -> None:
        lasting = {key: run for key, run in self._runs.items() if isinstance(run.reservation, LastingReservation)}
        handed = {key for key, run in lasting.items() if run.hand_over()}
        await cancelled(*(run.task for run in lasting.values() if run.task is not None))
        if handed:
            logger.info("Handing over %d running jobs.", len(handed))
            try:
                await self._end_leases(handed)
            except UnavailableError as error:
                logger.warning(
                    "Their leases could not be released, so others take them over when those have run out: %s", error
                )

    async def _end_leases(self, keys: Collection[tuple[JobId, int]]) -> None:
        await self._store.queue.renew(keys, lease=timedelta(0))


def _away_since(pool: Pool) -> datetime | None:
    """Return from when on a pool has had no slot; None if it has one."""
    return None if pool.size else datetime.now(UTC) - timedelta(seconds=pool.missing_seconds)


async def _forever(step: Callable[[], Awaitable[None]]) -> None:
    failures = FailureLog(logger)
    while True:
        try:
            await step()
        except Exception as error:
            if (task := asyncio.current_task()) is not None and task.cancelling():
                raise asyncio.CancelledError from error  # the error came in its way
            mistake = None if isinstance(error, UnavailableError) else error
            failures.failed(f"A step of the dispatcher failed and is tried every {_POLL_SECONDS:g} s: {error}", mistake)
            await asyncio.sleep(_POLL_SECONDS)
        else:
            failures.succeeded("The dispatcher goes on")
