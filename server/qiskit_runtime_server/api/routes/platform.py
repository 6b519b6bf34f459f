"""What stands in for IBM Cloud around the runtime: tokens, the search for instances, the catalogue of plans."""

import time
from typing import Any, Final
from urllib.parse import parse_qs

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse

from qiskit_runtime_server.accounts.identity import Instance
from qiskit_runtime_server.api import bodies
from qiskit_runtime_server.api.services import Caller, TheServices
from qiskit_runtime_server.errors import NotAuthenticatedError, NotFoundError

_PLAN_PREFIX: Final = "qiskit-runtime-server-"

router = APIRouter(tags=["platform"])


def plan_id(instance: Instance) -> str:
    """Return what the catalogue knows the plan of an instance by."""
    return _PLAN_PREFIX + instance.plan


@router.post("/identity/token")
async def issue_token(request: Request, services: TheServices) -> JSONResponse:
    """Trade an account's token, the form field `apikey`, for an access token that is valid for an hour."""
    form = parse_qs((await bodies.read(request, limit=bodies.SMALL)).decode(errors="replace"))
    try:
        access_token, lifetime, expiration = services.access_tokens.issue(form.get("apikey", [""])[0], now=time.time())
    except NotAuthenticatedError:
        # This is what IBM's clients expect of a wrong key.
        return JSONResponse({"errorCode": "BXNIM0415E", "errorMessage": "Provided API key could not be found."}, 400)
    return JSONResponse(
        {
            "access_token": access_token,
            "refresh_token": "not_supported",
            "token_type": "Bearer",
            "expires_in": lifetime,
            "expiration": expiration,
            "scope": "ibm openid",
        }
    )


@router.post("/v3/resources/search")
async def search_instances(caller: Caller) -> dict[str, Any]:
    """List the account's instances."""
    account = caller.account
    items = [
        {
            "crn": account.crn(instance),
            "name": instance.name,
            "service_plan_unique_id": plan_id(instance),
            "tags": [],
            "doc": {"extensions": {"runtime": "qiskit-runtime-server"}},
        }
        for instance in account.instances
    ]
    return {"items": items, "limit": 100}


# The second path is what clients up to 0.48 make of the platform's address, which nothing tells them otherwise.
@router.get(f"/{_PLAN_PREFIX}{{plan}}")
@router.get(f"/api/v1/{_PLAN_PREFIX}{{plan}}")
async def describe_plan(plan: str, services: TheServices) -> dict[str, Any]:
    """Describe the plan of an instance."""
    if plan not in services.access_tokens.plans():
        raise NotFoundError(f"Plan {plan!r} not found.")
    return {
        "id": _PLAN_PREFIX + plan,
        "overview_ui": {"en": {"display_name": plan}},
        "metadata": {"pricing": {"type": "free"}},
    }
