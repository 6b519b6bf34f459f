"""Puts the server together: everything in one process, simulation in child processes."""

import logging
import os
import secrets
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from importlib.metadata import version
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING

from fastapi import APIRouter, FastAPI

from qiskit_runtime_server.accounts import AccessTokens, Anonymous, Directory, TokenFolder
from qiskit_runtime_server.api import errors
from qiskit_runtime_server.api.routes import backends, health, jobs, platform, sessions, usage
from qiskit_runtime_server.api.services import Services
from qiskit_runtime_server.backends.catalog import Catalog
from qiskit_runtime_server.backends.names import ExecutorName
from qiskit_runtime_server.dispatch.dispatcher import Dispatcher
from qiskit_runtime_server.dispatch.endings import Endings
from qiskit_runtime_server.errors import StartupError
from qiskit_runtime_server.settings import Settings
from qiskit_runtime_server.store.sql import open_sqlite
from qiskit_runtime_server.worker.child import WorkerSpec
from qiskit_runtime_server.worker.memory import usable_bytes, usable_cores
from qiskit_runtime_server.worker.slots import Slots, all_or_none

if TYPE_CHECKING:
    from qiskit_runtime_server.executors.base import BaseExecutor

# Clients take a URL with "experimental" in it verbatim; the others are for `url_resolver` and for people.
PREFIXES = ("/api/v1", "/experimental/api/v1", "/v1")

_CORES_PER_SLOT = 4

logger = logging.getLogger(__name__)


def create_app(executors: "Mapping[str, BaseExecutor] | None" = None, settings: Settings | None = None) -> FastAPI:
    """Return the server as an ASGI application.

    Args:
        executors: Executors by the name that backends get behind the `@`; sent to worker processes by
            pickle. By default the installed ones that `settings.executors` names.
        settings: By default what the environment says.
    """
    settings = settings or Settings()

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with run_services(settings, executors) as app.state.services:
            yield

    app = FastAPI(title="Qiskit Runtime Server", version=version("qiskit-runtime-server"), lifespan=lifespan)
    errors.install(app)
    runtime = APIRouter()
    for module in (backends, jobs, sessions, usage):
        runtime.include_router(module.router)
    for prefix in PREFIXES:
        app.include_router(runtime, prefix=prefix, include_in_schema=prefix == PREFIXES[0])
    app.include_router(health.router)
    app.include_router(platform.router)
    return app


@asynccontextmanager
async def run_services(
    settings: Settings, executors: "Mapping[str, BaseExecutor] | None" = None
) -> AsyncIterator[Services]:
    """Start everything behind the API, and stop it at the end: jobs that still run then go back to the queue.

    Raises:
        StartupError: If a part does not come up.
    """
    directory = _directory(settings)
    pools = _pools(settings, executors)
    store = await open_sqlite(settings.data_dir)
    try:
        await all_or_none(pool.start() for pool in pools.values())
        endings = Endings()
        dispatcher = Dispatcher(store, pools, endings, lease=settings.lease)
        dispatcher.start()
        yield Services(
            settings=settings,
            access_tokens=AccessTokens(directory, _signing_key(settings), settings.access_token_lifetime),
            catalog=Catalog(snapshots=settings.snapshots, include=settings.backends),
            pools=pools,
            store=store,
            dispatcher=dispatcher,
            endings=endings,
        )
        endings.close()
        await dispatcher.drain(timedelta(0))
    finally:
        for pool in pools.values():
            await pool.stop()
        await store.close()


def _directory(settings: Settings) -> Directory:
    if settings.tokens is not None:
        if not settings.tokens.is_dir():
            raise StartupError(f"The token folder {settings.tokens} does not exist.")
        return TokenFolder(settings.tokens)
    if settings.anonymous or _is_loopback(settings.host):
        return Anonymous()
    raise StartupError(
        f"Anybody who reaches {settings.host} could use this server: give a token folder (--tokens DIR)"
        " or say --anonymous."
    )


def _is_loopback(host: str) -> bool:
    with suppress(ValueError):
        return ip_address(host).is_loopback
    return host == "localhost"


def _pools(settings: Settings, executors: "Mapping[str, BaseExecutor] | None") -> dict[ExecutorName, Slots]:
    """Return the slots of every executor; they share the machine's cores and memory evenly."""
    sizes = dict(_named_size(word) for word in settings.executors)
    sources: Mapping[str, str | BaseExecutor] = executors or {name: name for name in sizes}
    total = sum(sizes.get(name) or _default_slots() for name in sources)
    memory = (settings.memory_bytes or usable_bytes()) // total
    threads = max(1, usable_cores() // total)
    pools = {}
    for name, source in sources.items():
        spec = WorkerSpec(executor=source, memory_bytes=memory, threads=threads, snapshots=settings.snapshots)
        pools[ExecutorName(name)] = Slots(spec, sizes.get(name) or _default_slots())
    return pools


def _named_size(word: str) -> tuple[str, int | None]:
    """Read `NAME` or `NAME=SLOTS`."""
    name, separator, size = word.partition("=")
    if separator and not (size.isdecimal() and int(size) > 0):
        raise StartupError(f"Executor {word!r}: the number of slots is a positive integer, as in {name}=2.")
    return name, int(size) if separator else None


def _default_slots() -> int:
    return max(1, usable_cores() // _CORES_PER_SLOT)


def _signing_key(settings: Settings) -> str:
    if settings.signing_key is not None:
        return settings.signing_key.get_secret_value()
    path = settings.data_dir / "signing.key"
    with suppress(FileExistsError), os.fdopen(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "w") as file:
        file.write(secrets.token_urlsafe(48))
    return Path(path).read_text().strip()
