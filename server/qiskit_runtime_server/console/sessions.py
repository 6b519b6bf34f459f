"""Sessions and batches, and the jobs in one."""

import asyncio
from typing import Annotated, Final, Literal
from urllib.parse import parse_qs, urlsplit

from fastapi import APIRouter, Query
from fastapi.responses import RedirectResponse, Response

from qiskit_runtime_server.api.models.base import PathName
from qiskit_runtime_server.console.sign_in import Form, SignedIn

_PER_PAGE: Final = 25

router = APIRouter(prefix="/ui/sessions", include_in_schema=False)


@router.get("")
async def sessions(
    page: SignedIn,
    mode: Literal["session", "batch"] = "session",
    instance: Annotated[str, Query(max_length=512)] = "",
    following: Annotated[str, Query(max_length=512)] = "",
) -> Response:
    """List the sessions, or the batches, of an instance, the newest first."""
    instances = page.who["instances"] if page.who else []
    instance = instance or instances[0]
    found = await page.api.of_instance(
        instance, "/workloads", mode=mode, sort="-createdAt", limit=_PER_PAGE, next=following, include_mocks=True
    )
    listed = found["workloads"]
    return page.render(
        "sessions",
        sessions=listed,
        count=found["total_count"],
        mode=mode,
        instance=instance,
        instances=instances,
        following=parse_qs(urlsplit(found["next"]["href"]).query)["next"][0] if "next" in found else "",
    )


@router.get("/{session_id}")
async def session(session_id: PathName, page: SignedIn) -> Response:
    """Show a session with its newest jobs."""
    found, jobs = await asyncio.gather(
        page.api.get(f"/sessions/{session_id}"),
        page.api.get("/jobs", session_id=session_id, limit=100, include_mocks=True),
    )
    return page.render("session", session=found, jobs=jobs["jobs"], count=jobs["count"])


@router.post("/{session_id}/close")
async def close(session_id: PathName, page: SignedIn, _: Form) -> Response:
    """Have a session accept no more jobs."""
    await page.api.change("PATCH", f"/sessions/{session_id}", {"accepting_jobs": False})
    return RedirectResponse(page.url("sessions", session_id), 303)
