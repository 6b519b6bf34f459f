"""A store in the memory of one process: plain Python that does what the SQL stores do, and can be read beside them.

It is the reference for the rules (`jobs` for the life of a job, `fair_share` for whose turn it is), one of the subjects
of the stores' test suite, and the double for tests of dispatcher and routes. It is not durable, and looks through all
jobs where the SQL stores have an index. No method gives control away before it has done all or nothing.
"""

from collections import Counter
from collections.abc import AsyncGenerator, Collection, Mapping, Sequence
from dataclasses import fields, replace
from datetime import UTC, date, datetime, timedelta
from typing import Final

from qiskit_runtime_server.accounts.limits import NO_LIMITS, AccountLimits
from qiskit_runtime_server.backends.names import DRY_RUN, ExecutorName
from qiskit_runtime_server.byte_budget import SMALL_BYTES
from qiskit_runtime_server.errors import JobNotFoundError
from qiskit_runtime_server.jobs import (
    AccountId,
    Job,
    JobId,
    JobState,
    Outcome,
    RetryReason,
    Session,
    SessionId,
    cancelled,
    ended,
    found_long,
    held_back,
    moved,
    released,
    requeued,
    routed,
    started,
    taken_over,
)
from qiskit_runtime_server.messages.messages import Holder, Progress, Routing
from qiskit_runtime_server.store import fair_share
from qiskit_runtime_server.store.fair_share import age
from qiskit_runtime_server.store.memory.archive import MemoryArchive
from qiskit_runtime_server.store.memory.overviews import MemoryOverviews
from qiskit_runtime_server.store.memory.state import Kept, Part, State, refuse_surrogates
from qiskit_runtime_server.store.overviews import Overviews
from qiskit_runtime_server.store.port import (
    BY_OWNER,
    COUNTED_JOBS,
    MOST_RUNNING,
    UNUSED_FOR,
    Archive,
    Claim,
    CountStore,
    DocumentKind,
    DocumentStore,
    Ended,
    HeldJobs,
    JobQuery,
    JobStore,
    Load,
    Owners,
    Queued,
    QueuedTime,
    QueueStore,
    SessionStore,
    Signals,
    Standing,
    UsageDay,
)

_PIECE_BYTES: Final = 1 << 20


class MemoryJobs(Part):
    """A `JobStore`."""

    async def add(self, job: Job, params: bytes | memoryview, limits: AccountLimits = NO_LIMITS) -> None:
        """See `JobStore.add`."""
        state, now = self._state, self._state.now()
        refuse_surrogates(getattr(job, part.name) for part in fields(job))
        limits = limits.granting(state.limits.get((job.account, job.instance)))
        if job.session_id is not None:
            state.session(job.account, job.session_id).check_accepts_jobs(now)
        of_instance = [job.account, job.instance]
        queued = [kept for kept in state.jobs.values() if kept.job.state is JobState.QUEUED]
        limits.check_queued(job.instance, sum([kept.job.account, kept.job.instance] == of_instance for kept in queued))
        limits.check_seconds(job.instance, state.used(now.date(), job.account, job.instance))
        stored = sum(kept.stored_bytes for kept in state.jobs.values() if kept.job.account == job.account)
        limits.check_stored(job.account, stored, len(params))
        if job.id in state.jobs:
            raise ValueError(f"The ids of jobs are unique, and there is a job {job.id}.")
        job = replace(job, created=job.created.astimezone(UTC))
        state.jobs[job.id] = Kept(job=job, documents={DocumentKind.PARAMS: bytes(params)})
        state.count(job, lambda counts: fair_share.arrived(counts, job, limits, now))
        state.note(job, lambda session: session.with_job_queued(now))
        state.hub.announce(Queued(executor=job.executor))

    async def get(self, account: AccountId | None, job_id: str) -> Job:
        """See `JobStore.get`."""
        return self._state.find(account, job_id).job

    async def find(self, account: AccountId | None, query: JobQuery) -> tuple[Sequence[Job], int]:
        """See `JobStore.find`."""
        refuse_surrogates(getattr(query, part.name) for part in fields(query))
        found = [kept.job for kept in self._state.jobs.values() if _matches(kept.job, account, query)]
        found.sort(key=age, reverse=not query.oldest_first)
        beyond, sign = query.beyond, 1 if query.oldest_first else -1
        shown = [job for job in found if beyond is None or (age(job) > beyond) - (age(job) < beyond) == sign]
        return shown[query.offset : query.offset + query.limit], len(found)

    async def cancel(self, account: AccountId | None, job_id: str, *, reason: str) -> Job:
        """See `JobStore.cancel`."""
        kept = self._state.find(account, job_id)
        before, now = kept.job, self._state.now()
        self._state.end(kept, cancelled(before, now, reason=reason), now)
        return before

    async def delete(self, account: AccountId | None, job_id: str, *, reason: str = BY_OWNER) -> Job:
        """See `JobStore.delete`."""
        kept = self._state.find(account, job_id)
        before, now = kept.job, self._state.now()
        del self._state.jobs[before.id]
        if before.state.terminal:
            self._state.hub.announce(Ended(job_id=before.id))
        else:
            self._state.end(kept, cancelled(before, now, reason=reason), now)
        return before

    async def set_tags(self, account: AccountId, job_id: str, tags: Sequence[str]) -> None:
        """See `JobStore.set_tags`."""
        refuse_surrogates([tuple(tags)])
        kept = self._state.find(account, job_id)
        kept.job = replace(kept.job, tags=tuple(tags))


