"""A collector of traces: takes what an exporter sends by OTLP over HTTP, and lays it out for tests."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from kit.server.cluster_processes import wait_until
from kit.server.serving import serving


@dataclass(frozen=True, kw_only=True)
class SentSpan:
    """A span as it was sent; times are in nanoseconds.

    Attributes:
        service: Who has sent it.
        problem: The description of the status ERROR; None for any other status.
    """

    name: str
    service: str
    trace_id: str
    span_id: str
    parent: str
    start: int
    end: int
    attributes: dict[str, object]
    problem: str | None


@dataclass(kw_only=True)
class Collector:
    """What has arrived.

    Attributes:
        url: For `OTEL_EXPORTER_OTLP_ENDPOINT`.
        headers: Of the last request, by their names in lower case.
        status: What requests are answered with.
    """

    url: str = ""
    spans: list[SentSpan] = field(default_factory=list)
    headers: dict[str, str] = field(default_factory=dict)
    status: int = 200
    requests: int = 0

    @property
    def environment(self) -> dict[str, str]:
        """What has a server send its spans here, soon."""
        return {"OTEL_EXPORTER_OTLP_ENDPOINT": self.url, "OTEL_BSP_SCHEDULE_DELAY": "100"}

    def more_than(self, requests: int) -> bool:
        """Return whether there have been more requests than so many."""
        return self.requests > requests

    def wait_for(self, name: str, *, trace_id: str, seconds: float = 30) -> SentSpan:
        """Return the first span of this name in a trace, once it is there."""
        wait_until(lambda: bool(self.named(name, trace_id=trace_id)), seconds=seconds)
        return self.named(name, trace_id=trace_id)[0]

    def named(self, name: str, *, trace_id: str) -> list[SentSpan]:
        """Return the spans of this name in a trace, in the order of their ends."""
        found = [span for span in self.spans if (span.name, span.trace_id) == (name, trace_id)]
        return sorted(found, key=lambda span: span.end)

    def take(self, body: bytes) -> None:
        """Lay out what an exporter has sent."""
        for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
            about = {item.key: item.value.string_value for item in resource.resource.attributes}
            for span in (span for scope in resource.scope_spans for span in scope.spans):
                self.spans.append(
                    SentSpan(
                        name=span.name,
                        service=about["service.name"],
                        trace_id=span.trace_id.hex(),
                        span_id=span.span_id.hex(),
                        parent=span.parent_span_id.hex(),
                        start=span.start_time_unix_nano,
                        end=span.end_time_unix_nano,
                        attributes={item.key: _value(item.value) for item in span.attributes},
                        problem=span.status.message if span.status.code == span.status.STATUS_CODE_ERROR else None,
                    )
                )


def _value(value: object) -> object:
    kind = value.WhichOneof("value")  # type: ignore[attr-defined]
    found = getattr(value, kind)
    return [_value(item) for item in found.values] if kind == "array_value" else found


@contextmanager
def collecting() -> Iterator[Collector]:
    """Start a collector on a free port of this machine, for as long as the context lasts."""
    collector = Collector()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            collector.requests += 1
            collector.headers = {name.lower(): value for name, value in self.headers.items()}
            if collector.status == 200:
                assert self.path == "/v1/traces"
                collector.take(body)
            self.send_response(collector.status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's
            """Say nothing."""

    with serving(Handler) as url:
        collector.url = url
        yield collector
