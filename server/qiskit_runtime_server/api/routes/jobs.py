"""Jobs: submitting, watching, cancelling, and fetching what came out."""

import secrets
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Annotated, Any, Final, Literal

import msgspec
from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from qiskit_runtime_server.accounts.identity import Identity
from qiskit_runtime_server.api import audit, bodies
from qiskit_runtime_server.api.answers import AnswerRoom
from qiskit_runtime_server.api.documents import JSON, document_response
from qiskit_runtime_server.api.models import jobs as models
from qiskit_runtime_server.api.models.base import MAX_NAME, SIGNED_IN, TEXT, Count, PathName, TagFilter, errors
from qiskit_runtime_server.api.models.base import Name as NameFilter
from qiskit_runtime_server.api.routes.backends import check_calibration
from qiskit_runtime_server.api.routes.sessions import opened
from qiskit_runtime_server.api.services import Caller, Services, TheRoom, TheServices
from qiskit_runtime_server.backends.names import AUTO, dry_run_name
from qiskit_runtime_server.dispatch import job_log
from qiskit_runtime_server.dispatch.endings import Ending
from qiskit_runtime_server.dispatch.forecast import Forecast, forecast
from qiskit_runtime_server.errors import (
    JobNotFoundError,
    MalformedRequestError,
    NotAllowedError,
    ProgramNotFoundError,
    StoreUnavailableError,
)
from qiskit_runtime_server.jobs import AccountId, Job, JobId, JobState, SessionId, SessionMode, name_of
from qiskit_runtime_server.log.trace import current_trace, current_traceparent
from qiskit_runtime_server.messages.messages import Prediction, Progress
from qiskit_runtime_server.messages.programs import SCHEMA_VERSIONS, ProgramName
from qiskit_runtime_server.store.port import BY_OWNER, DocumentKind, JobQuery

MAX_LIMIT: Final = 200
_MAX_LIMIT_WITH_PARAMS: Final = 20
_LISTED_PARAMS_BYTES: Final = 1 << 20
# Of a page of jobs: names of its fields, and commas.
_SLACK_BYTES: Final = 4096
_TEXT: Final = "text/plain"
# As old as a job may be when it is expected to end: of what takes longer, a client's half second is a tenth at most.
_MOST_HOLDS: Final = 5
_PLACES: Final = msgspec.json.Decoder(tuple[datetime, str])

router = APIRouter(prefix="/jobs", tags=["jobs"], responses=errors(*SIGNED_IN))


Name = Annotated[str, msgspec.Meta(max_length=MAX_NAME)]
Seconds = Annotated[int, msgspec.Meta(ge=0, le=2**31 - 1)]
TagList = Annotated[list[Name], msgspec.Meta(max_length=64)]


class Submission(msgspec.Struct, kw_only=True):
    """The body of a new job; other fields are ignored, and what is in `params` is for the worker processes."""

    program_id: Annotated[Name, msgspec.Meta(description="One of " + ", ".join(f"`{name}`" for name in ProgramName))]
    backend: Name
    params: Annotated[msgspec.Raw, msgspec.Meta(description="What the program reads; see options.md.")]
    log_level: Annotated[Name, msgspec.Meta(description="`debug` has the job's log say more.")] | None = None
    session_id: Name | None = None
    tags: TagList = []
    cost: Annotated[Seconds, msgspec.Meta(description="Seconds that it may run, at most as long as any.")] | None = None
    private: Annotated[bool, msgspec.Meta(description="Params are not shown, the result is read once.")] = False
    runtime: Annotated[Name, msgspec.Meta(description="Refused: there is one image.")] | None = None
    calibration_id: Annotated[Name, msgspec.Meta(description="As of the backend's documents.")] | None = None
    start_session: Annotated[
        bool | Literal["True", "true", "False", "false"], msgspec.Meta(description="Whether to open a session with it.")
    ] = False
    session_time: Annotated[Seconds, msgspec.Meta(description="How long that lives.")] | None = None

    @property
    def starts_session(self) -> bool:
        """Whether the job is the first of a new session; guides spell it as Python's text, too."""
        return self.start_session in {True, "True", "true"}


class Tags(msgspec.Struct):
    """The body of a change of tags."""

    tags: TagList


