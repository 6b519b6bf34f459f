"""What the server asks of a store; one test suite runs on every implementation.

A store is durable: when a method that writes has returned, the write survives a crash. A call whose caller is cancelled
still happens, wholly or not at all. Only the store's own clock counts. Methods that take an `account` see nothing of
other accounts; None, where it is allowed, stands for all of them. Every method may raise `StoreUnavailableError`, and
`MalformedRequestError` for a value that the database cannot hold, such as text with a NUL character.
"""

from collections.abc import AsyncGenerator, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from enum import StrEnum
from typing import Final, Protocol

from qiskit_runtime_server.accounts.limits import NO_LIMITS, AccountLimits
from qiskit_runtime_server.backends.names import ExecutorName
from qiskit_runtime_server.jobs import AccountId, Job, JobId, JobState, Outcome, RetryReason, Session, SessionId
from qiskit_runtime_server.messages.messages import Holder, Progress, Routing
from qiskit_runtime_server.store.overviews import Overviews

COUNTED_JOBS: Final = 500
"""How many jobs are counted one by one, from either end of a queue, to say where in it a job is."""

MOST_RUNNING: Final = 1_000
"""More jobs of one account than ever run at a time."""

MOST_OWNERS: Final = 5_000
"""For how many accounts and instances together a database can be asked in one listing."""

UNUSED_FOR: Final = timedelta(days=1)
"""After how long a session is removed that has no jobs and in which none has ever started."""

