"""The runs of an executor service: each owns a slot and its events, whoever listens."""

import asyncio
import logging
import time
from collections import OrderedDict
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from datetime import timedelta
from importlib.metadata import version
from typing import Final

from qiskit_runtime_server.errors import InternalError, NoFreeSlotError
from qiskit_runtime_server.log.trace import begin_job, of_job
from qiskit_runtime_server.messages.messages import (
    Completed,
    Confirmation,
    Event,
    Failed,
    HandedBack,
    Heartbeat,
    Holder,
    Occupancy,
    Task,
)
from qiskit_runtime_server.waiting import News, cancelled
from qiskit_runtime_server.worker.metrics import ExecutorMetrics
from qiskit_runtime_server.worker.slots import HEARTBEAT_SECONDS, Slot, Slots

# How many ended jobs are remembered, so that a start that arrives after the end is refused.
_ENDED_KEPT: Final = 10_000
_HAND_BACK_SECONDS: Final = 3.0

logger = logging.getLogger(__name__)


class UnknownRunError(LookupError):
    """The executor does not have this job."""


class StaleFenceError(Exception):
    """A dispatcher with a higher fence has the job."""


class Run:
    """One run of a job in a slot.

    Attributes:
        fence: The highest claim of the job that has been heard of.
        end: The last event, once there is one.
    """

    def __init__(self, task: Task, slot: Slot, metrics: ExecutorMetrics, *, patience: timedelta) -> None:
        self.job_id = task.job_id
        self._traceparent = task.traceparent
        self.fence = task.fence
        self.end: Completed | Failed | HandedBack | None = None
        self._metrics = metrics
        self._patience = patience.total_seconds()
        self._heard = time.monotonic()
        self._events: list[Event] = []
        self._forgotten = 0
        self._watchers = 0
        self._news = News()
        self._going = asyncio.create_task(self._go(slot.run(task)))
        # Not at the end of `_go`: a task that is cancelled before it begins never gets there.
        self._going.add_done_callback(lambda _: slot.release())

    @property
    def silent_seconds(self) -> float:
        """How long no dispatcher has been heard of."""
        return time.monotonic() - self._heard

    @property
    def orphaned(self) -> bool:
        """Whether nobody has confirmed the run for too long."""
        return self.silent_seconds > self._patience

    @property
    def repeatable(self) -> bool:
        """Whether the job is to start anew when it is sent again."""
        return isinstance(self.end, HandedBack) or (isinstance(self.end, Failed) and self.end.worker_died)

    def confirm(self, confirmation: Confirmation) -> None:
        """Note that a dispatcher follows, and forget the events that it has dealt with.

        Raises:
            StaleFenceError: If another one has taken over.
        """
        self._check(confirmation.fence)
        self._heard = time.monotonic()
        done = confirmation.seen - self._forgotten
        # The last one is kept until the dispatcher says that the job is done with.
        done = min(done, len(self._events) - (self.end is not None))
        if done > 0:
            del self._events[:done]
            self._forgotten += done

    def take(self, fence: int) -> None:
        """Hand the run to the dispatcher with `fence`; whoever followed it before sees the end of its stream.

        Raises:
            StaleFenceError: If another one with a higher fence has it.
        """
        self._check(fence)
        self.fence = fence
        self._heard = time.monotonic()
        self._watchers += 1
        self._news.tell()

    def watch(self, *, seen: int | None = None) -> tuple[int, AsyncGenerator[Event, None]]:
        """Return events with heartbeats between them, and the number of the first one.

        They end after the last event, or without one when the run is handed to somebody else or orphaned.

        Args:
            seen: How many events to leave out; by default those that a dispatcher has dealt with.
        """
        position = max(self._forgotten, seen or 0)
        return position, self._watch(self._watchers, position)

    async def stop(self, last: HandedBack | None = None) -> None:
        """End the run, with `last` as its last event; return once its process is gone."""
        await cancelled(self._going)
        if last is not None and self.end is None:
            self._add(last)
        elif last is None:
            if self.end is None:
                self._metrics.ended(None)
            self._watchers += 1
            self._news.tell()

    async def _watch(self, watcher: int, position: int) -> AsyncGenerator[Event, None]:
        while watcher == self._watchers and not self.orphaned:
            position = max(position, self._forgotten)
            if position - self._forgotten < len(self._events):
                event = self._events[position - self._forgotten]
                position += 1
                yield event
                if event is self.end:
                    return
            elif not await self._news.wait(HEARTBEAT_SECONDS):
                yield Heartbeat()

    def _check(self, fence: int) -> None:
        if fence < self.fence:
            raise StaleFenceError(f"Job {self.job_id} has fence {self.fence}, not {fence}.")

    def _add(self, event: Event) -> None:
        if isinstance(event, Completed | Failed | HandedBack):
            self.end = event
            self._metrics.ended(event)
        self._events.append(event)
        self._news.tell()

    async def _go(self, run: AsyncGenerator[Event, None]) -> None:
        begin_job(self.job_id, self._traceparent)
        try:
            async with aclosing(run) as events:
                async for event in events:
                    if not isinstance(event, Heartbeat):
                        self._add(event)
        except Exception as error:
            logger.exception("The run of job %s failed in this executor, not in its program.", self.job_id)
            self._add(Failed(reason=f"{type(error).__name__}: {error}", code=InternalError.code, worker_died=True))


