"""The slots of one executor: each runs one job at a time in a worker process of its own."""

import asyncio
import logging
import time
import uuid
from collections.abc import AsyncGenerator, Coroutine, Iterable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import replace
from typing import Final, TypeVar

import msgspec

from qiskit_runtime_server.byte_budget import ByteBudget
from qiskit_runtime_server.errors import (
    InvalidInputError,
    JobError,
    MaxTimeError,
    OutOfMemoryError,
    SimulationTimeError,
    StartupError,
    WorkerDiedError,
)
from qiskit_runtime_server.log.failures import FailureLog
from qiskit_runtime_server.log.spans import NO_SPANS, Spans
from qiskit_runtime_server.machine import Cores, usable_cores
from qiskit_runtime_server.messages.messages import (
    Capabilities,
    Completed,
    Event,
    Failed,
    HandedBack,
    Heartbeat,
    Holder,
    Metrics,
    Occupancy,
    Ready,
    Started,
    Task,
)
from qiskit_runtime_server.waiting import Backoff, KeptTasks
from qiskit_runtime_server.worker.child import WorkerSpec
from qiskit_runtime_server.worker.confinement.kernel import WHOLE
from qiskit_runtime_server.worker.kept_workers import KeptWorkers
from qiskit_runtime_server.worker.process import WorkerDied, WorkerProcess
from qiskit_runtime_server.worker.run_spans import RunSpans

HEARTBEAT_SECONDS: Final = 2.0
_START_SECONDS: Final = 120.0
_LOOK_BYTES: Final = 2**28
_LOOK_PARAMS_BYTES: Final = 2**25
_LOOK_KEPT_SECONDS: Final = 30.0
_MIN_BACKOFF_SECONDS: Final = 0.5
_MAX_BACKOFF_SECONDS: Final = 30.0
_OVERDUE: Final = "A simulation was ended that took so much longer than it should that it seemed to go on for ever."

logger = logging.getLogger(__name__)

ResultT = TypeVar("ResultT")


