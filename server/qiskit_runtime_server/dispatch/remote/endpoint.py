"""One address of an executor service, and what is believed of it; and how addresses are found."""

import asyncio
import socket
import time
from enum import Enum, auto
from typing import Final
from urllib.parse import urlsplit

import httpx

from qiskit_runtime_server.messages.messages import Occupancy
from qiskit_runtime_server.waiting import Backoff

CONNECT_SECONDS: Final = 3.0
# Executors are never silent for longer than 2 s.
_SILENCE_SECONDS: Final = 7.0
STREAM_TIMEOUT: Final = httpx.Timeout(_SILENCE_SECONDS, connect=CONNECT_SECONDS)
MIN_BACKOFF_SECONDS: Final = 0.2
MAX_BACKOFF_SECONDS: Final = 5.0
_DEFAULT_PORTS: Final = {"http": 80, "https": 443}


class Place(Enum):
    """Where an executor takes a job: in a slot, or beside the slots to be looked at."""

    SLOT = auto()
    LOOK = auto()


class Endpoint:
    """One address of an executor service, and what is believed of it."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.occupancy: Occupancy | None = None
        self.reserved = dict.fromkeys(Place, 0)
        self._rests_until = 0.0
        self._backoff = Backoff(MIN_BACKOFF_SECONDS, MAX_BACKOFF_SECONDS)

    def free(self, place: Place) -> int:
        """Return how many of these places are believed to be free; none while it is not heard of, or rests."""
        if self.occupancy is None or self.occupancy.draining or time.monotonic() < self._rests_until:
            return 0
        known = self.occupancy.idle if place is Place.SLOT else self.occupancy.looks
        return max(0, known - self.reserved[place])

    def note(self, occupancy: Occupancy) -> None:
        """Note how busy it is, unless that is old news."""
        known = self.occupancy
        if known is None or known.boot_id != occupancy.boot_id or known.revision <= occupancy.revision:
            self.occupancy = occupancy

    def rest(self) -> float:
        """Break the circuit for a while, longer each time, and return for how long."""
        seconds = self._backoff.fail()
        self._rests_until = time.monotonic() + seconds
        return seconds

    def recover(self) -> None:
        """Close the circuit."""
        self._backoff.succeed()


async def addresses_of(url: str) -> set[str]:
    """Return `url` with each address of its host in its place.

    Raises:
        OSError: If the host is not known.
    """
    parts = urlsplit(url)
    port = parts.port or _DEFAULT_PORTS[parts.scheme]
    found = await asyncio.get_running_loop().getaddrinfo(parts.hostname, port, type=socket.SOCK_STREAM)
    hosts = {str(address[0]) for *_, address in found}
    return {f"{parts.scheme}://[{host}]:{port}" if ":" in host else f"{parts.scheme}://{host}:{port}" for host in hosts}
