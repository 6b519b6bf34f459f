"""What only admins may do; beside this, they see and cancel everybody's jobs where owners do."""

from typing import Annotated, Any

from fastapi import APIRouter, Query

from qiskit_runtime_server.api.routes.jobs import Listing, listed
from qiskit_runtime_server.api.services import Admin, TheServices
from qiskit_runtime_server.jobs import AccountId

router = APIRouter(prefix="/admin", tags=["admin"])


class AccountsListing(Listing):
    """Which jobs to list."""

    account: AccountId | None = None


@router.get("/jobs")
async def list_jobs(_: Admin, services: TheServices, wanted: Annotated[AccountsListing, Query()]) -> dict[str, Any]:
    """List everybody's jobs, or those of one `account`, as `GET /jobs` does."""
    return await listed(services, wanted.account, wanted)
