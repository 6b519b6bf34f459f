"""What an instance has used; asked by clients before every job."""

from typing import Any

from fastapi import APIRouter

from qiskit_runtime_server.api.routes.platform import plan_id
from qiskit_runtime_server.api.services import Caller, TheServices

router = APIRouter(tags=["usage"])


@router.get("/instances/usage")
async def usage(caller: Caller, services: TheServices) -> dict[str, Any]:
    """Return what the instance has used of its limit of slot time since the day (UTC) began.

    An instance without a limit is told what all jobs of its account have taken.
    """
    counts, limit = services.store.counts, caller.instance.limits.seconds_per_day
    view = {"instance_id": caller.crn, "plan_id": plan_id(caller.instance)}
    if limit is None:
        used = await counts.seconds_used(caller.id)
        return view | {"usage_consumed_seconds": used, "usage_limit_reached": False}
    used = await counts.seconds_used_today(caller.id, caller.crn)
    return view | {
        "usage_consumed_seconds": used,
        "usage_limit_seconds": limit,
        "usage_remaining_seconds": max(0.0, limit - used),
        "usage_limit_reached": used >= limit,
    }
