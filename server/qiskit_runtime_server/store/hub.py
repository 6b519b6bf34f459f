"""Hands signals to those in this process who watch for them, and ends of jobs to those who count them."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from typing import Final

from qiskit_runtime_server.jobs import Job
from qiskit_runtime_server.store.port import Signal

# For a watcher that is slower than this, signals are lost: they are wake-ups, and whoever waits also polls.
_BACKLOG: Final = 1_000


class Hub:
    """A `Signals` of one process."""

    def __init__(self) -> None:
        self._watchers: set[asyncio.Queue[Signal]] = set()
        self._listeners: list[Callable[[Job], None]] = []

    def on_end(self, listener: Callable[[Job], None]) -> None:
        """See `Signals.on_end`."""
        self._listeners.append(listener)

    def ended(self, job: Job) -> None:
        """Tell who counts them of a job that has just come to a terminal state."""
        for listener in self._listeners:
            listener(job)

    def announce(self, signal: Signal) -> None:
        """Hand `signal` to everybody who watches."""
        for watcher in self._watchers:
            if not watcher.full():
                watcher.put_nowait(signal)

    async def watch(self) -> AsyncGenerator[Signal, None]:
        """See `Signals.watch`."""
        watcher: asyncio.Queue[Signal] = asyncio.Queue(_BACKLOG)
        self._watchers.add(watcher)
        try:
            while True:
                yield await watcher.get()
        finally:
            self._watchers.discard(watcher)
