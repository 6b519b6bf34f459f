"""The roles `serve` and `api`: a process that answers clients, drains when it is told to stop, and says how it is."""

import asyncio
from contextlib import AsyncExitStack
from functools import partial
from importlib.metadata import version
from typing import Final

from fastapi import FastAPI

from qiskit_runtime_server.api.internal import internal_app
from qiskit_runtime_server.api.services import Services
from qiskit_runtime_server.dispatch.pools import Pool
from qiskit_runtime_server.errors import StartupError
from qiskit_runtime_server.roles.banner import announce, how_to_stop, words_about
from qiskit_runtime_server.roles.connections import ConnectionLimits
from qiskit_runtime_server.roles.hosts import for_known_hosts
from qiskit_runtime_server.roles.process import listen, serve_app, serve_beside
from qiskit_runtime_server.roles.tls import certificate_of
from qiskit_runtime_server.settings import Settings
from qiskit_runtime_server.worker.slots import Slots

# Clients poll every half second; whoever waited for a job that ended in the drain fetches its result within this.
_FAREWELL_SECONDS: Final = 2.0


async def serve(app: FastAPI, settings: Settings) -> None:
    """Serve until SIGTERM or Ctrl-C.

    Running jobs may then go on for `settings.drain`, or until a second signal, while clients can still ask for them.

    Args:
        app: From `create_app`, with these settings.
        settings: Where to listen, and how long to drain.

    Raises:
        StartupError: If the server cannot start.
    """
    certificate = certificate_of(settings)
    with listen(settings.host, settings.port) as listener:
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(app.router.lifespan_context(app))
            services: Services = app.state.services
            internal_url = await stack.enter_async_context(
                serve_beside(internal_app(services, app.state.registry), settings.host, settings.internal_port)
            )

            async def drain() -> None:
                if await services.dispatcher.drain(settings.drain):
                    await asyncio.sleep(_FAREWELL_SECONDS)

            async def close() -> None:
                services.endings.close()

            slots = ", ".join([f"{name} ({await _description(pool)})" for name, pool in services.pools.items()])
            await serve_app(
                for_known_hosts(app, settings),
                listener,
                limits=ConnectionLimits(total=settings.max_connections, each=settings.max_connections_each),
                certificate=certificate,
                trusted_proxies=settings.trusted_proxies,
                announce=partial(_announce, services, slots, internal_url),
                drain=drain,
                close=close,
            )


def demand_services_only(settings: Settings) -> None:
    """Check that nothing would be simulated in this process, as an api has no slots.

    Raises:
        StartupError: If an executor is not given as a service.
    """
    if local := settings.own_executors:
        raise StartupError(f"An api has no slots of its own: give --executors {local[0]}=http://HOST:PORT.")


def _announce(services: Services, slots: str, internal_url: str | None, url: str) -> None:
    settings = services.settings
    about = {
        "executors": slots,
        "devices": f"{len(services.catalog.names())}, as NAME@EXECUTOR",
        "data": str(services.store),
        "accounts": _accounts(services),
        "connect": f'eval "$(qiskit-runtime-server connect {url})"',
        "internal": internal_url and f"{internal_url}/metrics, {internal_url}/internal/load",
        "stop": how_to_stop(settings.drain),
    }
    known = {name: value for name, value in about.items() if value is not None}
    announce("Qiskit Runtime Server", version("qiskit-runtime-server"), known, url)


def _accounts(services: Services) -> str:
    """Return whose tokens are accepted."""
    folder = services.settings.tokens
    known = [*([str(folder)] if folder else []), *(f"those of {name}" for name in services.issuers.names())]
    return ", ".join(known) or "anonymous: any token will do"


async def _description(pool: Pool) -> str:
    return await words_about(pool) if isinstance(pool, Slots) else str(pool)
