"""What only admins may do; beside this, they see and cancel everybody's jobs where owners do."""

from collections import defaultdict
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import asdict
from datetime import UTC, date, datetime, timedelta
from typing import Annotated, Final

import msgspec
from fastapi import APIRouter, Query, Request
from pydantic import Field

from qiskit_runtime_server.accounts.identity import Identity
from qiskit_runtime_server.api import audit, bodies
from qiskit_runtime_server.api.models.admin import (
    CancelledJobs,
    DeletedData,
    Endpoint,
    Executor,
    Executors,
    JobPage,
    RunningJobs,
    Usage,
    UsageDay,
)
from qiskit_runtime_server.api.models.base import SIGNED_IN, Name, PathName, errors
from qiskit_runtime_server.api.routes.jobs import Listing, page_of, query_of, view_of
from qiskit_runtime_server.api.services import Admin, Services, TheServices
from qiskit_runtime_server.backends.names import ExecutorName
from qiskit_runtime_server.errors import InvalidStateError, JobNotFoundError, NotFoundError
from qiskit_runtime_server.jobs import AccountId, Job, name_of
from qiskit_runtime_server.messages.messages import Occupancy
from qiskit_runtime_server.store import port as store
from qiskit_runtime_server.store.port import JobQuery, Load

router = APIRouter(prefix="/admin", tags=["admin"], responses=errors(*SIGNED_IN, 403))


_USAGE_DAYS: Final = timedelta(days=30)
_CANCELLED_AT_A_TIME: Final = 100
_MOST_CANCELLED: Final = 1000

# Days for which thirty others come before and after.
Day = Annotated[date, Field(ge=date(1970, 1, 1), le=date(9998, 12, 31))]


class ExecutorChange(msgspec.Struct):
    """The body of a change of an executor."""

    draining: bool


_CHANGES: Final = msgspec.json.Decoder(ExecutorChange)


class AccountsListing(Listing):
    """Which jobs to list."""

    account: Name | None = None


@router.get("/jobs")
async def list_jobs(caller: Admin, services: TheServices, wanted: Annotated[AccountsListing, Query()]) -> JobPage:
    """List everybody's jobs, or those of one `account`, in one `state`: what runs, since when, and for how long.

    Pages follow each other by `cursor`, so that jobs that arrive meanwhile move none; `offset` counts from it. Params
    are left out.
    """
    account = None if wanted.account is None else services.access_tokens.id_of(wanted.account)
    return await job_page(services, caller, account, query_of(wanted))


async def job_page(services: Services, caller: Identity, account: AccountId | None, query: JobQuery) -> JobPage:
    """Return a page of jobs of an account, or of those that the query is for."""
    jobs, count, following = await page_of(services, caller, account, query)
    return JobPage(jobs=[view_of(job) for job in jobs], count=count, limit=query.limit, next=following)


@router.post("/accounts/{account}/cancel")
async def cancel_jobs(account: PathName, caller: Admin, services: TheServices) -> CancelledJobs:
    """Cancel the queued and running jobs of an account, the oldest first, at most 1,000 in a call."""
    cancelled, left = await _cancel(services, caller, services.access_tokens.id_of(account))
    return CancelledJobs(cancelled=cancelled, more=left > 0)


@router.delete("/accounts/{account}/data")
async def delete_data(account: PathName, caller: Admin, services: TheServices) -> DeletedData:
    """Delete all that an account has: jobs with params, results and logs, sessions, and limits that were set here.

    Its queued and running jobs are cancelled before. At most 1,000 jobs in a call. The slot time that it has used stays
    counted, and its tokens are in their file.
    """
    whose = services.access_tokens.id_of(account)
    cancelled, _ = await _cancel(services, caller, whose)
    jobs, sessions, found = 0, 0, True
    while found and jobs < _MOST_CANCELLED:
        forgotten = await services.store.archive.forget(whose)
        jobs, sessions = jobs + forgotten.jobs, sessions + forgotten.sessions
        found = forgotten.jobs + forgotten.sessions > 0
    # Another api may be removing some of them, too.
    _, left = await services.store.jobs.find(whose, JobQuery(limit=1))
    audit.tell("delete data", caller, owner=whose, jobs=jobs, sessions=sessions)
    return DeletedData(cancelled=cancelled, jobs=jobs, sessions=sessions, more=found or left > 0)