class Listing(BaseModel):
    """Which jobs to list; other parameters are ignored."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    limit: Annotated[int, Field(ge=1, le=2**31 - 1)] | None = None
    """How many jobs a page has, at most 200; by default 200, and 20 with their params."""
    offset: Count = 0
    """How many jobs come before the page."""
    backend: NameFilter | None = None
    pending: bool | None = None
    """Queued and running jobs only, or ended ones only."""
    program: NameFilter | None = None
    tags: TagFilter = []
    """Jobs with all of them."""
    session_id: NameFilter | None = None
    include_mocks: bool = False
    """Whether jobs on backends for dry runs are listed too."""
    created_after: datetime | None = None
    created_before: datetime | None = None
    state: JobState | None = None
    cursor: Annotated[str, Field(max_length=512)] | None = None
    """The `next` of the page before, so that jobs that arrive meanwhile move none; `offset` counts from it."""
    sort: Literal["ASC", "DESC"] = "DESC"
    exclude_params: bool = True
    """Whether params are left out; those over 1 MiB always are."""


_SUBMISSIONS: Final = msgspec.json.Decoder(Submission)
_TAGS: Final = msgspec.json.Decoder(Tags)


@router.post(
    "",
    openapi_extra=bodies.documented(Submission),
    responses=errors(*SIGNED_IN, 409, 413),
    response_model_exclude_none=True,
)
async def submit(request: Request, caller: Caller, services: TheServices) -> models.JobAccepted:
    """Accept a job; once its id is answered, it is never lost. 429 where it goes beyond a limit of the instance.

    It may run for `cost` seconds, or for as long as the server allows if that is less. With `start_session`, true or
    "True", it opens a session of its own, for `session_time` seconds.
    """
    services.rates.submissions.take(caller.id, f"Too many submissions of account {caller.name}")
    with services.budget.share(caller.id) as share:
        body = await bodies.read(request, limit=services.settings.max_params_bytes, share=share)
        job, params = await _new_job(body, caller, services)
        fate = services.chaos.fate(job)
        if fate.queue_seconds:
            job = replace(job, held=f"Chaos: waits {fate.queue_seconds:g} s in the queue, on purpose.")
        try:
            await services.store.jobs.add(job, params, caller.instance.limits)
        except StoreUnavailableError:
            # The client sends it again, without a key by which the two could be told from each other.
            services.dispatcher.withdrawals.begin(job)
            raise
    services.dispatcher.timed_faults.begin(job, fate)
    job_log.accepted(job)
    audit.tell("submit", caller, job=job.id, program=job.program_id, backend=job.backend)
    return models.JobAccepted(
        id=job.id, backend=job.backend, private=True if job.private else None, session_id=job.session_id
    )


@router.get("", responses={200: {"model": models.Jobs}})
async def list_jobs(
    caller: Caller, services: TheServices, room: TheRoom, wanted: Annotated[Listing, Query()]
) -> Response:
    """List jobs, newest first unless `sort=ASC`; `count` is the number over all pages.

    Pages follow each other by `cursor`, whose other parameters are those of the page before, or by `offset`.
    """
    return await _listed(services, caller, wanted, room)


@router.get("/{job_id}", responses={200: {"model": models.JobWithParams}})
async def get_job(  # noqa: PLR0913 - what a client may say
    job_id: PathName,
    caller: Caller,
    services: TheServices,
    room: TheRoom,
    *,
    exclude_params: bool = False,
    wait: bool = True,
) -> Response:
    """Return a job. With `wait`, the answer may wait a moment for the end of a young one.

    Teachers see those of the accounts that they teach, and admins everybody's.
    """
    # Before the first look, or an end between the two would be missed.
    with services.endings.watch(JobId(job_id)) as ending:
        job = await services.job(caller, job_id)
        services.chaos.check_request(caller.id, job.backend, job.tags, job.id, "job")
        if wait and not job.state.terminal:
            job = await _waited_for(services, caller, ending, job)
    view = view_of(job).model_dump_json(exclude_unset=True).encode()
    if exclude_params or job.private:
        return Response(view, media_type="application/json")
    audit.tell_if_foreign("read params", caller, job)
    read = partial(services.store.documents.pieces, job.id, DocumentKind.PARAMS)
    response = await document_response(read, room, before=view.removesuffix(b"}") + b',"params":', after=b"}")
    if response is None:
        raise JobNotFoundError(f"Job {job.id} not found.")
    return response


async def _waited_for(services: Services, caller: Identity, ending: Ending, job: Job) -> Job:
    """Return a job as it has ended, or as it is when a call may wait for that no longer: see decision 4."""
    hold = services.settings.hold
    soon = job.created + _MOST_HOLDS * hold
    if (left := job.created + hold - datetime.now(UTC)) > timedelta(0):
        job = await ending.wait(left) or await services.job(caller, job.id)
    end = job.expected_end()
    if end is not None and end <= soon and (left := soon - datetime.now(UTC)) > timedelta(0):
        job = await ending.wait(left) or await services.job(caller, job.id)
    return job


@router.delete("/{job_id}", status_code=204, responses=errors(*SIGNED_IN, 403))
async def delete_job(job_id: PathName, caller: Caller, services: TheServices) -> None:
    """Remove a job for good, ending it first if it runs. Admins may remove everybody's."""
    job = await services.job(caller, job_id)
    if not caller.is_admin and job.account != caller.id:
        raise NotAllowedError(f"Job {job.id} is {name_of(job.account)}'s: teachers may cancel it, but not delete it.")
    reason = f"Deleted by {caller.name}, an admin." if caller.is_admin else BY_OWNER
    job = await services.store.jobs.delete(job.account, job_id, reason=reason)
    services.dispatcher.end_run(job.id)
    audit.tell("delete", caller, job=job.id, owner=job.account)


