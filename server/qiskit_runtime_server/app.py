"""Puts the front of the server together; executors are slots in child processes, or services elsewhere."""

import asyncio
import logging
import secrets
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from datetime import timedelta
from functools import partial
from importlib.metadata import version
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from fastapi import APIRouter, FastAPI
from rich.console import Console

from qiskit_runtime_server.accounts.identity import AccessTokens, Anonymous, Directory
from qiskit_runtime_server.accounts.token_folder import TokenFolder
from qiskit_runtime_server.api import errors
from qiskit_runtime_server.api.internal import internal_app
from qiskit_runtime_server.api.metrics import CountedRequests, HttpMetrics
from qiskit_runtime_server.api.routes import admin, backends, health, jobs, platform, sessions, usage
from qiskit_runtime_server.api.services import Services
from qiskit_runtime_server.backends.catalog import Catalog
from qiskit_runtime_server.backends.names import ExecutorName
from qiskit_runtime_server.byte_budget import ByteBudget
from qiskit_runtime_server.dispatch.dispatcher import Dispatcher
from qiskit_runtime_server.dispatch.endings import Endings
from qiskit_runtime_server.dispatch.metrics import JobMetrics
from qiskit_runtime_server.dispatch.pools import Pool
from qiskit_runtime_server.dispatch.remote import RemotePool
from qiskit_runtime_server.dispatch.sweeper import Sweeper
from qiskit_runtime_server.errors import StartupError
from qiskit_runtime_server.machine import default_slots, usable_bytes, usable_cores
from qiskit_runtime_server.metrics import new_registry
from qiskit_runtime_server.serve import is_loopback, listen, serve_app, serve_beside
from qiskit_runtime_server.settings import Settings
from qiskit_runtime_server.store.port import Retention, Store
from qiskit_runtime_server.store.sql.store import open_sqlite
from qiskit_runtime_server.worker.child import WorkerSpec
from qiskit_runtime_server.worker.slots import Slots, all_or_none

if TYPE_CHECKING:
    from qiskit_runtime_server.executors.base import BaseExecutor

# Clients take a URL with "experimental" in it verbatim; the others are for `url_resolver` and for people.
PREFIXES = ("/api/v1", "/experimental/api/v1", "/v1")

# Clients poll every half second; whoever waited for a job that ended in the drain fetches its result within this.
_FAREWELL_SECONDS = 2.0

logger = logging.getLogger(__name__)


def create_app(executors: "Mapping[str, BaseExecutor] | None" = None, settings: Settings | None = None) -> FastAPI:
    """Return the server as an ASGI application.

    Args:
        executors: Executors by the name that backends get behind the `@`; sent to worker processes by
            pickle. By default the installed ones that `settings.executors` names.
        settings: By default what the environment says.
    """
    settings = settings or Settings()
    registry = new_registry()
    measures = JobMetrics(registry)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with run_services(settings, measures, executors) as app.state.services:
            yield

    app = FastAPI(title="Qiskit Runtime Server", version=version("qiskit-runtime-server"), lifespan=lifespan)
    app.state.registry = registry
    app.add_middleware(CountedRequests, measures=HttpMetrics(registry))
    errors.install(app)
    runtime = APIRouter()
    for module in (backends, jobs, sessions, usage, admin):
        runtime.include_router(module.router)
    for prefix in PREFIXES:
        app.include_router(runtime, prefix=prefix, include_in_schema=prefix == PREFIXES[0])
    app.include_router(health.router)
    app.include_router(platform.router)
    return app


async def serve(settings: Settings) -> None:
    """Serve until SIGTERM or Ctrl-C.

    Running jobs may then go on for `settings.drain`, or until a second signal, while clients can still ask for them.

    Raises:
        StartupError: If the server cannot start.
    """
    app = create_app(settings=settings)
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

            await serve_app(
                app,
                listener,
                announce=partial(_print_banner, services, internal_url),
                drain=drain,
                close=close,
            )


async def serve_api(settings: Settings) -> None:
    """Serve as above, but with executor services only: nothing is simulated here.

    Raises:
        StartupError: If the server cannot start.
    """
    local = [word for word in settings.executors if "://" not in word]
    if local:
        raise StartupError(f"An api has no slots of its own: give --executor {local[0]}=http://HOST:PORT.")
    await serve(settings)


def _print_banner(services: Services, internal_url: str | None, url: str) -> None:
    settings = services.settings
    slots = ", ".join(f"{name} ({_description(pool)})" for name, pool in services.pools.items())
    console = Console(highlight=False, soft_wrap=True)
    console.print("[bold]Qiskit Runtime Server[/bold]")
    console.print(f"  executors  {slots}")
    console.print(f"  devices    {len(services.catalog.names())}, as NAME@EXECUTOR")
    console.print(f"  data       {services.store}")
    console.print(f"  accounts   {settings.tokens or 'anonymous: any token will do'}")
    console.print(f'  connect    eval "$(qiskit-runtime-server connect {url})"')
    if internal_url is not None:
        console.print(f"  internal   {internal_url}/metrics, {internal_url}/internal/load")
    console.print(f"Listening on {url}")


def _description(pool: Pool) -> str:
    return str(pool) if isinstance(pool, RemotePool) else f"{pool.size} slot{'s' * (pool.size != 1)}"


