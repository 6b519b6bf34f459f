"""Spans that a test looks at when they have ended."""

from collections.abc import Mapping
from typing import Any

from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanContext

from qiskit_runtime_server.log.otlp import OtlpSpans

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
PARENT = f"00-{TRACE}-00f067aa0ba902b7-01"
UNSAMPLED = f"{PARENT[:-2]}00"


class RecordedSpans(OtlpSpans):
    """Spans that stay in this process."""

    def __init__(self) -> None:
        self._kept = InMemorySpanExporter()
        super().__init__("tested", SimpleSpanProcessor(self._kept))

    @property
    def ended(self) -> dict[str, ReadableSpan]:
        """Return those that have ended, by name, the last one of each."""
        return {span.name: span for span in self._kept.get_finished_spans()}


def trace_of(span: ReadableSpan) -> str:
    """Return the id of a span's trace."""
    return f"{_context(span).trace_id:032x}"


def parent_of(span: ReadableSpan) -> str:
    """Return the id of a span's parent; empty if it has none."""
    return "" if span.parent is None else f"{span.parent.span_id:016x}"


def id_of(span: ReadableSpan) -> str:
    """Return the id of a span."""
    return f"{_context(span).span_id:016x}"


def _context(span: ReadableSpan) -> SpanContext:
    context: SpanContext | None = span.get_span_context()
    assert context is not None
    return context


def said_of(span: ReadableSpan) -> Mapping[str, Any]:
    """Return the attributes of a span."""
    return span.attributes or {}


def seconds_of(span: ReadableSpan) -> tuple[float, float]:
    """Return when a span began and ended."""
    return (span.start_time or 0) / 1e9, (span.end_time or 0) / 1e9


def problem_of(span: ReadableSpan) -> str | None:
    """Return why what a span stands for has failed; None if it has not."""
    return None if span.status.is_unset or span.status.is_ok else span.status.description
