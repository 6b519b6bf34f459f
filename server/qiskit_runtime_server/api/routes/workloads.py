"""Workloads: sessions, batches, and jobs in neither, on one list; and the tags that jobs have."""

import base64
import binascii
from datetime import UTC, datetime
from typing import Annotated, Final, Literal
from urllib.parse import urlencode

import msgspec
from fastapi import APIRouter, Query, Request
from pydantic import BaseModel, ConfigDict, Field

from qiskit_runtime_server.api import bodies
from qiskit_runtime_server.api.models import jobs as models
from qiskit_runtime_server.api.models.base import SIGNED_IN, Name, TagFilter, errors
from qiskit_runtime_server.api.services import Caller, TheServices
from qiskit_runtime_server.errors import MalformedRequestError
from qiskit_runtime_server.jobs import Job, Session
from qiskit_runtime_server.store.overviews import (
    MODE_OF_SESSION,
    STATUS_OF_JOB,
    STATUS_OF_SESSION,
    WorkloadKey,
    WorkloadMode,
    WorkloadQuery,
    WorkloadStatus,
)

router = APIRouter(tags=["workloads"], responses=errors(*SIGNED_IN))

_MOST_TAGS: Final = 200
_CURSORS: Final = msgspec.json.Decoder(tuple[datetime, str])


class Wanted(BaseModel):
    """Which workloads to list; other parameters are ignored."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    user: Literal["me"] | None = None
    """Makes no difference: everybody sees their own."""
    sort: Literal["createdAt", "-createdAt"] = "createdAt"
    """With `-`, the newest come first."""
    limit: Annotated[int, Field(ge=1, le=50)] = 10
    previous: Name | None = None
    """Cursor from an answer."""
    next: Name | None = None
    """Cursor from an answer."""
    backend: Name | None = None
    search: Name | None = None
    """A part of an id or a tag."""
    status: Annotated[list[WorkloadStatus], Field(max_length=5)] = []
    """Any of them."""
    mode: WorkloadMode | None = None
    created_after: datetime | None = None
    created_before: datetime | None = None
    tags: TagFilter = []
    """Jobs with all of them."""
    include_mocks: bool = False
    """Whether those on backends for dry runs are listed too."""


@router.get("/workloads", response_model_exclude_unset=True)
async def list_workloads(
    request: Request, caller: Caller, services: TheServices, wanted: Annotated[Wanted, Query()]
) -> models.Workloads:
    """List the workloads of the instance, oldest first unless `sort=-createdAt`."""
    if wanted.next is not None and wanted.previous is not None:
        raise MalformedRequestError("Send either the cursor of the next page or that of the previous one, not both.")
    cursor = wanted.next or wanted.previous
    query = WorkloadQuery(
        instance=caller.crn,
        backend=wanted.backend,
        mode=wanted.mode,
        statuses=frozenset(wanted.status),
        search=wanted.search or None,
        tags=tuple(wanted.tags),
        dry_runs=wanted.include_mocks,
        created_after=bodies.utc(wanted.created_after),
        created_before=bodies.utc(wanted.created_before),
        newest_first=wanted.sort == "-createdAt",
        limit=wanted.limit,
        past=None if cursor is None else _place(cursor),
        backwards=wanted.previous is not None,
    )
    async with services.listings.of(caller.id):
        page = await services.store.overviews.workloads(caller.id, query)
    now, found = datetime.now(UTC), page.workloads
    # There is always something on the side from which the page was reached.
    earlier, later = (page.more, True) if query.backwards else (cursor is not None, page.more)
    links = {}
    if found and earlier:
        links["previous"] = _link(request, "previous", found[0])
    if found and later:
        links["next"] = _link(request, "next", found[-1])
    return models.Workloads(
        workloads=[_view(one, now) for one in found], total_count=page.count, limit=wanted.limit, **links
    )


@router.get("/tags")
async def list_tags(
    caller: Caller,
    services: TheServices,
    search: Annotated[str, Query(min_length=3, max_length=100, description="A part of a tag.")],
    _type: Annotated[Literal["job"], Query(alias="type")] = "job",
) -> models.Tags:
    """List tags of the account's jobs that contain a text, at most 200."""
    async with services.listings.of(caller.id):
        return models.Tags(tags=list(await services.store.overviews.tags(caller.id, search, limit=_MOST_TAGS)))


def _view(one: Job | Session, now: datetime) -> models.Workload:
    if isinstance(one, Job):
        used = one.metrics.seconds if one.state.terminal else None
        return models.Workload(
            id=one.id,
            created=one.created.isoformat(),
            ended=bodies.timestamp(one.finished),
            backend=one.backend,
            instance=one.instance,
            user_id=one.account,
            accepting_jobs=None,
            mode=WorkloadMode.JOB.value,
            status=STATUS_OF_JOB[one.state].value,
            status_reason=one.reason,
            tags=list(one.tags),
            usage_seconds=used,
            usage=None if used is None else models.WorkloadUsage(qpu_charge_time_seconds=used),
        )
    ended = one.ended(now)
    used = one.seconds if ended else None
    return models.Workload(
        id=one.id,
        created=one.created.isoformat(),
        ended=bodies.timestamp(ended),
        backend=one.backend,
        instance=one.instance,
        user_id=one.account,
        accepting_jobs=one.accepts_jobs(now),
        mode=MODE_OF_SESSION[one.mode].value,
        status=STATUS_OF_SESSION[one.state(now)].value,
        status_reason=None,
        tags=[],
        usage_seconds=used,
        usage=None if used is None else models.WorkloadUsage(qpu_charge_time_seconds=used),
    )


def _place(cursor: str) -> WorkloadKey:
    try:
        return _CURSORS.decode(base64.urlsafe_b64decode(cursor))
    except (binascii.Error, ValueError, msgspec.DecodeError) as error:
        raise MalformedRequestError(f"The cursor {cursor!r} was not given by this server.") from error


def _link(request: Request, name: str, one: Job | Session) -> models.Cursor:
    """Return the URL of the page beside a workload, with what this one was asked for with."""
    cursor = base64.urlsafe_b64encode(msgspec.json.encode((one.created, one.id))).decode()
    kept = [(key, value) for key, value in request.query_params.multi_items() if key not in {"next", "previous"}]
    return models.Cursor(href=f"{request.url.replace(query='')}?{urlencode([*kept, (name, cursor)])}")
