"""Analytics: what jobs have taken, of the caller's account; of all accounts for admins."""

from collections.abc import Sequence
from datetime import UTC, datetime, time, timedelta
from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict

from qiskit_runtime_server.accounts.identity import Identity
from qiskit_runtime_server.api import bodies
from qiskit_runtime_server.api.models.base import SIGNED_IN, Names, errors
from qiskit_runtime_server.api.models.instances import (
    Analytics,
    AnalyticsDay,
    AnalyticsDays,
    AnalyticsFilters,
    AnalyticsGroup,
    AnalyticsGroups,
    InstanceFilter,
    NamedFilter,
    UserFilter,
)
from qiskit_runtime_server.api.services import Caller, Services, TheServices
from qiskit_runtime_server.errors import MalformedRequestError
from qiskit_runtime_server.jobs import AccountId
from qiskit_runtime_server.store.overviews import UsageGroup, UsageKey, UsageOfMode, UsageQuery

router = APIRouter(prefix="/analytics", tags=["analytics"], responses=errors(*SIGNED_IN))

_BY_DEFAULT: Final = timedelta(days=30)
_LONGEST: Final = timedelta(days=366)


class Wanted(BaseModel):
    """Whose and which slot time; other parameters are ignored."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    instance: Names = []
    """CRNs of instances; any of them."""
    interval_start: datetime | None = None
    """By default thirty days before the end."""
    interval_end: datetime | None = None
    """By default now; at most 366 days after the start."""
    backend: Names = []
    user_id: Names = []
    """Accounts."""
    simulators: bool = True
    """Makes no difference: no device calls itself a simulator."""


class WantedGroups(Wanted):
    """The same, in groups."""

    group_by: UsageKey


class WantedDays(Wanted):
    """The same, by day."""

    group_by: Literal["instance"]


@router.get("/filters")
async def filters(
    caller: Caller, services: TheServices, instance: Annotated[Names | None, Query(description="CRNs.")] = None
) -> AnalyticsFilters:
    """List the backends, instances and accounts that have used slot time."""
    since, until = datetime(1970, 1, 1, tzinfo=UTC), datetime.now(UTC) + timedelta(days=1)
    found: dict[UsageKey, list[str]] = {}
    for key in UsageKey:
        query = UsageQuery(account=_whose(caller), since=since, until=until, instances=tuple(instance or ()), by=key)
        found[key] = [group.key or "" for group in await _groups(caller, services, query)]
    own = {caller.account.crn(one) for one in caller.account.instances}
    prefix = caller.account.crn(caller.instance).rsplit(":", 3)[0]
    return AnalyticsFilters(
        backends=[NamedFilter(name=name) for name in found[UsageKey.BACKEND]],
        instances=[
            InstanceFilter(id=crn, deleted=crn.rsplit(":", 3)[0] == prefix and crn not in own)
            for crn in found[UsageKey.INSTANCE]
        ],
        users=[UserFilter(id=name) for name in found[UsageKey.ACCOUNT]],
        plans=[],
        subscriptions=[],
    )


@router.get("/usage")
async def usage(caller: Caller, services: TheServices, wanted: Annotated[Wanted, Query()]) -> Analytics:
    """Return what jobs have taken, deleted ones included."""
    [group] = await _groups(caller, services, _query(caller, wanted))
    return Analytics(**_sums(group))


@router.get("/usage_grouped")
async def usage_grouped(
    caller: Caller, services: TheServices, wanted: Annotated[WantedGroups, Query()]
) -> AnalyticsGroups:
    """Return what jobs have taken by instance, backend or account."""
    groups = await _groups(caller, services, _query(caller, wanted, by=wanted.group_by))
    return AnalyticsGroups(data=[AnalyticsGroup(key=group.key or "", **_sums(group)) for group in groups])


@router.get("/usage_grouped_by_date")
async def usage_grouped_by_date(
    caller: Caller, services: TheServices, wanted: Annotated[WantedDays, Query()]
) -> AnalyticsDays:
    """Return what jobs have taken by day (UTC) and instance."""
    query = _query(caller, wanted, by=UsageKey.INSTANCE, by_day=True)
    days = [_day(group) for group in await _groups(caller, services, query)]
    return AnalyticsDays(interval_start=query.since.isoformat(), interval_end=query.until.isoformat(), data=days)


async def _groups(caller: Identity, services: Services, query: UsageQuery) -> Sequence[UsageGroup]:
    async with services.listings.of(caller.id):
        return await services.store.overviews.usage(query)


def _whose(caller: Identity) -> AccountId | None:
    """Return whose slot time the caller asks for; None for everybody's."""
    return None if caller.is_admin else caller.id


def _query(caller: Identity, wanted: Wanted, *, by: UsageKey | None = None, by_day: bool = False) -> UsageQuery:
    until = bodies.utc(wanted.interval_end) or datetime.now(UTC)
    since = bodies.utc(wanted.interval_start)
    if since is None:
        if until < datetime(1970, 1, 1, tzinfo=UTC):
            raise MalformedRequestError(f"There are no records from before {until}.")
        since = until - _BY_DEFAULT
    if not timedelta(0) <= until - since <= _LONGEST:
        raise MalformedRequestError(
            f"The interval from {since} to {until} is not between 0 and {_LONGEST.days} days long."
        )
    return UsageQuery(
        account=_whose(caller),
        since=since,
        until=until,
        instances=tuple(wanted.instance),
        backends=tuple(wanted.backend),
        accounts=tuple(wanted.user_id),
        by=by,
        by_day=by_day,
    )


def _day(group: UsageGroup) -> AnalyticsDay:
    start = datetime.combine(group.day or datetime.now(UTC).date(), time(), UTC)
    end = start + timedelta(days=1)
    return AnalyticsDay(
        key=group.key or "", interval_start=start.isoformat(), interval_end=end.isoformat(), **_sums(group)
    )


def _sums(group: UsageGroup) -> dict[str, Any]:
    both = UsageOfMode(
        number=group.batches.number + group.dedicated.number,
        seconds=group.batches.seconds + group.dedicated.seconds,
        longest=max(group.batches.longest, group.dedicated.longest),
    )
    return {
        "usage": _milliseconds(group.seconds),
        "jobs": group.jobs,
        **_of_mode("sessions", both),
        **_of_mode("batch_sessions", group.batches),
        **_of_mode("dedicated_sessions", group.dedicated),
        **_of_mode("individual_jobs", group.individual),
        "queue_time": _milliseconds(group.queue_seconds),
        "avg_queue_time": _milliseconds(group.queue_seconds / max(1, group.jobs)),
        "max_queue_time": _milliseconds(group.longest_queue),
    }


def _of_mode(name: str, used: UsageOfMode) -> dict[str, float]:
    return {
        name: used.number,
        f"{name}_usage": _milliseconds(used.seconds),
        f"avg_{name}_usage": _milliseconds(used.seconds / max(1, used.number)),
        f"max_{name}_usage": _milliseconds(used.longest),
    }


def _milliseconds(seconds: float) -> float:
    return round(1000 * seconds, 3)