@asynccontextmanager
async def run_services(
    settings: Settings, measures: JobMetrics, executors: "Mapping[str, BaseExecutor] | None" = None
) -> AsyncIterator[Services]:
    """Start everything behind the API, and stop it at the end: jobs that still run then go back to the queue.

    Raises:
        StartupError: If a part does not come up.
    """
    directory = _directory(settings)
    transit = ByteBudget(settings.max_transit_bytes)
    pools = _pools(settings, executors, transit)
    measures.expect(pools)
    store = await _open_store(settings)
    try:
        await all_or_none(pool.start() for pool in pools.values())
        endings = Endings()
        following = asyncio.create_task(endings.follow(store.signals))
        dispatcher = Dispatcher(store, pools, measures, transit, lease=settings.lease)
        dispatcher.start()
        sweeping = asyncio.create_task(_sweeper(settings, store, measures).run())
        services = Services(
            settings=settings,
            access_tokens=AccessTokens(directory, _signing_key(settings), settings.access_token_lifetime),
            catalog=Catalog(snapshots=settings.snapshots, include=settings.backends),
            pools=pools,
            store=store,
            dispatcher=dispatcher,
            endings=endings,
            measures=measures,
            transit=transit,
        )
        try:
            yield services
        finally:
            endings.close()
            sweeping.cancel()
            await dispatcher.drain(timedelta(0))
            following.cancel()
    finally:
        for pool in pools.values():
            await pool.stop()
        await store.close()


def _sweeper(settings: Settings, store: Store, measures: JobMetrics) -> Sweeper:
    retention = Retention(age=settings.retain_for, jobs=settings.retain_jobs, stored_bytes=settings.retain_bytes)
    return Sweeper(store.archive, retention, measures, every=settings.sweep_every)


async def _open_store(settings: Settings) -> Store:
    if settings.database_url is None:
        return await open_sqlite(settings.data_dir, wait=settings.data_dir_wait)
    if settings.signing_key is None:
        raise StartupError("Servers that share a database must sign alike: set QRS_SIGNING_KEY, the same for all.")
    from qiskit_runtime_server.store.postgresql.database import open_postgresql  # noqa: PLC0415 - SQLite does without asyncpg

    direct_url = settings.database_direct_url
    return await open_postgresql(
        settings.database_url.get_secret_value(),
        direct_url=None if direct_url is None else direct_url.get_secret_value(),
        prepared_statements=settings.database_prepared_statements,
    )


def _directory(settings: Settings) -> Directory:
    if settings.tokens is not None:
        if not settings.tokens.is_dir():
            raise StartupError(f"The token folder {settings.tokens} does not exist.")
        return TokenFolder(settings.tokens)
    if settings.anonymous or is_loopback(settings.host):
        return Anonymous()
    raise StartupError(
        f"Anybody who reaches {settings.host} could use this server: give a token folder (--tokens DIR)"
        " or say --anonymous."
    )


def _pools(
    settings: Settings, executors: "Mapping[str, BaseExecutor] | None", transit: ByteBudget
) -> dict[ExecutorName, Slots | RemotePool]:
    """Return a pool for every executor."""
    local = [word for word in settings.executors if "://" not in word]
    remote = [word for word in settings.executors if "://" in word]
    pools: dict[ExecutorName, Slots | RemotePool] = dict(_remote_pools(settings, remote, transit))
    if executors or local:
        slots = _local_pools(settings, local, executors, transit)
        if both := pools.keys() & slots.keys():
            raise StartupError(
                f"Executor {min(both)!r} is given as slots and as a service: name one of them otherwise."
            )
        pools |= slots
    return pools


def _remote_pools(settings: Settings, words: Sequence[str], transit: ByteBudget) -> dict[ExecutorName, RemotePool]:
    urls: dict[ExecutorName, list[str]] = {}
    for word in words:
        name, _, url = word.partition("=")
        if not (name and _is_service(url)):
            raise StartupError(f"Executor {word!r}: a service is given as NAME=http://HOST:PORT.")
        urls.setdefault(ExecutorName(name), []).append(url)
    return {name: RemotePool(name, of_name, settings, transit) for name, of_name in urls.items()}


def _is_service(url: str) -> bool:
    with suppress(ValueError):
        parts = urlsplit(url)
        return parts.scheme == "http" and bool(parts.hostname) and parts.port != 0 and parts.path in {"", "/"}
    return False


def _local_pools(
    settings: Settings,
    words: Sequence[str],
    executors: "Mapping[str, BaseExecutor] | None",
    transit: ByteBudget,
) -> dict[ExecutorName, Slots]:
    """Return the slots of every executor of this process; they share the machine's cores and memory evenly."""
    sizes = dict(_named_size(word) for word in words)
    sources: Mapping[str, str | BaseExecutor] = executors or {name: name for name in sizes}
    total = sum(sizes.get(name) or default_slots() for name in sources)
    memory = (settings.memory_bytes or usable_bytes()) // total
    threads = max(1, usable_cores() // total)
    pools = {}
    for name, source in sources.items():
        spec = WorkerSpec(
            executor=source,
            memory_bytes=memory,
            threads=threads,
            snapshots=settings.snapshots,
            options=settings.executor_options.get(name, {}),
        )
        pools[ExecutorName(name)] = Slots(spec, sizes.get(name) or default_slots(), transit)
    return pools


def _named_size(word: str) -> tuple[str, int | None]:
    """Read `NAME` or `NAME=SLOTS`."""
    name, separator, size = word.partition("=")
    if separator and not (size.isdecimal() and int(size) > 0):
        raise StartupError(f"Executor {word!r}: the number of slots is a positive integer, as in {name}=2.")
    return name, int(size) if separator else None


def _signing_key(settings: Settings) -> str:
    if settings.signing_key is not None:
        return settings.signing_key.get_secret_value()
    path = settings.data_dir / "signing.key"
    if not path.exists():
        # Under its own name only once it is whole; the folder's lock keeps others away.
        draft = path.with_suffix(".new")
        draft.touch(mode=0o600)
        draft.write_text(secrets.token_urlsafe(48))
        draft.replace(path)
    return path.read_text().strip()