class Slot:
    """A place for one job, with a warm worker process in it; `Slots` hands it to one user at a time.

    Attributes:
        holder: Who runs the jobs of this slot, for the store.
    """

    def __init__(self, spec: WorkerSpec, slots: "Slots") -> None:
        self.holder = slots.holder
        self._spec = spec
        self._slots = slots
        self._process: WorkerProcess | None = None
        self._account = ""
        self._running = False
        self._kept = slots.kept

    @property
    def pid(self) -> int | None:
        """The process id of the worker, or None while there is none."""
        return None if self._process is None else self._process.pid

    @property
    def usable(self) -> bool:
        """Whether there is a worker, as far as is known."""
        return self._process is not None and self._process.is_connected

    def waits_for(self, account: str) -> bool:
        """Whether it runs nothing and has a worker that has run jobs of this account last."""
        return not self._running and self._account == account and self.usable

    async def start(self) -> Capabilities:
        """Start a worker and return what it can do once it is warm.

        Raises:
            StartupError: If it does not come up.
        """
        process: WorkerProcess | None = None
        ready: Event | None = None
        try:
            async with asyncio.timeout(_START_SECONDS):
                process = await WorkerProcess.start(self._spec)
                ready = await process.receive(self._slots.budget.share())
        except (WorkerDied, TimeoutError) as error:
            raise StartupError(f"Executor {self._spec.executor!r} did not start: {error or 'no answer'}.") from error
        finally:
            if process is not None and not isinstance(ready, Ready):
                await process.stop()
        if not isinstance(ready, Ready):
            raise StartupError(f"Executor {self._spec.executor!r} did not start: {getattr(ready, 'reason', ready)}")
        self._process = process
        return ready.capabilities

    async def stop(self) -> None:
        """Kill the worker, if there is one; return once its memory is free."""
        process, self._process = self._process, None
        self._account = ""
        if process is not None:
            await process.stop()

    async def keep_within_bounds(self) -> None:
        """Kill the worker if it has taken more than it may, also of a job that is over."""
        if self._process is not None:
            await self._process.keep_within_bounds()

    def release(self) -> None:
        """Give the slot back; to be called exactly once after each `Slots.reserve`."""
        self._slots.take_back(self)

    async def _worker_for(self, account: str) -> WorkerProcess:
        """Return the worker; where it is not shared, one that has run jobs of this account only, or none.

        Raises:
            StartupError: If there is none, and a new one does not come up.
        """
        if self._account != account and not self._slots.shared:
            self._change_to(account)
        if self._process is None:
            await self.start()
        assert self._process is not None  # noqa: S101 - or it would not have started
        self._account = account
        return self._process

    def _idle_slot_of(self, account: str) -> "Slot | None":
        """Return another slot whose worker may be used here, which has run jobs of this account last."""
        return self._slots.idle_slot_of(account)

    def _change_to(self, account: str) -> None:
        """Put another account's worker aside, and take one that this account has, if there is any, or a fresh one."""
        other = self._idle_slot_of(account)
        if other is not None and self.usable:
            self._process, other._process = other._process, self._process
            self._account, other._account = other._account, self._account
            return
        found = self._kept.take(account)
        if found is None and not self._account:
            return
        if self._process is not None:
            self._kept.keep(self._account, self._process)
        self._process, self._account = found or self._kept.take(""), ""

    async def run(self, task: Task) -> AsyncGenerator[Event, None]:
        """Run `task` and yield Started, then Heartbeat and Log events, and last Completed, Failed or HandedBack.

        The worker is killed when the task's time is over, or when the caller closes this iterator before it has ended.
        Where another account's jobs were before and workers are not shared, another one takes its place first.
        """
        self._running = True
        start, seconds = time.monotonic(), task.seconds
        limit = f": {task.limit}" if task.limit else ""
        receiving: asyncio.Task[Event] | None = None
        event: Event = Started()
        spans = RunSpans(self._slots.spans, task)
        share = self._slots.budget.share()
        cores = self._slots.cores.take()
        try:
            process = await self._worker_for(task.account)
            await process.send(msgspec.structs.replace(task, cores=cores), spans.enter)
            # Held on to for as long as the job runs otherwise.
            del task
            while True:
                yield event
                if isinstance(event, Completed | Failed):
                    return
                receiving = receiving or asyncio.create_task(process.receive(share))
                rest = start + seconds - time.monotonic()
                done, _ = await asyncio.wait({receiving}, timeout=max(0.0, min(HEARTBEAT_SECONDS, rest)))
                if done:
                    event, receiving = _measured(receiving.result(), start), None
                    if isinstance(event, Failed) and event.worker_unfit:
                        await self.stop()
                elif rest <= HEARTBEAT_SECONDS:
                    await self.stop()
                    reason = f"The job took longer than its limit of {seconds:.4g} s{limit}."
                    event = _failed(MaxTimeError(reason), start)
                else:
                    event = Heartbeat()
        except StartupError as error:
            # Not the job's fault: the slot tries on, before it is free again.
            logger.warning("A job goes back to the queue, as it got no worker: %s", error)
            event = HandedBack()
            yield event
        except WorkerDied as death:
            await self.stop()
            event = _end_by(death, start)
            yield event
        finally:
            self._running = False
            self._slots.cores.give_back()
            spans.end(event)
            if not isinstance(event, Completed | Failed):
                await self.stop()
            if receiving is not None:
                receiving.cancel()
                await asyncio.gather(receiving, return_exceptions=True)
            share.clear()


