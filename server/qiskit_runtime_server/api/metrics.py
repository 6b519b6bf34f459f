"""What an api tells Prometheus about its requests and its queue."""

import time
from collections.abc import Mapping
from datetime import datetime
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from qiskit_runtime_server.backends.names import AUTO, ExecutorName
from qiskit_runtime_server.dispatch.pools import Pool
from qiskit_runtime_server.metrics import SECONDS
from qiskit_runtime_server.store.port import Load

_METHODS: Final = {"DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"}
_BROKEN_OFF: Final = "499"


class HttpMetrics:
    """Counts of the requests that this process has answered; by template, as paths hold ids."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._requests = Counter(
            "qrs_http_requests",
            "Requests by route template and status; 499 where the client left before the answer began.",
            ("method", "route", "status"),
            registry=registry,
        )
        self._seconds = Histogram(
            "qrs_http_request_seconds",
            "Time from a request's head to the last byte of its answer; status calls of young jobs wait on purpose.",
            ("method", "route"),
            buckets=SECONDS,
            registry=registry,
        )

    def answered(self, scope: Scope, status: str, seconds: float) -> None:
        """Count a request that has been routed."""
        method = scope["method"] if scope["method"] in _METHODS else "other"
        route = getattr(scope.get("route"), "path", "unknown")
        self._requests.labels(method, route, status).inc()
        self._seconds.labels(method, route).observe(seconds)


class CountedRequests:
    """Middleware that counts requests."""

    def __init__(self, app: ASGIApp, metrics: HttpMetrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request and count it, also one that breaks off."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        start, status = time.monotonic(), _BROKEN_OFF

        async def note(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = str(message["status"])
            await send(message)

        try:
            await self._app(scope, receive, note)
        finally:
            self._metrics.answered(scope, status, time.monotonic() - start)


class QueueGauges:
    """How busy the executors are: the queue as the store has it, the slots as this process knows them."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._jobs = Gauge(
            "qrs_jobs", "Jobs that are queued or running, in the whole store.", ("executor", "state"), registry=registry
        )
        self._oldest = Gauge(
            "qrs_job_oldest_waiting_seconds", "Age of the oldest queued job.", ("executor",), registry=registry
        )
        self._slots = Gauge(
            "qrs_slots", "Slots of the executors that this api knows.", ("executor",), registry=registry
        )
        self._busy = Gauge(
            "qrs_slots_busy", "Slots that this api believes to be taken.", ("executor",), registry=registry
        )
        self._budget = Gauge(
            "qrs_held_bytes",
            "Params, results and large answers that this process holds in memory now.",
            registry=registry,
        )
        self._up = Gauge("qrs_store_up", "Whether the database answered this scrape: 1 or 0.", registry=registry)

    def show_held(self, held: int) -> None:
        """Show how many bytes are on their way."""
        self._budget.set(held)

    def show(
        self, pools: Mapping[ExecutorName, Pool], loads: Mapping[ExecutorName, Load] | None, now: datetime
    ) -> None:
        """Show what is known now; without `loads`, as the store is away, nothing is said about the queue."""
        self._up.set(loads is not None)
        self._jobs.clear()
        self._oldest.clear()
        for name, pool in pools.items():
            if name != AUTO:  # whose slots are those of the others
                self._slots.labels(name).set(pool.size)
                self._busy.labels(name).set(pool.size - pool.idle)
            if loads is not None:
                load = loads.get(name, Load())
                self._jobs.labels(name, "queued").set(load.queued)
                self._jobs.labels(name, "running").set(load.running)
                self._oldest.labels(name).set(load.waiting_seconds(now))
