"""Where jobs run, as the dispatcher sees it; `worker.slots.Slots` is the pool of this process."""

from collections.abc import AsyncGenerator
from typing import Protocol

from qiskit_runtime_server.dispatch.events import Capabilities, Event, Holder, Task


class Reservation(Protocol):
    """A slot that is believed to be free and kept for one job."""

    @property
    def holder(self) -> Holder:
        """Who will run the job."""

    def run(self, task: Task) -> AsyncGenerator[Event, None]:
        """Run `task`; events end with Completed or Failed. Closing the iterator early ends the job's process.

        Raises:
            NoFreeSlotError: If the slot was not free after all; nothing has started.
        """

    def release(self) -> None:
        """Give the slot back; to be called exactly once."""


class Pool(Protocol):
    """The slots behind one executor name."""

    @property
    def size(self) -> int:
        """How many slots are known."""

    @property
    def idle(self) -> int:
        """How many of them are believed to be free."""

    async def capabilities(self) -> Capabilities:
        """Return what the executor can do; waits until it has said so."""

    async def reserve(self) -> Reservation:
        """Wait until a slot is believed to be free, and keep it."""
