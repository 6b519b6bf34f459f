"""What the parts of a store in memory share: jobs, sessions, counts, and what changes with every transition."""

import time
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta

from qiskit_runtime_server.accounts.limits import AccountLimits
from qiskit_runtime_server.backends.names import ExecutorName
from qiskit_runtime_server.errors import JobNotFoundError, MalformedRequestError, SessionNotFoundError
from qiskit_runtime_server.jobs import (
    AccountId,
    Job,
    JobId,
    JobState,
    Session,
    SessionId,
)
from qiskit_runtime_server.messages.messages import Holder
from qiskit_runtime_server.store import fair_share
from qiskit_runtime_server.store.fair_share import Counts, age
from qiskit_runtime_server.store.hub import Hub
from qiskit_runtime_server.store.overviews import KeptText
from qiskit_runtime_server.store.port import (
    DocumentKind,
    Ended,
    Queued,
    UsageDay,
)


@dataclass(slots=True, kw_only=True)
class Kept:
    """A job and what belongs to it.

    Attributes:
        holder: Who claimed it last.
        lease_until: On the store's lease clock.
    """

    job: Job
    documents: dict[DocumentKind, bytes]
    holder: Holder | None = None
    lease_until: float = 0.0

    @property
    def stored_bytes(self) -> int:
        """How large its documents are together."""
        return sum(map(len, self.documents.values()))


@dataclass(frozen=True, slots=True, kw_only=True)
class SlotTime:
    """What a job has taken that has ended after running."""

    job: Job
    ended: datetime

    @property
    def queue_seconds(self) -> float:
        """From its submission to the start of the run that ended it."""
        return 0.0 if self.job.started is None else max(0.0, (self.job.started - self.job.created).total_seconds())


