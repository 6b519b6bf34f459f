"""An executor whose runs are played by a test."""

import asyncio
from collections.abc import AsyncGenerator, Callable

from qiskit_runtime_server.backends.names import ExecutorName
from qiskit_runtime_server.messages.messages import Capabilities, Completed, Event, Holder, Metrics, Occupancy, Task

NAME = ExecutorName("played")
HOLDER = Holder(endpoint="http://executor", boot_id="first")
DONE = Completed(metrics=Metrics(seconds=1), result=b"result")
Play = list[Event | Exception | None]


class PlayedPool:
    """A lasting pool whose runs do what the test says; None in a play means that nothing happens any more.

    Attributes:
        plays: What the runs do, one after the other.
        log: What the dispatcher did.
    """

    def __init__(self, *plays: Play) -> None:
        self.plays = list(plays)
        self.log: list[str] = []
        self.size = self.idle = 1
        self.missing_seconds = 0.0
        self._free = asyncio.Semaphore(1)

    async def capabilities(self) -> Capabilities:
        return Capabilities(num_qubits=5)

    def endpoints(self) -> dict[str, Occupancy]:
        return {
            "10.0.0.7": Occupancy(boot_id="1", revision=1, slots=1, idle=1, capabilities=Capabilities(num_qubits=5))
        }

    async def reserve(self) -> "PlayedReservation":
        await self._free.acquire()
        return PlayedReservation(self, self._free.release)

    def attach(self, holder: Holder) -> "PlayedReservation":
        assert holder == HOLDER
        return PlayedReservation(self, lambda: None)

    def end_everywhere(self, job_id: str) -> None:
        self.log.append("end everywhere")


class PlayedReservation:
    def __init__(self, pool: PlayedPool, release: Callable[[], None]) -> None:
        self.holder = HOLDER
        self.release = release
        self._pool = pool
        self._detached = False

    def detach(self) -> bool:
        self._detached = True
        return True

    async def run(self, task: Task) -> AsyncGenerator[Event, None]:
        self._pool.log.append(f"run {task.fence}")
        async for event in self._events():
            yield event

    async def follow(self, job_id: str, fence: int) -> AsyncGenerator[Event, None]:
        self._pool.log.append(f"follow {fence}")
        async for event in self._events():
            yield event

    async def _events(self) -> AsyncGenerator[Event, None]:
        try:
            for event in self._pool.plays.pop(0):
                if event is None:
                    await asyncio.Event().wait()
                elif isinstance(event, Exception):
                    raise event
                else:
                    yield event
        except (GeneratorExit, asyncio.CancelledError):
            self._pool.log.append("left" if self._detached else "ended")
            raise
