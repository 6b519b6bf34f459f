"""Makes the server an ASGI application."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from importlib.metadata import version
from itertools import product
from typing import TYPE_CHECKING, Any, Final

from fastapi import FastAPI

from qiskit_runtime_server.api import errors, pages
from qiskit_runtime_server.api.answers import RoomForAnswers
from qiskit_runtime_server.api.metrics import CountedRequests, HttpMetrics
from qiskit_runtime_server.api.routes import (
    admin,
    analytics,
    backends,
    caller,
    chaos,
    health,
    instances,
    jobs,
    loads,
    platform,
    sessions,
    teaching,
    views,
    workloads,
)
from qiskit_runtime_server.api.services import describe_account_tokens
from qiskit_runtime_server.api.traces import TracedRequests, telemetry
from qiskit_runtime_server.console import console
from qiskit_runtime_server.dispatch.metrics import JobMetrics
from qiskit_runtime_server.log.open_spans import open_spans
from qiskit_runtime_server.metrics import new_registry
from qiskit_runtime_server.roles.services import run_services
from qiskit_runtime_server.settings import Settings

if TYPE_CHECKING:
    from qiskit_runtime_server.executors.base import BaseExecutor

# Clients take a URL with "experimental" in it verbatim; the others are for `url_resolver` and for people. The channel
# `ibm_cloud` of clients up to 0.43 has none.
PREFIXES: Final = ("/api/v1", "/experimental/api/v1", "/v1", "")

# Not put together to one router first: the framework matches a request anew at each level of routers. It tries one
# route after the other, under all prefixes, so what clients ask for with each job comes first.
_OFTEN: Final = (jobs.router, backends.router, instances.router)
_SELDOM: Final = (
    instances.versions,
    *(module.router for module in (loads, views, sessions, workloads, analytics, caller, chaos, teaching, admin)),
)


class _App(FastAPI):
    """The framework's application, whose OpenAPI document says all ways to sign in."""

    def openapi(self) -> dict[str, Any]:
        """See `FastAPI.openapi`."""
        if self.openapi_schema is None:
            describe_account_tokens(super().openapi())
        return super().openapi()


def create_app(executors: "Mapping[str, BaseExecutor] | None" = None, settings: Settings | None = None) -> FastAPI:
    """Return the server as an ASGI application.

    Args:
        executors: Executors by the name that backends get behind the `@`; sent to worker processes by
            pickle. By default the installed ones that `settings.executors` names.
        settings: By default what the environment says.
    """
    settings = settings or Settings.load()
    registry = new_registry()
    metrics = JobMetrics(registry)
    spans = open_spans("qiskit-runtime-server")

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        _build_routes(app)
        try:
            async with run_services(settings, metrics, executors, spans) as app.state.services:
                yield
        finally:
            await asyncio.to_thread(spans.close)

    # The framework's own pages load scripts from elsewhere.
    app = _App(
        telemetry=telemetry(spans),
        title="Qiskit Runtime Server",
        version=version("qiskit-runtime-server"),
        lifespan=lifespan,
        openapi_url="/openapi.json" if settings.api_docs else None,
        docs_url=None,
        redoc_url=None,
    )
    app.state.registry = registry
    app.add_middleware(RoomForAnswers)
    app.add_middleware(CountedRequests, metrics=HttpMetrics(registry))
    app.add_middleware(TracedRequests, spans=spans)
    errors.install(app)
    for prefix, router in (*product(PREFIXES, _OFTEN), *product(PREFIXES, _SELDOM)):
        app.include_router(router, prefix=prefix, include_in_schema=prefix == PREFIXES[0])
    app.include_router(health.router)
    app.include_router(platform.router)
    app.include_router(pages.home)
    if settings.console:
        console.install(app)
    if settings.api_docs:
        app.include_router(pages.docs)
    return app


def _build_routes(app: FastAPI) -> None:
    """Have the framework build all routes now: it would at the first request that looks past them, in half a second.

    All others would wait meanwhile, and an api would be slow at once after it was ready.
    """
    nowhere = {"type": "http", "method": "GET", "path": "/", "root_path": "", "headers": []}
    for route in app.routes:
        route.matches(nowhere)
