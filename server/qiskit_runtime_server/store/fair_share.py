"""Fair share: whose job of an executor is claimed next.

Accounts wait for turns (docs/decisions/0007). Of those that may run one more job, the one with the fewest running jobs
by weight comes first, then the one that has waited longest. A turn lasts for as many claims as the account's weight;
then the account waits again, from the moment at which a job of it stops running. So while an account has queued jobs
and runs none, every other account gets at most as many claims as its weight, and only if it waited already: nobody
starves. Of an account's jobs those in sessions come first, then the older ones, but after `SESSION_CLAIMS_IN_ROW` of
them in a row its oldest job is next, whatever it is.

Jobs that are held are passed over, and so are jobs known as long while as many of these run as may
(docs/decisions/0021).

This is the rule in plain Python. `store/memory.py` runs it; `store/sql` keeps `Counts` as a row for each account and
executor, changes it in the same steps, and is compared with this module by a property test.
"""

from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Final

from qiskit_runtime_server.accounts.limits import AccountLimits
from qiskit_runtime_server.jobs import AccountId, Job

SESSION_CLAIMS_IN_ROW: Final = 4
"""After how many claims of session jobs in a row the account's oldest job is next."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """What is known of one account on one executor.

    Attributes:
        queued: Its queued jobs, those in sessions among them.
        weight: How many claims make a turn.
        max_running: How many of its jobs may run at a time; None for any number.
        waiting_since: When it began to wait for its turn.
        claims_in_turn: How many claims of its turn it has had.
        session_claims_in_row: How many of its last claims were made for a job in a session, while it was not the turn
            of the oldest job.
    """

    queued: int = 0
    queued_in_sessions: int = 0
    running: int = 0
    weight: int = 1
    max_running: int | None = None
    waiting_since: datetime = datetime(1970, 1, 1, tzinfo=UTC)
    claims_in_turn: int = 0
    session_claims_in_row: int = 0

    @property
    def share(self) -> float:
        """Its running jobs by weight."""
        return self.running / self.weight

    @property
    def may_run(self) -> bool:
        """Whether one more of its jobs may run."""
        return self.queued > 0 and (self.max_running is None or self.running < self.max_running)

    def startable(self, waiting: int) -> int:
        """Return how many of its `waiting` jobs may run now, if there are slots for them."""
        return waiting if self.max_running is None else min(waiting, max(0, self.max_running - self.running))

    @property
    def session_first(self) -> bool:
        """Whether its next job is one in a session."""
        return self.queued_in_sessions > 0 and self.session_claims_in_row < SESSION_CLAIMS_IN_ROW


def claimable(job: Job, *, short_only: bool) -> bool:
    """Return whether a queued job may be claimed: it is not held and, while only short jobs may, not known as long."""
    return job.held is None and not (short_only and job.long_since is not None)


def next_account(accounts: Mapping[AccountId, Counts], able_to: Container[AccountId]) -> AccountId | None:
    """Return whose turn it is on an executor; None if nobody may run a job.

    Args:
        accounts: Those that ever had jobs there.
        able_to: Those that have a job that is `claimable`.
    """
    able = (account for account, counts in accounts.items() if counts.may_run and account in able_to)
    return min(able, key=lambda account: (accounts[account].share, accounts[account].waiting_since), default=None)


def next_job(counts: Counts, queued: Iterable[Job]) -> Job:
    """Return which of the account's queued jobs is claimed, when it is its turn.

    Args:
        counts: Of the account.
        queued: Those of its queued jobs that are `claimable`, at least one, in any order.
    """
    return min(queued, key=lambda job: (counts.session_first and job.session_id is None, age(job)))


def age(job: Job) -> tuple[datetime, str]:
    """Return what orders jobs by age, the oldest first."""
    return job.created, job.id


def arrived(counts: Counts, job: Job, limits: AccountLimits, now: datetime) -> Counts:
    """Return the counts after a job was added; weight and limit of running jobs hold for all from then on."""
    idle = counts.queued == 0 and counts.running == 0
    return replace(
        _queued(counts, job, more=1),
        weight=limits.weight,
        max_running=limits.running,
        waiting_since=now if counts.queued == 0 else counts.waiting_since,
        claims_in_turn=0 if idle else counts.claims_in_turn,
    )


def claimed(counts: Counts, job: Job) -> Counts:
    """Return the counts after a queued job was claimed."""
    in_session_first = counts.session_first and job.session_id is not None
    return replace(
        _queued(counts, job, more=-1),
        running=counts.running + 1,
        claims_in_turn=counts.claims_in_turn + 1,
        session_claims_in_row=counts.session_claims_in_row + 1 if in_session_first else 0,
    )


def stopped(counts: Counts, job: Job, now: datetime, *, queued_again: bool) -> Counts:
    """Return the counts after a job ran no more: the turn is over if the account had all claims of it."""
    over = counts.claims_in_turn >= counts.weight
    return replace(
        _queued(counts, job, more=1) if queued_again else counts,
        running=counts.running - 1,
        waiting_since=now if over else counts.waiting_since,
        claims_in_turn=0 if over else counts.claims_in_turn,
    )


def left(counts: Counts, job: Job) -> Counts:
    """Return the counts after a job ended while it was queued."""
    return _queued(counts, job, more=-1)


def _queued(counts: Counts, job: Job, *, more: int) -> Counts:
    in_session = more if job.session_id is not None else 0
    return replace(counts, queued=counts.queued + more, queued_in_sessions=counts.queued_in_sessions + in_session)
