"""What listings over jobs and sessions, and sums over what they have used, ask of a store.

Nothing here is needed to run jobs. Rules as in `store.port`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum
from typing import Final, Protocol

from qiskit_runtime_server.jobs import AccountId, Job, JobState, Session, SessionMode, SessionState

WorkloadKey = tuple[datetime, str]
"""When a workload was created, and its id: its place among all."""


class WorkloadMode(StrEnum):
    """What a workload is; spelled as on the wire."""

    JOB = "job"
    SESSION = "session"
    BATCH = "batch"


class WorkloadStatus(StrEnum):
    """Spelled as on the wire."""

    COMPLETED = "completed"
    CANCELLED = "canceled"
    FAILED = "failed"
    PENDING = "pending"
    IN_PROGRESS = "in_progress"


STATUS_OF_JOB: Final = {
    JobState.QUEUED: WorkloadStatus.PENDING,
    JobState.RUNNING: WorkloadStatus.IN_PROGRESS,
    JobState.COMPLETED: WorkloadStatus.COMPLETED,
    JobState.FAILED: WorkloadStatus.FAILED,
    JobState.CANCELLED: WorkloadStatus.CANCELLED,
}
STATUS_OF_SESSION: Final = {
    SessionState.OPEN: WorkloadStatus.PENDING,
    SessionState.ACTIVE: WorkloadStatus.IN_PROGRESS,
    SessionState.INACTIVE: WorkloadStatus.IN_PROGRESS,
    SessionState.CLOSED: WorkloadStatus.COMPLETED,
}
MODE_OF_SESSION: Final = {SessionMode.DEDICATED: WorkloadMode.SESSION, SessionMode.BATCH: WorkloadMode.BATCH}


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkloadQuery:
    """Which workloads a listing shows; None and empty mean any.

    Attributes:
        instance: CRN.
        statuses: Any of them.
        search: A part of an id, or of a tag of a job; upper and lower case are not told apart for ASCII letters.
        tags: All of them; sessions have none.
        dry_runs: Whether workloads on backends for dry runs are among them, beside those on `backend`.
        past: The place after which the page begins, in the order of the page; the place before which it ends if
            `backwards`.
    """

    instance: str
    backend: str | None = None
    mode: WorkloadMode | None = None
    statuses: frozenset[WorkloadStatus] = frozenset()
    search: str | None = None
    tags: tuple[str, ...] = ()
    dry_runs: bool = True
    created_after: datetime | None = None
    created_before: datetime | None = None
    newest_first: bool = False
    limit: int = 10
    past: WorkloadKey | None = None
    backwards: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkloadPage:
    """A page of workloads: sessions, batches, and jobs in neither.

    Attributes:
        count: How many there are on all pages.
        more: Whether there are others beyond the page, in the direction in which it was read.
    """

    workloads: Sequence[Job | Session]
    count: int
    more: bool


class UsageKey(StrEnum):
    """By what slot time is grouped; spelled as on the wire."""

    INSTANCE = "instance"
    BACKEND = "backend"
    ACCOUNT = "user_id"


@dataclass(frozen=True, slots=True, kw_only=True)
class UsageQuery:
    """Which slot time is summed: that of jobs that ended from `since` until before `until`; empty means any.

    Attributes:
        account: None for all.
        by: The key of the groups; None for one group.
        by_day: Whether each group is one for each day (UTC).
    """

    account: AccountId | None
    since: datetime
    until: datetime
    instances: tuple[str, ...] = ()
    backends: tuple[str, ...] = ()
    accounts: tuple[str, ...] = ()
    by: UsageKey | None = None
    by_day: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class UsageOfMode:
    """Workloads of one mode that have jobs in a group.

    Attributes:
        seconds: Slot time of all of them, and `longest` of the one with the most.
    """

    number: int = 0
    seconds: float = 0.0
    longest: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class UsageGroup:
    """Slot time of jobs that have ended after running, in seconds.

    Attributes:
        key: None where there is one group only.
        queue_seconds: From submission to the start of the run that ended the job, summed; and the longest.
    """

    key: str | None = None
    day: date | None = None
    jobs: int = 0
    seconds: float = 0.0
    queue_seconds: float = 0.0
    longest_queue: float = 0.0
    batches: UsageOfMode = UsageOfMode()
    dedicated: UsageOfMode = UsageOfMode()
    individual: UsageOfMode = UsageOfMode()


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptText:
    """A text that outlives a restart.

    Attributes:
        since: When it became what it is.
    """

    text: str
    since: datetime


class Overviews(Protocol):
    """Listings and sums, the limits that admins have set, and texts that outlive a restart of every api."""

    async def workloads(self, account: AccountId, query: WorkloadQuery) -> WorkloadPage:
        """Return one page of the account's workloads, by age."""

    async def tags(self, account: AccountId, search: str, *, limit: int) -> Sequence[str]:
        """Return tags of the account's jobs that contain `search`, sorted; upper and lower case as in `workloads`."""

    async def accounts(self) -> Sequence[AccountId]:
        """Return every account that has ever sent a job, sorted."""

    async def usage(self, query: UsageQuery) -> Sequence[UsageGroup]:
        """Return slot time by day and key, deleted jobs included; without a key and days exactly one group."""

    async def instance_limit(self, account: AccountId, instance: str) -> int | None:
        """Return how much slot time an instance may take a day, if an admin has said so here."""

    async def limit_instance(self, account: AccountId, instance: str, seconds_per_day: int | None) -> None:
        """Keep that for good; None has accounts.toml hold again."""

    async def kept_text(self, name: str) -> KeptText | None:
        """Return the text that was kept last under a name, if one ever was."""

    async def keep_text(self, name: str, text: str) -> None:
        """Keep a text in place of the one before; does nothing if it is the same."""