class Runs:
    """All runs of an executor, and the slots that are free for more.

    A run that no dispatcher has confirmed for `orphan_after` is orphaned: its stream is closed, and it goes on for
    `orphan_kept`, for another dispatcher to attach. The same holds for one that has ended: its result is kept.

    Attributes:
        draining: Whether no more runs are taken.
        slots: What they run in.
    """

    def __init__(
        self, slots: Slots, metrics: ExecutorMetrics, *, orphan_after: timedelta, orphan_kept: timedelta
    ) -> None:
        self.draining = False
        self._metrics = metrics
        self.slots = slots
        self._orphan_after = orphan_after
        self._kept_seconds = (orphan_after + orphan_kept).total_seconds()
        self._free: list[Slot] = []
        self._looks: list[Slot] = []
        self._runs: dict[str, Run] = {}
        self._ended: OrderedDict[str, int | None] = OrderedDict()
        self._news = News()
        self._revision = 0
        self._closed = False
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def holder(self) -> Holder:
        """This start of the executor."""
        return self.slots.holder

    async def start(self) -> None:
        """Begin to take jobs; the slots have been started."""
        self._capabilities = await self.slots.capabilities()
        free, looks = self.slots.reserve, self.slots.reserve_look
        steps = (self._collect(self._free, free), self._collect(self._looks, looks), self._expire())
        self._tasks = [asyncio.create_task(step) for step in steps]

    def occupancy(self) -> Occupancy:
        """Return how busy the executor is."""
        return Occupancy(
            boot_id=self.holder.boot_id,
            revision=self._revision,
            slots=self.slots.size,
            idle=0 if self.draining else len(self._free),
            looks=0 if self.draining else len(self._looks),
            draining=self.draining,
            capabilities=self._capabilities,
            release=version("qiskit-runtime-server"),
        )

    def states(self) -> dict[str, int]:
        """Return how many runs are active, ended and kept, or orphaned."""
        counts = dict.fromkeys(("active", "ended", "orphaned"), 0)
        for run in self._runs.values():
            counts["orphaned" if run.orphaned else "ended" if run.end else "active"] += 1
        return counts

    async def watch(self) -> AsyncGenerator[Occupancy, None]:
        """Yield the occupancy whenever it has changed, and every few seconds."""
        while not self._closed:
            yield self.occupancy()
            await self._news.wait(HEARTBEAT_SECONDS)

    def begin(self, task: Task) -> Run:
        """Run `task` in a free slot, or beside the slots if it is a look, or hand over the run of the job that is here.

        Raises:
            StaleFenceError: If a later claim of the job has been here before.
            NoFreeSlotError: If no slot is free, or the executor drains.
        """
        run = self._runs.get(task.job_id)
        if run is not None and task.fence <= run.fence:
            raise StaleFenceError(f"Job {task.job_id} has fence {run.fence}, not {task.fence}.")
        if run is not None and not run.repeatable:
            self.attach(run, task.fence)
            return run
        if task.job_id in self._ended and task.fence <= (self._ended[task.job_id] or task.fence):
            raise StaleFenceError(f"Job {task.job_id} has ended.")
        slot = None if self.draining else self._take_free() or self._take_look(task)
        if slot is None:
            self._metrics.refused.inc()
            raise NoFreeSlotError("The executor stops." if self.draining else "No slot is free.")
        self._metrics.started.inc()
        self._runs[task.job_id] = run = Run(task, slot, self._metrics, patience=self._orphan_after)
        self._changed()
        return run

    def find(self, job_id: str) -> Run:
        """Return the run of a job.

        Raises:
            UnknownRunError: If there is none.
        """
        try:
            return self._runs[job_id]
        except KeyError:
            raise UnknownRunError(f"Job {job_id} is unknown to this executor.") from None

    def attach(self, run: Run, fence: int) -> None:
        """Hand a run to the dispatcher with `fence`; errors as those of `Run.take`."""
        run.take(fence)
        self._metrics.attached.inc()

    async def end(self, job_id: str, fence: int | None) -> None:
        """End the run of a job and forget it; return once its process is gone.

        Args:
            job_id: The job; another start of it under `fence` or a lower one is refused from now on.
            fence: Of the dispatcher that says so; None if the job itself has ended.

        Raises:
            StaleFenceError: If a dispatcher with a higher fence has the job.
        """
        run = self._runs.get(job_id)
        if run is not None and fence is not None and fence < run.fence:
            raise StaleFenceError(f"Job {job_id} has fence {run.fence}, not {fence}.")
        self._ended[job_id] = fence
        while len(self._ended) > _ENDED_KEPT:
            self._ended.popitem(last=False)
        if run is not None:
            await self._remove(run)

    async def drain(self, limit: timedelta) -> None:
        """Take no more jobs, let the running ones end and their results be collected, and hand back the others."""
        self.draining = True
        self._changed()
        if await self._emptied(limit.total_seconds()):
            return
        logger.warning("%d jobs did not end in time and are handed back.", len(self._runs))
        await asyncio.gather(*(run.stop(HandedBack()) for run in self._runs.values()))
        await self._emptied(_HAND_BACK_SECONDS)

    async def close(self) -> None:
        """End all runs and all streams."""
        self.draining = self._closed = True
        await cancelled(*self._tasks)
        await asyncio.gather(*(run.stop() for run in self._runs.values()))
        self._changed()

    def _take_free(self) -> Slot | None:
        while self._free:
            slot = self._free.pop(0)
            if slot.usable:
                return slot
            # Something killed its idle worker; it is free again once it has another.
            slot.release()
        return None

    def _take_look(self, task: Task) -> Slot | None:
        """Return the place for looks, if it is free and this is one."""
        return self._looks.pop() if task.is_look and self._looks else None

    async def _emptied(self, seconds: float) -> bool:
        deadline = time.monotonic() + seconds
        while self._runs:
            rest = deadline - time.monotonic()
            if rest <= 0:
                return False
            await self._news.wait(rest)
        return True

    async def _remove(self, run: Run) -> None:
        if self._runs.get(run.job_id) is run:
            del self._runs[run.job_id]
        await run.stop()
        self._changed()

    def _changed(self) -> None:
        self._revision += 1
        self._news.tell()

    async def _collect(self, free: list[Slot], reserve: Callable[[], Awaitable[Slot]]) -> None:
        """Gather the slots that become free, however they do, so that everybody hears of it."""
        while True:
            free.append(await reserve())
            self._changed()

    async def _expire(self) -> None:
        while True:
            for run in [run for run in self._runs.values() if run.silent_seconds > self._kept_seconds]:
                logger.warning(
                    "No api has asked for job %s for %g s: its run is ended.",
                    run.job_id,
                    self._kept_seconds,
                    extra=of_job(run.job_id),
                )
                self._metrics.expired.inc()
                await self._remove(run)
            await asyncio.sleep(min(self._kept_seconds / 4, 1.0))
