"""Jobs: lists of them, one of them, and what can be done with it."""

import asyncio
from http import HTTPStatus
from typing import Annotated, Any, Final

from fastapi import APIRouter, Query
from fastapi.responses import RedirectResponse, Response

from qiskit_runtime_server.api.models.base import MAX_NAME, PathName
from qiskit_runtime_server.console.api_calls import Api, ApiError
from qiskit_runtime_server.console.charts import expectation_values, histogram, rates
from qiskit_runtime_server.console.rendering import Page
from qiskit_runtime_server.console.sign_in import Form, SignedIn
from qiskit_runtime_server.jobs import JobState
from qiskit_runtime_server.messages.programs import ProgramName

_PER_PAGE: Final = 25
# Where a job is in its queue is counted for each.
_MOST_FORECAST: Final = 5
_LOG_LINES: Final = 200
_PENDING: Final = {JobState.QUEUED, JobState.RUNNING}
# It is private, nothing can be made of it, or no slot is free now.
_NO_VIEW: Final = {HTTPStatus.FORBIDDEN, HTTPStatus.CONFLICT, HTTPStatus.SERVICE_UNAVAILABLE}

# Where the API has each list, and its heading.
_LISTS: Final = {
    "jobs": ("/jobs", "Jobs"),
    "class": ("/class/jobs", "Jobs of the class"),
    "all-jobs": ("/admin/jobs", "All jobs"),
}

Filter = Annotated[str, Query(max_length=MAX_NAME)]

router = APIRouter(prefix="/ui", include_in_schema=False)


@router.get("")
@router.get("/")
async def begin(page: SignedIn) -> Response:
    """Lead to the caller's jobs."""
    return RedirectResponse(page.url("jobs"), HTTPStatus.SEE_OTHER)


@router.get("/jobs")
async def own_jobs(  # noqa: PLR0913, PLR0917 - what a list is filtered by
    page: SignedIn,
    state: Filter = "",
    backend: Filter = "",
    program: Filter = "",
    tags: Filter = "",
    cursor: Annotated[str, Query(max_length=512)] = "",
) -> Response:
    """List the caller's own jobs."""
    wanted = {"state": state, "backend": backend, "program": program, "tags": tags}
    return await _listed(page, "jobs", wanted, cursor)


@router.get("/class")
@router.get("/all-jobs")
async def others_jobs(  # noqa: PLR0913, PLR0917 - what a list is filtered by
    page: SignedIn,
    account: Filter = "",
    state: Filter = "",
    backend: Filter = "",
    program: Filter = "",
    tags: Filter = "",
    cursor: Annotated[str, Query(max_length=512)] = "",
) -> Response:
    """List the jobs of all whom the caller teaches, or of all accounts, for admins."""
    wanted = {"account": account, "state": state, "backend": backend, "program": program, "tags": tags}
    return await _listed(page, page.here.strip("/"), wanted, cursor)


@router.get("/jobs/{job_id}")
async def one_job(job_id: PathName, page: SignedIn) -> Response:
    """Show a job."""
    job, metrics, log = await asyncio.gather(
        page.api.get(f"/jobs/{job_id}", exclude_params=True, wait=False),
        page.api.get(f"/jobs/{job_id}/metrics"),
        page.api.text(f"/jobs/{job_id}/logs"),
    )
    lines = log.splitlines()
    return page.render(
        "job",
        job=job,
        metrics=metrics,
        log="\n".join(lines[-_LOG_LINES:]),
        left_out=max(0, len(lines) - _LOG_LINES),
        pending=job["status"] in _PENDING,
        own=page.who is not None and job["account"] == page.who["account"],
    )


@router.get("/jobs/{job_id}/circuits")
async def circuits(job_id: PathName, page: SignedIn) -> Response:
    """Show the circuits and the options of a job; its page loads this later, as a worker draws them."""
    drawings, refusal = await _view(page, f"/jobs/{job_id}/drawing")
    return page.render("circuits", job_id=job_id, drawings=drawings, refusal=refusal)


