"""Jobs and sessions: frozen data and pure functions; nothing here does I/O."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import NewType

from qiskit_runtime_server.backends.names import ExecutorName
from qiskit_runtime_server.messages.messages import Metrics

JobId = NewType("JobId", str)
SessionId = NewType("SessionId", str)
AccountId = NewType("AccountId", str)

MAX_WORKER_DEATHS = 3
MAX_LOSSES = 10


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One job as the store knows it; params, result and log are documents of their own.

    Attributes:
        backend: As the client spelled it.
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

    def expires(self) -> datetime | None:
        """Return when `max_ttl` runs out, or None while no job has started."""
        return None if self.first_job_started is None else self.first_job_started + self.max_ttl

    def accepts_jobs(self, now: datetime) -> bool:
        """Return whether a job may be added at `now`."""
        expires = self.expires()
        return self.closed is None and (expires is None or now < expires)

    def state(self, now: datetime) -> SessionState:
        """Return the state that clients see: closed only once its last job has ended."""
        if not self.accepts_jobs(now) and self.active_jobs == 0:
            return SessionState.CLOSED
        if self.first_job_started is None:
            return SessionState.OPEN
        idle_since = self.last_job_completed
        if self.active_jobs == 0 and idle_since is not None and now - idle_since > self.interactive_ttl:
            return SessionState.INACTIVE
        return SessionState.ACTIVE
