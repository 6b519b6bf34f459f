"""Sends jobs for `@auto` to executors, and those that wait to others where they are done sooner.

Such a job waits in a queue of its own, in the order of turns as everywhere. When a slot of any executor is free, or
the place beside slots in which nothing else is done, the job is claimed for a look at it: in the worker there its
program is run up to where shots would be taken, which says how long it would take on each executor
(`worker.predictions`). It is then put into the queue of the one that would be
done with it first (`choice`), at its place by age, and from there on is a job like any other: that executor's turns,
slots, autoscaling and usage count it. A look ends no job: whatever is wrong with one, the executor says that runs it.

A claim for a look has fence and lease like that for a run, so that a job is neither lost nor looked at twice at a time,
and can be cancelled at any moment.
"""

import asyncio
import logging
from contextlib import aclosing
from datetime import UTC, datetime
from functools import partial
from typing import Final

import msgspec

from qiskit_runtime_server.backends.names import ExecutorName
from qiskit_runtime_server.byte_budget import ByteBudget
from qiskit_runtime_server.dispatch import job_log
from qiskit_runtime_server.dispatch.pools import Reservation
from qiskit_runtime_server.dispatch.routing.auto_pool import AutoPool, AutoReservation
from qiskit_runtime_server.dispatch.routing.choice import better, choose
from qiskit_runtime_server.dispatch.routing.waits import after_one_more, waits
from qiskit_runtime_server.dispatch.store_calls import insist, params_of
from qiskit_runtime_server.errors import NoFreeSlotError
from qiskit_runtime_server.jobs import Job
from qiskit_runtime_server.log.trace import of_job
from qiskit_runtime_server.messages.messages import PREDICTION, Completed, Event, Failed, Prediction, Routing, Task
from qiskit_runtime_server.store.port import Claim, Store

_PREDICTIONS: Final = msgspec.json.Decoder(dict[str, Prediction])

_LOOK_SECONDS: Final = 30.0
"""How long a look at a job may take; it takes a second for each executor at most, and what decoding takes."""

_SLOT_SECONDS: Final = 0.2
_MOST_MOVED: Final = 100

logger = logging.getLogger(__name__)


class WorkerDiedInLookError(Exception):
    """The worker died while it looked at a job; the message says what is known."""


