"""What stands in for IBM Cloud around the runtime: tokens, the search for instances, the catalogue of plans."""

import math
import time
from dataclasses import replace
from typing import Final
from urllib.parse import parse_qs

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse

from qiskit_runtime_server.accounts.identity import Identity, Instance, identity
from qiskit_runtime_server.api import audit, bodies
from qiskit_runtime_server.api.models.base import SIGNED_IN, Name, PathCrn, PathName, errors
from qiskit_runtime_server.api.models.platform import (
    AccessToken,
    FoundInstance,
    FoundInstances,
    Plan,
    ResourceInstance,
    ResourceInstances,
    WrongKey,
)
from qiskit_runtime_server.api.services import Caller, Services, TheServices
from qiskit_runtime_server.errors import NotAuthenticatedError, NotFoundError

_PLAN_PREFIX: Final = "qiskit-runtime-server-"

router = APIRouter(tags=["platform"], responses=errors())


def plan_id(instance: Instance) -> str:
    """Return what the catalogue knows the plan of an instance by."""
    return _PLAN_PREFIX + instance.plan


_FORM: Final = {
    "requestBody": {
        "required": True,
        "content": {
            "application/x-www-form-urlencoded": {
                "schema": {
                    "type": "object",
                    "required": ["apikey"],
                    "properties": {"apikey": {"type": "string", "maxLength": bodies.SMALL}},
                }
            }
        },
    }
}


@router.post(
    "/identity/token",
    openapi_extra=_FORM,
    responses={
        200: {"model": AccessToken},
        400: {"model": WrongKey, "description": "The token is not known."},
        **errors(429),
    },
)
async def issue_token(request: Request, services: TheServices) -> JSONResponse:
    """Trade an account's token, the form field `apikey`, for an access token that is valid for an hour.

    The token may also be one of Kubernetes, an OpenID provider or JupyterHub, where the server takes their word. The
    access token ends with that token then, and after a minute if it is one that may be revoked.
    """
    form = parse_qs((await bodies.read(request, limit=bodies.SMALL)).decode(errors="replace"))
    token, address = form.get("apikey", [""])[0], audit.address_of(request)
    try:
        signed_in = await services.sign_in(token, address)
        access_token, lifetime, expiration = services.access_tokens.issue(signed_in, now=time.time())
    except NotAuthenticatedError:
        # This is what IBM's clients expect of a wrong key.
        return JSONResponse({"errorCode": "BXNIM0415E", "errorMessage": "Provided API key could not be found."}, 400)
    audit.tell("sign-in", replace(identity(signed_in.account, None), address=address))
    answer = AccessToken(
        access_token=access_token,
        refresh_token="not_supported",  # noqa: S106 - what IBM Cloud says
        token_type="Bearer",  # noqa: S106 - no secret
        expires_in=lifetime,
        expiration=expiration,
        scope="ibm openid",
    )
    return JSONResponse(answer.model_dump())


@router.post("/v3/resources/search", responses=errors(*SIGNED_IN))
async def search_instances(caller: Caller) -> FoundInstances:
    """List the account's instances; what the body says does not matter."""
    account = caller.account
    items = [
        FoundInstance(
            crn=account.crn(instance),
            name=instance.name,
            service_plan_unique_id=plan_id(instance),
            tags=[],
            doc={"extensions": {"runtime": "qiskit-runtime-server"}},
        )
        for instance in account.instances
    ]
    return FoundInstances(items=items, limit=100)


@router.get("/v2/resource_instances", responses=errors(*SIGNED_IN))
async def list_resource_instances(caller: Caller, services: TheServices, name: Name | None = None) -> ResourceInstances:
    """List the account's instances, or the one of that name."""
    crns = [caller.account.crn(instance) for instance in caller.account.instances if name in {None, instance.name}]
    found = [await _resource(services, identity(caller.account, crn)) for crn in crns]
    return ResourceInstances(rows_count=len(found), resources=found)


@router.get("/v2/resource_instances/{crn:path}", responses=errors(*SIGNED_IN))
async def get_resource_instance(crn: PathCrn, caller: Caller, services: TheServices) -> ResourceInstance:
    """Return an instance of the account by its CRN."""
    return await _resource(services, identity(caller.account, crn))


async def _resource(services: Services, owner: Identity) -> ResourceInstance:
    """Describe an instance, with the limit that holds: an admin's, or that of accounts.toml."""
    account, instance = owner.account, owner.instance
    crn, limit = account.crn(instance), (await services.limits(owner)).seconds_per_day
    return ResourceInstance(
        id=crn,
        guid=instance.name,
        crn=crn,
        name=instance.name,
        account_id=account.name,
        resource_plan_id=plan_id(instance),
        state="active",
        extensions={
            "instance_limit_seconds": None if limit is None else math.ceil(limit),
            "usage_allocation_seconds": None,
            "backends": ["ANY"],
        },
    )


# The second path is what clients up to 0.48 make of the platform's address, which nothing tells them otherwise.
@router.get(f"/{_PLAN_PREFIX}{{plan}}", responses=errors(404))
@router.get(f"/api/v1/{_PLAN_PREFIX}{{plan}}", responses=errors(404))
async def describe_plan(plan: PathName, services: TheServices) -> Plan:
    """Describe the plan of an instance."""
    if plan not in services.access_tokens.plans():
        raise NotFoundError(f"Plan {plan!r} not found.")
    return Plan(
        id=_PLAN_PREFIX + plan,
        overview_ui={"en": {"display_name": plan}},
        metadata={"pricing": {"type": "free"}},
    )
