"""What an api serves on its internal port, for the cluster around it and never on an ingress."""

import logging
from collections.abc import Mapping
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any

from prometheus_client import CollectorRegistry
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from qiskit_runtime_server.api.metrics import QueueGauges
from qiskit_runtime_server.api.services import Services
from qiskit_runtime_server.backends.names import ExecutorName
from qiskit_runtime_server.dispatch.pools import Pool
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
        gauges.show(services.pools, loads, datetime.now(UTC))
        gauges.show_held(services.budget.held + services.answers.held)

    async def load(request: Request) -> Response:
        if not keys.accept(request.headers.get("authorization", "")):
            return JSONResponse({"error": "The load key is missing or wrong."}, HTTPStatus.UNAUTHORIZED)
        try:
            loads = await services.store.counts.load()
        except StoreUnavailableError as error:
            return JSONResponse({"error": str(error)}, HTTPStatus.SERVICE_UNAVAILABLE)
        executors = load_document(services.pools, loads, datetime.now(UTC))
        return JSONResponse({"backends": len(services.catalog.names()) * len(executors), "executors": executors})

    return Starlette(routes=[Route("/internal/load", load), metrics_route(registry, refresh)])


def load_document(
    pools: Mapping[ExecutorName, Pool], loads: Mapping[ExecutorName, Load], now: datetime
) -> dict[str, dict[str, Any]]:
    """Return how busy each executor of this api is, for the operator and for autoscalers; a contract with both."""
    return {
        name: {
            "queued": (load := loads.get(name, Load())).queued,
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
        for name, pool in pools.items()
    }
