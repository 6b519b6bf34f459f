"""What the log says about the life of each job: a line each when it is accepted, started and ended."""

import logging
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from kit.server.played_pool import HOLDER, NAME
from qiskit_runtime_server.dispatch import job_log
from qiskit_runtime_server.jobs import AccountId, Job, JobId, JobState, Outcome
from qiskit_runtime_server.messages.messages import Metrics
from qiskit_runtime_server.store.memory.store import MemoryStore

JOB = Job(
    id=JobId("j1"),
    account=AccountId("alice"),
    instance="crn",
    program_id="sampler",
    backend=f"fake_manila@{NAME}",
    executor=NAME,
    created=datetime(2026, 1, 1, tzinfo=UTC),
    max_seconds=60,
    seed=1,
    calibration_digest="digest",
)


def test_an_accepted_job_says_whose_it_is_and_what_it_asks_for(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    job_log.accepted(JOB)
    assert caplog.messages == ["Job j1 accepted: account alice, sampler on fake_manila@played, 0 bytes."]


def test_a_started_job_says_how_long_it_waited(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    job_log.started(replace(JOB, started=JOB.created + timedelta(seconds=7.5), fence=2))
    assert caplog.messages == ["Job j1 started: account alice, sampler on fake_manila@played, run 2, waited 7.5 s."]


async def test_every_end_is_told_with_seconds_and_reason(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    store = MemoryStore()
    store.signals.on_end(job_log.ended)
    for number in range(3):
        await store.jobs.add(replace(JOB, id=JobId(f"j{number}"), created=JOB.created + timedelta(number)), b"")
    claim = await store.queue.claim(NAME, HOLDER, lease=timedelta(seconds=60))
    assert claim is not None
    assert await store.queue.finish(claim, Outcome(state=JobState.COMPLETED, metrics=Metrics(seconds=2.25)), b"{}")
    await store.jobs.cancel(None, "j1", reason="Cancelled by ada, an admin.")
    await store.jobs.delete(JOB.account, "j2")
    assert [line.partition(": ")[0] for line in caplog.messages] == [
        "Job j0 ended Completed",
        "Job j1 ended Cancelled",
        "Job j2 ended Cancelled",
    ]
    assert caplog.messages[0].endswith("account alice, sampler on fake_manila@played, 2.2 s.")
    assert caplog.messages[1].endswith("0.0 s. Cancelled by ada, an admin.")