class MemoryDocuments(Part):
    """A `DocumentStore`."""

    async def params(self, job_id: JobId) -> bytes:
        """See `DocumentStore.params`."""
        return self._state.find(None, job_id).documents[DocumentKind.PARAMS]

    async def result(self, job_id: JobId) -> bytes | None:
        """See `DocumentStore.result`."""
        return self._documents(job_id).get(DocumentKind.RESULT)

    async def pieces(self, job_id: JobId, kind: DocumentKind) -> AsyncGenerator[bytes, None]:
        """See `DocumentStore.pieces`."""
        document = self._documents(job_id).get(kind)
        if document is None:
            return
        for start in range(0, max(len(document), 1), _PIECE_BYTES):
            if job_id not in self._state.jobs:
                raise JobNotFoundError(f"Job {job_id} was deleted while its {kind} was read.")
            yield document[start : start + _PIECE_BYTES]

    async def take_result(self, job_id: JobId) -> bytes | None:
        """See `DocumentStore.take_result`."""
        return self._documents(job_id).pop(DocumentKind.RESULT, None)

    async def append_log(self, job_id: JobId, text: str) -> None:
        """See `DocumentStore.append_log`."""
        documents = self._documents(job_id)
        documents[DocumentKind.LOG] = documents.get(DocumentKind.LOG, b"") + text.encode()

    async def log(self, job_id: JobId) -> str:
        """See `DocumentStore.log`."""
        return self._documents(job_id).get(DocumentKind.LOG, b"").decode()

    def _documents(self, job_id: JobId) -> dict[DocumentKind, bytes]:
        """Return a job's documents; for one that is not there, none, which nobody will see again."""
        kept = self._state.jobs.get(job_id)
        return {} if kept is None else kept.documents


