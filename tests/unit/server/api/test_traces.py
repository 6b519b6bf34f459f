"""Spans of requests, and how they, what clients are told and the log are called the same."""

import logging
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import httpx
import pytest
from opentelemetry.context import Context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from kit.server.api_in_process import Api, api_in_process, body
from kit.server.recorded_spans import (
    PARENT,
    TRACE,
    UNSAMPLED,
    RecordedSpans,
    id_of,
    parent_of,
    problem_of,
    said_of,
    trace_of,
)
from qiskit_runtime_server.jobs import AccountId, Job
from qiskit_runtime_server.log.trace import Traced

SUBMITTED = "POST /api/v1/jobs"


@pytest.fixture
def spans() -> RecordedSpans:
    return RecordedSpans()


@pytest.fixture
async def api(spans: RecordedSpans, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Api]:
    monkeypatch.setattr("qiskit_runtime_server.app.open_spans", lambda _service: spans)
    async with api_in_process(tmp_path) as served:
        yield served


async def submitted(api: Api, **headers: str) -> Job:
    answer = await api.alice.post("/jobs", json=body(), headers=headers)
    return await api.store.jobs.get(AccountId("alice"), answer.json()["id"])


async def test_a_trace_that_begins_here_is_called_as_the_job(api: Api, spans: RecordedSpans) -> None:
    job = await submitted(api)
    span = spans.ended[SUBMITTED]
    assert (trace_of(span), parent_of(span)) == (job.id, "")
    assert job.traceparent is not None
    assert job.traceparent.startswith(f"00-{job.id}-{id_of(span)}-")
    other = await submitted(api)
    assert other.id != job.id
    assert other.traceparent is not None
    assert other.id in other.traceparent


async def test_a_client_that_sends_a_traceparent_has_the_job_in_its_trace(api: Api, spans: RecordedSpans) -> None:
    jobs = [await submitted(api, traceparent=PARENT) for _ in range(2)]
    span = spans.ended[SUBMITTED]
    assert (trace_of(span), parent_of(span)) == (TRACE, PARENT[36:52])
    assert jobs[1].traceparent == f"00-{TRACE}-{id_of(span)}-01"
    assert len({TRACE, jobs[0].id, jobs[1].id}) == 3


def from_another_header(headers: Mapping[str, str], **_: object) -> Context:
    """Do what `OTEL_PROPAGATORS` can ask for."""
    return TraceContextTextMapPropagator().extract({"traceparent": headers["other"]})


async def test_jobs_of_one_trace_have_ids_of_their_own_whatever_header_says_so(
    api: Api, spans: RecordedSpans, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("opentelemetry.propagate.extract", from_another_header)
    jobs = [await submitted(api, other=PARENT) for _ in range(2)]
    assert len({TRACE, jobs[0].id, jobs[1].id}) == 3
    assert trace_of(spans.ended[SUBMITTED]) == TRACE


async def test_a_client_that_does_not_sample_is_heeded(api: Api, spans: RecordedSpans) -> None:
    job = await submitted(api, traceparent=UNSAMPLED)
    assert job.traceparent is not None
    assert job.traceparent.startswith(f"00-{TRACE}-")
    assert job.traceparent.endswith("-00")
    assert spans.ended == {}


@pytest.mark.parametrize("nonsense", ["", "nonsense", f"00-{'0' * 32}-{'0' * 16}-01", f"{PARENT}-{'x' * 9999}"])
async def test_a_traceparent_that_makes_no_sense_is_none(nonsense: str, api: Api, spans: RecordedSpans) -> None:
    job = await submitted(api, traceparent=nonsense)
    span = spans.ended[SUBMITTED]
    assert parent_of(span) == ""
    assert job.traceparent is not None
    assert trace_of(span) in job.traceparent


async def test_a_span_says_what_was_asked_and_answered_and_no_secret(api: Api, spans: RecordedSpans) -> None:
    job = await submitted(api)
    await api.alice.post(f"/jobs/{job.id}/cancel")
    refused = await api.alice.post(f"/jobs/{job.id}/cancel")
    assert refused.status_code == 409
    span = spans.ended["POST /api/v1/jobs/{job_id}/cancel"]
    known = {
        "http.request.method": "POST",
        "http.response.status_code": 409,
        "url.path": f"/api/v1/jobs/{job.id}/cancel",
    }
    assert known.items() <= said_of(span).items()
    assert problem_of(span) is None
    assert not any("apikey" in str(value) or "Authorization" in str(value) for value in said_of(span).values())


async def test_who_asks_for_jobs_again_and_again_has_no_spans_but_those_that_he_wants(
    api: Api, spans: RecordedSpans
) -> None:
    job = await submitted(api)
    for client, path in ((api.alice, f"/jobs/{job.id}"), (api.nobody, "/health"), (api.nobody, "/")):
        await client.get(path)
    assert set(spans.ended) == {SUBMITTED}
    await api.alice.get(f"/jobs/{job.id}", headers={"traceparent": PARENT})
    assert trace_of(spans.ended["GET /api/v1/jobs/{job_id}"]) == TRACE


async def test_what_people_send_to_the_console_has_only_the_spans_of_the_api(api: Api, spans: RecordedSpans) -> None:
    await api.nobody.post("/ui/sign-in?code=secret", data={"token": "alice"}, headers={"traceparent": PARENT})
    assert set(spans.ended) == {"POST /identity/token"}


async def test_lines_of_the_log_lead_to_the_trace(api: Api, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    caplog.handler.addFilter(Traced())
    job = await submitted(api, traceparent=PARENT)
    ours = await submitted(api)
    refused: httpx.Response = await api.alice.get(f"/jobs/{'0' * 32}")
    assert refused.status_code == 404
    said = [vars(record) for record in caplog.records if record.name.startswith("qiskit_runtime_server")]
    of_jobs = [(line["trace"], line["trace_id"]) for line in said if "trace_id" in line]
    assert of_jobs == [(job.id, TRACE)] * 2 + [(ours.id, ours.id)] * 2
    assert [line["trace"] for line in said if "trace_id" not in line] == ["0" * 32]
