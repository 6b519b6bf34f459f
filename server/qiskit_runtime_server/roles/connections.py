"""Connections that get what they use, and no more: limits of their number, deadlines for what clients send and read.

Uvicorn knows a time limit for idle connections only after a first answer. A client that sends half of a request, or
does not read its answer, would keep its connection, a descriptor and what is buffered for as long as it likes; a few
hundred of them end the service of a process. Here:

- a request's line and headers have to arrive within `HEADERS_SECONDS` of the connection, or of their first byte;
- an answer has to be read at `LEAST_RATE` bytes a second, looked at every `LOOK_SECONDS`;
- a body that goes on after its answer is listened to for `LINGER_SECONDS`, so that the client reads the answer;
- where a connection more than `total` comes, the one that has been without a request for longest is closed for it;
  where each has one, that from whose client nothing has come for longest, of those that wait for the rest of a body, or
  for an answer to be read; where none does, the new one. So those who hold connections without using them keep nobody
  out. An address with more than a quarter of all gives way before others: who opens ever more, faster than anybody
  uses theirs, closes his own.

Deadlines of bodies are in `api.bodies`, which can still answer.
"""

import asyncio
import logging
import resource
from collections import Counter
from dataclasses import dataclass
from typing import Any, Final

from uvicorn.protocols.http.h11_impl import H11Protocol

from qiskit_runtime_server.accounts.addresses import network_of
from qiskit_runtime_server.log.failures import FailureLog

logger = logging.getLogger(__name__)

# Of the descriptors that a process may have, this part is for connections; the rest is for the store, workers and logs.
_PART: Final = 2

# With more than this part of all connections, an address gives way before others.
_CROWD: Final = 4

HEADERS_SECONDS: Final = 15.0
LEAST_RATE: Final = 16 * 1024
LOOK_SECONDS: Final = 10.0
LINGER_SECONDS: Final = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionLimits:
    """How many connections there may be.

    Attributes:
        total: At a time.
        each: Of one address, or network of IPv6; None for as many as it likes, as behind a proxy.
    """

    total: int = 2048
    each: int | None = None

    def within_descriptors(self) -> "ConnectionLimits":
        """Return limits that this process can keep, which from now on may have all descriptors that it is allowed."""
        _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
        total = self.total if most == resource.RLIM_INFINITY else min(self.total, most // _PART)
        return ConnectionLimits(total=total, each=self.each)


class GuardedConnection(H11Protocol):
    """A connection with deadlines.

    Args:
        limits: Of the number of connections.
        closed: Tells of connections that were closed.
        uvicorn: What uvicorn gives its protocols.
    """

    def __init__(self, *, limits: ConnectionLimits, closed: FailureLog, **uvicorn: Any) -> None:
        super().__init__(**uvicorn)
        self._limits = limits
        self._closed = closed
        self._headers_due: asyncio.TimerHandle | None = None
        self._reading_due: asyncio.TimerHandle | None = None
        self._unread = 0
        self.quiet_since = 0.0
        self.network = ""

    @property
    def busy(self) -> bool:
        """Whether a request is being answered."""
        return self.cycle is not None and not self.cycle.response_complete

    @property
    def waits(self) -> bool:
        """Whether nothing goes on before its client sends, or reads, more; since `quiet_since`."""
        return not self.busy or self.cycle.more_body or self._reading_due is not None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """See `asyncio.Protocol`."""
        super().connection_made(transport)
        self.network = network_of(self.client[0]) if self.client else ""
        self._expect_headers()
        self._make_room()

    def connection_lost(self, exc: Exception | None) -> None:
        """See `asyncio.Protocol`."""
        self._stop_expecting()
        self._forget_reader()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """See `asyncio.Protocol`."""
        super().data_received(data)
        if self.busy:
            self.quiet_since = self.loop.time()
            self._stop_expecting()
        elif self._headers_due is None and not self.transport.is_closing():
            self._expect_headers()

    def on_response_complete(self) -> None:
        """See `H11Protocol`: it begins with the next request, if that is here already."""
        unread = self.cycle.more_body
        super().on_response_complete()
        self.quiet_since = self.loop.time()
        if unread and self._headers_due is None:
            self._headers_due = self.loop.call_later(LINGER_SECONDS, self.transport.abort)

    def pause_writing(self) -> None:
        """See `asyncio.Protocol`: the client reads slower than it is answered."""
        super().pause_writing()
        self.quiet_since = self.loop.time()
        self._unread = self.transport.get_write_buffer_size()
        self._reading_due = self.loop.call_later(LOOK_SECONDS, self._look_at_reader)

    def resume_writing(self) -> None:
        """See `asyncio.Protocol`."""
        self._forget_reader()
        super().resume_writing()

    def _expect_headers(self) -> None:
        self.quiet_since = self.loop.time()
        why = f"the headers of a request did not come within {HEADERS_SECONDS:g} s"
        self._headers_due = self.loop.call_later(HEADERS_SECONDS, self._close, why)

    def _stop_expecting(self) -> None:
        if self._headers_due is not None:
            self._headers_due.cancel()
            self._headers_due = None

    def _look_at_reader(self) -> None:
        unread = self.transport.get_write_buffer_size()
        if self._unread - unread < LEAST_RATE * LOOK_SECONDS:
            self._close(f"an answer was read at less than {LEAST_RATE} bytes a second")
            return
        self._unread = unread
        self._reading_due = self.loop.call_later(LOOK_SECONDS, self._look_at_reader)

    def _forget_reader(self) -> None:
        if self._reading_due is not None:
            self._reading_due.cancel()
            self._reading_due = None

    def _make_room(self) -> None:
        if self._limits.each is None and len(self.connections) <= self._limits.total:
            return
        others = [other for other in self.connections if isinstance(other, GuardedConnection) and other is not self]
        held = Counter(other.network for other in others)
        if self._limits.each is not None and held[self.network] >= self._limits.each:
            self._close("its address has too many (QRS_MAX_CONNECTIONS_EACH)")
            return
        if len(others) >= self._limits.total:
            most = self._limits.total // _CROWD

            def order(other: GuardedConnection) -> tuple[bool, bool, float]:
                return held[other.network] <= most, other.busy, other.quiet_since

            longest = min((other for other in others if other.waits), key=order, default=self)
            longest._close("there are too many, and its client did nothing (QRS_MAX_CONNECTIONS)")

    def _close(self, why: str) -> None:
        self._closed.failed(f"A connection was closed: {why}.")
        # What is buffered is dropped; `close` would wait for it to be read.
        self.transport.abort()
        self.connections.discard(self)
