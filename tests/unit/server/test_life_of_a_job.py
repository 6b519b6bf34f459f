"""The transitions of a job, without a store."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from qiskit_runtime_server.backends.names import ExecutorName
from qiskit_runtime_server.errors import InternalError, InvalidStateError, WorkerDiedError
from qiskit_runtime_server.jobs import (
    MAX_LOSSES,
    MAX_WORKER_DEATHS,
    AccountId,
    Job,
    JobId,
    JobState,
    Outcome,
    RetryReason,
    cancelled,
    ended,
    requeued,
    started,
    taken_over,
)

NOW = datetime(2026, 1, 1, tzinfo=UTC)
LATER = NOW + timedelta(seconds=5)
QUEUED = Job(
    id=JobId("job"),
    account=AccountId("alice"),
    instance="crn:alice",
    program_id="sampler",
    backend="fake_manila@aer",
    executor=ExecutorName("aer"),
    created=NOW,
    max_seconds=600,
    seed=1,
    calibration_digest="sha256:0",
)
RUNNING = started(QUEUED, NOW)
COMPLETED = ended(RUNNING, Outcome(state=JobState.COMPLETED), LATER)

TRANSITIONS: dict[str, Callable[[Job], Job]] = {
    "started": lambda job: started(job, NOW),
    "taken over": taken_over,
    "requeued": lambda job: requeued(job, RetryReason.LOST, LATER, reason="gone"),
    "ended": lambda job: ended(job, Outcome(state=JobState.COMPLETED), LATER),
    "cancelled": lambda job: cancelled(job, LATER, reason="enough"),
}
ALLOWED = {
    JobState.QUEUED: {"started": JobState.RUNNING, "ended": JobState.COMPLETED, "cancelled": JobState.CANCELLED},
    JobState.RUNNING: {
        "taken over": JobState.RUNNING,
        "requeued": JobState.QUEUED,
        "ended": JobState.COMPLETED,
        "cancelled": JobState.CANCELLED,
    },
    JobState.COMPLETED: {},
}


@pytest.mark.parametrize("job", [QUEUED, RUNNING, COMPLETED], ids=lambda job: job.state)
@pytest.mark.parametrize("name", TRANSITIONS)
def test_a_transition_leads_where_the_table_says_or_is_refused(job: Job, name: str) -> None:
    target = ALLOWED[job.state].get(name)
    if target is not None:
        assert TRANSITIONS[name](job).state is target
        return
    with pytest.raises(InvalidStateError, match=f"^Job job is {job.state} and cannot "):
        TRANSITIONS[name](job)


def test_every_start_and_takeover_raises_the_fence() -> None:
    again = started(requeued(taken_over(RUNNING), RetryReason.NOT_STARTED, LATER, reason=""), LATER)
    assert [RUNNING.fence, taken_over(RUNNING).fence, again.fence] == [1, 2, 3]
    assert again.started == LATER


@pytest.mark.parametrize(
    ("why", "limit", "code"),
    [
        (RetryReason.WORKER_DIED, MAX_WORKER_DEATHS, WorkerDiedError.code),
        (RetryReason.LOST, MAX_LOSSES, InternalError.code),
    ],
)
def test_one_retry_too_many_fails_the_job(why: RetryReason, limit: int, code: int) -> None:
    job = RUNNING
    for number in range(1, limit):
        queued = requeued(job, why, LATER, reason="gone")
        assert (queued.state, queued.started, queued.finished) == (JobState.QUEUED, None, None)
        assert queued.worker_deaths + queued.losses == number
        job = started(queued, LATER)
    failed = requeued(job, why, LATER, reason="gone")
    assert (failed.state, failed.reason, failed.reason_code) == (JobState.FAILED, "gone", code)
    assert failed.finished == LATER


def test_an_end_is_a_terminal_state() -> None:
    with pytest.raises(InvalidStateError, match="cannot become Queued"):
        ended(RUNNING, Outcome(state=JobState.QUEUED), LATER)


def test_the_reason_of_an_end_can_be_stored_whatever_the_process_said() -> None:
    outcome = Outcome(state=JobState.FAILED, reason="bytes \0 and \ud800")
    assert ended(RUNNING, outcome, LATER).reason == "bytes \ufffd and ?"


def test_a_cancelled_job_has_used_the_time_for_which_it_ran() -> None:
    assert cancelled(RUNNING, LATER, reason="enough").metrics.seconds == 5.0
    assert cancelled(RUNNING, NOW - timedelta(hours=1), reason="enough").metrics.seconds == 0.0
    assert cancelled(QUEUED, LATER, reason="enough").metrics.seconds == 0.0
