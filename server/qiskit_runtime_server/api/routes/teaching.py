"""What teachers see of those whom they teach; beside this, they look at and cancel each job where its owner does."""

from dataclasses import replace
from typing import Annotated

from fastapi import APIRouter, Query

from qiskit_runtime_server.api.models.admin import JobPage, Usage
from qiskit_runtime_server.api.models.base import SIGNED_IN, errors
from qiskit_runtime_server.api.routes.admin import AccountsListing, Day, interval, job_page, usage_of
from qiskit_runtime_server.api.routes.jobs import query_of
from qiskit_runtime_server.api.services import Teacher, TheServices

router = APIRouter(prefix="/class", tags=["class"], responses=errors(*SIGNED_IN, 403))


@router.get("/jobs")
async def list_jobs(caller: Teacher, services: TheServices, wanted: Annotated[AccountsListing, Query()]) -> JobPage:
    """List the jobs of all whom the caller teaches, or of one `account` of them, as `GET /jobs` lists one's own.

    Pages follow each other by `cursor`. Params are left out. An account that the caller does not teach has none here.
    """
    owners = await services.taught(caller, wanted.account)
    return await job_page(services, caller, None, replace(query_of(wanted), owners=owners))


@router.get("/usage")
async def list_usage(
    caller: Teacher, services: TheServices, since: Day | None = None, until: Day | None = None
) -> Usage:
    """List slot time by day (UTC), account, instance and executor of those whom the caller teaches.

    By default of 30 days; deleted jobs are included. Jobs are charged when they end; those that run now are beside.
    """
    owners = await services.taught(caller)
    whole, parts = set(owners.accounts), set(owners.instances)
    days = await services.store.counts.usage(*interval(since, until))
    own = [day for day in days if day.account in whole or (day.account, day.instance) in parts]
    return usage_of(own, await services.running(None, owners))
