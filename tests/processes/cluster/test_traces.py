"""One trace from a client's span to those of a worker, by way of a real collector, also when an api is killed."""

import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import httpx
import pytest

from kit.server.cluster_processes import Cluster, templates_of, wait_until, workers_of
from kit.server.collector import Collector, collecting
from kit.server.http_jobs import end_of, signed_in, submission, submit, submit_named, when
from kit.server.recorded_spans import PARENT, TRACE
from kit.server.server_process import StartServer

JSON = {"QRS_LOG_FORMAT": "json"}
STAGES = ("decode", "simulate", "encode")


@pytest.fixture
def collector() -> Iterator[Collector]:
    with collecting() as collector:
        yield collector


def submit_in_trace(client: httpx.Client, **changes: str) -> str:
    """Submit a job as a part of the client's trace, and return its id."""
    answer = client.post("/jobs", json=submission(**changes), headers={"traceparent": PARENT})
    return str(answer.raise_for_status().json()["id"])


def check_trace(collector: Collector, *, api: str, executor: str) -> None:
    """Check that a job is one trace, from a client's span to the stages of its run."""
    collector.wait_for("run", trace_id=TRACE)
    (asked,) = collector.named("POST /api/v1/jobs", trace_id=TRACE)
    (queue,) = collector.named("queue", trace_id=TRACE)
    (run,) = collector.named("run", trace_id=TRACE)
    stages = [collector.named(name, trace_id=TRACE)[0] for name in STAGES]
    assert asked.parent == PARENT[36:52]
    assert {queue.parent, run.parent} == {asked.span_id}
    assert {stage.parent for stage in stages} == {run.span_id}
    assert [asked.service, queue.service, run.service] == [api, api, executor]
    decode, simulate, encode = stages
    assert asked.start <= queue.start <= queue.end <= run.start == decode.start
    assert decode.end == simulate.start <= simulate.end == encode.start <= encode.end == run.end
    assert (simulate.attributes["qrs.qubits"], simulate.attributes["qrs.shots"]) == (1, 10)
    assert simulate.attributes["qrs.methods"]
    assert {span.problem for span in collector.spans} == {None}


def test_a_job_of_a_server_on_one_machine_is_one_trace(start_server: StartServer, collector: Collector) -> None:
    secret = {"OTEL_EXPORTER_OTLP_HEADERS": "authorization=Bearer%20secret"}
    server = start_server("--executors=aer=1", "--anonymous", **collector.environment, **secret, **JSON)
    others = templates_of(server.process.pid) | workers_of(server, paused=True)
    assert others
    assert not any(b"OTEL_" in Path(f"/proc/{pid}/environ").read_bytes() for pid in others)
    with signed_in(server.url) as client:
        job_id = submit_in_trace(client)
        assert end_of(client, job_id)["status"] == "Completed"
        check_trace(collector, api="qiskit-runtime-server", executor="qiskit-runtime-server")
        assert collector.headers["authorization"] == "Bearer secret"
        # Without a span of the client's, the trace is called as the job.
        ours = submit(client)
        assert end_of(client, ours)["status"] == "Completed"
        assert collector.wait_for("run", trace_id=ours).attributes["qrs.job.id"] == ours
        # No job is lost with a collector, and the log says once that spans are.
        collector.status = 404
        for _ in range(2):
            before = collector.requests
            assert end_of(client, submit(client))["status"] == "Completed"
            wait_until(partial(collector.more_than, before))
    assert server.stop() == 0
    server.reader.join()
    said = [json.loads(line) for line in server.output]
    assert {line["trace_id"] for line in said if line.get("trace") == job_id} == {TRACE}
    assert {line["trace_id"] for line in said if line.get("trace") == ours} == {ours}
    warnings = [line["message"] for line in said if line["level"] in {"warning", "error"}]
    assert [warning.partition(": ")[0].split()[:4] for warning in warnings] == [["Spans", "cannot", "be", "sent"]]


def test_a_trace_outlives_the_api_that_took_the_job_in(
    cluster: Cluster, collector: Collector, reserved_port: int
) -> None:
    api = cluster.api(f"http://127.0.0.1:{reserved_port}", name="patient", **collector.environment)
    with signed_in(api.url) as client:
        job_id = submit_in_trace(client, backend="fake_manila@patient")
    collector.wait_for("POST /api/v1/jobs", trace_id=TRACE)
    api.process.kill()
    api.process.wait()
    executor = cluster.executor(name="patient", **collector.environment)
    api = cluster.api(executor.url, name="patient", OTEL_SERVICE_NAME="second", **collector.environment)
    with signed_in(api.url) as client:
        assert end_of(client, job_id)["status"] == "Completed"
    collector.wait_for("queue", trace_id=TRACE)
    (queue,) = collector.named("queue", trace_id=TRACE)
    assert queue.service == "second"
    check_trace_of_two(collector)


def check_trace_of_two(collector: Collector) -> None:
    """Check the trace of a job that one api took in and another had run."""
    run = collector.wait_for("run", trace_id=TRACE)
    (asked,) = collector.named("POST /api/v1/jobs", trace_id=TRACE)
    assert (asked.service, run.service) == ("qiskit-runtime-server", "qiskit-runtime-executor")
    assert asked.parent == PARENT[36:52]
    assert run.parent == asked.span_id
    assert {collector.named(name, trace_id=TRACE)[0].parent for name in STAGES} == {run.span_id}


def test_a_run_that_is_ended_is_an_error_in_its_trace(cluster: Cluster, collector: Collector) -> None:
    executor = cluster.executor(**collector.environment)
    api = cluster.api(executor.url, **collector.environment)
    with signed_in(api.url) as client:
        running = submit_named(client, cluster.held)
        cluster.wait_for_start(cluster.held)
        waiting = submit_named(client, "zeros")
        for job_id in (waiting, running):
            client.post(f"/jobs/{job_id}/cancel").raise_for_status()
            assert when(client, job_id, {"Cancelled"})
    assert collector.wait_for("queue", trace_id=waiting).problem == "Cancelled by its owner."
    run = collector.wait_for("run", trace_id=running)
    assert run.problem is not None
    assert "cancelled or deleted" in run.problem
    assert [collector.named(name, trace_id=running)[0].problem for name in ("decode", "simulate")] == [
        None,
        run.problem,
    ]
