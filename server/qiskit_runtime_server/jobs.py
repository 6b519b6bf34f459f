"""Jobs and sessions: frozen data, and the one home of their transitions; nothing here does I/O.

The life of a job: `started` brings it from Queued to Running under the next fence; `taken_over` gives it to another
holder under the one after; `requeued` returns it to the queue, or fails it when that happened too often; `found_long`
and `held_back` return it there without counting that, the latter to stay until it is `released`; `routed` puts one
whose executor was to be chosen into the queue of that executor, and `moved` into that of another one; `ended` and
`cancelled` bring it to a terminal state, in which it stays. Each returns the job as it is afterwards, or raises
`InvalidStateError`. Every store writes what these functions return.
"""

import sys
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final, NewType

import msgspec

from qiskit_runtime_server.backends.names import AUTO, ExecutorName
from qiskit_runtime_server.errors import InternalError, InvalidStateError, WorkerDiedError
from qiskit_runtime_server.messages.messages import Metrics, Progress, Routing

JobId = NewType("JobId", str)
SessionId = NewType("SessionId", str)
AccountId = NewType("AccountId", str)
"""What jobs and sessions are kept under: the account's name, with `~` and something of its own behind it or without.

Whoever is given a name that somebody else had before has another id than he.
"""

MAX_WORKER_DEATHS: Final = 3
"""With how many deaths of its worker process a job fails."""

MAX_LOSSES: Final = 10
"""With how many runs lost with an executor, a stream or a node a job fails."""


class JobState(StrEnum):
    """Spelled as on the wire."""

    QUEUED = "Queued"
    RUNNING = "Running"
    COMPLETED = "Completed"
    FAILED = "Failed"
    CANCELLED = "Cancelled"

    @property
    def terminal(self) -> bool:
        """Whether a job in this state stays in it."""
        return self not in {JobState.QUEUED, JobState.RUNNING}


def name_of(account: AccountId) -> str:
    """Return the name of an account, which is what people call it."""
    return account.partition("~")[0]


def exact(account: AccountId) -> str:
    """Return how an admin speaks of an account where a name alone would be taken for whoever has it now."""
    return account if "~" in account else f"{account}~"


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One job as the store knows it; params, result and log are documents of their own.

    Attributes:
        backend: As the client spelled it.
        executor: Where it runs; `AUTO` while that is to be chosen.
        instance: CRN that the job was submitted under.
        max_seconds: How long it may run.
        seed: Used by the programs where the job's own options set none.
        calibration_digest: The documents of the device at the time of submission.
        fence: Rises with every claim; 0 before the first.
        worker_deaths: Runs that ended because the worker process died under a healthy executor.
        losses: Runs that ended because an executor, a stream or a node was lost.
        reason: For people, once the job has failed or was cancelled.
        params_bytes: How large the params are, as they were sent.
        max_qubits: The widest part of a circuit, of qubits that depend on each other, that may be simulated.
        long_since: When it turned out to take longer than a short job may; None while it counts as short.
        held: Why it is not started while it is queued, for people; None if it is started when its turn comes.
        progress: How far the run has come that goes on, or ended it; None while nothing is known.
        routing: Why it is on its executor, if that was chosen; None of one whose client named it.
        traceparent: Where its submission belongs in a trace of OpenTelemetry; None if it belongs to none.
    """

    id: JobId
    account: AccountId
    instance: str
    program_id: str
    backend: str
    executor: ExecutorName
    created: datetime
    max_seconds: int
    seed: int
    calibration_digest: str
    state: JobState = JobState.QUEUED
    reason: str | None = None
    reason_code: int | None = None
    started: datetime | None = None
    finished: datetime | None = None
    session_id: SessionId | None = None
    tags: tuple[str, ...] = ()
    cost: int | None = None
    private: bool = False
    runtime: str | None = None
    log_level: str | None = None
    fence: int = 0
    worker_deaths: int = 0
    losses: int = 0
    metrics: Metrics = field(default_factory=Metrics)
    params_bytes: int = 0
    max_qubits: int | None = None
    long_since: datetime | None = None
    held: str | None = None
    progress: Progress | None = None
    routing: Routing | None = None
    traceparent: str | None = None

    @property
    def is_looked_at(self) -> bool:
        """Whether it is claimed only so that an executor is chosen, which is no run to its owner."""
        return self.state is JobState.RUNNING and self.executor == AUTO

    @property
    def runs(self) -> int:
        """How often it was claimed to be run."""
        return self.fence - (self.routing.looks if self.routing is not None else 0)

    @property
    def predicted_seconds(self) -> float | None:
        """About how long it takes on its executor, if that was predicted when this was chosen."""
        found = None if self.routing is None else self.routing.predictions.get(self.executor)
        return None if found is None else found.seconds

    def seconds_so_far(self, now: datetime) -> float:
        """Return its time: what was counted at its end or, while it runs, the slot time since its start."""
        return self.metrics.seconds if self.state is not JobState.RUNNING else self.run_seconds(now)

    def run_seconds(self, now: datetime) -> float:
        """Return the slot time of the run that goes on; 0 if none does: to be looked at for a choice is none."""
        if self.started is None or self.state.terminal or self.is_looked_at:
            return 0.0
        return max(0.0, (now - self.started).total_seconds())

    def expected_end(self) -> datetime | None:
        """Return when the run that goes on is about to end; None if none does, or nothing is known of that."""
        if self.state is not JobState.RUNNING or self.started is None:
            return None
        seconds = self.predicted_seconds if self.progress is None else self.progress.seconds
        # Not later than that it is ended; what a worker says may be anything.
        return None if seconds is None else self.started + timedelta(seconds=min(max(0.0, seconds), self.max_seconds))


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How a job ended."""

    state: JobState
    reason: str | None = None
    reason_code: int | None = None
    metrics: Metrics = field(default_factory=Metrics)


