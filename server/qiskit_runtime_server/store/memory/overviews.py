"""Listings over jobs and sessions, and sums over what they have used, in memory."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import fields
from datetime import date, datetime
from typing import Final

from qiskit_runtime_server.backends.names import DRY_RUN
from qiskit_runtime_server.jobs import AccountId, Job, Session, SessionMode
from qiskit_runtime_server.store.memory.state import Part, SlotTime, refuse_surrogates
from qiskit_runtime_server.store.overviews import (
    MODE_OF_SESSION,
    STATUS_OF_JOB,
    STATUS_OF_SESSION,
    KeptText,
    UsageGroup,
    UsageKey,
    UsageOfMode,
    UsageQuery,
    WorkloadMode,
    WorkloadPage,
    WorkloadQuery,
)


class MemoryOverviews(Part):
    """An `Overviews`."""

    async def workloads(self, account: AccountId, query: WorkloadQuery) -> WorkloadPage:
        """See `Overviews.workloads`."""
        refuse_surrogates(getattr(query, part.name) for part in fields(query))
        now = self._state.now()
        single = [kept.job for kept in self._state.jobs.values() if kept.job.session_id is None]
        everything: list[Job | Session] = [*single, *self._state.sessions.values()]
        found = [one for one in everything if one.account == account and _matches(one, query, now)]
        found.sort(key=_place, reverse=query.newest_first != query.backwards)
        beyond = [one for one in found if _is_past(one, query)]
        page = beyond[: query.limit]
        return WorkloadPage(
            workloads=page[::-1] if query.backwards else page, count=len(found), more=len(beyond) > query.limit
        )

    async def tags(self, account: AccountId, search: str, *, limit: int) -> Sequence[str]:
        """See `Overviews.tags`."""
        refuse_surrogates([search])
        own = (kept.job for kept in self._state.jobs.values() if kept.job.account == account)
        return sorted({tag for job in own for tag in job.tags if _contains(tag, search)})[:limit]

    async def accounts(self) -> Sequence[AccountId]:
        """See `Overviews.accounts`."""
        return sorted(set().union(*self._state.counts.values()))

    async def usage(self, query: UsageQuery) -> Sequence[UsageGroup]:
        """See `Overviews.usage`."""
        groups: defaultdict[tuple[date | None, str | None], list[SlotTime]] = defaultdict(list)
        if query.by is None and not query.by_day:
            groups[None, None] = []
        for used in self._state.slot_times:
            if _counts(used, query):
                key = None if query.by is None else _KEYS[query.by](used.job)
                groups[used.ended.date() if query.by_day else None, key].append(used)
        keys = sorted(groups, key=lambda group: (group[0] or date.min, group[1] or ""))
        return [self._group(key, day, groups[day, key]) for day, key in keys]

    async def instance_limit(self, account: AccountId, instance: str) -> int | None:
        """See `Overviews.instance_limit`."""
        return self._state.limits.get((account, instance))

    async def limit_instance(self, account: AccountId, instance: str, seconds_per_day: int | None) -> None:
        """See `Overviews.limit_instance`."""
        self._state.limits.pop((account, instance), None)
        if seconds_per_day is not None:
            self._state.limits[account, instance] = seconds_per_day

    async def kept_text(self, name: str) -> KeptText | None:
        """See `Overviews.kept_text`."""
        return self._state.kept_texts.get(name)

    async def keep_text(self, name: str, text: str) -> None:
        """See `Overviews.keep_text`."""
        refuse_surrogates([name, text])
        kept = self._state.kept_texts.get(name)
        if kept is None or kept.text != text:
            self._state.kept_texts[name] = KeptText(text=text, since=self._state.now())

    def _group(self, key: str | None, day: date | None, used: Sequence[SlotTime]) -> UsageGroup:
        waited = [one.queue_seconds for one in used]
        workloads: dict[SessionMode | None, defaultdict[str, float]] = defaultdict(lambda: defaultdict(float))
        for one in used:
            session = one.job.session_id
            mode = None if session is None else self._state.sessions[session].mode
            workloads[mode][session or one.job.id] += one.job.metrics.charged
        return UsageGroup(
            key=key,
            day=day,
            jobs=len(used),
            seconds=sum(one.job.metrics.charged for one in used),
            queue_seconds=sum(waited),
            longest_queue=max(waited, default=0.0),
            batches=_of_mode(workloads[SessionMode.BATCH].values()),
            dedicated=_of_mode(workloads[SessionMode.DEDICATED].values()),
            individual=_of_mode(workloads[None].values()),
        )


_KEYS: Final = {
    UsageKey.INSTANCE: lambda job: job.instance,
    UsageKey.BACKEND: lambda job: job.backend,
    UsageKey.ACCOUNT: lambda job: job.account,
}


def _of_mode(seconds: Iterable[float]) -> UsageOfMode:
    values = list(seconds)
    return UsageOfMode(number=len(values), seconds=sum(values), longest=max(values, default=0.0))


def _counts(used: SlotTime, query: UsageQuery) -> bool:
    job = used.job
    return (
        query.since <= used.ended < query.until
        and query.account in {None, job.account}
        and (not query.instances or job.instance in query.instances)
        and (not query.backends or job.backend in query.backends)
        and (not query.accounts or job.account in query.accounts)
    )


def _place(one: Job | Session) -> tuple[datetime, str]:
    return one.created, one.id


def _is_past(one: Job | Session, query: WorkloadQuery) -> bool:
    if query.past is None:
        return True
    down = query.newest_first != query.backwards
    return _place(one) < query.past if down else _place(one) > query.past


def _contains(text: str, search: str) -> bool:
    return search.lower() in text.lower()


def _matches(one: Job | Session, query: WorkloadQuery, now: datetime) -> bool:
    """Whether a listing shows a job or a session of the account."""
    if isinstance(one, Job):
        mode, status, tags = WorkloadMode.JOB, STATUS_OF_JOB[one.state], one.tags
    else:
        mode, status, tags = MODE_OF_SESSION[one.mode], STATUS_OF_SESSION[one.state(now)], ()
    return (
        one.instance == query.instance
        and query.backend in {None, one.backend}
        and query.mode in {None, mode}
        and (not query.statuses or status in query.statuses)
        and (query.search is None or any(_contains(text, query.search) for text in (one.id, *tags)))
        and set(query.tags) <= set(tags)
        and (query.dry_runs or query.backend is not None or not one.backend.startswith(DRY_RUN))
        and (query.created_after is None or one.created > query.created_after)
        and (query.created_before is None or one.created < query.created_before)
    )