@router.post("/{job_id}/cancel", status_code=204, responses=errors(*SIGNED_IN, 409))
async def cancel_job(job_id: PathName, caller: Caller, services: TheServices) -> None:
    """End a queued or running job; 409 if it has ended already.

    Teachers may end those of the accounts that they teach, and admins everybody's.
    """
    job = await services.job(caller, job_id)
    by = "its owner"
    if caller.is_admin or job.account != caller.id:
        by = f"{caller.name}, {'an admin' if caller.is_admin else 'a teacher'}"
    job = await services.cancel(job.account, job_id, reason=f"Cancelled by {by}.")
    audit.tell("cancel", caller, job=job.id, owner=job.account)


@router.get(
    "/{job_id}/results",
    response_class=Response,
    responses={200: TEXT, 204: {"description": "There is none."}, **errors(*SIGNED_IN, 403)},
)
async def results(job_id: PathName, caller: Caller, services: TheServices, room: TheRoom) -> Response:
    """Return the result's JSON document as text, or nothing while there is none; that of a private job once.

    Clients of the platform read text; its own description of this path says so.
    """
    job = await services.job(caller, job_id)
    services.chaos.check_request(caller.id, job.backend, job.tags, job.id, "results")
    if job.private and job.account != caller.id:
        raise NotAllowedError(f"The result of job {job.id} is private: only {name_of(job.account)} may read it, once.")
    audit.tell_if_foreign("read results", caller, job)
    documents = services.store.documents
    read = partial(documents.pieces, job.id, DocumentKind.RESULT)
    if not job.private:
        return await document_response(read, room, media_type=_TEXT) or Response(status_code=204)
    # It is forgotten as it is taken, in one piece, so that room has to be there before.
    size = 0
    async for piece in read():
        size += len(piece)
    await room.hold(size)
    taken = await documents.take_result(job.id)
    return Response(status_code=204) if taken is None else Response(taken, media_type=_TEXT)


@router.get("/{job_id}/metrics")
async def metrics(job_id: PathName, caller: Caller, services: TheServices) -> models.JobMetrics:
    """Return when the job went through its states, what it took, and what is to be expected of it."""
    job = await services.job(caller, job_id)
    now, position = datetime.now(UTC), None
    end = job.expected_end()
    expected = Forecast(end=None if end is None else max(now, end))
    if job.state is JobState.QUEUED and job.held is None:
        position = await services.store.counts.queue_position(job)
        pool, cold = services.pools.get(job.executor), services.cold_start(job.executor)
        expected = await forecast(
            services.store.counts,
            job,
            position=position,
            pool=pool,
            cold=cold,
            short=services.settings.short_job,
            now=now,
        )
    running = job.progress if job.state is JobState.RUNNING else None
    return models.JobMetrics(
        timestamps=models.Timestamps(
            created=job.created.isoformat(),
            running=None if job.is_looked_at else bodies.timestamp(job.started),
            finished=bodies.timestamp(job.finished),
        ),
        usage=models.FinalUsage(**_seconds(job), status="final" if job.state.terminal else "pending"),
        executions=job.metrics.executions,
        num_circuits=job.metrics.num_circuits,
        num_qubits=list(job.metrics.num_qubits),
        qiskit_version=job.metrics.qiskit_version,
        progress=None if running is None else _progress(running),
        estimated_start_time=bodies.timestamp(expected.start),
        estimated_completion_time=bodies.timestamp(expected.end),
        executor=None if job.executor == AUTO else job.executor,
        routing=None if job.routing is None else {name: _predicted(it) for name, it in job.routing.predictions.items()},
        position_in_queue=position,
    )


def _predicted(prediction: Prediction) -> models.Predicted:
    return models.Predicted(seconds=prediction.seconds, refusal=prediction.refusal or None)


