"""The spans of a run: what its worker tells of stages, whatever that is, and how it ends."""

import math

import pytest

from kit.server.recorded_spans import (
    PARENT,
    TRACE,
    RecordedSpans,
    id_of,
    parent_of,
    problem_of,
    said_of,
    seconds_of,
    trace_of,
)
from qiskit_runtime_server.errors import InternalError, InvalidInputError, MaxTimeError, NotIsaError, WorkerDiedError
from qiskit_runtime_server.log.spans import NO_SPANS
from qiskit_runtime_server.messages.messages import (
    Completed,
    Event,
    Failed,
    HandedBack,
    Heartbeat,
    Metrics,
    Stage,
    StageName,
    Task,
)
from qiskit_runtime_server.worker.run_spans import RunSpans

DONE = Completed(metrics=Metrics(num_circuits=2, executions=200, num_qubits=(3, 127)), result=b"")


class Clock:
    seconds = 1000.0

    def __call__(self) -> float:
        self.seconds += 1
        return self.seconds


def task(traceparent: str | None = PARENT) -> Task:
    return Task(
        job_id="4f1c",
        fence=2,
        program_id="sampler",
        backend_name="fake_manila@aer",
        calibration_digest="",
        seed=1,
        seconds=60,
        account="alice",
        traceparent=traceparent,
        params=b"secret circuit",
    )


def test_a_run_has_a_span_for_each_stage() -> None:
    spans = RecordedSpans()
    run = RunSpans(spans, task(), Clock())  # at 1001
    run.enter(Stage(name=StageName.SIMULATE, began=1001.25))
    run.enter(Stage(name=StageName.ENCODE, began=1001.75, methods=("statevector",)))
    run.end(DONE)  # at 1004
    ended = spans.ended
    assert {name: seconds_of(span) for name, span in ended.items()} == {
        "decode": (1001.0, 1001.25),
        "simulate": (1001.25, 1001.75),
        "encode": (1001.75, 1004.0),
        "run": (1001.0, 1004.0),
    }
    assert {trace_of(span) for span in ended.values()} == {TRACE}
    assert {name: parent_of(span) for name, span in ended.items() if name != "run"} == dict.fromkeys(
        ("decode", "simulate", "encode"), id_of(ended["run"])
    )
    assert parent_of(ended["run"]) == PARENT[36:52]
    did = {"qrs.circuits": 2, "qrs.qubits": 127, "qrs.shots": 200, "qrs.methods": ("statevector",)}
    assert said_of(ended["simulate"]) == did
    about = {"qrs.job.id": "4f1c", "qrs.job.fence": 2, "qrs.program": "sampler", "qrs.backend": "fake_manila@aer"}
    assert said_of(ended["run"]) == about | did
    assert [problem_of(span) for span in ended.values()] == [None] * 4


@pytest.mark.parametrize("began", [math.nan, math.inf, -math.inf, 1e300, -5.0, 0.0])
def test_a_worker_cannot_have_been_at_work_in_another_time(began: float) -> None:
    spans = RecordedSpans()
    run = RunSpans(spans, task(), Clock())
    run.enter(Stage(name=StageName.SIMULATE, began=began))
    run.end(DONE)
    for span in spans.ended.values():
        start, end = seconds_of(span)
        assert 1001 <= start <= end <= 1003


def test_a_worker_cannot_make_more_of_its_stages_than_there_are() -> None:
    spans = RecordedSpans()
    run = RunSpans(spans, task(), Clock())
    for _ in range(3):
        for name in reversed(StageName):
            run.enter(Stage(name=name, began=1001.5, methods=("m" * 1000,) * 1000))
    run.end(DONE)
    assert set(spans.ended) == {"decode", "encode", "run"}
    methods = said_of(spans.ended["run"])["qrs.methods"]
    assert (len(methods), {len(method) for method in methods}) == (16, {64})


@pytest.mark.parametrize(
    ("last", "problem", "kind"),
    [
        (Failed(reason="It took longer than 5 s.", code=MaxTimeError.code), "It took longer than 5 s.", "1305"),
        (Failed(reason="x" * 5000, code=MaxTimeError.code), "x" * 200, "1305"),
        (Failed(reason="Killed.", code=WorkerDiedError.code, worker_died=True), "Killed.", "9999"),
        (
            Failed(reason="gate h q[0] of mine", code=InvalidInputError.code),
            "Error 1002: see the job's reason.",
            "1002",
        ),
        (Failed(reason="gate h q[0] of mine", code=NotIsaError.code), "Error 7001: see the job's reason.", "7001"),
        (Failed(reason="KeyError: mine", code=InternalError.code), "Error 9999: see the job's reason.", "9999"),
        (HandedBack(), "The executor stopped: the job goes back to the queue.", None),
        (Heartbeat(), "The run was ended: its job was cancelled or deleted, or is followed from elsewhere.", None),
    ],
)
def test_a_run_that_does_not_complete_is_an_error_in_words_of_ours(last: Event, problem: str, kind: str | None) -> None:
    spans = RecordedSpans()
    run = RunSpans(spans, task(), Clock())
    run.enter(Stage(name=StageName.SIMULATE, began=1001.5))
    run.end(last)
    ended = spans.ended
    assert {name: problem_of(span) for name, span in ended.items()} == {
        "decode": None,
        "simulate": problem,
        "run": problem,
    }
    assert said_of(ended["run"]).get("error.type") == kind


def test_a_run_of_a_job_in_no_trace_has_no_spans() -> None:
    spans = RecordedSpans()
    for run in (RunSpans(spans, task(None)), RunSpans(NO_SPANS, task())):
        run.enter(Stage(name=StageName.SIMULATE, began=1001.5))
        run.end(DONE)
    assert spans.ended == {}
