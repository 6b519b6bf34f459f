"""Jobs that have ended, in memory."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from datetime import datetime
from itertools import islice
from typing import Final

from qiskit_runtime_server.jobs import (
    AccountId,
    Job,
)
from qiskit_runtime_server.store.memory.state import Kept, Part
from qiskit_runtime_server.store.port import (
    UNUSED_FOR,
    Forgotten,
    Retention,
    Surplus,
    Swept,
)

_BATCH_JOBS: Final = 20
_BATCH_BYTES: Final = 4 << 20
_BATCH_SESSIONS: Final = 200


class MemoryArchive(Part):
    """An `Archive`."""

    async def sweep(self, retention: Retention) -> Swept | None:
        """See `Archive.sweep`."""
        for limit, kept in self._over_limits(retention):
            batch = list(_batch(kept))
            if batch:
                for one in batch:
                    del self._state.jobs[one.job.id]
                return Swept(limit=limit, jobs=len(batch), stored_bytes=sum(one.stored_bytes for one in batch))
        return None

    async def surplus(self, retention: Retention) -> Surplus:
        """See `Archive.surplus`."""
        has_ended = [kept for kept in self._state.jobs.values() if kept.job.state.terminal]
        numbers = Counter(kept.job.account for kept in has_ended)
        stored_bytes = sum(kept.stored_bytes for kept in has_ended)
        before = None if retention.age is None else self._state.now() - retention.age
        most = retention.jobs
        return Surplus(
            jobs=len(has_ended),
            stored_bytes=stored_bytes,
            too_old=0 if before is None else sum(_end_of(kept.job) <= before for kept in has_ended),
            too_many=0 if most is None else sum(max(0, number - most) for number in numbers.values()),
            excess_bytes=0 if retention.stored_bytes is None else max(0, stored_bytes - retention.stored_bytes),
        )

    async def sweep_sessions(self) -> int:
        """See `Archive.sweep_sessions`."""
        before, state = self._state.now() - UNUSED_FOR, self._state
        with_jobs = {kept.job.session_id for kept in state.jobs.values()}
        unused = [
            session
            for session in state.sessions.values()
            if session.first_job_started is None and session.created <= before and session.id not in with_jobs
        ]
        batch = sorted(unused, key=lambda session: (session.created, session.id))[:_BATCH_SESSIONS]
        for session in batch:
            del state.sessions[session.id]
        return len(batch)

    async def forget(self, account: AccountId) -> Forgotten:
        """See `Archive.forget`."""
        state = self._state
        own = [kept for kept in state.jobs.values() if kept.job.account == account]
        oldest = sorted(
            (kept for kept in own if kept.job.state.terminal), key=lambda kept: (_end_of(kept.job), kept.job.id)
        )
        if batch := list(_batch(oldest)):
            for kept in batch:
                del state.jobs[kept.job.id]
            return Forgotten(jobs=len(batch))
        with_jobs = {kept.job.session_id for kept in own}
        unused = [one.id for one in state.sessions.values() if one.account == account and one.id not in with_jobs]
        for session_id in unused[:_BATCH_SESSIONS]:
            del state.sessions[session_id]
        for key in [key for key in state.limits if key[0] == account]:
            del state.limits[key]
        return Forgotten(sessions=len(unused[:_BATCH_SESSIONS]))

    def _over_limits(self, retention: Retention) -> Iterator[tuple[str, Iterable[Kept]]]:
        """Yield each limit with the jobs that are over it, the oldest first."""
        newest_first: defaultdict[AccountId, list[Kept]] = defaultdict(list)
        has_ended = [kept for kept in self._state.jobs.values() if kept.job.state.terminal]
        has_ended.sort(key=lambda kept: (_end_of(kept.job), kept.job.id))
        for kept in reversed(has_ended):
            newest_first[kept.job.account].append(kept)
        if retention.age is not None:
            before = self._state.now() - retention.age
            yield "age", [kept for kept in has_ended if _end_of(kept.job) <= before]
        if retention.jobs is not None:
            too_many = [kept for kept in newest_first.values() if len(kept) > retention.jobs]
            yield "jobs", reversed(too_many[0][retention.jobs :] if too_many else [])
        if retention.stored_bytes is not None:
            yield "stored_bytes", _too_large(list(newest_first.values()), retention.stored_bytes)


def _end_of(job: Job) -> datetime:
    """Return when a job has ended."""
    if job.finished is None:
        raise ValueError(f"Job {job.id} has not ended.")
    return job.finished


def _batch(oldest_first: Iterable[Kept]) -> Iterator[Kept]:
    """Yield as many jobs as the SQL stores remove in one transaction."""
    total = 0
    for kept in islice(oldest_first, _BATCH_JOBS):
        yield kept
        total += kept.stored_bytes
        if total >= _BATCH_BYTES:
            return


def _too_large(accounts: list[list[Kept]], most: int) -> Iterable[Kept]:
    """Return the jobs, the oldest first, without which the account that takes most leaves all with `most` bytes."""
    sizes = [sum(kept.stored_bytes for kept in newest_first) for newest_first in accounts]
    excess = sum(sizes) - most
    if excess <= 0:
        return []
    largest = sizes.index(max(sizes))
    allowed, with_newer, over = sizes[largest] - excess, 0, []
    for kept in accounts[largest]:
        with_newer += kept.stored_bytes
        if with_newer > allowed:
            over.append(kept)
    return reversed(over)
