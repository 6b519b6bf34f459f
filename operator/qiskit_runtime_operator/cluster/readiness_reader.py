"""Asks pods of apis that run and are not ready why that is; a Service leads to none of them."""

import asyncio
from collections.abc import Iterable, Mapping
from datetime import timedelta
from typing import Final

import aiohttp

from qiskit_runtime_operator.resource.names import Key
from qiskit_runtime_operator.status.readiness import words

_AT_ONCE: Final = 16
_LIMIT: Final = timedelta(seconds=2)
_BYTES: Final = 4096


class ReadinessReader:
    """The answers of pods that are not ready.

    Args:
        http: A session of its own.

    Attributes:
        answers: What was last read, by the pods' UIDs; who does not answer is not there.
    """

    def __init__(self, http: aiohttp.ClientSession) -> None:
        self.answers: dict[str, str] = {}
        self._http = http
        self._gate = asyncio.Semaphore(_AT_ONCE)

    async def read(self, pods: Iterable[tuple[Key, str, str]]) -> list[Key]:
        """Ask these pods, forget the others, and return the RuntimeServers of those with another answer than before.

        Args:
            pods: The RuntimeServer and the UID of each, and the URL of its readiness.
        """
        asked = list(pods)
        read = await asyncio.gather(*(self._ask(url) for _, _, url in asked))
        answers: Mapping[str, str] = {uid: said for (_, uid, _), said in zip(asked, read, strict=True) if said}
        changed = {key for key, uid, _ in asked if answers.get(uid) != self.answers.get(uid)}
        self.answers.clear()
        self.answers.update(answers)
        return sorted(changed)

    async def _ask(self, url: str) -> str:
        """Return what a pod says; nothing, if it does not answer, which its probes tell of."""
        limit = aiohttp.ClientTimeout(total=_LIMIT.total_seconds())
        async with self._gate:
            try:
                # No redirects: the operator goes nowhere that a pod sends it to.
                # Nor does a certificate matter for what is shown in the status: it is for a name, not for an address.
                async with self._http.get(url, timeout=limit, allow_redirects=False, ssl=False) as answer:
                    return words(answer.status, await answer.content.read(_BYTES))
            except (aiohttp.ClientError, TimeoutError):
                return ""
