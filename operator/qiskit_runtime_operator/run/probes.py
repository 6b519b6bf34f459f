"""What the kubelet and Prometheus ask the operator."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest

Handler = Callable[[web.Request], Awaitable[web.Response]]
Check = Callable[[], list[str]]
"""Returns what is wrong, a line for each thing."""


@asynccontextmanager
async def probes(port: int, *, live: Check, ready: Check) -> AsyncIterator[None]:
    """Serve `/healthz` and `/readyz`: 200, or 503 with what is wrong."""
    async with _serving(port, {"/healthz": _checked(live), "/readyz": _checked(ready)}):
        yield


@asynccontextmanager
async def metrics(port: int, registry: CollectorRegistry) -> AsyncIterator[None]:
    """Serve `/metrics`."""

    async def scrape(_: web.Request) -> web.Response:
        return web.Response(body=generate_latest(registry), headers={"Content-Type": CONTENT_TYPE_LATEST})

    async with _serving(port, {"/metrics": scrape}):
        yield


def _checked(check: Check) -> Handler:
    async def answer(_: web.Request) -> web.Response:
        problems = check()
        return web.Response(status=503 if problems else 200, text="".join(f"{line}\n" for line in problems or ["ok"]))

    return answer


@asynccontextmanager
async def _serving(port: int, routes: dict[str, Handler]) -> AsyncIterator[None]:
    app = web.Application()
    app.add_routes([web.get(path, handler) for path, handler in routes.items()])
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, port=port).start()
        yield
    finally:
        await runner.cleanup()
