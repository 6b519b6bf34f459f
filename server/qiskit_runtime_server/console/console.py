"""The console put together: its pages, its style sheet and script, and what a refusal of the API looks like."""

from http import HTTPStatus
from pathlib import Path
from typing import Final

from fastapi import APIRouter, FastAPI, Request
from fastapi.responses import Response

from qiskit_runtime_server.api.models.base import MAX_NAME, PathName
from qiskit_runtime_server.console import devices, executors, jobs, openid, sessions, sign_in, usage
from qiskit_runtime_server.console.api_calls import ApiError
from qiskit_runtime_server.console.cookies import RenewedCookies
from qiskit_runtime_server.console.rendering import Page
from qiskit_runtime_server.console.sign_in import SignedIn

_FOLDER: Final = Path(__file__).parent / "static"
_TYPES: Final = {"console.css": "text/css", "console.js": "text/javascript", "icon.svg": "image/svg+xml"}
_CACHED: Final = {"Cache-Control": "public, max-age=86400", "X-Content-Type-Options": "nosniff"}

files = APIRouter(prefix="/ui/static", include_in_schema=False)


@files.get("/{name}")
async def static_file(name: PathName) -> Response:
    """Return the style sheet, the script or the icon."""
    if name not in _TYPES:
        raise ApiError(HTTPStatus.NOT_FOUND, "There is no such file.")
    return Response((_FOLDER / name).read_bytes(), media_type=_TYPES[name], headers=_CACHED)


unknown = APIRouter(prefix="/ui", include_in_schema=False)


@unknown.get("/{path:path}")
async def unknown_page(path: str, _: SignedIn) -> Response:
    """Say in a page, to who is signed in, that there is none."""
    raise ApiError(HTTPStatus.NOT_FOUND, f"There is no page /ui/{path[:MAX_NAME]}.")


def install(app: FastAPI) -> None:
    """Give `app` the console."""
    for part in (sign_in, openid, jobs, devices, executors, sessions, usage):
        app.include_router(part.router)
    app.include_router(files)
    app.include_router(unknown)
    app.add_middleware(RenewedCookies)

    @app.exception_handler(ApiError)
    async def refused(request: Request, error: ApiError) -> Response:
        if error.status == HTTPStatus.UNAUTHORIZED:
            return sign_in.signed_out(request)
        page = getattr(request.state, "page", None) or Page(request, None)
        return page.render("error", status=error.status, error=error, signed_in=bool(page.api.access_token))
