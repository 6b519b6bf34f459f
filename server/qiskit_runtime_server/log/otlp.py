"""Spans that OpenTelemetry's SDK sends by OTLP over HTTP; nothing else imports its packages.

The SDK reads `OTEL_*` itself. Spans that have ended wait in a queue of bounded length for a thread that sends them in
batches: what is too much for it, or cannot be sent, is lost, which the log says as often as `FailureLog` does.
"""

import logging
import os
import re
import secrets
from collections.abc import Sequence
from contextvars import ContextVar
from importlib.metadata import version
from threading import Thread
from typing import Final
from urllib.parse import urlsplit

from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import SERVICE_NAME, SERVICE_VERSION, OTELResourceDetector, Resource
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.sdk.trace.sampling import Decision
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import SpanContext, SpanKind, Status, StatusCode, TraceFlags
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from qiskit_runtime_server.log.failures import FailureLog
from qiskit_runtime_server.log.spans import Place, Span

_PROTOCOL: Final = "http/protobuf"
_PROTOCOLS: Final = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
# A process that is to end does not wait longer for a collector that is away.
_CLOSE_SECONDS: Final = 3.0
_NANOSECONDS: Final = 1_000_000_000
_UNSET: Final = Status()
_TRACE_CONTEXT: Final = TraceContextTextMapPropagator()
_HEADER: Final = "traceparent"
_BEGUN: Final[ContextVar[int | None]] = ContextVar("begun", default=None)
"""The trace that has begun last in this task."""
# What differs from one failure to the next of the same kind.
_VARIES: Final = re.compile(r" object at 0x[0-9a-f]+|, retrying in [\d.]+s")

logger = logging.getLogger(__name__)


class _UnguessableIds(RandomIdGenerator):
    """Ids of traces that become ids of jobs. All bits are random, as samplers that take a share of traces need it."""

    def generate_trace_id(self) -> int:
        """Return a new id."""
        new = secrets.randbits(128) or 1
        _BEGUN.set(new)
        return new


class OtlpSpans:
    """Spans for a processor of the SDK.

    Args:
        service: What the process is called where the environment does not say it.
        processor: Takes spans that have ended.

    Attributes:
        provider: As in `Spans`.
    """

    def __init__(self, service: str, processor: SpanProcessor) -> None:
        release = version("qiskit-runtime-server")
        said = OTELResourceDetector().detect().attributes
        resource = Resource.create({SERVICE_NAME: service, SERVICE_VERSION: release, **said})
        self.provider = TracerProvider(resource=resource, id_generator=_UnguessableIds(), shutdown_on_exit=False)
        self.provider.add_span_processor(processor)
        self._processor = processor
        self._scope = InstrumentationScope("qiskit_runtime_server", release)

    def current(self) -> Place | None:
        """See `Spans.current`."""
        carrier: dict[str, str] = {}
        _TRACE_CONTEXT.inject(carrier)
        if _HEADER not in carrier:
            return None
        is_begun = trace.get_current_span().get_span_context().trace_id == _BEGUN.get()
        return Place(traceparent=carrier[_HEADER], begins=is_begun)

    def write(self, span: Span, parent: str) -> None:
        """See `Spans.write`.

        What the SDK's tracer does for a span that goes on, with its locks and processors, takes four times as long.
        """
        context = _TRACE_CONTEXT.extract({_HEADER: parent})
        above = trace.get_current_span(context).get_span_context()
        if not above.is_valid:
            return
        chosen = self.provider.sampler.should_sample(context, above.trace_id, span.name, _kind(span), span.attributes)
        if chosen.decision is Decision.RECORD_AND_SAMPLE:
            self._write(span, above, TraceFlags(above.trace_flags | TraceFlags.SAMPLED))

    def _write(self, span: Span, above: SpanContext, flags: TraceFlags) -> None:
        own = SpanContext(
            above.trace_id, self.provider.id_generator.generate_span_id(), is_remote=False, trace_flags=flags
        )
        for part in span.parts:
            self._write(part, own, flags)
        written = ReadableSpan(
            span.name,
            own,
            above,
            self.provider.resource,
            span.attributes,
            kind=_kind(span),
            status=_UNSET if span.problem is None else Status(StatusCode.ERROR, span.problem),
            start_time=int(span.start * _NANOSECONDS),
            end_time=int(span.end * _NANOSECONDS),
            instrumentation_scope=self._scope,
        )
        self._processor.on_end(written)

    def close(self) -> None:
        """See `Spans.close`."""
        # What does not end in time ends with the process.
        closing = Thread(target=self.provider.shutdown, daemon=True)
        closing.start()
        closing.join(_CLOSE_SECONDS)


class _Told(logging.Handler):
    """Takes what OpenTelemetry's packages write to the log: each failure becomes one line, and seldom one more.

    Attributes:
        cause: What was said first of a failure to send, since it was emptied.
    """

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.cause = ""
        self._failures = FailureLog(logger)

    def emit(self, record: logging.LogRecord) -> None:
        """Note what was said of sending, and tell the rest."""
        said = _VARIES.sub("", record.getMessage())
        if record.name.startswith("opentelemetry.exporter"):
            self.cause = self.cause or said
        else:
            self._failures.failed(f"OpenTelemetry: {said}")


class _Exporter(SpanExporter):
    """Sends spans, and tells the log once where it cannot."""

    def __init__(self, inner: SpanExporter, where: str, told: _Told) -> None:
        self._inner = inner
        self._where = where
        self._told = told
        self._failures = FailureLog(logger)

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Send spans."""
        self._told.cause = ""
        result = self._inner.export(spans)
        if result is SpanExportResult.SUCCESS:
            self._failures.succeeded(f"Spans are sent to {self._where} again")
        else:
            lost = f"Spans cannot be sent to {self._where} and are lost, which harms no job"
            self._failures.failed(f"{lost}: {self._told.cause}")
        return result

    def shutdown(self) -> None:
        """Send nothing any more."""
        self._inner.shutdown()


def open_otlp(service: str, endpoint: str) -> OtlpSpans:
    """Return spans that are sent to where the environment says, which is `endpoint`.

    Raises:
        ValueError: If it makes no sense.
    """
    asked = next((value for name in _PROTOCOLS if (value := os.environ.get(name))), _PROTOCOL)
    if asked != _PROTOCOL:
        raise ValueError(f"OTEL_EXPORTER_OTLP_PROTOCOL is {asked}, and traces are sent by {_PROTOCOL} only.")
    told = _Told()
    library = logging.getLogger("opentelemetry")
    library.addHandler(told)
    library.propagate = False
    where = urlsplit(endpoint)
    exporter = _Exporter(OTLPSpanExporter(), f"{where.hostname}:{where.port or where.scheme}", told)
    return OtlpSpans(service, BatchSpanProcessor(exporter))


def _kind(span: Span) -> SpanKind:
    return SpanKind.CONSUMER if span.main else SpanKind.INTERNAL
