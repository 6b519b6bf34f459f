"""A pool of connections for each executor endpoint.

The HTTP library looks through all connections of a pool, and asks the system about each idle one, at every request and
at the end of every answer. With one pool for hundreds of endpoints and runs that is most of what an api does.
"""

import sys
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from importlib.util import find_spec

import httpx

Origin = tuple[str, str, int | None]


@dataclass(slots=True)
class _Kept:
    transport: httpx.AsyncBaseTransport
    used: float = field(default_factory=time.monotonic)


class TransportPerOrigin(httpx.AsyncBaseTransport):
    """Sends each request over the connections of its own scheme, host and port.

    Args:
        make: Returns the transport of one of them.
    """

    def __init__(self, make: Callable[[], httpx.AsyncBaseTransport]) -> None:
        self._make = make
        self._kept: dict[Origin, _Kept] = {}
        _note_that_sniffio_is_missing()

    def __len__(self) -> int:
        """Return for how many origins there are connections."""
        return len(self._kept)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request."""
        origin = _origin(request.url)
        kept = self._kept.get(origin)
        if kept is None:
            kept = self._kept[origin] = _Kept(self._make())
        kept.used = time.monotonic()
        return await kept.transport.handle_async_request(request)

    async def close_unused(self, *, keep: Collection[str], seconds: float) -> None:
        """Close the connections to all but some URLs if no request was sent there for so long."""
        kept, since = {_origin(httpx.URL(url)) for url in keep}, time.monotonic() - seconds
        for origin in [origin for origin, one in self._kept.items() if origin not in kept and one.used <= since]:
            await self._kept.pop(origin).transport.aclose()

    async def aclose(self) -> None:
        """Close all connections."""
        while self._kept:
            _, one = self._kept.popitem()
            await one.transport.aclose()


def _note_that_sniffio_is_missing() -> None:
    """Have imports of `sniffio` fail at once, if it is not installed.

    The HTTP library imports it with each lock that it takes, some times a request, and for a module that is missing
    Python looks in every folder anew. https://docs.python.org/3/reference/import.html#the-module-cache
    """
    if find_spec("sniffio") is None:
        sys.modules["sniffio"] = None  # type: ignore[assignment]


def _origin(url: httpx.URL) -> Origin:
    return url.scheme, url.host, url.port