def _progress(running: Progress) -> models.RunProgress:
    fraction = running.done / max(1, running.total) if running.fraction is None else running.fraction
    return models.RunProgress(done=running.done, total=running.total, fraction=fraction, stage=running.stage)


@router.get("/{job_id}/logs", response_class=Response, responses={200: TEXT})
async def logs(job_id: PathName, caller: Caller, services: TheServices, room: TheRoom) -> Response:
    """Return what the job has written to its log."""
    job = await services.job(caller, job_id)
    audit.tell_if_foreign("read log", caller, job)
    read = partial(services.store.documents.pieces, job.id, DocumentKind.LOG)
    return await document_response(read, room, media_type=_TEXT) or Response(b"", media_type=_TEXT)


@router.put("/{job_id}/tags", status_code=204, openapi_extra=bodies.documented(Tags), responses=errors(*SIGNED_IN, 403))
async def set_tags(job_id: PathName, request: Request, caller: Caller, services: TheServices) -> None:
    """Replace the tags of a job of one's own."""
    tags = bodies.decode(await bodies.read(request, limit=bodies.SMALL), _TAGS).tags
    services.chaos.check_tags(tags)
    job = await services.job(caller, job_id)
    if job.account != caller.id:
        raise NotAllowedError(f"Job {job.id} is {name_of(job.account)}'s, who alone may change its tags.")
    await services.store.jobs.set_tags(caller.id, job_id, tags)


def query_of(wanted: Listing) -> JobQuery:
    """Return what a listing asks the store for."""
    most = MAX_LIMIT if wanted.exclude_params else _MAX_LIMIT_WITH_PARAMS
    return JobQuery(
        backend=wanted.backend,
        program_id=wanted.program,
        pending=wanted.pending,
        session_id=wanted.session_id,
        dry_runs=wanted.include_mocks,
        tags=tuple(wanted.tags),
        created_after=bodies.utc(wanted.created_after),
        created_before=bodies.utc(wanted.created_before),
        state=wanted.state,
        beyond=_place(wanted.cursor),
        oldest_first=wanted.sort == "ASC",
        limit=min(wanted.limit or most, most),
        offset=wanted.offset,
    )


async def page_of(
    services: Services, caller: Identity, account: AccountId | None, query: JobQuery
) -> tuple[Sequence[Job], int, str | None]:
    """Return a page of jobs, how many there are on all pages, and the cursor of the next one; None on the last one."""
    async with services.listings.of(caller.id):
        # One more, which says whether there is another page.
        jobs, count = await services.store.jobs.find(account, replace(query, limit=query.limit + 1))
    page = jobs[: query.limit]
    return page, count, _cursor(page[-1]) if len(jobs) > len(page) else None


async def _listed(services: Services, caller: Identity, wanted: Listing, room: AnswerRoom) -> Response:
    """Return one page of the caller's jobs."""
    query = query_of(wanted)
    jobs, count, following = await page_of(services, caller, caller.id, query)
    views = [view_of(job).model_dump(mode="json", exclude_unset=True) for job in jobs]
    if not wanted.exclude_params:
        params_bytes = sum(job.params_bytes for job in jobs if _lists_params(job))
        await room.hold(params_bytes + len(msgspec.json.encode(views)) + _SLACK_BYTES)
        views = [await _with_params(services, job, view) for job, view in zip(jobs, views, strict=True)]
    # Clients page on until they have `count` jobs, less the skipped ones: without end if those are more than there are.
    page = {
        "jobs": views,
        "count": max(count, query.offset),
        "limit": query.limit,
        "offset": query.offset,
        "next": following,
    }
    return Response(msgspec.json.encode(page), media_type=JSON)


