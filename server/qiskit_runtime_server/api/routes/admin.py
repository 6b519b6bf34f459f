"""What only admins may do; beside this, they see and cancel everybody's jobs where owners do."""

from dataclasses import asdict
from datetime import UTC, date, datetime, timedelta
from typing import Annotated, Final

import msgspec
from fastapi import APIRouter, Query, Request, Response
from pydantic import Field

from qiskit_runtime_server.api import bodies
from qiskit_runtime_server.api.models.admin import Executor, Executors, UsageDay, UsageDays
from qiskit_runtime_server.api.models.base import SIGNED_IN, Name, PathName, errors
from qiskit_runtime_server.api.models.jobs import Jobs
from qiskit_runtime_server.api.routes.jobs import Listing, listed
from qiskit_runtime_server.api.services import Admin, TheServices
from qiskit_runtime_server.backends.names import ExecutorName
from qiskit_runtime_server.errors import NotFoundError
from qiskit_runtime_server.jobs import AccountId
from qiskit_runtime_server.store.port import Load

router = APIRouter(prefix="/admin", tags=["admin"], responses=errors(*SIGNED_IN, 403))


_USAGE_DAYS: Final = timedelta(days=30)

# Days for which thirty others come before and after.
Day = Annotated[date, Field(ge=date(1970, 1, 1), le=date(9998, 12, 31))]


class ExecutorChange(msgspec.Struct):
    """The body of a change of an executor."""

    draining: bool


_CHANGES: Final = msgspec.json.Decoder(ExecutorChange)


class AccountsListing(Listing):
    """Which jobs to list."""

    account: Name | None = None


@router.get("/jobs", responses={200: {"model": Jobs}})
async def list_jobs(_: Admin, services: TheServices, wanted: Annotated[AccountsListing, Query()]) -> Response:
    """List everybody's jobs, or those of one `account`, as `GET /jobs` does."""
    return await listed(services, None if wanted.account is None else AccountId(wanted.account), wanted)


@router.get("/executors")
async def list_executors(_: Admin, services: TheServices) -> Executors:
    """List the executors of this api: what waits and runs, the slots it knows, and whether they drain."""
    loads = await services.store.counts.load()
    found = [
        Executor(
            name=name,
            queued=(load := loads.get(name, Load())).queued,
            running=load.running,
            slots=pool.size,
            draining=load.draining,
        )
        for name, pool in services.pools.items()
    ]
    return Executors(executors=found)


@router.patch("/executors/{name}", status_code=204, openapi_extra=bodies.documented(ExecutorChange))
async def change_executor(name: PathName, request: Request, _: Admin, services: TheServices) -> None:
    """Start no more jobs on an executor with `{"draining": true}`: running ones end, others wait; or go on (false)."""
    change = bodies.decode(await bodies.read(request, limit=bodies.SMALL), _CHANGES)
    executor = ExecutorName(name)
    if executor not in services.pools:
        raise NotFoundError(f"Executor {name!r} not found; there are {', '.join(sorted(services.pools))}.")
    await services.store.queue.drain(executor, draining=change.draining)


@router.get("/usage")
async def list_usage(_: Admin, services: TheServices, since: Day | None = None, until: Day | None = None) -> UsageDays:
    """List slot time by day (UTC), account, instance and executor, deleted jobs included; by default of 30 days."""
    until = until or datetime.now(UTC).date()
    days = await services.store.counts.usage(since or until - _USAGE_DAYS, until)
    return UsageDays(usage=[UsageDay(**asdict(day)) for day in days])
