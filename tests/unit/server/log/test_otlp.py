"""Spans by OpenTelemetry's SDK: their ids, whom they belong to, and what becomes of jobs when they cannot be sent."""

import logging
import time
from collections.abc import Sequence
from functools import partial
from threading import Event
from typing import Any

import pytest
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExportResult

from kit.server.cluster_processes import wait_until
from kit.server.collector import collecting
from kit.server.recorded_spans import (
    PARENT,
    TRACE,
    UNSAMPLED,
    RecordedSpans,
    id_of,
    parent_of,
    problem_of,
    said_of,
    seconds_of,
    trace_of,
)
from qiskit_runtime_server.log.open_spans import open_spans
from qiskit_runtime_server.log.otlp import OtlpSpans
from qiskit_runtime_server.log.spans import Attributes, Span


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "50")


def span(name: str) -> Span:
    return Span(name=name, start=1.0, end=2.0)


def test_a_span_belongs_to_its_parent_and_says_what_it_was_told() -> None:
    spans = RecordedSpans()
    inner = Span(name="inner", start=101.5, end=102.0, problem="It broke.")
    said: Attributes = {"qrs.shots": 10, "qrs.methods": ("statevector",)}
    spans.write(Span(name="outer", start=100.0, end=103.25, attributes=said, parts=[inner]), PARENT)
    outer = spans.ended["outer"]
    assert {trace_of(each) for each in spans.ended.values()} == {TRACE}
    assert parent_of(outer) == PARENT[36:52]
    assert said_of(outer) == {"qrs.shots": 10, "qrs.methods": ("statevector",)}
    assert seconds_of(outer) == (100.0, 103.25)
    assert problem_of(outer) is None
    assert parent_of(spans.ended["inner"]) == id_of(outer)
    assert problem_of(spans.ended["inner"]) == "It broke."


def test_a_client_that_does_not_sample_is_heeded() -> None:
    spans = RecordedSpans()
    spans.write(Span(name="outer", start=1.0, end=2.0, parts=[span("inner")]), UNSAMPLED)
    assert spans.ended == {}


@pytest.mark.parametrize(
    ("sampler", "parent", "written"), [("always_off", PARENT, set()), ("always_on", UNSAMPLED, {"outer", "inner"})]
)
def test_the_environment_decides_whatever_a_client_asks_for(
    sampler: str, parent: str, written: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", sampler)
    spans = RecordedSpans()
    spans.write(Span(name="outer", start=1.0, end=2.0, parts=[span("inner")]), parent)
    assert set(spans.ended) == written


@pytest.mark.parametrize("parent", ["", "4f1c", f"00-{'0' * 32}-{'0' * 16}-01"])
def test_nothing_is_written_below_what_is_no_part_of_a_trace(parent: str) -> None:
    spans = RecordedSpans()
    spans.write(span("outer"), parent)
    assert spans.ended == {}


def test_a_share_of_traces_can_be_sampled_though_their_ids_are_those_of_jobs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a UUID two bits are fixed that the sampler looks at: it would take all of them or none."""
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "parentbased_traceidratio")
    monkeypatch.setenv("OTEL_TRACES_SAMPLER_ARG", "0.5")
    tracer = RecordedSpans().provider.get_tracer("test")
    sampled = [tracer.start_span("root").get_span_context().trace_flags.sampled for _ in range(64)]
    assert set(sampled) == {True, False}


def test_a_service_is_called_as_the_environment_says(monkeypatch: pytest.MonkeyPatch) -> None:
    assert RecordedSpans().provider.resource.attributes["service.name"] == "tested"
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "service.name=other,service.namespace=lab")
    attributes = RecordedSpans().provider.resource.attributes
    assert (attributes["service.name"], attributes["service.namespace"]) == ("other", "lab")
    monkeypatch.setenv("OTEL_SERVICE_NAME", "mine")
    assert RecordedSpans().provider.resource.attributes["service.name"] == "mine"


def test_spans_that_cannot_be_sent_are_one_line_and_that_they_can_be_again_another(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    with collecting() as collector:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url)
        collector.status = 400
        spans = open_spans("tested")
        for number in range(5):
            spans.write(span("lost"), PARENT)
            wait_until(partial(collector.more_than, number))
        collector.status = 200
        spans.write(span("kept"), PARENT)
        spans.close()
        assert [span.name for span in collector.spans] == ["kept"]
    lines = [record for record in caplog.records if record.name.startswith("qiskit_runtime_server")]
    assert [record.levelname for record in lines] == ["WARNING", "INFO"]
    assert "harms no job: Failed to export spans batch code: 400" in lines[0].getMessage()
    assert "again (failures before: 5 in" in lines[1].getMessage()
    assert not logging.getLogger("opentelemetry").propagate


@pytest.mark.slow
def test_a_process_that_ends_waits_for_no_collector_that_is_away(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with collecting() as collector:
        url = collector.url
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", url)
    spans = open_spans("tested")
    spans.write(span("lost"), PARENT)
    start = time.monotonic()
    spans.close()
    assert time.monotonic() - start < 10
    assert all("object at" not in line for line in caplog.messages)


class _Stuck:
    """An exporter that sends nothing until it is let go."""

    def __init__(self) -> None:
        self.free = Event()
        self.sent = 0

    def export(self, spans: Sequence[object]) -> SpanExportResult:
        assert self.free.wait(60)
        self.sent += len(spans)
        return SpanExportResult.SUCCESS

    def shutdown(self) -> None:
        """Do nothing."""


def test_who_writes_spans_waits_for_nobody_and_keeps_a_bounded_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_BSP_MAX_QUEUE_SIZE", "100")
    monkeypatch.setenv("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "50")
    stuck: Any = _Stuck()
    spans = OtlpSpans("tested", BatchSpanProcessor(stuck))
    start = time.monotonic()
    for _ in range(1000):
        spans.write(span("many"), PARENT)
    assert time.monotonic() - start < 10
    stuck.free.set()
    spans.close()
    assert 100 <= stuck.sent <= 150