BY_OWNER: Final = "Deleted by its owner."
"""Why a job was ended that was deleted while it was queued or running."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Owners:
    """Whose jobs a listing shows: all those of some accounts, and of others what was sent under some instances.

    Attributes:
        instances: Accounts, each with the CRN of an instance of its own.
    """

    accounts: tuple[AccountId, ...] = ()
    instances: tuple[tuple[AccountId, str], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class JobQuery:
    """Which jobs a listing shows; None means any.

    Attributes:
        owners: Beside the account that is asked for; where that is None, these alone.
        dry_runs: Whether jobs on backends for dry runs are among them, beside those on `backend`.
        beyond: Creation and id of a job: only those that come after it in this order are shown, but all are counted.
    """

    owners: Owners | None = None
    backend: str | None = None
    program_id: str | None = None
    pending: bool | None = None
    state: JobState | None = None
    session_id: str | None = None
    dry_runs: bool = True
    tags: tuple[str, ...] = ()
    created_after: datetime | None = None
    created_before: datetime | None = None
    oldest_first: bool = False
    limit: int = 20
    offset: int = 0
    beyond: tuple[datetime, str] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldJobs:
    """Queued jobs of one instance that are not started.

    Attributes:
        jobs: How many.
    """

    account: AccountId
    instance: str
    jobs: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """The right to run a job until its lease ends, as of `job.fence`.

    Attributes:
        params: What was submitted, if it is small; None if it is to be read.
        seconds_per_day: What an admin has granted the job's instance over the API; None if none has.
        last: Whether no other job waited for its executor then.
        previous: Who ran it before, if it was taken over from a holder whose lease ran out; then nothing else is known.
    """

    job: Job
    params: bytes | None = None
    seconds_per_day: int | None = None
    last: bool = False
    previous: Holder | None = None

    @property
    def key(self) -> tuple[JobId, int]:
        """Job and fence, which name the claim."""
        return self.job.id, self.job.fence


class DocumentKind(StrEnum):
    """The large parts of a job."""

    PARAMS = "params"
    RESULT = "result"
    LOG = "log"


@dataclass(frozen=True, slots=True, kw_only=True)
class Retention:
    """What is kept of jobs that have ended; None for everything.

    Attributes:
        age: How long after its end.
        jobs: How many of each account.
        stored_bytes: How much all of their documents may take together, as they are kept.
    """

    age: timedelta | None = None
    jobs: int | None = None
    stored_bytes: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Swept:
    """What was removed.

    Attributes:
        limit: What it was over; the name of a field of `Retention`.
    """

    limit: str
    jobs: int
    stored_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Forgotten:
    """How much of what an account had was removed."""

    jobs: int = 0
    sessions: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Surplus:
    """What is over the limits of a `Retention`, each limit by itself.

    Attributes:
        jobs: How many jobs have ended, over a limit or not.
        stored_bytes: How much all of them take.
        too_old: How many of them are over the age.
        too_many: How many are more than their accounts may keep.
        excess_bytes: How much they take beyond what they may.
    """

    jobs: int
    stored_bytes: int
    too_old: int = 0
    too_many: int = 0
    excess_bytes: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """How busy an executor is.

    Attributes:
        queued: Jobs that wait for a slot; those that are held are not among them.
        startable: How many of them may run beside what runs, by the limits of their accounts on running jobs.
        long_waits: Whether one of these is known as long, so that it does not get the slot that is kept for short ones.
        draining: Its jobs stay queued, as an admin has said.
    """

    queued: int = 0
    running: int = 0
    oldest_queued: datetime | None = None
    startable: int = 0
    long_waits: bool = False
    draining: bool = False

    def waiting_seconds(self, now: datetime) -> float:
        """Return how long the oldest queued job has waited; 0 if none is queued."""
        return 0.0 if self.oldest_queued is None else max(0.0, (now - self.oldest_queued).total_seconds())


@dataclass(frozen=True, slots=True, kw_only=True)
class QueuedTime:
    """What is known of how long the jobs take that wait for an executor.

    Attributes:
        jobs: The oldest of them, at most `COUNTED_JOBS`.
        predicted: Of how many a time is predicted.
        seconds: These times together.
    """

    jobs: int
    predicted: int
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """What an instance may use, and has used.

    Attributes:
        granted: Slot time a day, if an admin has said so over the API.
        today: Slot time of its jobs that have ended since the day (UTC) began.
        of_account: Slot time of all jobs of its account, deleted ones included.
        running: Its jobs that run now, at most `MOST_RUNNING`, the newest first.
    """

    granted: int | None
    today: float
    of_account: float
    running: Sequence[Job]


@dataclass(frozen=True, slots=True, kw_only=True)
class UsageDay:
    """What an instance has used of an executor by jobs that ended on one day (UTC) after running."""

    account: AccountId
    instance: str
    executor: ExecutorName
    day: date
    seconds: float
    jobs: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Queued:
    """A job waits for the executor.

    Attributes:
        elsewhere: Another replica has put it there, and looks for a slot itself.
    """

    executor: ExecutorName
    elsewhere: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """A job has ended or was deleted.

    Attributes:
        job: As it has ended; None if it was deleted, or ended in another replica.
    """

    job_id: JobId
    job: Job | None = field(default=None, compare=False)


Signal = Queued | Ended


class JobStore(Protocol):
    """Jobs as their owners see them."""

    async def add(self, job: Job, params: bytes | memoryview, limits: AccountLimits = NO_LIMITS) -> None:
        """Keep a new job as Queued; weight and limit of running jobs hold for all jobs of the account from then on.

        What an admin has granted the instance over the API counts in place of the `seconds_per_day` of `limits`.

        Raises:
            SessionNotFoundError: If `job.session_id` is not a session of the account.
            InvalidStateError: If that session accepts no jobs any more.
            LimitError: If the instance has as many queued jobs, or has used as much slot time today, as it may, or the
                jobs of the account take as much room. Of the room, jobs that are added at once may take more.
            StoreFullError: If there is so little room left that it is kept for what goes on and for making room.
        """

    async def get(self, account: AccountId | None, job_id: str) -> Job:
        """Return the job.

        Raises:
            JobNotFoundError: If the account has no such job.
        """

    async def find(self, account: AccountId | None, query: JobQuery) -> tuple[Sequence[Job], int]:
        """Return one page of the account's jobs, newest first unless asked otherwise, and how many match in all."""

    async def cancel(self, account: AccountId | None, job_id: str, *, reason: str) -> Job:
        """Bring a queued or running job to Cancelled at once and return it as it was; its claim is void from then on.

        The time for which it ran counts as used.

        Raises:
            JobNotFoundError: If the account has no such job.
            InvalidStateError: If the job has already ended.
        """

    async def delete(self, account: AccountId | None, job_id: str, *, reason: str = BY_OWNER) -> Job:
        """Remove the job with all its documents, cancelling it first if need be, and return it as it was.

        Raises:
            JobNotFoundError: If the account has no such job.
        """

    async def set_tags(self, account: AccountId, job_id: str, tags: Sequence[str]) -> None:
        """Replace the job's tags.

        Raises:
            JobNotFoundError: If the account has no such job.
        """


