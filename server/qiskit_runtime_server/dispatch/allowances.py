"""How long the next run of a job may take, by everything that bounds it now, and whether it may start at all.

Asked when a job has been claimed, and not when it was submitted: accounts.toml may have changed since, tokens may be
gone, and the day's slot time may be used up. A job that may not start is held: it stays queued, says why, and is
started once the reason is gone (docs/decisions/0021).
"""

import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from qiskit_runtime_server.accounts.identity import Account
from qiskit_runtime_server.jobs import AccountId, Job, exact, name_of
from qiskit_runtime_server.store.port import Claim, HeldJobs, Store

logger = logging.getLogger(__name__)


class Accounts(Protocol):
    """Knows who has an account now."""

    def account(self, account_id: AccountId) -> Account | None:
        """Return the account, or None if nobody could sign in as it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Allowance:
    """How long a run may take.

    Attributes:
        limit: What says so, for people.
    """

    seconds: float
    limit: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """Why a job may not start now.

    Attributes:
        gone: Its account or instance is not there any more, which is for admins to look at.
    """

    reason: str
    gone: bool = False


class Allowances:
    """Says what a job may take, from what its account is granted and has used by now.

    Args:
        accounts: Who is there.
        store: What has been used.
        max_seconds: The server's limit of every job.
        clock: Returns the time.
    """

    def __init__(self, accounts: Accounts, store: Store, max_seconds: int, clock: Callable[[], datetime]) -> None:
        self._accounts = accounts
        self._store = store
        self._max_seconds = max_seconds
        self._clock = clock

    async def of(self, claim: Claim) -> Allowance | Refusal:
        """Return how long a run of a claimed job that begins now may take, or why it may not begin."""
        job = claim.job
        found = await self._left_today(job.account, job.instance, claim.seconds_per_day, besides=job)
        if isinstance(found, Refusal):
            return found
        asked = job.cost is not None and job.cost < self._max_seconds
        own = Allowance(
            seconds=float(job.max_seconds),
            limit="its own max_execution_time" if asked else "the limit of this server (QRS_MAX_SECONDS)",
        )
        return min([own, *found], key=lambda allowance: allowance.seconds)

    async def refusal(self, held: HeldJobs) -> Refusal | None:
        """Return why jobs of an instance may not start now, if that is so."""
        granted = await self._store.overviews.instance_limit(held.account, held.instance)
        found = await self._left_today(held.account, held.instance, granted, besides=None)
        return found if isinstance(found, Refusal) else None

    async def _left_today(
        self, whose: AccountId, crn: str, granted: int | None, *, besides: Job | None
    ) -> list[Allowance] | Refusal:
        """Return what bounds a run of an instance: `seconds_per_job`, and what is left of `seconds_per_day`."""
        account, name = self._accounts.account(whose), name_of(whose)
        if account is None:
            return Refusal(reason=f"account {name} is not there any more, or has no token", gone=True)
        instance = next((instance for instance in account.instances if account.crn(instance) == crn), None)
        if instance is None:
            return Refusal(reason=f"account {name} has no instance {crn} any more", gone=True)
        limits, found = instance.limits.granting(granted), []
        about = f"of account {name}, instance {instance.name}"
        if limits.seconds_per_job is not None:
            found.append(Allowance(seconds=limits.seconds_per_job, limit=f"seconds_per_job {about}"))
        if limits.seconds_per_day is not None:
            standing = await self._store.counts.standing(whose, crn)
            others = (job for job in standing.running if besides is None or job.id != besides.id)
            used = standing.today + sum(job.run_seconds(self._clock()) for job in others)
            left = limits.seconds_per_day - used
            if left <= 0:
                return Refusal(
                    reason=f"the {limits.seconds_per_day:g} s of slot time per day (UTC) {about} are used up"
                )
            found.append(Allowance(seconds=left, limit=f"what was left of seconds_per_day {about}"))
        return found


class Releases:
    """Lets held jobs go once the reason is gone, and tells admins of those that wait for nobody.

    Args:
        store: Where they are held.
        refusal: Why jobs may not start now.
        waits: Tells whether jobs of an instance are held for a time, and released by somebody else.
    """

    def __init__(
        self,
        store: Store,
        refusal: Callable[[HeldJobs], Awaitable[Refusal | None]],
        waits: Callable[[AccountId, str], bool] = lambda _account, _instance: False,
    ) -> None:
        self._waits = waits
        self._store = store
        self._refusal = refusal
        self._told: set[tuple[AccountId, str]] = set()

    async def look(self) -> None:
        """Look at all held jobs once."""
        gone: set[tuple[AccountId, str]] = set()
        for held in await self._store.queue.held():
            if self._waits(held.account, held.instance):
                continue
            refusal = await self._refusal(held)
            key = held.account, held.instance
            if refusal is None:
                if count := await self._store.queue.release(held.account, held.instance):
                    logger.info("%d held jobs of account %s, %s, are released.", count, *key)
            elif refusal.gone:
                gone.add(key)
                if key not in self._told:
                    logger.warning(
                        "%d queued jobs are held, as %s. POST /api/v1/admin/accounts/%s/cancel ends them.",
                        held.jobs,
                        refusal.reason,
                        exact(held.account),
                    )
        self._told = gone
