"""Instances: what they may use, and what they have used; the latter is asked for by clients before every job."""

import math
from datetime import UTC, datetime, time, timedelta

from fastapi import APIRouter

from qiskit_runtime_server.api.models.base import SIGNED_IN, errors
from qiskit_runtime_server.api.models.instances import InstanceUsage, Period
from qiskit_runtime_server.api.routes.platform import plan_id
from qiskit_runtime_server.api.services import Caller, TheServices

router = APIRouter(tags=["instances"], responses=errors(*SIGNED_IN))


@router.get("/instances/usage", response_model_exclude_none=True)
async def usage(caller: Caller, services: TheServices) -> InstanceUsage:
    """Return what the instance has used of its limit of slot time since the day (UTC) began.

    An instance without a limit is told what all jobs of its account have taken.
    """
    counts, limit = services.store.counts, caller.instance.limits.seconds_per_day
    if limit is None:
        used = await counts.seconds_used(caller.id)
        return InstanceUsage(
            instance_id=caller.crn,
            plan_id=plan_id(caller.instance),
            usage_consumed_seconds=math.floor(used),
            usage_limit_reached=False,
        )
    used = await counts.seconds_used_today(caller.id, caller.crn)
    reached, whole = used >= limit, math.ceil(limit)
    consumed = max(math.floor(used), whole) if reached else math.floor(used)
    return InstanceUsage(
        instance_id=caller.crn,
        plan_id=plan_id(caller.instance),
        usage_period=_today(),
        usage_consumed_seconds=consumed,
        usage_limit_seconds=whole,
        usage_remaining_seconds=max(0, whole - consumed),
        usage_limit_reached=reached,
    )


def _today() -> Period:
    start = datetime.combine(datetime.now(UTC).date(), time(), UTC)
    return Period(start_time=start.isoformat(), end_time=(start + timedelta(days=1)).isoformat())
