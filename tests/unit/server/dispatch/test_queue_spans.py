"""The span of a job's wait in the queue, whether it is claimed or ends there."""

import time
from datetime import UTC, datetime, timedelta

import pytest
from prometheus_client import CollectorRegistry

from kit.server.played_pool import DONE, NAME, PlayedPool
from kit.server.recorded_spans import PARENT, TRACE, RecordedSpans, parent_of, problem_of, said_of, seconds_of, trace_of
from qiskit_runtime_server.byte_budget import ByteBudget
from qiskit_runtime_server.dispatch.dispatcher import Dispatcher
from qiskit_runtime_server.dispatch.endings import Endings
from qiskit_runtime_server.dispatch.metrics import JobMetrics
from qiskit_runtime_server.dispatch.queue_spans import QueueSpans
from qiskit_runtime_server.jobs import AccountId, Job, JobId
from qiskit_runtime_server.store.memory.store import MemoryStore

ME = AccountId("me")
CREATED = datetime.now(UTC) - timedelta(seconds=100)


@pytest.fixture
def spans() -> RecordedSpans:
    return RecordedSpans()


@pytest.fixture
def store(spans: RecordedSpans) -> MemoryStore:
    store = MemoryStore()
    store.signals.on_end(QueueSpans(spans).ended)
    return store


async def queued(store: MemoryStore, traceparent: str | None = PARENT) -> JobId:
    job = Job(
        id=JobId("job"),
        account=ME,
        instance="crn",
        program_id="sampler",
        backend=f"fake_manila@{NAME}",
        executor=NAME,
        created=CREATED,
        max_seconds=60,
        seed=1,
        calibration_digest="digest",
        traceparent=traceparent,
    )
    await store.jobs.add(job, b"{}")
    return job.id


async def run(store: MemoryStore, spans: RecordedSpans, job_id: JobId) -> None:
    pools, metrics = {NAME: PlayedPool([DONE])}, JobMetrics(CollectorRegistry())
    lease = timedelta(seconds=30)
    dispatcher = Dispatcher(store, pools, metrics, ByteBudget(1 << 20), lease=lease, queue_spans=QueueSpans(spans))
    endings = Endings()
    with endings.watch(job_id) as ending:
        store.signals.on_end(lambda job: endings.announce(job.id))
        dispatcher.start()
        await ending.wait(timedelta(seconds=30))
    await dispatcher.drain(timedelta(0))


async def test_a_wait_lasts_from_the_submission_to_the_start(store: MemoryStore, spans: RecordedSpans) -> None:
    before = time.time()
    await run(store, spans, await queued(store))
    (wait,) = spans.ended.values()
    assert (wait.name, trace_of(wait), parent_of(wait)) == ("queue", TRACE, PARENT[36:52])
    start, end = seconds_of(wait)
    assert start == pytest.approx(CREATED.timestamp(), abs=1e-3)
    assert before <= end <= time.time()
    assert problem_of(wait) is None
    assert said_of(wait) == {
        "qrs.job.id": "job",
        "qrs.job.fence": 1,
        "qrs.program": "sampler",
        "qrs.backend": f"fake_manila@{NAME}",
        "qrs.executor": NAME,
    }


async def test_a_job_that_is_cancelled_in_the_queue_is_an_error(store: MemoryStore, spans: RecordedSpans) -> None:
    await store.jobs.cancel(ME, await queued(store), reason="Cancelled by its owner.")
    (wait,) = spans.ended.values()
    assert (wait.name, trace_of(wait), problem_of(wait)) == ("queue", TRACE, "Cancelled by its owner.")


async def test_a_job_in_no_trace_has_no_span(store: MemoryStore, spans: RecordedSpans) -> None:
    await run(store, spans, await queued(store, None))
    assert spans.ended == {}
