"""Faults for an account, on devices that have any."""

from typing import Annotated, Final

import msgspec
from fastapi import APIRouter, Request

from qiskit_runtime_server.api import bodies
from qiskit_runtime_server.api.models.base import SIGNED_IN, errors
from qiskit_runtime_server.api.services import Caller, TheServices

router = APIRouter(prefix="/chaos", tags=["chaos"], responses=errors(*SIGNED_IN))

Word = Annotated[str, msgspec.Meta(max_length=64)]


class AccountFaults(msgspec.Struct):
    """The body of a change of faults."""

    faults: Annotated[
        list[Word],
        msgspec.Meta(max_length=32, description="As in `run=2`; beside what the server's `QRS_CHAOS_FAULTS` says."),
    ]


_FAULTS: Final = msgspec.json.Decoder(AccountFaults)


@router.put("", status_code=204, openapi_extra=bodies.documented(AccountFaults))
async def set_faults(request: Request, caller: Caller, services: TheServices) -> None:
    """Replace the faults that the account meets from now on; its next job counts as its first. 404 without `QRS_CHAOS`.

    A job's own tags, as in `chaos:run=2`, go before them.
    """
    words = bodies.decode(await bodies.read(request, limit=bodies.SMALL), _FAULTS).faults
    services.chaos.set_faults(caller.id, words)
