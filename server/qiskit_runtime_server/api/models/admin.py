"""What is answered to admins."""

from datetime import date

from qiskit_runtime_server.api.models.base import Answer
from qiskit_runtime_server.api.models.jobs import Job


class Endpoint(Answer):
    """One address of an executor service, as this api has heard of it."""

    address: str
    slots: int
    idle: int
    draining: bool
    release: str
    """Version of the executor's server; empty if it does not say."""
    device: str
    """What it simulates on."""
    num_qubits: int
    """The largest ideal circuit that fits."""


class Executor(Answer):
    """An executor of this api."""

    name: str
    queued: int
    running: int
    slots: int
    """That this api knows."""
    draining: bool
    missing_seconds: float
    """For how long no slot has been known; 0 while one is."""
    on_demand: bool
    """Whether one is started when a job waits."""
    endpoints: list[Endpoint]
    """Of an executor service; empty for slots of this process."""


class Executors(Answer):
    """The executors of this api."""

    executors: list[Executor]


class UsageDay(Answer):
    """What an instance has used of an executor by jobs that ended on one day."""

    account: str
    user_id: str
    """The account's id, which no other of that name has."""
    instance: str
    """CRN."""
    executor: str
    day: date
    """UTC."""
    seconds: float
    jobs: int


class RunningJobs(Answer):
    """The jobs of an instance that run now on an executor, which are not among what it has used yet."""

    account: str
    user_id: str
    """The account's id."""
    instance: str
    """CRN."""
    executor: str
    jobs: int
    seconds: float
    """For how long they have been running, in all."""


class Usage(Answer):
    """Slot time by day, account, instance and executor, and what runs now."""

    usage: list[UsageDay]
    running: list[RunningJobs]
    """Of the newest 1,000 jobs that run."""


class JobPage(Answer):
    """A page of everybody's jobs."""

    jobs: list[Job]
    count: int
    """How many jobs there are on all pages."""
    limit: int
    next: str | None
    """The `cursor` of the next page; null on the last one."""


class CancelledJobs(Answer):
    """What became of an account's jobs."""

    cancelled: int
    more: bool
    """Whether some are left, for another call."""


class DeletedData(Answer):
    """What became of what an account had."""

    cancelled: int
    """Jobs that were queued or running."""
    jobs: int
    """Jobs that were deleted, those among them."""
    sessions: int
    more: bool
    """Whether something is left, for another call."""