class LookSlot(Slot):
    """A place beside the slots in which jobs are only looked at, so that these can be while all slots are busy.

    It has a worker from the first look on, with little memory, until there has been none for a while.

    Attributes:
        resting: Whether the last look left no worker, as where it could not be started.
    """

    def __init__(self, spec: WorkerSpec, slots: "Slots") -> None:
        super().__init__(replace(spec, look_bytes=min(_LOOK_BYTES, spec.memory_bytes or _LOOK_BYTES)), slots)
        self._kept = slots.kept_looks
        self.resting = False
        self._leaving: asyncio.TimerHandle | None = None

    async def run(self, task: Task) -> AsyncGenerator[Event, None]:
        """See `Slot.run`; what is too large to be looked at here fails."""
        if len(task.params) > _LOOK_PARAMS_BYTES:
            yield _failed(OutOfMemoryError("Jobs so large are looked at in slots only."), time.monotonic())
            return
        if self._leaving is not None:
            self._leaving.cancel()
        if not self.usable:
            # Something killed it since the last look: that is no job's fault.
            await self.stop()
        going = super().run(task)
        del task
        try:
            async with aclosing(going) as events:
                async for event in events:
                    yield event
        finally:
            self.resting = not self.usable
            self._leaving = asyncio.get_running_loop().call_later(_LOOK_KEPT_SECONDS, self._leave)

    def _idle_slot_of(self, account: str) -> None:
        """Return none: those of slots may use more memory."""

    def _leave(self) -> None:
        """Let the worker go; at once, as the next look may begin before it has ended."""
        process, self._process = self._process, None
        if process is not None:
            self._slots.end(process)


async def all_or_none(starts: Iterable[Coroutine[None, None, ResultT]]) -> list[ResultT]:
    """Return what all give; when one raises, end the others first."""
    tasks = [asyncio.ensure_future(start) for start in starts]
    try:
        return await asyncio.gather(*tasks)
    except BaseException:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        raise


def _tell(confinement: Sequence[str]) -> None:
    """Say how workers are confined."""
    missing = " and ".join(name for name in WHOLE if name not in confinement)
    if not missing:
        logger.info("Workers are confined by %s.", " and ".join(WHOLE))
        return
    logger.warning(
        "Workers are not confined by %s, which this system lacks: code that a client got to run in one could do what"
        " the server's user may.",
        missing,
    )


def _end_by(death: WorkerDied, start: float) -> Failed:
    """Return what a worker's death is for its job: nobody's fault, unless it is known better."""
    if death.overdue:
        return _failed(SimulationTimeError(_OVERDUE), start)
    if death.excess is not None:
        return _failed(WorkerDiedError(f"The worker process was ended, as it had {death.excess}."), start)
    if death.decoding:
        return _failed(InvalidInputError(f"{death} when it decoded the job, which must be damaged."), start)
    return _failed(WorkerDiedError(f"{death}."), start, worker_died=True)


def _measured(event: Event, start: float) -> Event:
    """Return what a worker tells, at the end of a run with the time that it took here, whatever the worker says."""
    if not isinstance(event, Completed | Failed):
        return event
    metrics = msgspec.structs.replace(event.metrics, slot_seconds=time.monotonic() - start)
    return msgspec.structs.replace(event, metrics=metrics)


def _failed(error: JobError, start: float, *, worker_died: bool = False) -> Failed:
    seconds = time.monotonic() - start
    metrics = Metrics(seconds=seconds, slot_seconds=seconds)
    return Failed(reason=str(error), code=error.code, worker_died=worker_died, metrics=metrics)


