"""Carries signals between replicas over PostgreSQL's LISTEN and NOTIFY, on a connection of its own."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final

import asyncpg

from qiskit_runtime_server.backends.names import ExecutorName
from qiskit_runtime_server.jobs import JobId
from qiskit_runtime_server.store.hub import Hub
from qiskit_runtime_server.store.port import Ended, Queued, Signal
from qiskit_runtime_server.waiting import cancelled

logger = logging.getLogger(__name__)

Connect = Callable[[], Awaitable["asyncpg.Connection[asyncpg.Record]"]]

_CHANNEL: Final = "qiskit_runtime_server"
_SEND: Final = "SELECT pg_notify($1, message) FROM unnest($2::text[]) AS message"
_MAX_PENDING: Final = 10_000
_HEARTBEAT_SECONDS: Final = 15
_ANSWER_SECONDS: Final = 5
_RECONNECT_SECONDS: Final = 0.5


class Notifications:
    """Sends what this process has committed and hands what others have committed to its hub.

    Signals are sent after the commit that they tell of, many at a time: a transaction with a notification holds a lock
    on the whole database while it commits, which halves the number of transactions per second.
    """

    def __init__(self, connect: Connect, hub: Hub) -> None:
        self._connect = connect
        self._hub = hub
        self._pending: dict[str, None] = {}
        self._called = asyncio.Event()
        self._task = asyncio.create_task(self._run())

    def send(self, signal: Signal) -> None:
        """Tell the other replicas, soon."""
        if len(self._pending) < _MAX_PENDING:
            self._pending[_message(signal)] = None
            self._called.set()

    async def close(self) -> None:
        """Send nothing any more and close the connection."""
        await cancelled(self._task)

    async def _run(self) -> None:
        connected = True
        while True:
            try:
                connection = await self._connect()
                try:
                    await connection.add_listener(_CHANNEL, self._receive)
                    connection.add_termination_listener(lambda _: self._called.set())
                    if not connected:
                        logger.info("Notifications of new and ended jobs arrive from other replicas again.")
                    connected = True
                    await self._work(connection)
                finally:
                    connection.terminate()
            except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError) as error:
                if connected:
                    logger.warning(
                        "Notifications from other replicas are off until the database is back, and the store is polled"
                        " instead: %s",
                        error,
                    )
                connected = False
                await asyncio.sleep(_RECONNECT_SECONDS)

    async def _work(self, connection: "asyncpg.Connection[asyncpg.Record]") -> None:
        while True:
            # Not `wait_for`, which in Python 3.11 may lose a cancellation that comes together with the event.
            with suppress(TimeoutError):
                async with asyncio.timeout(_HEARTBEAT_SECONDS):
                    await self._called.wait()
            self._called.clear()
            messages, self._pending = list(self._pending), {}
            # Without messages, this asks whether the other side is still there.
            await connection.execute(_SEND, _CHANNEL, messages, timeout=_ANSWER_SECONDS)

    def _receive(self, connection: object, sender: int, _channel: str, message: object) -> None:
        own = isinstance(connection, asyncpg.Connection) and connection.get_server_pid() == sender
        if not own and (signal := _signal(str(message))) is not None:
            self._hub.announce(signal)


def _message(signal: Signal) -> str:
    match signal:
        case Queued(executor=executor):
            return f"queued {executor}"
        case Ended(job_id=job_id):
            return f"ended {job_id}"


def _signal(message: str) -> Signal | None:
    """Return what a message says; None if it comes from a release that has more to say."""
    kind, _, subject = message.partition(" ")
    match kind:
        case "queued":
            return Queued(executor=ExecutorName(subject), elsewhere=True)
        case "ended":
            return Ended(job_id=JobId(subject))
        case _:
            return None
