"""How tasks wait: for news, before the next try, and for nobody."""

import asyncio
import logging
from collections import Counter
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager, suppress
from typing import Any, Final, TypeVar
from weakref import WeakValueDictionary

from qiskit_runtime_server.errors import TooManyRequestsError

logger = logging.getLogger(__name__)

T = TypeVar("T")

# 2 to the power of more than 1023 is no float.
_MAX_DOUBLINGS: Final = 60


class News:
    """Wakes everybody who waits for a change.

    Attributes:
        count: How often there has been any. Who reads it before he looks, and finds nothing, then waits for what came
            `since`, and misses nothing.
    """

    def __init__(self) -> None:
        self.count = 0
        self._next = asyncio.Event()

    def tell(self) -> None:
        """Wake all who wait."""
        self.count += 1
        told, self._next = self._next, asyncio.Event()
        told.set()

    async def wait(self, seconds: float, *, since: int | None = None) -> bool:
        """Return whether something changes within `seconds`; at once if it has since the `count` was `since`."""
        if since not in {None, self.count}:
            return True
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._next.wait()
            return True
        return False


class Backoff:
    """How long to wait before the next try: twice as long each time, until a try succeeds.

    Args:
        first: The first wait, in seconds.
        most: The longest, in seconds.
    """

    def __init__(self, first: float, most: float) -> None:
        self._first = first
        self._most = most
        self._failures = 0

    def fail(self) -> float:
        """Count a try that failed, and return the seconds to wait before the next one."""
        self._failures += 1
        return backoff_seconds(self._failures, first=self._first, most=self._most)

    def succeed(self) -> None:
        """Begin again with the first wait."""
        self._failures = 0


def backoff_seconds(failures: int, *, first: float, most: float) -> float:
    """Return how long to wait after so many failures, at least one: `first`, doubled each time, up to `most`."""
    return min(first * 2.0 ** min(failures - 1, _MAX_DOUBLINGS), most)


class Turns:
    """Has things be done one at a time for each key, in the order in which they were asked for.

    Args:
        most: How many may be asked for at a time for one key.
    """

    def __init__(self, most: int = 32) -> None:
        self._most = most
        self._asked = Counter[str]()
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    @asynccontextmanager
    async def of(self, key: str) -> AsyncIterator[None]:
        """Wait for the turn, and have it meanwhile.

        Raises:
            TooManyRequestsError: If as many as may have been asked for already.
        """
        if self._asked[key] >= self._most:
            why = f"{self._most} requests wait for each other already, which are done one at a time. Try again in 1 s."
            raise TooManyRequestsError(why, retry_after=1)
        self._asked[key] += 1
        try:
            # It is there for as long as somebody has it, or waits for it.
            lock = self._locks.setdefault(key, asyncio.Lock())
            async with lock:
                yield
        finally:
            self._asked[key] -= 1
            if not self._asked[key]:
                del self._asked[key]


class KeptTasks:
    """Tasks that may outlive those who began them; the event loop itself would not keep them from being collected."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[Any]] = set()

    def begin(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Run `work` in the background."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def ended(self) -> None:
        """Return when all have ended, however they do."""
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def cancel(self) -> None:
        """Cancel what still runs, and return when it has ended."""
        await cancelled(*self._tasks)


async def cancelled(*tasks: asyncio.Task[Any]) -> None:
    """Cancel these tasks, and return when they have ended; errors of theirs that nobody has seen are logged."""
    for task in tasks:
        task.cancel()
    for end in await asyncio.gather(*tasks, return_exceptions=True):
        if isinstance(end, Exception):
            logger.error("A task failed before it was cancelled.", exc_info=end)
