"""Watches the watches: one that neither tells anything nor is renewed for long has died without a word."""

import asyncio
from collections.abc import Callable, Iterable
from datetime import timedelta
from http import HTTPStatus
from types import SimpleNamespace

import aiohttp


class Watchdog:
    """When each watch last had a sign of life: an event, or a connection that began.

    Watches are renewed every few minutes, also by kopf when they have had no bookmark for more than a minute. So one
    that is older than `bound` does not work.

    Args:
        bound: How old is too old.
        clock: Returns monotonic seconds.

    Attributes:
        afresh: The watches that have begun with a list: they do not tell what was deleted before it.
    """

    def __init__(self, bound: timedelta, clock: Callable[[], float]) -> None:
        self._bound = bound.total_seconds()
        self._clock = clock
        self._seen: dict[str, float] = {}
        self._listed: set[str] = set()
        self.afresh: asyncio.Queue[str] = asyncio.Queue()

    def expect(self, paths: Iterable[str]) -> None:
        """Say which watches there will be; those that never begin count from now."""
        now = self._clock()
        self._seen.update(dict.fromkeys(paths, now))

    def seen(self, path: str) -> None:
        """Note a sign of life."""
        if path in self._seen:
            self._seen[path] = self._clock()

    def ages(self) -> list[tuple[str, float]]:
        """Return the watches and the seconds since their last sign of life."""
        now = self._clock()
        return [(path, now - seen) for path, seen in self._seen.items()]

    def silent(self) -> list[str]:
        """Return the watches that are too old, a line for each."""
        return [f"nothing heard of {path} for {age:.0f} s" for path, age in self.ages() if age > self._bound]

    def trace(self) -> aiohttp.TraceConfig:
        """Return what tells this watchdog of the watches that a session begins."""
        trace = aiohttp.TraceConfig()
        trace.on_request_end.append(self._answered)
        return trace

    async def _answered(
        self, _session: aiohttp.ClientSession, _context: SimpleNamespace, what: aiohttp.TraceRequestEndParams
    ) -> None:
        path = what.url.path
        if path not in self._seen or what.response.status != HTTPStatus.OK:
            return
        if "watch" not in what.url.query:
            self._listed.add(path)
            return
        self.seen(path)
        if path in self._listed:
            self._listed.discard(path)
            self.afresh.put_nowait(path)
