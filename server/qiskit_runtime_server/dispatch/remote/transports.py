"""A pool of connections for each executor endpoint.

The HTTP library looks through all connections of a pool, and asks the system about each idle one, at every request and
at the end of every answer. With one pool for hundreds of endpoints and runs that is most of what an api does.
"""

import time
from collections.abc import Callable, Collection
from dataclasses import dataclass, field

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


def _origin(url: httpx.URL) -> Origin:
    return url.scheme, url.host, url.port
