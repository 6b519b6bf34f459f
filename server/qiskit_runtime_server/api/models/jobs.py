"""What is answered about jobs."""

from typing import Any, Literal

from pydantic import Field

from qiskit_runtime_server.api.models.base import Answer, Time
from qiskit_runtime_server.jobs import JobState


class JobAccepted(Answer):
    """A job that was accepted, and will not be lost."""

    id: str
    backend: str
    private: Literal[True] | None = None
    """Only of private jobs."""
    session_id: str | None = None
    """Only of jobs in a session, also in one that the job has opened."""


class StateOfJob(Answer):
    """The state of a job."""

    status: JobState
    reason: str
    """Why it failed or was cancelled, or why it is held in the queue; empty otherwise."""
    reason_code: int | None = None
    """IBM's number for the error; only of jobs that failed."""


class Program(Answer):
    """The program that a job runs."""

    id: str


class Usage(Answer):
    """Slot time in seconds, under the names that clients of several versions read."""

    quantum_seconds: float
    seconds: float
    qpu_charge_time_seconds: float


class FinalUsage(Usage):
    """Slot time in seconds, and whether more may come."""

    status: Literal["pending", "final"]


class Job(Answer):
    """A job without its params."""

    id: str
    account: str
    user_id: str
    """The account's id, which no other of that name has."""
    instance: str
    """CRN of the instance that it was sent under."""
    backend: str
    status: JobState
    state: StateOfJob
    created: Time
    started: Time | None
    """When its last run began; null while it is queued."""
    seconds: float
    """Its slot time; so far, while it runs."""
    program: Program
    tags: list[str]
    session_id: str | None
    cost: int
    """Seconds that it may run."""
    private: bool
    runtime: str | None
    """Always null: there is one image."""
    estimated_running_time_seconds: float | None
    """Slot time, once it has ended."""
    usage: Usage


class JobWithParams(Job):
    """A job."""

    params: Any = None
    """As they were sent; missing with `exclude_params`, and of private jobs."""


class Jobs(Answer):
    """A page of jobs."""

    jobs: list[JobWithParams]
    count: int
    """How many jobs there are on all pages; at least `offset`."""
    limit: int
    offset: int
    next: str | None
    """The `cursor` of the next page; null on the last one."""


class Timestamps(Answer):
    """When a job went through its states."""

    created: Time
    running: Time | None
    finished: Time | None


class RunProgress(Answer):
    """How far a running job has come, in circuits: each parameter set and each variant of one counts."""

    done: int
    total: int
    """As far as that is known before variants are drawn."""
    fraction: float
    """Which part of it all is done, from 0 to 1, parts of a circuit included."""
    stage: str
    """What is being run, for people, as in `pub 2 of 5, noise factor 3`; may be empty."""


class Predicted(Answer):
    """What a job would take on an executor."""

    seconds: float | None
    """About how long; null if that is not known."""
    refusal: str | None
    """Why it cannot run there; null if it can."""


class JobMetrics(Answer):
    """What a job took, or is about to."""

    timestamps: Timestamps
    usage: FinalUsage
    executions: int
    """Circuits times parameter sets times shots."""
    num_circuits: int
    num_qubits: list[int]
    """Of each circuit."""
    qiskit_version: str | None
    progress: RunProgress | None
    """Of a job that runs for a fifth of a second or longer; null otherwise, and of a plug-in's own primitives."""
    estimated_start_time: Time | None
    """About when a queued job starts, by what ran on its executor since yesterday, as if older jobs came first whosever
    they are; null if too little is known."""
    estimated_completion_time: Time | None
    """About when it ends: for a running job by its speed so far, before that by its plan; null as above."""
    executor: str | None
    """Where it waits, runs or has run; null while that is to be chosen."""
    routing: dict[str, Predicted] | None
    """What it would take on each executor, as it was when one was chosen; null if its backend names the executor."""
    position_in_queue: int | None
    """Counts older queued jobs of the executor, and the job; null unless it is queued."""


class Tags(Answer):
    """Tags of jobs."""

    tags: list[str] = Field(max_length=200)


class WorkloadUsage(Answer):
    """What a workload has used."""

    qpu_charge_time_seconds: float


class Workload(Answer):
    """A session, a batch, or a job in neither."""

    id: str
    created: Time
    ended: Time | None
    backend: str
    instance: str
    """CRN."""
    user_id: str
    """The account."""
    accepting_jobs: bool | None
    """Null for a job."""
    mode: Literal["job", "session", "batch"]
    status: Literal["completed", "canceled", "failed", "pending", "in_progress"]
    status_reason: str | None
    """Of a job that failed or was cancelled."""
    tags: list[str]
    usage_seconds: float | None
    usage: WorkloadUsage | None
    """Null while it goes on."""


class Cursor(Answer):
    """Where a page is to be found."""

    href: str


class Workloads(Answer):
    """A page of workloads."""

    workloads: list[Workload]
    total_count: int
    """How many there are on all pages."""
    limit: int
    previous: Cursor | None = None
    next: Cursor | None = None