class MemoryQueue(Part):
    """A `QueueStore`."""

    async def claim(
        self, executor: ExecutorName, holder: Holder, *, lease: timedelta, long_slots: int | None = None
    ) -> Claim | None:
        """See `QueueStore.claim`."""
        state, now = self._state, self._state.now()
        short_only = long_slots is not None and state.running_long(executor) >= long_slots
        queued = [kept.job for kept in state.waiting(executor) if fair_share.claimable(kept.job, short_only=short_only)]
        accounts = state.counts.get(executor, {})
        able = {job.account for job in queued}
        account = None if executor in state.draining else fair_share.next_account(accounts, able)
        if account is None:
            return None
        of_account = [job for job in queued if job.account == account]
        kept = state.jobs[fair_share.next_job(accounts[account], of_account).id]
        state.count(kept.job, lambda counts: fair_share.claimed(counts, kept.job))
        state.note(kept.job, lambda session: session.with_job_started(now))
        kept.job, kept.holder = started(kept.job, now), holder
        kept.lease_until = state.clock() + lease.total_seconds()
        params = kept.documents[DocumentKind.PARAMS]
        return Claim(
            job=kept.job,
            params=params if len(params) <= SMALL_BYTES else None,
            seconds_per_day=state.limits.get((kept.job.account, kept.job.instance)),
            last=not state.waiting(executor),
        )

    async def take_over(self, executor: ExecutorName, *, lease: timedelta) -> Claim | None:
        """See `QueueStore.take_over`."""
        now = self._state.clock()
        lost = [kept for kept in self._state.in_state(JobState.RUNNING, executor) if kept.lease_until <= now]
        if not lost:
            return None
        kept = min(lost, key=lambda kept: kept.lease_until)
        kept.job = taken_over(kept.job)
        kept.lease_until = now + lease.total_seconds()
        return Claim(job=kept.job, previous=kept.holder)

    async def renew(self, claims: Collection[tuple[JobId, int]], *, lease: timedelta) -> set[tuple[JobId, int]]:
        """See `QueueStore.renew`."""
        until = self._state.clock() + lease.total_seconds()
        renewed = set()
        for claim in claims:
            if (kept := self._state.held(*claim)) is not None:
                kept.lease_until = until
                renewed.add(claim)
        return renewed

    async def finish(self, claim: Claim, outcome: Outcome, result: bytes | None) -> bool:
        """See `QueueStore.finish`."""
        kept, now = self._state.held(*claim.key), self._state.now()
        if kept is None:
            return False
        if result is not None:
            kept.documents[DocumentKind.RESULT] = result
        self._state.end(kept, ended(kept.job, outcome, now), now)
        return True

    async def requeue(self, claim: Claim, why: RetryReason, *, reason: str) -> Job | None:
        """See `QueueStore.requeue`."""
        kept, now = self._state.held(*claim.key), self._state.now()
        if kept is None:
            return None
        job = requeued(kept.job, why, now, reason=reason)
        if job.state.terminal:
            self._state.end(kept, job, now)
        else:
            self._state.requeue(kept, job, now)
            self._state.hub.announce(Queued(executor=job.executor))
        return job

    async def route(self, claim: Claim, executor: ExecutorName, routing: Routing) -> Job | None:
        """See `QueueStore.route`."""
        kept, now = self._state.held(*claim.key), self._state.now()
        if kept is None:
            return None
        self._state.move(kept, routed(kept.job, executor, routing), now)
        return kept.job

    async def move(self, job: Job, executor: ExecutorName) -> Job | None:
        """See `QueueStore.move`."""
        kept = self._state.jobs.get(job.id)
        if kept is None or kept not in self._state.waiting(job.executor) or kept.job.routing is None:
            return None
        self._state.move(kept, moved(kept.job, executor), self._state.now())
        return kept.job

    async def found_long(self, claim: Claim, *, long_slots: int) -> Job | None:
        """See `QueueStore.found_long`."""
        kept, now = self._state.held(*claim.key), self._state.now()
        if kept is None:
            return None
        others = self._state.running_long(kept.job.executor) - (kept.job.long_since is not None)
        job = found_long(kept.job, now, goes_on=others < long_slots)
        if job.state is JobState.RUNNING:
            kept.job = job
        else:
            self._state.requeue(kept, job, now)
            self._state.hub.announce(Queued(executor=job.executor))
        return job

    async def note_progress(self, claim: Claim, progress: Progress) -> None:
        """See `QueueStore.note_progress`."""
        if (kept := self._state.held(*claim.key)) is not None:
            kept.job = replace(kept.job, progress=progress)

    async def hold(self, claim: Claim, *, reason: str) -> Job | None:
        """See `QueueStore.hold`."""
        kept = self._state.held(*claim.key)
        if kept is None:
            return None
        self._state.requeue(kept, held_back(kept.job, reason=reason), self._state.now())
        return kept.job

    async def held(self) -> Sequence[HeldJobs]:
        """See `QueueStore.held`."""
        jobs = (kept.job for kept in self._state.jobs.values())
        found = Counter((job.account, job.instance) for job in jobs if job.held is not None)
        return [HeldJobs(account=key[0], instance=key[1], jobs=count) for key, count in sorted(found.items())]

    async def release(self, account: AccountId, instance: str, job_id: JobId | None = None) -> int:
        """See `QueueStore.release`."""
        found = [
            kept
            for kept in self._state.jobs.values()
            if kept.job.held is not None
            and (kept.job.account, kept.job.instance) == (account, instance)
            and job_id in {None, kept.job.id}
        ]
        for kept in found:
            kept.job = released(kept.job)
        for executor in {kept.job.executor for kept in found}:
            self._state.hub.announce(Queued(executor=executor))
        return len(found)

    async def drain(self, executor: ExecutorName, *, draining: bool) -> None:
        """See `QueueStore.drain`."""
        if draining:
            self._state.draining.add(executor)
        else:
            self._state.draining.discard(executor)
            self._state.hub.announce(Queued(executor=executor))


class MemorySessions(Part):
    """A `SessionStore`."""

    async def add(self, session: Session, limits: AccountLimits = NO_LIMITS) -> None:
        """See `SessionStore.add`."""
        since = self._state.now() - UNUSED_FOR
        own = [one for one in self._state.sessions.values() if one.account == session.account]
        unused = sum(one.first_job_started is None and one.created > since for one in own)
        limits.check_sessions(session.account, unused)
        self._state.sessions[session.id] = replace(session, created=session.created.astimezone(UTC))

    async def get(self, account: AccountId, session_id: str) -> Session:
        """See `SessionStore.get`."""
        return self._state.session(account, session_id)

    async def close(self, account: AccountId, session_id: str) -> None:
        """See `SessionStore.close`."""
        session = self._state.session(account, session_id)
        self._state.sessions[session.id] = replace(session, closed=session.closed or self._state.now())

    async def queued_jobs(self, session_id: SessionId) -> Sequence[JobId]:
        """See `SessionStore.queued_jobs`."""
        jobs = (kept.job for kept in self._state.jobs.values() if kept.job.session_id == session_id)
        return [job.id for job in sorted(jobs, key=age) if job.state is JobState.QUEUED]


