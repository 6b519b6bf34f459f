"""What an instance has used; asked by clients before every job."""

from typing import Any

from fastapi import APIRouter

from qiskit_runtime_server.api.services import Caller, TheServices

router = APIRouter(tags=["usage"])


@router.get("/instances/usage")
async def usage(caller: Caller, services: TheServices) -> dict[str, Any]:
    """Return the slot time that the account's jobs have taken, in seconds; there is no limit."""
    return {
        "instance_id": caller.crn,
        "plan_id": "self-hosted",
        "usage_consumed_seconds": await services.store.ledger.seconds_used(caller.id),
        "usage_limit_reached": False,
    }
