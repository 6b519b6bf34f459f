"""Where jobs run, as the dispatcher sees it; `worker.slots.Slots` is the pool of this process."""

import asyncio
from collections.abc import AsyncGenerator, Coroutine, Mapping, Sequence
from typing import Protocol, runtime_checkable

from qiskit_runtime_server.messages.messages import Capabilities, Event, Holder, Occupancy, Task


class RunLost(ConnectionError):  # noqa: N818 - a fact about a run, caught where it is expected
    """The run is gone, or no longer ours; the message says what is known."""


class Reservation(Protocol):
    """A slot that is believed to be free and kept for one job."""

    @property
    def holder(self) -> Holder:
        """Who will run the job."""

    def run(self, task: Task) -> AsyncGenerator[Event, None]:
        """Run `task`; events end with Completed, Failed or HandedBack. Closing the iterator early ends the run.

        Raises:
            NoFreeSlotError: If the slot was not free after all; nothing has started.
            RunLost: If nothing is known of the run any more.
        """

    def release(self) -> None:
        """Give the slot back; to be called exactly once."""


class Pool(Protocol):
    """The slots behind one executor name."""

    @property
    def size(self) -> int:
        """How many slots are known."""

    @property
    def missing_seconds(self) -> float:
        """For how long no slot has been known; 0 while one is."""

    @property
    def idle(self) -> int:
        """How many of them are believed to be free."""

    def endpoints(self) -> Mapping[str, Occupancy]:
        """Return how busy each address of an executor service is; slots of this process have none."""

    async def capabilities(self) -> Capabilities:
        """Return what the executor can do, or what any could while nothing has been heard of it."""

    async def reserve(self) -> Reservation:
        """Wait until a slot is believed to be free, and keep it."""


@runtime_checkable
class LookPool(Protocol):
    """A pool in which jobs can be looked at while all slots are busy, by workers that do nothing else."""

    async def reserve_look(self) -> Reservation:
        """Wait until a job can be looked at beside the slots, and keep that place; it is for nothing else."""


def long_slots(size: int, short_seconds: float) -> int | None:
    """Return how many long jobs may run at a time on an executor of so many slots; None for as many as there are.

    One slot is kept for jobs that take no longer than `short_seconds`, if there are two.
    """
    return size - 1 if short_seconds > 0 and size > 1 else None


async def first_free(places: Sequence[Coroutine[None, None, Reservation]]) -> tuple[int, Reservation]:
    """Wait until one of several places is free; return its number and keep it: of those that are free, the first."""
    waiting = [asyncio.ensure_future(place) for place in places]
    chosen: asyncio.Future[Reservation] | None = None
    try:
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        chosen = next(waited for waited in waiting if waited.done())
    finally:
        for waited in waiting:
            if waited is not chosen:
                waited.cancel()
                waited.add_done_callback(_give_back)
    return waiting.index(chosen), chosen.result()


def _give_back(waited: asyncio.Future[Reservation]) -> None:
    """Release a place that came when one was there already."""
    if not waited.cancelled() and waited.exception() is None:
        waited.result().release()


@runtime_checkable
class LastingReservation(Reservation, Protocol):
    """A reservation in a `LastingPool`."""

    def follow(self, job_id: str, fence: int) -> AsyncGenerator[Event, None]:
        """Take over the run that the holder has of this job; events as those of `run`, less those dealt with before.

        Raises:
            RunLost: If the holder does not have it, or a dispatcher with a higher fence has.
        """

    def detach(self) -> bool:
        """Let the run go on when its iterator is closed; return whether there is one."""


@runtime_checkable
class LastingPool(Protocol):
    """A pool whose runs outlive the dispatcher that started them, for as long as it takes another to attach."""

    def attach(self, holder: Holder) -> LastingReservation | None:
        """Return what can follow a run of `holder`, or None if it is none of this pool's kind."""

    def end_everywhere(self, job_id: str) -> None:
        """Have every known executor end its run of a job that has been cancelled by its owner, if it has one."""