class DocumentStore(Protocol):
    """The large parts of jobs. Who may read them is decided with `JobStore.get`."""

    async def params(self, job_id: JobId) -> bytes:
        """Return what was submitted, byte for byte.

        Raises:
            JobNotFoundError: If the job has been deleted.
        """

    async def result(self, job_id: JobId) -> bytes | None:
        """Return the result, or None if there is none."""

    def pieces(self, job_id: JobId, kind: DocumentKind) -> AsyncGenerator[bytes, None]:
        """Yield a document in pieces of at most 1 MiB, none if there is none; nothing is held between two of them.

        Raises:
            JobNotFoundError: If the job is deleted meanwhile.
        """

    async def take_result(self, job_id: JobId) -> bytes | None:
        """Return the result and forget it: a second call returns None, also when two calls race."""

    async def append_log(self, job_id: JobId, text: str) -> None:
        """Add to the job's log; does nothing if the job has been deleted."""

    async def log(self, job_id: JobId) -> str:
        """Return the log so far, empty if there is none."""


class QueueStore(Protocol):
    """Jobs as dispatchers see them."""

    async def claim(
        self, executor: ExecutorName, holder: Holder, *, lease: timedelta, long_slots: int | None = None
    ) -> Claim | None:
        """Mark the next queued job for `executor` as running and return it; None if there is none.

        Of the accounts that may run one more, the one with the fewest running jobs on that executor by weight comes
        first, then the one that has waited longest for its turn. While an account with waiting jobs runs none, another
        account gets at most as many claims as its weight, and only if it has waited before.

        Of the account's jobs, those in sessions come first, then the older ones; but of every five claims at
        least one is for the oldest job of all. `fair_share` says the same in Python.

        Jobs that are held are passed over, and so are jobs known as long while `long_slots` or more of them run on that
        executor, for whatever dispatcher; None is any number.
        """

    async def take_over(self, executor: ExecutorName, *, lease: timedelta) -> Claim | None:
        """Claim a running job whose lease has run out, whoever held it; None if there is none."""

    async def renew(self, claims: Collection[tuple[JobId, int]], *, lease: timedelta) -> set[tuple[JobId, int]]:
        """Extend the leases, also those that ran out, and return the claims that still hold.

        A claim holds while its job is running under its fence.
        """

    async def finish(self, claim: Claim, outcome: Outcome, result: bytes | None) -> bool:
        """End the job with its result, all or nothing, if the claim still holds; return whether it did."""

    async def requeue(self, claim: Claim, why: RetryReason, *, reason: str) -> Job | None:
        """Return the job to the queue with its old place, or fail it with `reason` when this retry is one too many.

        Returns:
            The job as it is now, or None if the claim no longer held.
        """

    async def route(self, claim: Claim, executor: ExecutorName, routing: Routing) -> Job | None:
        """Put a claimed job whose executor was to be chosen, or is to be chosen anew, into the queue of this one.

        The job is as `jobs.routed` says.

        Its account's weight and limit of running jobs hold there, too.

        Returns:
            The job as it is now, or None if the claim no longer held.
        """

    async def move(self, job: Job, executor: ExecutorName) -> Job | None:
        """Put a job that was routed, and waits on `job.executor`, into the queue of another executor.

        Returns:
            The job as it is now, or None if it did not wait there any more, or is held.
        """

    async def found_long(self, claim: Claim, *, long_slots: int) -> Job | None:
        """Note that a running job is no short one; return it to its old place if `long_slots` others run already.

        Returns:
            The job as it is now, Running or Queued, or None if the claim no longer held.
        """

    async def note_progress(self, claim: Claim, progress: Progress) -> None:
        """Keep how far a running job has come; does nothing if the claim no longer holds."""

    async def hold(self, claim: Claim, *, reason: str) -> Job | None:
        """Return the job to its old place in the queue, where it is not claimed before it is released.

        Returns:
            The job as it is now, or None if the claim no longer held.
        """

    async def held(self) -> Sequence[HeldJobs]:
        """Return whose jobs are held, by account and instance."""

    async def release(self, account: AccountId, instance: str, job_id: JobId | None = None) -> int:
        """Let the held jobs of an instance, or one of them, be claimed again; return how many there were."""

    async def drain(self, executor: ExecutorName, *, draining: bool) -> None:
        """Leave the executor's jobs in the queue from now on, in all replicas and beyond restarts; or claim again."""