class RetryReason(StrEnum):
    """Why a run did not end the job."""

    WORKER_DIED = "worker_died"
    LOST = "lost"
    NOT_STARTED = "not_started"


def started(job: Job, now: datetime) -> Job:
    """Return a queued job as it runs from `now` on, under the next fence.

    Raises:
        InvalidStateError: If it is not queued.
    """
    _demand(job, JobState.QUEUED, to="be started")
    return replace(job, state=JobState.RUNNING, started=now, fence=job.fence + 1, held=None)


def taken_over(job: Job) -> Job:
    """Return a running job as its next holder has it: under the next fence.

    Raises:
        InvalidStateError: If it does not run.
    """
    _demand(job, JobState.RUNNING, to="be taken over")
    return replace(job, fence=job.fence + 1)


def requeued(job: Job, why: RetryReason, now: datetime, *, reason: str) -> Job:
    """Return a running job as it is queued again with this retry counted, or Failed if that is one too many.

    The time of a run whose worker died counts as used; that of one that was lost does not.

    Args:
        job: As it runs.
        why: What `worker_deaths` and `losses` count; a run that was never started is not counted.
        now: The end of the run.
        reason: For people, if it fails.

    Raises:
        InvalidStateError: If it does not run.
    """
    _demand(job, JobState.RUNNING, to="be requeued")
    code: int | None = None
    match why:
        case RetryReason.WORKER_DIED:
            seconds = job.run_seconds(now)
            job = replace(job, worker_deaths=job.worker_deaths + 1, metrics=_with_run(job, _ran(job, seconds)))
            code = WorkerDiedError.code if job.worker_deaths >= MAX_WORKER_DEATHS else None
        case RetryReason.LOST:
            job = replace(job, losses=job.losses + 1)
            code = InternalError.code if job.losses >= MAX_LOSSES else None
        case RetryReason.NOT_STARTED:
            pass
    if code is None:
        return _queued_again(job)
    metrics = _ran(job, 0.0)  # which counts already
    return ended(job, Outcome(state=JobState.FAILED, reason=reason, reason_code=code, metrics=metrics), now)


def routed(job: Job, executor: ExecutorName, routing: Routing) -> Job:
    """Return a job whose executor was to be chosen, once or anew, as it waits for this one, with its place by age.

    The time of a run that it leaves is not counted.

    Raises:
        InvalidStateError: If it does not run, which is how others know that it is being looked at.
    """
    _demand(job, JobState.RUNNING, to="be routed")
    return replace(_queued_again(job), executor=executor, routing=routing, long_since=None)


def moved(job: Job, executor: ExecutorName) -> Job:
    """Return a queued job that was routed as it waits for another executor.

    Raises:
        InvalidStateError: If it is not queued.
    """
    _demand(job, JobState.QUEUED, to="be moved")
    return replace(job, executor=executor, long_since=None)


