"""The queue of RuntimeServers that wait for a pass.

What waits is a key (namespace and name), never an event: a pass looks at everything anyway, so any number of events
about one RuntimeServer are worth one pass. That gives the rules, which are those of client-go's work queue:

- A key waits at most once, however often it is added.
- A key that is added while its pass runs waits until `done`, and then has another one: nothing that happened after
  the pass began is missed, and no two passes over one RuntimeServer ever run side by side.
- A key that `failed` comes back by itself after its back-off. An event brings it back sooner, but never before the
  time that the API server asked for (`Retry-After`).
- A key that is to come back `later` does so by itself, too, and an event brings it back sooner.
- `succeeded` forgets the failures. `done` comes after any of the three.
"""

import asyncio
import random
from collections.abc import Callable
from datetime import timedelta

from qiskit_runtime_operator.backoff import Backoff
from qiskit_runtime_operator.resource.names import Key


class WorkQueue:
    """A queue of one event loop.

    Args:
        backoff: How long failures wait.
        chance: Returns a random number from 0 to 1.
    """

    def __init__(self, backoff: Backoff | None = None, chance: Callable[[], float] = random.random) -> None:
        self._backoff = backoff or Backoff()
        self._chance = chance
        self._ready: asyncio.Queue[Key] = asyncio.Queue()
        self._queued: set[Key] = set()
        self._running: set[Key] = set()
        self._failures: dict[Key, int] = {}
        self._timers: dict[Key, asyncio.TimerHandle] = {}
        self._not_before: dict[Key, float] = {}

    def __len__(self) -> int:
        """Return how many keys wait, not counting those that failed and wait for their time."""
        return len(self._queued)

    def add(self, key: Key) -> None:
        """Ask for a key to be reconciled: at once, when it is done being so, or when the API server's time is over."""
        rest = self._not_before.get(key, 0) - asyncio.get_running_loop().time()
        if rest > 0:
            self._add_later(key, rest)
            return
        self._forget_timer(key)
        if key not in self._queued:
            self._queued.add(key)
            if key not in self._running:
                self._ready.put_nowait(key)

    async def get(self) -> Key:
        """Wait for a key and take it; nobody else gets it until it is done."""
        key = await self._ready.get()
        self._queued.discard(key)
        self._running.add(key)
        return key

    def done(self, key: Key) -> None:
        """Say that a key that was taken has been dealt with, for better or worse."""
        self._running.discard(key)
        if key in self._queued:
            self._ready.put_nowait(key)

    def succeeded(self, key: Key) -> None:
        """Forget the failures of a key."""
        self._failures.pop(key, None)
        self._not_before.pop(key, None)

    def failed(self, key: Key, at_least: timedelta = timedelta()) -> None:
        """Ask for a key again after its back-off, or sooner if it is asked for anyway, but not before `at_least`."""
        self._failures[key] = self._failures.get(key, 0) + 1
        self._not_before[key] = asyncio.get_running_loop().time() + at_least.total_seconds()
        if key in self._queued:
            self._queued.discard(key)
            self.add(key)
        else:
            backoff = self._backoff.delay(self._failures[key], self._chance())
            self._add_later(key, max(backoff, at_least).total_seconds())

    def later(self, key: Key, wait: timedelta) -> None:
        """Ask for a key again after a time, or sooner if it is asked for; it has neither failed nor succeeded."""
        if key not in self._queued:
            self._add_later(key, wait.total_seconds())

    def _add_later(self, key: Key, seconds: float) -> None:
        self._forget_timer(key)
        self._timers[key] = asyncio.get_running_loop().call_later(seconds, self.add, key)

    def _forget_timer(self, key: Key) -> None:
        if timer := self._timers.pop(key, None):
            timer.cancel()
