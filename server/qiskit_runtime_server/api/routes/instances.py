"""Instances: what they may use, and what they have used; the latter is asked for by clients before every job."""

import math
from dataclasses import replace
from datetime import UTC, datetime, time, timedelta
from itertools import product
from typing import Annotated, Final

import msgspec
from fastapi import APIRouter, Query, Request

from qiskit_runtime_server.accounts.identity import identity
from qiskit_runtime_server.api import audit, bodies
from qiskit_runtime_server.api.models.base import SIGNED_IN, Name, PathName, errors
from qiskit_runtime_server.api.models.instances import (
    AccountConfiguration,
    Instance,
    InstanceConfiguration,
    InstanceUsage,
    Period,
    PlanConfiguration,
    Version,
    Versions,
)
from qiskit_runtime_server.api.routes.platform import plan_id
from qiskit_runtime_server.api.services import Admin, Caller, Services, TheServices
from qiskit_runtime_server.backends.names import VirtualBackend
from qiskit_runtime_server.errors import NotFoundError

router = APIRouter(tags=["instances"], responses=errors(*SIGNED_IN))

# Clients send the newest one that they know; all of them are understood, and later ones taken for the last.
VERSIONS: Final = ("2024-01-01", "2025-01-01", "2025-05-01", "2026-02-01", "2026-02-15", "2026-03-15", "2026-04-15")


class LimitChange(msgspec.Struct, kw_only=True):
    """The body of a change of an instance."""

    instance_limit: Annotated[
        Annotated[int, msgspec.Meta(ge=1, le=2**31 - 1)] | None,
        msgspec.Meta(description="Seconds of slot time a day (UTC); null has accounts.toml hold again."),
    ]


_CHANGES: Final = msgspec.json.Decoder(LimitChange)

versions = APIRouter(tags=["versions"], responses=errors())


@versions.get("/versions")
async def list_versions() -> Versions:
    """List the versions of the API that may be named in the header `IBM-API-Version`."""
    return Versions(versions=[Version(version=version, status="live") for version in VERSIONS])


@router.get("/instance", response_model_exclude_none=True)
async def describe_instance(caller: Caller, services: TheServices) -> Instance:
    """Return the instance that the header `Service-CRN` names."""
    limit = (await services.limits(caller)).seconds_per_day
    whole = None if limit is None else math.ceil(limit)
    return Instance(
        plan_id=plan_id(caller.instance),
        backends=_backends(services),
        instance_limit=whole,
        instance_limit_seconds=None if whole is None else str(whole),
    )


@router.get("/instances/configuration", response_model_exclude_none=True)
async def configuration(caller: Caller, services: TheServices) -> InstanceConfiguration:
    """Return the limit of the instance."""
    limit = (await services.limits(caller)).seconds_per_day
    return InstanceConfiguration(instance_limit=None if limit is None else math.ceil(limit))


@router.put(
    "/instances/configuration",
    status_code=204,
    openapi_extra=bodies.documented(LimitChange),
    responses=errors(*SIGNED_IN, 403),
)
async def change_configuration(
    request: Request,
    caller: Admin,
    services: TheServices,
    account: Annotated[Name | None, Query(description="Whose instance it is; by default the admin's own.")] = None,
    instance: Annotated[Name | None, Query(description="Its name; by default the one of the header.")] = None,
) -> None:
    """Limit what an instance may use a day, whatever accounts.toml says; for admins."""
    change = bodies.decode(await bodies.read(request, limit=bodies.SMALL), _CHANGES)
    whose = caller.account
    if account is not None:
        whose = replace(caller.account, id=services.access_tokens.id_of(account))
    which = caller.instance if instance is None else replace(caller.instance, name=instance)
    await services.store.overviews.limit_instance(whose.id, whose.crn(which), change.instance_limit)
    audit.tell("limit", caller, owner=whose.id, instance=which.name, seconds_per_day=change.instance_limit)


@router.get("/accounts/{account_id}", response_model_exclude_none=True)
async def describe_account(
    account_id: PathName,
    caller: Caller,
    services: TheServices,
    plan: Annotated[Name | None, Query(alias="plan_id", description="That plan only.")] = None,
) -> AccountConfiguration:
    """Return what the instances of the caller's account may do, plan by plan."""
    if account_id != caller.name:
        raise NotFoundError(f"Account {account_id!r} not found.")
    instances, settings = caller.account.instances, services.settings
    limits = {one: (await services.limits(identity(caller.account, caller.account.crn(one)))) for one in instances}
    longest = int(settings.session_max_ttl.total_seconds())
    plans = []
    for name in dict.fromkeys(map(plan_id, instances)):
        seconds = [limits[one].seconds_per_day for one in instances if plan_id(one) == name]
        known = [math.ceil(limit) for limit in seconds if limit is not None]
        plans.append(
            PlanConfiguration(
                plan_id=name,
                subscription_id=name,
                subscription_name=name,
                usage_limit_seconds=sum(known) if len(known) == len(seconds) else None,
                backends=_backends(services),
                max_ttl=longest,
                active_ttl=longest,
                interactive_ttl=int(settings.session_interactive_ttl.total_seconds()),
            )
        )
    return AccountConfiguration(plans=[one for one in plans if plan in {None, one.plan_id}])


@router.get("/instances/usage", response_model_exclude_none=True)
async def usage(caller: Caller, services: TheServices) -> InstanceUsage:
    """Return what the instance has used of its limit of slot time since the day (UTC) began, in begun seconds.

    An instance without a limit is told what all jobs of its account have taken.
    """
    standing = await services.store.counts.standing(caller.id, caller.crn)
    limit = caller.instance.limits.granting(standing.granted).seconds_per_day
    running = standing.running
    running_seconds = sum(job.seconds_so_far(datetime.now(UTC)) for job in running)
    if limit is None:
        return InstanceUsage(
            instance_id=caller.crn,
            plan_id=plan_id(caller.instance),
            usage_consumed_seconds=math.ceil(standing.of_account),
            usage_limit_reached=False,
            running_jobs=len(running),
            running_seconds=running_seconds,
        )
    consumed, whole = math.ceil(standing.today), math.ceil(limit)
    return InstanceUsage(
        instance_id=caller.crn,
        plan_id=plan_id(caller.instance),
        usage_period=_today(),
        usage_consumed_seconds=consumed,
        usage_limit_seconds=whole,
        usage_remaining_seconds=max(0, whole - consumed),
        usage_limit_reached=standing.today >= limit,
        running_jobs=len(running),
        running_seconds=running_seconds,
    )


def _today() -> Period:
    start = datetime.combine(datetime.now(UTC).date(), time(), UTC)
    return Period(start_time=start.isoformat(), end_time=(start + timedelta(days=1)).isoformat())


def _backends(services: Services) -> list[str]:
    pairs = product(services.targets, services.catalog.names())
    return [str(VirtualBackend(metadata=name, executor=executor)) for executor, name in pairs]