@dataclass(slots=True, kw_only=True)
class State:
    """What all parts of the store share.

    Attributes:
        clock: Measures leases, in seconds.
        counts: Of every account that ever sent a job to the executor.
        days: What instances have used, by day.
        slot_times: The same job by job.
        limits: Slot time a day that admins have granted to instances.
    """

    clock: Callable[[], float] = time.monotonic
    hub: Hub = field(default_factory=Hub)
    jobs: dict[JobId, Kept] = field(default_factory=dict)
    sessions: dict[SessionId, Session] = field(default_factory=dict)
    counts: defaultdict[ExecutorName, dict[AccountId, Counts]] = field(default_factory=lambda: defaultdict(dict))
    days: dict[tuple[date, AccountId, str, ExecutorName], UsageDay] = field(default_factory=dict)
    slot_times: list[SlotTime] = field(default_factory=list)
    limits: dict[tuple[AccountId, str], int] = field(default_factory=dict)
    kept_texts: dict[str, KeptText] = field(default_factory=dict)
    draining: set[ExecutorName] = field(default_factory=set)
    last_now: datetime = datetime(1970, 1, 1, tzinfo=UTC)

    def now(self) -> datetime:
        """Return the time, later than ever before, so that nobody begins to wait at the same time as another."""
        self.last_now = max(datetime.now(UTC), self.last_now + timedelta.resolution)
        return self.last_now

    def find(self, account: AccountId | None, job_id: str) -> Kept:
        """Return a job of the account; of anybody for None."""
        refuse_surrogates([job_id])
        kept = self.jobs.get(JobId(job_id))
        if kept is None or account not in {None, kept.job.account}:
            raise JobNotFoundError(f"Job {job_id} not found.")
        return kept

    def session(self, account: AccountId, session_id: str) -> Session:
        """Return a session of the account."""
        session = self.sessions.get(SessionId(session_id))
        if session is None or session.account != account:
            raise SessionNotFoundError(f"Session {session_id} not found.")
        return session

    def held(self, job_id: JobId, fence: int) -> Kept | None:
        """Return the running job of a claim, if the claim still holds."""
        kept = self.jobs.get(job_id)
        return kept if kept and kept.job.state is JobState.RUNNING and kept.job.fence == fence else None

    def in_state(self, state: JobState, executor: ExecutorName) -> list[Kept]:
        """Return an executor's jobs in a state, the oldest first."""
        kept = (kept for kept in self.jobs.values() if kept.job.state is state and kept.job.executor == executor)
        return sorted(kept, key=lambda kept: age(kept.job))

    def waiting(self, executor: ExecutorName) -> list[Kept]:
        """Return an executor's queued jobs that are not held, the oldest first."""
        return [kept for kept in self.in_state(JobState.QUEUED, executor) if kept.job.held is None]

    def running_long(self, executor: ExecutorName) -> int:
        """Return how many jobs run there that are known as long."""
        return sum(kept.job.long_since is not None for kept in self.in_state(JobState.RUNNING, executor))

    def requeue(self, kept: Kept, job: Job, now: datetime) -> None:
        """Keep a job that ran as it is queued again."""
        seconds = job.metrics.charged - kept.job.metrics.charged
        kept.job = job
        self.count(job, lambda counts: fair_share.stopped(counts, job, now, queued_again=True))
        if seconds > 0:
            self.charge(job, seconds, now, jobs=0)

    def move(self, kept: Kept, job: Job, now: datetime) -> None:
        """Keep a job as it waits for another executor, and tell of it."""
        before, kept.job = kept.job, job
        counts = self.counts[before.executor][before.account]
        limits = AccountLimits(weight=counts.weight, running=counts.max_running)
        if before.state is JobState.RUNNING:
            self.count(before, lambda counts: fair_share.stopped(counts, before, now, queued_again=False))
        else:
            self.count(before, lambda counts: fair_share.left(counts, before))
        self.count(job, lambda counts: fair_share.arrived(counts, job, limits, now))
        self.hub.announce(Queued(executor=job.executor))

    def count(self, job: Job, change: Callable[[Counts], Counts]) -> None:
        """Change the counts of the job's account on its executor."""
        of_executor = self.counts[job.executor]
        of_executor[job.account] = change(of_executor.get(job.account, Counts()))

    def note(self, job: Job, change: Callable[[Session], Session]) -> None:
        """Change the job's session, if it has one."""
        if job.session_id is not None:
            self.sessions[job.session_id] = change(self.sessions[job.session_id])

    def end(self, kept: Kept, job: Job, now: datetime) -> None:
        """Keep a job as it has ended, tell of it, and count it for account, session and instance."""
        ran = kept.job.state is JobState.RUNNING
        # What earlier runs have used is charged already.
        total, seconds = job.metrics.charged, job.metrics.charged - kept.job.metrics.charged
        kept.job = job
        if ran:
            self.count(job, lambda counts: fair_share.stopped(counts, job, now, queued_again=False))
        else:
            self.count(job, lambda counts: fair_share.left(counts, job))
        self.note(job, lambda session: session.with_job_ended(now, total))
        if ran or total > 0:
            self.slot_times.append(SlotTime(job=job, ended=now))
            self.charge(job, seconds, now, jobs=1)
        self.hub.ended(job)
        self.hub.announce(Ended(job_id=job.id, job=job if job.id in self.jobs else None))

    def used(self, day: date, account: AccountId, instance: str) -> float:
        """Return the slot time of an instance's jobs that have ended on one day."""
        return sum(
            used.seconds
            for used in self.days.values()
            if (used.day, used.account, used.instance) == (day, account, instance)
        )

    def charge(self, job: Job, seconds: float, now: datetime, *, jobs: int) -> None:
        """Add what a run has used, and a job if it has ended with that, to the sums of the day."""
        day = now.date()
        key = day, job.account, job.instance, job.executor
        new = UsageDay(account=job.account, instance=job.instance, executor=job.executor, day=day, seconds=0.0, jobs=0)
        used = self.days.get(key, new)
        self.days[key] = replace(used, seconds=used.seconds + seconds, jobs=used.jobs + jobs)


class Part:
    """A part of the store."""

    def __init__(self, state: State) -> None:
        self._state = state


def refuse_surrogates(values: Iterable[object]) -> None:
    """Refuse text that no database can hold."""
    for value in values:
        for text in value if isinstance(value, tuple) else (value,):
            try:
                str(text).encode()
            except UnicodeEncodeError as error:
                raise MalformedRequestError(f"The request has text that is not Unicode: {error}.") from error