def found_long(job: Job, now: datetime, *, goes_on: bool) -> Job:
    """Return a running job as one that is no short job: it goes on, or it is queued again without an attempt used.

    Raises:
        InvalidStateError: If it does not run.
    """
    _demand(job, JobState.RUNNING, to="turn out to be long")
    job = replace(job, long_since=job.long_since or now)
    return job if goes_on else _queued_again(job)


def held_back(job: Job, *, reason: str) -> Job:
    """Return a running job as it waits in the queue for `released`, without an attempt used.

    Raises:
        InvalidStateError: If it does not run.
    """
    _demand(job, JobState.RUNNING, to="be held")
    return replace(_queued_again(job), held=_printable(reason))


def released(job: Job) -> Job:
    """Return a queued job as it is started when its turn comes.

    Raises:
        InvalidStateError: If it is not queued.
    """
    _demand(job, JobState.QUEUED, to="be released")
    return replace(job, held=None)


def ended(job: Job, outcome: Outcome, now: datetime) -> Job:
    """Return a queued or running job in the terminal state of `outcome`, with a reason that every store can hold.

    Its metrics are those of its last run, and the time also of earlier ones that count as used.

    Raises:
        InvalidStateError: If it has ended already, or `outcome` is no end.
    """
    if job.state.terminal or not outcome.state.terminal:
        raise InvalidStateError(f"Job {job.id} is {job.state} and cannot become {outcome.state}.")
    return replace(
        job,
        state=outcome.state,
        reason=_printable(outcome.reason),
        reason_code=outcome.reason_code,
        metrics=_with_run(job, outcome.metrics),
        finished=now,
        held=None,
    )


def cancelled(job: Job, now: datetime, *, reason: str) -> Job:
    """Return a queued or running job as Cancelled; the time for which it ran counts as used.

    Raises:
        InvalidStateError: If it has ended already.
    """
    if job.state.terminal:
        raise InvalidStateError(f"Job {job.id} is {job.state} and cannot be cancelled.")
    metrics = _ran(job, job.run_seconds(now))
    return ended(job, Outcome(state=JobState.CANCELLED, reason=reason, metrics=metrics), now)


def _ran(job: Job, seconds: float) -> Metrics:
    """Return the metrics of a run of which no more is known than how long it took."""
    return msgspec.structs.replace(job.metrics, seconds=seconds, slot_seconds=seconds)


def _with_run(job: Job, run: Metrics) -> Metrics:
    """Return the metrics of a run with the time that the job has used before.

    No run is charged for more than the job may take, whatever is said of it, so that sums of such times stay finite.
    """
    before, charged = job.metrics, min(max(0.0, run.charged), float(job.max_seconds))
    seconds = min(max(0.0, run.seconds) + before.seconds, sys.float_info.max)
    return msgspec.structs.replace(run, seconds=seconds, slot_seconds=before.charged + charged)


def _queued_again(job: Job) -> Job:
    return replace(job, state=JobState.QUEUED, started=None, progress=None)


def _demand(job: Job, state: JobState, *, to: str) -> None:
    if job.state is not state:
        raise InvalidStateError(f"Job {job.id} is {job.state} and cannot {to}.")


def _printable(reason: str | None) -> str | None:
    """Return what every database can hold: a job must be able to end, whatever its process says about that."""
    if reason is None:
        return None
    return reason.encode(errors="replace").decode().replace("\0", "\N{REPLACEMENT CHARACTER}")


_KEPT_CHANGES: Final = 100


class SessionMode(StrEnum):
    """Spelled as on the wire."""

    DEDICATED = "dedicated"
    BATCH = "batch"