class MemoryCounts(Part):
    """A `CountStore`."""

    async def load(self) -> Mapping[ExecutorName, Load]:
        """See `CountStore.load`."""
        names = self._state.counts.keys() | self._state.draining
        return {name: self._load(name) for name in sorted(names)}

    async def queue_position(self, job: Job) -> int:
        """See `CountStore.queue_position`."""
        queued = self._state.waiting(job.executor)
        return 1 + sum(age(kept.job) < age(job) for kept in queued)

    async def expected_ends(self, executor: ExecutorName) -> Sequence[datetime | None]:
        """See `CountStore.expected_ends`."""
        return [kept.job.expected_end() for kept in self._state.in_state(JobState.RUNNING, executor)]

    async def queued_time(self, executor: ExecutorName) -> QueuedTime:
        """See `CountStore.queued_time`."""
        queued = self._state.waiting(executor)[:COUNTED_JOBS]
        known = [seconds for kept in queued if (seconds := kept.job.predicted_seconds) is not None]
        return QueuedTime(jobs=len(queued), predicted=len(known), seconds=sum(known))

    async def routed(self, executor: ExecutorName, *, limit: int) -> Sequence[Job]:
        """See `CountStore.routed`."""
        jobs = (kept.job for kept in self._state.waiting(executor)[::-1])
        return [job for job in jobs if job.routing is not None][:limit]

    async def standing(self, account: AccountId, instance: str) -> Standing:
        """See `CountStore.standing`."""
        jobs = [kept.job for kept in self._state.jobs.values()]
        running = [
            job for job in jobs if (job.account, job.instance, job.state) == (account, instance, JobState.RUNNING)
        ]
        return Standing(
            granted=self._state.limits.get((account, instance)),
            today=self._state.used(self._state.now().date(), account, instance),
            of_account=sum(day.seconds for day in self._state.days.values() if day.account == account),
            running=sorted(running, key=age, reverse=True)[:MOST_RUNNING],
        )

    async def usage(self, since: date, until: date) -> Sequence[UsageDay]:
        """See `CountStore.usage`."""
        return [day for key, day in sorted(self._state.days.items()) if since <= key[0] <= until]

    def _load(self, executor: ExecutorName) -> Load:
        queued = self._state.waiting(executor)
        waiting, counts = Counter(kept.job.account for kept in queued), self._state.counts[executor]
        return Load(
            queued=len(queued),
            startable=sum(counts[account].startable(jobs) for account, jobs in waiting.items()),
            long_waits=any(kept.job.long_since is not None and counts[kept.job.account].may_run for kept in queued),
            running=len(self._state.in_state(JobState.RUNNING, executor)),
            oldest_queued=queued[0].job.created if queued else None,
            draining=executor in self._state.draining,
        )


class MemoryStore:
    """A `Store`; those on the same state are like two replicas on one database."""

    def __init__(self, state: State | None = None) -> None:
        state = state or State()
        self.jobs: JobStore = MemoryJobs(state)
        self.documents: DocumentStore = MemoryDocuments(state)
        self.queue: QueueStore = MemoryQueue(state)
        self.sessions: SessionStore = MemorySessions(state)
        self.archive: Archive = MemoryArchive(state)
        self.counts: CountStore = MemoryCounts(state)
        self.overviews: Overviews = MemoryOverviews(state)
        self.signals: Signals = state.hub

    def __str__(self) -> str:
        return "memory"

    async def has_room(self) -> bool:
        """See `Store.has_room`."""
        return True

    async def close(self) -> None:
        """See `Store.close`; there is nothing to release."""


def _is_of(job: Job, owners: Owners) -> bool:
    return job.account in owners.accounts or (job.account, job.instance) in owners.instances


def _matches(job: Job, account: AccountId | None, query: JobQuery) -> bool:
    """Whether a listing of the account shows the job."""
    return (
        account in {None, job.account}
        and (query.owners is None or _is_of(job, query.owners))
        and query.backend in {None, job.backend}
        and query.program_id in {None, job.program_id}
        and query.session_id in {None, job.session_id}
        and query.pending in {None, not job.state.terminal}
        and query.state in {None, job.state}
        and (query.dry_runs or query.backend is not None or not job.backend.startswith(DRY_RUN))
        and set(query.tags) <= set(job.tags)
        and (query.created_after is None or job.created > query.created_after)
        and (query.created_before is None or job.created < query.created_before)
    )