class Router:
    """Chooses executors for jobs.

    Args:
        store: Where the jobs are.
        auto: All slots.
        budget: Bounds the jobs' params on their way.
    """

    def __init__(self, store: Store, auto: AutoPool, budget: ByteBudget) -> None:
        self._store = store
        self._auto = auto
        self._budget = budget

    async def route(self, claim: Claim, slot: Reservation, backend_name: str) -> None:
        """Choose an executor for a claimed job, by a look at it in a slot of one of them.

        Args:
            claim: Of the job.
            slot: From the pool of all executors.
            backend_name: What simulators call the job's backend.

        Raises:
            NoFreeSlotError: As `Reservation.run`.
            RunLost: As there.
            WorkerDiedInLookError: If the worker did.
            JobNotFoundError: If the job was deleted meanwhile.
        """
        assert isinstance(slot, AutoReservation)  # noqa: S101 - the pool of all has no others
        predictions = await self._looked_at(claim, slot.executor, slot, backend_name)
        for name in self._auto.pools.keys() - predictions.keys() - {slot.executor} if predictions else ():
            predictions |= await self._asked(claim, ExecutorName(name), backend_name)
        sizes = {name: (await pool.capabilities()).num_qubits for name, pool in self._auto.pools.items()}
        waiting = await insist(partial(waits, self._store.counts, self._auto, datetime.now(UTC)))
        chosen = choose(predictions, waiting, sizes)
        routing = Routing(predictions=predictions, looks=claim.job.fence)
        job = await insist(partial(self._store.queue.route, claim, chosen, routing))
        if job is not None:
            job_log.routed(job)

    async def refused(self, claim: Claim, reason: str) -> Job | None:
        """Send a job that its executor refused, which was expected to run it, to the next one that may.

        Args:
            claim: Of the run that found this out.
            reason: Which that gave.

        Returns:
            The job as it waits there; None if there is no other, it was not chosen here, or the claim held no longer.
        """
        job = claim.job
        if job.routing is None:
            return None
        predictions = {**job.routing.predictions, job.executor: Prediction.refused(reason)}
        waiting = await insist(partial(waits, self._store.counts, self._auto, datetime.now(UTC)))
        able = {name: wait for name, wait in waiting.items() if not predictions.get(name, Prediction()).refusal}
        if not able:
            return None
        routing = msgspec.structs.replace(job.routing, predictions=predictions)
        chosen = choose(predictions, able, {})
        return await insist(partial(self._store.queue.route, claim, chosen, routing))

    async def rebalance(self) -> None:
        """Move jobs that wait on an executor that was chosen for them to where they would be done much sooner."""
        counts = self._store.counts
        found = [job for name in self._auto.pools for job in await counts.routed(name, limit=_MOST_MOVED)]
        if not found:
            return
        known = await waits(counts, self._auto, datetime.now(UTC))
        for job in found:
            assert job.routing is not None  # noqa: S101 - these were asked for
            predictions = job.routing.predictions
            without = after_one_more(known, self._auto, job.executor, -(job.predicted_seconds or 0.0))
            target = better(job.executor, predictions, without)
            if target is None:
                continue
            moved = await self._store.queue.move(job, target)
            if moved is not None:
                known = after_one_more(without, self._auto, target, moved.predicted_seconds or 0.0)
                job_log.routed(moved)

    async def _asked(self, claim: Claim, executor: ExecutorName, backend_name: str) -> dict[str, Prediction]:
        """Return what an executor's own worker predicts, if it has a slot to say so; else nothing."""
        job = claim.job
        try:
            async with asyncio.timeout(_SLOT_SECONDS):
                slot = await self._auto.reserve(executor)
        except TimeoutError:
            return {}
        try:
            return await self._looked_at(claim, executor, slot, backend_name)
        except (NoFreeSlotError, ConnectionError) as error:
            logger.info("Executor %s could not be asked: %s", executor, error, extra=of_job(job.id, job.traceparent))
            return {}
        finally:
            slot.release()

    async def _looked_at(
        self, claim: Claim, executor: ExecutorName, slot: Reservation, backend_name: str
    ) -> dict[str, Prediction]:
        """Return what a worker predicts of a job; nothing if it cannot."""
        job = claim.job
        with self._budget.share() as share:
            await share.hold(job.params_bytes)
            params = await params_of(self._store, claim)
            task = await self._task(job, executor, params, backend_name)
            del params
            last: Event | None = None
            async with aclosing(slot.run(task)) as events:
                del task
                async for event in events:
                    share.clear()
                    last = event
        match last:
            case Completed(result=result):
                return _read(result, executor)
            case Failed(worker_died=True, reason=reason):
                raise WorkerDiedInLookError(reason)
            case Failed(reason=reason):
                logger.info("Job %s could not be looked at: %s", job.id, reason, extra=of_job(job.id, job.traceparent))
                return {}
        raise NoFreeSlotError("The executor stopped.")

    async def _task(self, job: Job, executor: ExecutorName, params: bytes, backend_name: str) -> Task:
        return Task(
            # Executors keep what has ended until somebody has heard of it: under the job's own id, the end of a look
            # that an api did not live to hear would be that of the run.
            job_id=f"look-{job.id}",
            fence=job.fence,
            program_id=f"{PREDICTION}:{job.program_id}",
            backend_name=backend_name,
            calibration_digest=job.calibration_digest,
            seed=job.seed,
            seconds=_LOOK_SECONDS,
            limit="a look at a job may take no longer",
            max_qubits=job.max_qubits,
            account=job.account,
            ideal_qubits=(await self._auto.capabilities()).num_qubits,
            candidates=await self._auto.candidates(executor),
            run_seconds=float(job.max_seconds),
            params=params,
        )


def _read(result: bytes, executor: ExecutorName) -> dict[str, Prediction]:
    try:
        return _PREDICTIONS.decode(result)
    except msgspec.DecodeError as error:
        logger.warning("What executor %s says that a job takes makes no sense: %s", executor, error)
        return {}
