"""Gives requests their traces, which their errors and the log quote (`log.trace`), and spans (`log.spans`)."""

import re
from collections.abc import MutableMapping
from typing import TYPE_CHECKING, Any, Final

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from qiskit_runtime_server.log.spans import Place, Spans
from qiskit_runtime_server.log.trace import begin_trace, trace_id_of

if TYPE_CHECKING:
    from fastapi.telemetry import TelemetryConfig

_HEADER: Final = "traceparent"
_READING: Final = {"GET", "HEAD", "OPTIONS"}
_ABOUT_JOB: Final = re.compile(r"/jobs/([0-9a-f]{32})(?:/|\Z)")


class TracedRequests:
    """ASGI middleware that begins a trace for each request; one about a job carries the job's."""

    def __init__(self, app: ASGIApp, spans: Spans) -> None:
        self._app = app
        self._spans = spans

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request."""
        if scope["type"] == "http":
            trace, traceparent = _traced(scope, self._spans.current())
            about = _ABOUT_JOB.search(scope["path"])
            begin_trace(about[1] if about else trace, traceparent)
        await self._app(scope, receive, send)


def _traced(scope: Scope, place: Place | None) -> tuple[str | None, str | None]:
    """Return what a request's trace is to be called, None for something new, and its traceparent.

    A trace that begins here is called the same by OpenTelemetry, in the log and by clients. What a client sends is no
    name for it: jobs that are submitted in one trace have different ids.
    """
    if place is None:
        return None, None
    is_ours = place.begins and _HEADER not in Headers(scope=scope)
    return trace_id_of(place.traceparent) if is_ours else None, place.traceparent


def telemetry(spans: Spans) -> "TelemetryConfig | None":
    """Return how FastAPI is to write spans of requests; None if there are none to be written."""
    if spans.provider is None:
        return None
    return {
        "tracer_provider": spans.provider,
        "metrics": False,
        "logs": False,
        "operation_spans": False,
        "auto_configure": False,
        "exclude": _has_no_span,
    }


def _has_no_span(scope: MutableMapping[str, Any]) -> bool:
    """Return whether a request is none that changes something, nor one of a client that asks for a span.

    Clients ask for their jobs again and again: a trace of each such request would say less than the metrics do. What
    people send from the console may have secrets in its URL.
    """
    if scope["type"] != "http" or scope["path"].startswith("/ui"):
        return True
    return scope["method"] in _READING and _HEADER not in Headers(scope=scope)
