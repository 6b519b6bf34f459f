"""Who is calling."""

from fastapi import APIRouter

from qiskit_runtime_server.api.models.base import SIGNED_IN, errors
from qiskit_runtime_server.api.models.caller import Caller as Answer
from qiskit_runtime_server.api.services import Caller

router = APIRouter(prefix="/caller", tags=["instances"], responses=errors(*SIGNED_IN))


@router.get("")
async def get_caller(caller: Caller) -> Answer:
    """Return the caller's account, what it may do, and the instances that it has."""
    account = caller.account
    return Answer(
        account=account.name,
        role=account.role,
        teaches=list(account.teaching.entries),
        instances=[account.crn(one) for one in account.instances],
    )
