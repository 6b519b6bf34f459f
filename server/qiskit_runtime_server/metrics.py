"""What a process tells Prometheus: one registry for each process, made by its composition root."""

from collections.abc import Awaitable, Callable
from importlib.metadata import version
from typing import Final

from prometheus_client import CollectorRegistry, GCCollector, Info, ProcessCollector, disable_created_metrics
from prometheus_client.exposition import choose_encoder
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

# From the overhead of the server to the longest job.
SECONDS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3600, 10800)
"""The upper bounds of the buckets of histograms of seconds."""


def new_registry() -> CollectorRegistry:
    """Return a registry that tells the release, and the memory, the CPU time and the open files of the process."""
    # Each counter and histogram would have a second series that says when it was made.
    disable_created_metrics()  # type: ignore[no-untyped-call]  # it has no annotations
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    GCCollector(registry=registry)
    Info("qrs_build", "Release of this process.", registry=registry).info({"version": version("qiskit-runtime-server")})
    return registry


def metrics_route(registry: CollectorRegistry, refresh: Callable[[], Awaitable[None]]) -> Route:
    """Return `GET /metrics`, which brings the gauges up to date by `refresh` before it answers."""

    async def metrics(request: Request) -> Response:
        await refresh()
        encode, content_type = choose_encoder(request.headers.get("accept", ""))
        return Response(encode(registry), headers={"content-type": content_type})

    return Route("/metrics", metrics)