class SessionState(StrEnum):
    """Spelled as on the wire."""

    OPEN = "open"
    ACTIVE = "active"
    INACTIVE = "inactive"
    CLOSED = "closed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """A session or a batch.

    Attributes:
        closed: When it stopped accepting jobs by request.
        interactive_ttl: How long an idle session stays active after its last job.
        max_ttl: How long after its first job's start it stops accepting jobs.
        active_jobs: Its jobs that are queued or running.
        first_job_started: When its first job started; a session without has not started its clock.
        changes: The newest states that it came into after it was opened, up to its last job; later ones follow from
            the time.
        seconds: Slot time of its jobs that have ended.
    """

    id: SessionId
    account: AccountId
    instance: str
    backend: str
    mode: SessionMode
    created: datetime
    max_ttl: timedelta
    interactive_ttl: timedelta
    closed: datetime | None = None
    active_jobs: int = 0
    first_job_started: datetime | None = None
    last_job_started: datetime | None = None
    last_job_completed: datetime | None = None
    changes: tuple[tuple[SessionState, datetime], ...] = ()
    seconds: float = 0.0

    def expires(self) -> datetime | None:
        """Return when `max_ttl` runs out, or None while no job has started."""
        return None if self.first_job_started is None else self.first_job_started + self.max_ttl

    def accepts_jobs(self, now: datetime) -> bool:
        """Return whether a job may be added at `now`."""
        expires = self.expires()
        return self.closed is None and (expires is None or now < expires)

    def check_accepts_jobs(self, now: datetime) -> None:
        """Refuse a job that is to be added at `now`.

        Raises:
            InvalidStateError: If the session was closed or its time is over.
        """
        if not self.accepts_jobs(now):
            raise InvalidStateError(f"Session {self.id} accepts no more jobs.")

    def with_job_queued(self, now: datetime) -> "Session":
        """Return the session after one more job was added to it."""
        changes, idle_since = self.changes, self._inactive_since(now)
        if idle_since is not None:
            changes = (*changes, (SessionState.INACTIVE, idle_since))[-_KEPT_CHANGES:]
        return replace(self, active_jobs=self.active_jobs + 1, changes=changes)

    def with_job_started(self, now: datetime) -> "Session":
        """Return the session after one of its jobs began to run."""
        changes = self.changes
        if not changes or changes[-1][0] is not SessionState.ACTIVE:
            changes = (*changes, (SessionState.ACTIVE, now))[-_KEPT_CHANGES:]
        return replace(self, first_job_started=self.first_job_started or now, last_job_started=now, changes=changes)

    def with_job_ended(self, now: datetime, seconds: float) -> "Session":
        """Return the session after one of its jobs came to a terminal state, having taken `seconds` of slot time."""
        return replace(self, active_jobs=self.active_jobs - 1, last_job_completed=now, seconds=self.seconds + seconds)

    def state(self, now: datetime) -> SessionState:
        """Return the state that clients see: closed only once its last job has ended."""
        return self.history(now)[-1][0]

    def history(self, now: datetime) -> list[tuple[SessionState, datetime]]:
        """Return the states that it came into, the oldest first, and when."""
        changes = [(SessionState.OPEN, self.created), *self.changes]
        if (idle_since := self._inactive_since(now)) is not None:
            changes.append((SessionState.INACTIVE, idle_since))
        if (ended := self.ended(now)) is not None:
            changes.append((SessionState.CLOSED, ended))
        return changes

    def ended(self, now: datetime) -> datetime | None:
        """Return when it was closed for good: when it had stopped accepting jobs, and its last one had ended."""
        if self.active_jobs or self.accepts_jobs(now):
            return None
        return max(self._stops(), self.last_job_completed or self.created)

    def activated(self) -> datetime | None:
        """Return when it became active, the last time."""
        times = [time for state, time in self.changes if state is SessionState.ACTIVE]
        return times[-1] if times else None

    def remaining(self, now: datetime) -> timedelta:
        """Return how much is left of `max_ttl`; nothing once it accepts no jobs."""
        if not self.accepts_jobs(now):
            return timedelta(0)
        return self.max_ttl if self.first_job_started is None else self.first_job_started + self.max_ttl - now

    def _stops(self) -> datetime:
        """Return when it stops, or stopped, accepting jobs; the end of the calendar if nothing says so."""
        never = datetime.max.replace(tzinfo=self.created.tzinfo)
        return min(self.closed or never, self.expires() or never)

    def _inactive_since(self, now: datetime) -> datetime | None:
        """Return since when it has been idle for longer than `interactive_ttl`, without having been closed before."""
        if self.active_jobs or self.last_job_completed is None or self.first_job_started is None:
            return None
        idle_since = self.last_job_completed + self.interactive_ttl
        known = self.changes and self.changes[-1][0] is SessionState.INACTIVE
        return idle_since if not known and idle_since < min(now, self._stops()) else None
