"""Watches the watches: which of them have died without a word, and which the API server refuses.

A watch that neither tells anything nor is renewed for long is silent: something is broken, and the operator should be
restarted. One that is refused (403, 404: a right was withheld, a namespace or a CRD deleted) is not; the others go on.
"""

import asyncio
import random
from collections.abc import Callable, Iterable, Mapping
from datetime import timedelta
from http import HTTPStatus
from types import SimpleNamespace
from typing import Final

import aiohttp

from qiskit_runtime_operator.backoff import Backoff

_REFUSED: Final = (HTTPStatus.FORBIDDEN, HTTPStatus.NOT_FOUND)
_BACKOFF: Final = Backoff(first=timedelta(seconds=1), longest=timedelta(minutes=1))
# Of what the API server says; it is shown in the status.
_WORDS: Final = 300


class Watchdog:
    """When each watch last had a sign of life: an event, or a connection that began.

    Watches are renewed every few minutes, also by kopf when they have had no bookmark for more than a minute. So one
    that is older than `bound` does not work.

    Args:
        bound: How old is too old.
        clock: Returns monotonic seconds.

    Attributes:
        afresh: The watches that have begun with a list: they do not tell what was deleted before it.
        retold: The collections that are refused since a moment ago, or not any more.
    """

    def __init__(self, bound: timedelta, clock: Callable[[], float]) -> None:
        self._bound = bound.total_seconds()
        self._clock = clock
        self._seen: dict[str, float] = {}
        self._listed: set[str] = set()
        self._refused: dict[str, str] = {}
        self.afresh: asyncio.Queue[str] = asyncio.Queue()
        self.retold: asyncio.Queue[str] = asyncio.Queue()

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
        """Return the watches that are too old, a line for each; those that are refused count only if all are."""
        refused = {} if len(self._refused) == len(self._seen) else self._refused
        old = [(path, age) for path, age in self.ages() if age > self._bound and path not in refused]
        return [f"nothing heard of {path} for {age:.0f} s" for path, age in old]

    def refuse(self, path: str, why: str) -> None:
        """Note that the API server refuses to list or watch a collection, in its words."""
        if path in self._seen and self._refused.get(path) != why:
            self._refused[path] = why
            self.retold.put_nowait(path)

    def allow(self, path: str) -> None:
        """Note that the API server lists or watches a collection."""
        if self._refused.pop(path, None) is not None:
            self.retold.put_nowait(path)

    def refusals(self) -> Mapping[str, str]:
        """Return the collections that are refused, and why."""
        return self._refused

    async def outlast(
        self, request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
    ) -> aiohttp.ClientResponse:
        """Repeat a request of a watch that is refused, as a middleware of the session that watches, until it is not."""
        path, failures = request.url.path, 0
        while True:
            answer = await handler(request)
            if path not in self._seen or answer.status not in _REFUSED:
                return answer
            self.refuse(path, f"HTTP {answer.status}: {(await answer.text())[:_WORDS]}")
            failures += 1
            await asyncio.sleep(_BACKOFF.delay(failures, random.random()).total_seconds())  # noqa: S311 - no secret

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
        self.allow(path)
        if "watch" not in what.url.query:
            self._listed.add(path)
            return
        self.seen(path)
        if path in self._listed:
            self._listed.discard(path)
            self.afresh.put_nowait(path)