class SessionStore(Protocol):
    """Sessions as their owners see them."""

    async def add(self, session: Session, limits: AccountLimits = NO_LIMITS) -> None:
        """Keep a new session.

        Raises:
            LimitError: If the account has opened as many within a day, in which no job has started, as it may.
        """

    async def get(self, account: AccountId, session_id: str) -> Session:
        """Return the session with the times of its jobs.

        Raises:
            SessionNotFoundError: If the account has no such session.
        """

    async def close(self, account: AccountId, session_id: str) -> None:
        """Stop accepting jobs; does nothing if it is closed already.

        Raises:
            SessionNotFoundError: If the account has no such session.
        """

    async def queued_jobs(self, session_id: SessionId) -> Sequence[JobId]:
        """Return the session's jobs that are still queued."""


class Archive(Protocol):
    """Jobs that have ended."""

    async def sweep(self, retention: Retention) -> Swept | None:
        """Remove a few jobs that are over a limit, with all their documents, and return how many; None if none is.

        The number is 0 if another replica was faster. The oldest go first, where bytes are short those of the account
        that takes most. What is queued or running is never touched, nor is what was counted of the jobs. Takes
        milliseconds, so that nobody waits for it; replicas may sweep side by side.
        """

    async def surplus(self, retention: Retention) -> Surplus:
        """Return how much is over the limits now and would be removed by sweeps; reads all ended jobs' sizes."""

    async def sweep_sessions(self) -> int:
        """Remove a few sessions without jobs that were opened `UNUSED_FOR` ago and never had a job that started.

        Returns:
            How many; 0 if there are none, or another replica was faster.
        """

    async def forget(self, account: AccountId) -> Forgotten:
        """Remove a few of an account's ended jobs with all their documents, then sessions without jobs and limits.

        Nothing is removed twice; after the last of it nothing is found. What is queued or running is not touched, nor
        is what was counted. Takes milliseconds, as `sweep` does.
        """


class CountStore(Protocol):
    """Counts that are kept up to date with every transition, so that reading them costs nothing."""

    async def load(self) -> Mapping[ExecutorName, Load]:
        """Return the load of every executor that ever had a job or was drained."""

    async def queue_position(self, job: Job) -> int:
        """Return how many queued jobs of that executor are older, plus one.

        Where more than `COUNTED_JOBS` of them are older and as many younger, that is an estimate between the two, by
        age: to count a long queue for each job that waits in it would cost more than to run it.
        """

    async def expected_ends(self, executor: ExecutorName) -> Sequence[datetime | None]:
        """Return when each job that runs there is about to end, as `Job.expected_end`."""

    async def queued_time(self, executor: ExecutorName) -> QueuedTime:
        """Return how long the jobs take that wait there."""

    async def routed(self, executor: ExecutorName, *, limit: int) -> Sequence[Job]:
        """Return jobs that wait on an executor that was chosen for them and are not held, the youngest first."""

    async def standing(self, account: AccountId, instance: str) -> Standing:
        """Return what an instance may use, and has used."""

    async def usage(self, since: date, until: date) -> Sequence[UsageDay]:
        """Return what was used on which day, both included, by day, account, instance and executor."""


class Signals(Protocol):
    """Tells what happens to jobs: every end to who counts them, wake-ups to those who would otherwise only poll."""

    def on_end(self, listener: Callable[[Job], None]) -> None:
        """Have `listener` told of each job that comes to a terminal state by a call on this store.

        It is given the job as it is then, once and after the commit, also if the job is deleted with that. Whoever ends
        a job, and however, is counted here and nowhere else.
        """

    def watch(self) -> AsyncGenerator[Signal, None]:
        """Yield what happens in any replica from the first step on, after it was committed.

        A signal may come twice or, when the database or a replica is in trouble, never: whoever waits also polls.
        """


class Store(Protocol):
    """Everything together."""

    jobs: JobStore
    documents: DocumentStore
    queue: QueueStore
    sessions: SessionStore
    archive: Archive
    counts: CountStore
    overviews: Overviews
    signals: Signals

    async def has_room(self) -> bool:
        """Return whether it takes new jobs, as far as its disk can be seen from here."""

    async def close(self) -> None:
        """Release the connections and locks."""