async def _cancel(services: Services, caller: Identity, whose: AccountId) -> tuple[int, int]:
    """Cancel so many jobs of an account as a call may, and return how many, and how many are left."""
    reason, cancelled = f"Cancelled by {caller.name}, an admin.", 0
    pending = JobQuery(pending=True, oldest_first=True, limit=_CANCELLED_AT_A_TIME)
    jobs, left = await services.store.jobs.find(whose, pending)
    while jobs and cancelled < _MOST_CANCELLED:
        for job in jobs:
            with suppress(InvalidStateError, JobNotFoundError):  # it has ended, or was deleted, since it was looked for
                await services.cancel(whose, job.id, reason=reason)
                audit.tell("cancel", caller, job=job.id, owner=whose)
                cancelled += 1
        jobs, left = await services.store.jobs.find(whose, pending)
    return cancelled, left


@router.get("/executors")
async def list_executors(_: Admin, services: TheServices) -> Executors:
    """List the executors of this api: what waits and runs, where they are, and whether they drain."""
    loads = await services.store.counts.load()
    found = [
        Executor(
            name=name,
            queued=(load := loads.get(name, Load())).queued,
            running=load.running,
            slots=pool.size,
            draining=load.draining,
            missing_seconds=pool.missing_seconds,
            on_demand=name in services.settings.on_demand,
            endpoints=[_endpoint(address, occupancy) for address, occupancy in sorted(pool.endpoints().items())],
        )
        for name, pool in services.pools.items()
    ]
    return Executors(executors=found)


@router.patch("/executors/{name}", status_code=204, openapi_extra=bodies.documented(ExecutorChange))
async def change_executor(name: PathName, request: Request, caller: Admin, services: TheServices) -> None:
    """Start no more jobs on an executor with `{"draining": true}`: running ones end, others wait; or go on (false)."""
    change = bodies.decode(await bodies.read(request, limit=bodies.SMALL), _CHANGES)
    executor = ExecutorName(name)
    if executor not in services.pools:
        raise NotFoundError(f"Executor {name!r} not found; there are {', '.join(sorted(services.pools))}.")
    await services.store.queue.drain(executor, draining=change.draining)
    audit.tell("drain" if change.draining else "end drain", caller, executor=name)


@router.get("/usage")
async def list_usage(_: Admin, services: TheServices, since: Day | None = None, until: Day | None = None) -> Usage:
    """List slot time by day (UTC), account, instance and executor, deleted jobs included; by default of 30 days.

    Jobs are charged when they end; those that run now are listed beside.
    """
    since, until = interval(since, until)
    return usage_of(await services.store.counts.usage(since, until), await services.running(None))


def interval(since: date | None, until: date | None) -> tuple[date, date]:
    """Return the days from which until which usage is listed, where a request may leave out either."""
    until = until or datetime.now(UTC).date()
    return since or until - _USAGE_DAYS, until


def usage_of(days: Iterable[store.UsageDay], jobs: Iterable[Job]) -> Usage:
    """Return an answer about what was used on some days, and by jobs that run now."""
    running: defaultdict[tuple[AccountId, str, str], list[float]] = defaultdict(list)
    for job in jobs:
        running[job.account, job.instance, job.executor].append(job.seconds_so_far(datetime.now(UTC)))
    return Usage(
        usage=[UsageDay(**{**asdict(day), "account": name_of(day.account), "user_id": day.account}) for day in days],
        running=[
            RunningJobs(
                account=name_of(user_id),
                user_id=user_id,
                instance=instance,
                executor=executor,
                jobs=len(seconds),
                seconds=sum(seconds),
            )
            for (user_id, instance, executor), seconds in sorted(running.items())
        ],
    )


def _endpoint(address: str, occupancy: Occupancy) -> Endpoint:
    return Endpoint(
        address=address,
        slots=occupancy.slots,
        idle=occupancy.idle,
        draining=occupancy.draining,
        release=occupancy.release,
        device=occupancy.capabilities.device,
        num_qubits=occupancy.capabilities.num_qubits,
    )