async def _new_job(body: bytearray, caller: Identity, services: Services) -> tuple[Job, memoryview]:
    """Return the job that a body asks for, and its params, which are a part of the body."""
    submission = bodies.decode(body, _SUBMISSIONS)
    if submission.program_id not in set(ProgramName):
        offered = ", ".join(ProgramName)
        raise ProgramNotFoundError(f"Program {submission.program_id!r} not found; there are {offered}.")
    _check_schema(ProgramName(submission.program_id), submission.params)
    if submission.starts_session and submission.session_id:
        raise MalformedRequestError("A job that starts a session cannot be in another one: leave out session_id.")
    if submission.runtime:
        raise MalformedRequestError(f"The runtime image {submission.runtime!r} is not supported: there is one image.")
    pair, digest = await services.calibration(submission.backend)
    services.chaos.check_request(caller.id, submission.backend, submission.tags, body)
    check_calibration(submission.backend, digest, submission.calibration_id)
    limit = services.settings.max_seconds
    # 0 is allowed, and says nothing.
    cost = min(submission.cost, limit) if submission.cost else None
    await _check_session(submission, caller, services)
    session_id = SessionId(submission.session_id) if submission.session_id else None
    if submission.starts_session:
        mode, seconds = SessionMode.DEDICATED, submission.session_time
        session_id = (await opened(services, caller, submission.backend, mode, seconds)).id
    params = memoryview(submission.params)
    job = Job(
        id=JobId(current_trace()),
        account=caller.id,
        instance=caller.crn,
        program_id=submission.program_id,
        backend=submission.backend,
        executor=pair.executor,
        created=datetime.now(UTC),
        max_seconds=cost or limit,
        seed=services.chaos.next_seed(caller.id) if services.chaos.covers(submission.backend) else secrets.randbits(63),
        calibration_digest=digest,
        session_id=session_id,
        tags=tuple(submission.tags),
        cost=cost,
        private=submission.private,
        runtime=submission.runtime,
        log_level=submission.log_level,
        params_bytes=len(params),
        max_qubits=caller.instance.limits.qubits,
        traceparent=current_traceparent(),
    )
    return job, params


class _Versioned(msgspec.Struct):
    """All that is read here of params: which shape they say that they have."""

    schema_version: str | None = None


_VERSIONED: Final = msgspec.json.Decoder(_Versioned)


def _check_schema(program: ProgramName, params: msgspec.Raw) -> None:
    """Refuse params of a newer client than this server knows; what else is wrong with them, the job's run will say.

    Raises:
        MalformedRequestError: If they name a version that is not read.
    """
    known = SCHEMA_VERSIONS.get(program)
    if known is None:
        return
    try:
        version = _VERSIONED.decode(params).schema_version
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return
    if version is not None and version not in known:
        raise MalformedRequestError(
            f"Params of {program} have schema version {version[:64]!r}; this server reads {', '.join(known)}."
        )


async def _check_session(submission: Submission, caller: Identity, services: Services) -> None:
    if submission.session_id:
        session = await services.store.sessions.get(caller.id, submission.session_id)
        if submission.backend not in {session.backend, dry_run_name(session.backend)}:
            raise MalformedRequestError(f"Session {session.id} is for {session.backend}, not for {submission.backend}.")


def view_of(job: Job) -> models.JobWithParams:
    """Return a job as clients see it, without its params."""
    code = {} if job.reason_code is None else {"reason_code": job.reason_code}
    status = JobState.QUEUED if job.is_looked_at else job.state
    return models.JobWithParams(
        id=job.id,
        account=name_of(job.account),
        user_id=job.account,
        instance=job.instance,
        backend=job.backend,
        status=status,
        state=models.StateOfJob(status=status, reason=job.reason or job.held or "", **code),
        created=job.created.isoformat(),
        started=None if job.is_looked_at else bodies.timestamp(job.started),
        seconds=job.seconds_so_far(datetime.now(UTC)),
        program=models.Program(id=job.program_id),
        tags=list(job.tags),
        session_id=job.session_id,
        cost=job.cost if job.cost is not None else job.max_seconds,
        private=job.private,
        runtime=job.runtime,
        estimated_running_time_seconds=job.metrics.seconds if job.state.terminal else None,
        usage=models.Usage(**_seconds(job)),
    )


async def _with_params(services: Services, job: Job, view: dict[str, Any]) -> dict[str, Any]:
    """Return what a listing shows of a job, with its params unless they are private or too large for a listing."""
    if not _lists_params(job):
        return view
    try:
        return view | {"params": msgspec.Raw(await services.store.documents.params(job.id))}
    except JobNotFoundError:  # deleted since it was listed
        return view


def _lists_params(job: Job) -> bool:
    return not job.private and job.params_bytes <= _LISTED_PARAMS_BYTES


def _seconds(job: Job) -> dict[str, float]:
    seconds = job.metrics.seconds
    return {"quantum_seconds": seconds, "seconds": seconds, "qpu_charge_time_seconds": seconds}


def _cursor(job: Job) -> str:
    """Return the place of a job in listings as text."""
    return urlsafe_b64encode(msgspec.json.encode((job.created, job.id))).decode().rstrip("=")


def _place(cursor: str | None) -> tuple[datetime, str] | None:
    """Return the place that a cursor stands for.

    Raises:
        MalformedRequestError: If it is none.
    """
    if cursor is None:
        return None
    try:
        place = _PLACES.decode(urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
    except (ValueError, msgspec.DecodeError) as error:
        raise MalformedRequestError("This cursor was not given by this server.") from error
    created = bodies.utc(place[0])
    assert created is not None  # noqa: S101 - it was none of a time
    return created, place[1]
