"""A server as a process: its socket and its signals, for every role."""

import asyncio
import errno
import gc
import logging
import signal
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from functools import partial
from ipaddress import ip_address
from typing import Any, Final, cast

import uvicorn
from starlette.types import ASGIApp

from qiskit_runtime_server.errors import StartupError
from qiskit_runtime_server.log.failures import FailureLog
from qiskit_runtime_server.roles.connections import ConnectionLimits, GuardedConnection
from qiskit_runtime_server.roles.tls import Certificate, Handshake, Handshakes
from qiskit_runtime_server.trust.pem_files import follow
from qiskit_runtime_server.waiting import KeptTasks

logger = logging.getLogger(__name__)

_GRACE_SECONDS: Final = 5
_BACKLOG: Final = 2048
# Longer than clients and ingresses keep idle connections, so that they never send into one that is being closed.
_KEEP_ALIVE_SECONDS: Final = 75


# In seconds, but for the number of probes; macOS calls the first one otherwise.
_KEEP_ALIVE_PROBES: Final = {"TCP_KEEPIDLE": 60, "TCP_KEEPALIVE": 60, "TCP_KEEPINTVL": 15, "TCP_KEEPCNT": 4}


class _Server(uvicorn.Server):
    """Leaves signals to `serve_app`.

    Uvicorn itself would close its listener first, and nobody could follow the running jobs to their end.
    """

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def listen(host: str, port: int) -> socket.socket:
    """Return a socket that listens there.

    Raises:
        StartupError: If the address cannot be listened on.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listener = socket.create_server((host, port), family=family, backlog=_BACKLOG)
    except OSError as error:
        # Python says the address once more behind the system's words.
        reason = (error.strerror or str(error)).partition(" (while")[0]
        advice = " Another server may be running; --port says another port, 0 any that is free."
        taken = advice if error.errno == errno.EADDRINUSE else ""
        raise StartupError(f"Cannot listen on {host} port {port}: {reason}.{taken}") from error
    # Connections inherit this; with Nagle's algorithm every answer would wait 40 ms for the client's acknowledgement.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    # A peer that has vanished is noticed within two minutes.
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in _KEEP_ALIVE_PROBES.items():
        if hasattr(socket, option):
            listener.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)
    return listener


async def serve_app(  # noqa: PLR0913 - what a process is
    app: ASGIApp,
    listener: socket.socket,
    *,
    limits: ConnectionLimits,
    certificate: Certificate | None = None,
    trusted_proxies: Sequence[str] = (),
    announce: Callable[[str], None],
    drain: Callable[[], Coroutine[Any, Any, None]],
    close: Callable[[], Awaitable[None]],
) -> None:
    """Serve until SIGTERM or Ctrl-C, then drain, listening all the while, until that is done or a second signal comes.

    Args:
        app: An ASGI application; its lifespan is the caller's business.
        listener: From `listen`.
        limits: Of the number of its connections.
        certificate: For TLS; without one it serves plain HTTP.
        trusted_proxies: Addresses and networks whose `X-Forwarded-For` is believed.
        announce: Told the URL.
        drain: Brings what runs to an end.
        close: Called after that, so that no request is waited for in vain.
    """
    signals: asyncio.Queue[signal.Signals] = asyncio.Queue()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, signals.put_nowait, number)
    server = _server(app, limits, certificate, trusted_proxies)
    # What has been imported and built stays. To look through its 200,000 objects once more, as Python does when some
    # 50,000 others are kept, holds up every request for a tenth of a second.
    gc.freeze()
    announce(_url(listener, "https" if certificate else "http"))
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    kept = KeptTasks()
    if certificate is not None:
        kept.begin(follow(certificate.read_again))
    await _either(asyncio.shield(serving), signals.get())
    await _either(drain(), signals.get())
    await close()
    server.should_exit = True
    await serving
    await kept.cancel()


@asynccontextmanager
async def serve_beside(app: ASGIApp, host: str, port: int | None) -> AsyncIterator[str | None]:
    """Serve another application in the same process for as long as the context lasts, and yield its URL.

    Args:
        app: An ASGI application without a lifespan.
        host: Address to listen on.
        port: None to serve nothing.

    Raises:
        StartupError: If the address cannot be listened on.
    """
    if port is None:
        yield None
        return
    server = _server(app, ConnectionLimits())
    with listen(host, port) as listener:
        serving = asyncio.create_task(server.serve(sockets=[listener]))
        try:
            yield _url(listener)
        finally:
            server.should_exit = True
            await serving


def is_loopback(host: str) -> bool:
    """Return whether only this machine reaches `host`."""
    with suppress(ValueError):
        return ip_address(host).is_loopback
    return host == "localhost"


async def _either(*awaitables: "asyncio.Future[None] | Coroutine[Any, Any, object]") -> None:
    """Wait for the first, cancel the others, and raise what it raised."""
    tasks = [asyncio.ensure_future(awaitable) for awaitable in awaitables]
    done, pending = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in pending:
        task.cancel()
    await asyncio.gather(*pending, return_exceptions=True)
    for task in done:
        task.result()


def _server(
    app: ASGIApp,
    limits: ConnectionLimits,
    certificate: Certificate | None = None,
    trusted_proxies: Sequence[str] = (),
) -> _Server:
    within, closed = limits.within_descriptors(), FailureLog(logger)
    protocol: Callable[..., asyncio.Protocol] = partial(GuardedConnection, limits=within, closed=closed)
    if certificate is not None:
        protocol = partial(Handshake, Handshakes(certificate, within.total, closed), protocol)
    config = uvicorn.Config(
        app,
        http=cast("type[asyncio.Protocol]", protocol),  # what makes one is called like the class
        lifespan="off",
        # The loop accepts as many in one go, before the first of them can be closed for another.
        backlog=min(_BACKLOG, within.total),
        log_config=None,
        access_log=False,
        # Uvicorn would believe whoever is on loopback, and read a variable of its own.
        proxy_headers=bool(trusted_proxies),
        forwarded_allow_ips=list(trusted_proxies),
        timeout_keep_alive=_KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=_GRACE_SECONDS,
    )
    return _Server(config)


def _url(listener: socket.socket, scheme: str = "http") -> str:
    host, port = listener.getsockname()[:2]
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"