@router.get("/jobs/{job_id}/outcomes")
async def outcomes(job_id: PathName, page: SignedIn) -> Response:
    """Show the outcomes of a job, in the same way."""
    found, refusal = await _view(page, f"/jobs/{job_id}/outcomes")
    pubs = [
        {
            **pub,
            "histograms": [(counts, histogram(counts)) for counts in pub["counts"]],
            "values": expectation_values(pub["values"], pub["shape"]),
        }
        for pub in found["pubs"]
    ]
    layers = [{**layer, "chart": rates(layer["rates"])} for layer in found["layers"]]
    return page.render(
        "outcomes",
        job_id=job_id,
        kind=found["kind"],
        pubs=pubs,
        layers=layers,
        more=found["more"],
        metadata=found["metadata"],
        refusal=refusal,
    )


@router.get("/jobs/{job_id}/result.json")
async def result(job_id: PathName, page: SignedIn) -> Response:
    """Send the result as a file; that of a private job is gone with it."""
    return page.api.forward(f"/jobs/{job_id}/results", f"{_file_name(job_id)}-result.json")


@router.get("/jobs/{job_id}/job.json")
async def job_document(job_id: PathName, page: SignedIn) -> Response:
    """Send the job with its params as a file."""
    return page.api.forward(f"/jobs/{job_id}", f"{_file_name(job_id)}.json")


@router.get("/jobs/{job_id}/log.txt")
async def log_file(job_id: PathName, page: SignedIn) -> Response:
    """Send all of the log as a file."""
    return page.api.forward(f"/jobs/{job_id}/logs", f"{_file_name(job_id)}-log.txt")


@router.post("/jobs/{job_id}/cancel")
async def cancel(job_id: PathName, page: SignedIn, _: Form) -> Response:
    """Cancel a job."""
    try:
        await page.api.change("POST", f"/jobs/{job_id}/cancel")
    except ApiError as error:
        # It has ended meanwhile, which its page shows.
        if error.status != HTTPStatus.CONFLICT:
            raise
    return RedirectResponse(page.url("jobs", job_id), HTTPStatus.SEE_OTHER)


@router.post("/jobs/{job_id}/delete")
async def delete(job_id: PathName, page: SignedIn, _: Form) -> Response:
    """Delete a job."""
    await page.api.change("DELETE", f"/jobs/{job_id}")
    return RedirectResponse(page.url("jobs"), HTTPStatus.SEE_OTHER)


async def _view(page: Page, path: str) -> tuple[dict[str, Any], ApiError | None]:
    """Return a view that a worker makes, and why there is none; with status 503 there may be one soon."""
    nothing = {"circuits": [], "kind": "pub", "pubs": [], "layers": [], "more": 0, "metadata": "", "options": ""}
    try:
        return await page.api.get(path), None
    except ApiError as error:
        if error.status not in _NO_VIEW:
            raise
        return nothing, error


async def _listed(page: Page, name: str, wanted: dict[str, str], cursor: str) -> Response:
    path, heading = _LISTS[name]
    given = wanted | {"tags": [tag for tag in wanted["tags"].split(",") if tag.strip()] or None}
    found = await page.api.get(path, **given, cursor=cursor, limit=_PER_PAGE, include_mocks=True)
    jobs: list[dict[str, Any]] = found["jobs"]
    return page.render(
        "jobs",
        name=name,
        heading=heading,
        jobs=jobs,
        count=found["count"],
        following=found["next"],
        beyond=bool(cursor),
        wanted=wanted,
        states=list(JobState),
        programs=list(ProgramName),
        forecasts=await _forecasts(page.api, jobs),
        live=not cursor and any(job["status"] in _PENDING for job in jobs),
    )


async def _forecasts(api: Api, jobs: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Return what is to be expected of some of the jobs that wait or run, by id."""
    pending = [job["id"] for job in jobs if job["status"] in _PENDING][:_MOST_FORECAST]
    found = await asyncio.gather(*(api.get(f"/jobs/{job_id}/metrics") for job_id in pending))
    return dict(zip(pending, found, strict=True))


def _file_name(job_id: str) -> str:
    return "".join(letter for letter in job_id if letter.isascii() and (letter.isalnum() or letter in "-_"))
