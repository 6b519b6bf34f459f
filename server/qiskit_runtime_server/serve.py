"""The all-in-one server as a process: its socket, its banner, its signals."""

import asyncio
import signal
import socket
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from typing import Any

import uvicorn
from rich.console import Console

from qiskit_runtime_server.api.services import Services
from qiskit_runtime_server.app import create_app
from qiskit_runtime_server.errors import StartupError
from qiskit_runtime_server.settings import Settings

_GRACE_SECONDS = 5
_BACKLOG = 2048


class _Server(uvicorn.Server):
    """Leaves signals to `serve`.

    Uvicorn itself would close its listener first, and nobody could follow the running jobs to their end.
    """

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


async def serve(settings: Settings) -> None:
    """Serve until SIGTERM or Ctrl-C.

    Running jobs may then go on for `settings.drain`, or until a second signal, while clients can still ask for them.

    Raises:
        StartupError: If the server cannot start.
    """
    app = create_app(settings=settings)
    signals: asyncio.Queue[signal.Signals] = asyncio.Queue()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, signals.put_nowait, number)
    with _listener(settings) as listener:
        async with app.router.lifespan_context(app):
            services: Services = app.state.services
            _print_banner(services, listener)
            server = _Server(
                uvicorn.Config(
                    app, lifespan="off", log_config=None, access_log=False, timeout_graceful_shutdown=_GRACE_SECONDS
                )
            )
            serving = asyncio.create_task(server.serve(sockets=[listener]))
            await _either(asyncio.shield(serving), signals.get())
            await _either(services.dispatcher.drain(settings.drain), signals.get())
            services.endings.close()
            server.should_exit = True
            await serving


async def _either(*awaitables: "asyncio.Future[None] | Coroutine[Any, Any, object]") -> None:
    """Wait for the first, cancel the others, and raise what it raised."""
    tasks = [asyncio.ensure_future(awaitable) for awaitable in awaitables]
    done, pending = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in pending:
        task.cancel()
    await asyncio.gather(*pending, return_exceptions=True)
    for task in done:
        task.result()


def _listener(settings: Settings) -> socket.socket:
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    try:
        listener = socket.create_server((settings.host, settings.port), family=family, backlog=_BACKLOG)
    except OSError as error:
        raise StartupError(
            f"Cannot listen on {settings.host} port {settings.port}: {error.strerror or error}."
        ) from error
    # Connections inherit this; with Nagle's algorithm every answer would wait 40 ms for the client's acknowledgement.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener


def _print_banner(services: Services, listener: socket.socket) -> None:
    host, port = listener.getsockname()[:2]
    url = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
    settings = services.settings
    slots = ", ".join(f"{name} ({pool.size} slot{'s' * (pool.size != 1)})" for name, pool in services.pools.items())
    console = Console(highlight=False, soft_wrap=True)
    console.print("[bold]Qiskit Runtime Server[/bold]")
    console.print(f"  executors  {slots}")
    console.print(f"  devices    {len(services.catalog.names())}, as NAME@EXECUTOR")
    console.print(f"  data       {settings.data_dir}")
    console.print(f"  accounts   {settings.tokens or 'anonymous: any token will do'}")
    console.print(f'  connect    eval "$(qiskit-runtime-server connect {url})"')
    console.print(f"Listening on {url}")
