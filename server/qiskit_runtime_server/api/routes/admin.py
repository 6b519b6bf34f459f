"""What only admins may do; beside this, they see and cancel everybody's jobs where owners do."""

from dataclasses import asdict
from datetime import UTC, date, datetime, timedelta
from typing import Annotated, Any, Final

import msgspec
from fastapi import APIRouter, Query, Request

from qiskit_runtime_server.api import bodies
from qiskit_runtime_server.api.routes.jobs import Listing, listed
from qiskit_runtime_server.api.services import Admin, TheServices
from qiskit_runtime_server.backends.names import ExecutorName
from qiskit_runtime_server.errors import NotFoundError
from qiskit_runtime_server.jobs import AccountId
from qiskit_runtime_server.store.port import Load

router = APIRouter(prefix="/admin", tags=["admin"])


_USAGE_DAYS: Final = timedelta(days=30)


class ExecutorChange(msgspec.Struct):
    """The body of a change of an executor."""

    draining: bool


_CHANGES: Final = msgspec.json.Decoder(ExecutorChange)


class AccountsListing(Listing):
    """Which jobs to list."""

    account: AccountId | None = None


@router.get("/jobs")
async def list_jobs(_: Admin, services: TheServices, wanted: Annotated[AccountsListing, Query()]) -> dict[str, Any]:
    """List everybody's jobs, or those of one `account`, as `GET /jobs` does."""
    return await listed(services, wanted.account, wanted)


@router.get("/executors")
async def list_executors(_: Admin, services: TheServices) -> dict[str, Any]:
    """List the executors of this api: what waits and runs, the slots it knows, and whether they drain."""
    loads = await services.store.counts.load()
    return {
        "executors": [
            {
                "name": name,
                "queued": (load := loads.get(name, Load())).queued,
                "running": load.running,
                "slots": pool.size,
                "draining": load.draining,
            }
            for name, pool in services.pools.items()
        ]
    }


@router.patch("/executors/{name}", status_code=204)
async def change_executor(name: str, request: Request, _: Admin, services: TheServices) -> None:
    """Start no more jobs on an executor with `{"draining": true}`: running ones end, others wait; or go on (false)."""
    change = bodies.decode(await bodies.read(request, limit=bodies.SMALL), _CHANGES)
    executor = ExecutorName(name)
    if executor not in services.pools:
        raise NotFoundError(f"Executor {name!r} not found; there are {', '.join(sorted(services.pools))}.")
    await services.store.queue.drain(executor, draining=change.draining)


@router.get("/usage")
async def list_usage(
    _: Admin, services: TheServices, since: date | None = None, until: date | None = None
) -> dict[str, Any]:
    """List slot time by day (UTC), account, instance and executor, deleted jobs included; by default of 30 days."""
    until = until or datetime.now(UTC).date()
    days = await services.store.counts.usage(since or until - _USAGE_DAYS, until)
    return {"usage": [asdict(day) for day in days]}
