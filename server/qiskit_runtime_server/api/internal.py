"""What an api serves on its internal port, for the cluster around it and never on an ingress."""

import logging
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import Any

from prometheus_client import CollectorRegistry
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from qiskit_runtime_server.api.metrics import QueueGauges
from qiskit_runtime_server.api.services import Services
from qiskit_runtime_server.backends.names import AUTO, ExecutorName
from qiskit_runtime_server.errors import StoreUnavailableError
from qiskit_runtime_server.metrics import metrics_route
from qiskit_runtime_server.store.port import Load
from qiskit_runtime_server.trust.shared_keys import SharedKeys

logger = logging.getLogger(__name__)


def internal_app(services: Services, registry: CollectorRegistry) -> Starlette:
    """Return the application of the internal port; to be called once for each registry."""
    gauges = QueueGauges(registry)
    keys = SharedKeys(services.settings.load_key, services.settings.load_key_also)

    async def refresh() -> None:
        loads: Mapping[ExecutorName, Load] | None = None
        try:
            loads = await services.store.counts.load()
        except StoreUnavailableError as error:
            logger.warning("The metrics of the queue are left out, as the store cannot be read: %s", error)
        gauges.show(services.targets, loads, datetime.now(UTC))
        gauges.show_held(services.budget.held + services.answers.held)

    async def load(request: Request) -> Response:
        if not keys.accept(request.headers.get("authorization", "")):
            return JSONResponse({"error": "The load key is missing or wrong."}, HTTPStatus.UNAUTHORIZED)
        try:
            loads = await services.store.counts.load()
        except StoreUnavailableError as error:
            return JSONResponse({"error": str(error)}, HTTPStatus.SERVICE_UNAVAILABLE)
        executors = load_document(services, with_unrouted(services, loads), datetime.now(UTC))
        backends = len(services.catalog.names()) * len(services.targets)
        return JSONResponse({"backends": backends, "executors": executors})

    return Starlette(routes=[Route("/internal/load", load), metrics_route(registry, refresh)])


def with_unrouted(services: Services, loads: Mapping[ExecutorName, Load]) -> Mapping[ExecutorName, Load]:
    """Return the loads with what waits for a choice among executors added to one of them, so that one alone starts.

    That is the preferred one of those that are up or, if none is, of those that something starts for jobs.
    """
    waiting = loads.get(AUTO)
    if services.auto is None or waiting is None or not waiting.queued:
        return loads
    pools = services.auto.pools
    up = [name for name, pool in pools.items() if pool.size]
    name = next(iter([*up, *filter(services.auto.starts, pools), *pools]))
    own = loads.get(name, Load())
    oldest = min(filter(None, (own.oldest_queued, waiting.oldest_queued)), default=None)
    queued, startable = own.queued + waiting.queued, own.startable + waiting.startable
    return {**loads, name: replace(own, queued=queued, startable=startable, oldest_queued=oldest)}


def load_document(services: Services, loads: Mapping[ExecutorName, Load], now: datetime) -> dict[str, dict[str, Any]]:
    """Return how busy each executor of this api is, for the operator and for autoscalers; a contract with both.

    While a long job waits, the slot that is kept for short ones comes on top of what fills slots.
    """
    keeps = services.settings.short_job > timedelta(0)
    return {
        name: {
            "queued": (load := loads.get(name, Load())).queued,
            "startable": 0 if load.draining else load.startable + (keeps and load.long_waits),
            "running": load.running,
            "slots": pool.size,
            "oldest_waiting_seconds": load.waiting_seconds(now),
            "draining": load.draining,
            "pods": {
                address: occupancy.slots - occupancy.idle
                for address, occupancy in pool.endpoints().items()
                if not occupancy.draining
            },
        }
        for name, pool in services.pools.items()
    }
