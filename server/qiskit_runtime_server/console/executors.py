"""Executors: what waits for them, what they run, and where they are."""

import asyncio

from fastapi import APIRouter
from fastapi.responses import RedirectResponse, Response

from qiskit_runtime_server.api.models.base import PathName
from qiskit_runtime_server.console.sign_in import Form, SignedIn

router = APIRouter(prefix="/ui/executors", include_in_schema=False)


@router.get("")
async def executors(page: SignedIn) -> Response:
    """List the executors; to admins with their endpoints."""
    if page.is_admin:
        loads, told = await asyncio.gather(page.api.get("/executors"), page.api.get("/admin/executors"))
        known = {one["name"]: one for one in told["executors"]}
    else:
        loads, known = await page.api.get("/executors"), {}
    return page.render("executors", executors=loads["executors"], known=known)


@router.post("/{name}/drain")
async def drain(name: PathName, page: SignedIn, form: Form) -> Response:
    """Have an executor start no more jobs, or start jobs again."""
    await page.api.change("PATCH", f"/admin/executors/{name}", {"draining": form.get("draining") == "yes"})
    return RedirectResponse(page.url("executors"), 303)
