"""What stands in for IBM Cloud around the runtime: tokens, the search for instances, the catalogue of plans."""

import time
from typing import Any
from urllib.parse import parse_qs

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse

from qiskit_runtime_server.api import bodies
from qiskit_runtime_server.api.services import Caller, TheServices
from qiskit_runtime_server.errors import NotAuthenticatedError, NotFoundError

PLAN_ID = "qiskit-runtime-server"

router = APIRouter(tags=["platform"])


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
    """List the account's instances; there is one."""
    item = {
        "crn": caller.crn,
        "name": "default",
        "service_plan_unique_id": PLAN_ID,
        "tags": [],
        "doc": {"extensions": {"runtime": "qiskit-runtime-server"}},
    }
    return {"items": [item], "limit": 100}


@router.get("/{plan_id}")
async def describe_plan(plan_id: str) -> dict[str, Any]:
    """Describe the plan of an instance."""
    if plan_id != PLAN_ID:
        raise NotFoundError(f"Plan {plan_id!r} not found.")
    return {
        "id": PLAN_ID,
        "overview_ui": {"en": {"display_name": "Self-hosted"}},
        "metadata": {"pricing": {"type": "free"}},
    }