class Slots:
    """All slots of one executor in this process; a `Pool` to the dispatcher.

    Attributes:
        size: How many there are.
        memory_bytes: What jobs may use in each; None for no limit.
        budget: Where results make room for themselves before they are read.
        spans: Where the spans of runs go.
        holder: This process's start of the executor.
        cores: What runs share.
        shared: Whether a worker runs jobs of several accounts, one after the other; known once there is one.
        kept: Workers that wait for their account's next job, where they are not shared.
        kept_looks: The same for the place for looks.
    """

    def __init__(  # noqa: PLR0913 - what makes slots
        self,
        spec: WorkerSpec,
        size: int,
        budget: ByteBudget,
        spans: Spans = NO_SPANS,
        *,
        cores: Cores | None = None,
        kept: int = 0,
    ) -> None:
        """Describe slots; beside the worker of each, `kept` wait for their accounts where workers are not shared."""
        self.size = size
        self.memory_bytes = spec.memory_bytes
        self.budget = budget
        self.spans = spans
        self.holder = Holder(endpoint="local", boot_id=uuid.uuid4().hex)
        self.cores = cores or Cores(usable_cores())
        self.kept, self.kept_looks = KeptWorkers(size * kept, self.end), KeptWorkers(kept, self.end)
        self._confined = spec.confined
        self.shared = bool(spec.shared)
        self._shared_on_gpus = spec.shared is None
        self._slots = [Slot(spec, self) for _ in range(size)]
        self._idle: asyncio.Queue[Slot] = asyncio.Queue()
        self._look = LookSlot(spec, self)
        self._looks: asyncio.Queue[Slot] = asyncio.Queue()
        self._capabilities: asyncio.Future[Capabilities] = asyncio.get_running_loop().create_future()
        self._background = KeptTasks()

    async def start(self) -> None:
        """Start all workers; return when they are warm.

        Raises:
            StartupError: If one does not come up.
        """
        capabilities = await all_or_none(slot.start() for slot in self._slots)
        self._capabilities.set_result(capabilities[0])
        if self._shared_on_gpus:
            # There a worker takes seconds to start, and further ones would take memory that states may need.
            self.shared = bool(capabilities[0].compute_capability)
        if self._confined:
            _tell(capabilities[0].confinement)
            self._background.begin(self._watch())
        for slot in self._slots:
            self._idle.put_nowait(slot)
        if not capabilities[0].compute_capability:
            # Of a GPU, a further process would take memory that states may need.
            self._looks.put_nowait(self._look)

    async def capabilities(self) -> Capabilities:
        """Return what the executor can do, once a worker has said so."""
        return await asyncio.shield(self._capabilities)

    @property
    def missing_seconds(self) -> float:
        """See `Pool.missing_seconds`: a worker that has ended is replaced at once."""
        return 0.0

    @property
    def idle(self) -> int:
        """How many slots are free."""
        return self._idle.qsize()

    def endpoints(self) -> Mapping[str, Occupancy]:
        """See `Pool.endpoints`."""
        return {}

    async def reserve(self) -> Slot:
        """Wait for a free slot and return it; the caller gives it back by `Slot.release`."""
        while not (slot := await self._idle.get()).usable:
            # Something killed an idle worker: that is no job's fault.
            self.take_back(slot)
        return slot

    async def reserve_look(self) -> Slot:
        """Wait for the place for looks beside the slots and return it; the caller gives it back by `Slot.release`."""
        return await self._looks.get()

    def idle_slot_of(self, account: str) -> Slot | None:
        """Return a slot that runs nothing and has a worker of this account, if there is one."""
        return next((slot for slot in self._slots if slot.waits_for(account)), None)

    def end(self, process: WorkerProcess) -> None:
        """Kill a worker that no slot has any more."""
        self._background.begin(process.stop())

    def take_back(self, slot: Slot) -> None:
        """Take back a slot; it is free again once it has a worker."""
        if slot is self._look:
            if self._look.resting:
                asyncio.get_running_loop().call_later(_MIN_BACKOFF_SECONDS, self._looks.put_nowait, slot)
            else:
                self._looks.put_nowait(slot)
            return
        if slot.usable:
            self._idle.put_nowait(slot)
            return
        self._background.begin(self._restart(slot))

    async def stop(self) -> None:
        """Kill all workers."""
        await asyncio.gather(self._background.cancel(), self.kept.stop(), self.kept_looks.stop())
        await asyncio.gather(*(slot.stop() for slot in [*self._slots, self._look]), return_exceptions=True)

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(HEARTBEAT_SECONDS)
            watched: tuple[Slot | KeptWorkers, ...] = (*self._slots, self._look, self.kept, self.kept_looks)
            for workers in watched:
                await workers.keep_within_bounds()

    async def _restart(self, slot: Slot) -> None:
        backoff, failures = Backoff(_MIN_BACKOFF_SECONDS, _MAX_BACKOFF_SECONDS), FailureLog(logger)
        await slot.stop()
        while True:
            try:
                await slot.start()
            except StartupError as error:
                failures.failed(f"A worker did not come up again, which is tried until it does: {error}", error)
                await asyncio.sleep(backoff.fail())
            else:
                failures.succeeded("A worker came up again")
                self._idle.put_nowait(slot)
                return
