"""Signing in and out: the cookie holds an access token, which is what the API itself takes.

The cookie is HttpOnly and SameSite=Strict, so that no script reads it and no other site's page has it sent. Forms carry
a token beside it that is made from it. The form for signing in, for which there is no cookie yet, is taken from pages
of this server only, as browsers say in the headers Origin and Sec-Fetch-Site.
"""

import hmac
from http import HTTPStatus
from typing import Annotated, Any, Final
from urllib.parse import parse_qs, urlsplit

from fastapi import APIRouter, Depends, Request
from fastapi.responses import RedirectResponse, Response

from qiskit_runtime_server.api import bodies
from qiskit_runtime_server.console.api_calls import COOKIE, Api, ApiError
from qiskit_runtime_server.console.rendering import Page, csrf_token

_PATH: Final = "/ui"
_TRADED: Final = {HTTPStatus.BAD_REQUEST, HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE}

router = APIRouter(prefix=_PATH, include_in_schema=False)


async def signed_in(request: Request) -> Page:
    """Return what a page needs to know, with who is signed in.

    Raises:
        ApiError: If nobody is.
    """
    api = Api(request)
    if not api.access_token:
        raise ApiError(HTTPStatus.UNAUTHORIZED, "Sign in first.")
    return Page(request, await api.get("/caller"))


SignedIn = Annotated[Page, Depends(signed_in)]


async def form_of(request: Request) -> dict[str, str]:
    """Return the fields of a form that a page of the console for this sign-in has sent.

    Raises:
        ApiError: If it comes from elsewhere.
    """
    fields = await _fields(request)
    expected = csrf_token(request.cookies.get(COOKIE, ""))
    if not _from_here(request) or not hmac.compare_digest(fields.get("csrf", "").encode(), expected.encode()):
        raise ApiError(HTTPStatus.FORBIDDEN, "This form is not of a page of this sign-in. Go back, reload, try again.")
    return fields


Form = Annotated[dict[str, str], Depends(form_of)]


@router.get("/sign-in")
async def show_sign_in(request: Request) -> Response:
    """Ask for a token."""
    return _asking(request)


@router.post("/sign-in")
async def sign_in(request: Request) -> Response:
    """Trade a token for the cookie."""
    if not _from_here(request):
        return _asking(request, "This form is not of a page of this server.", HTTPStatus.FORBIDDEN)
    token = (await _fields(request)).get("token", "").strip()
    page = Page(request, None)
    try:
        access_token, seconds = await page.api.trade(token)
    except ApiError as error:
        if error.status not in _TRADED:
            raise
        known = error.status != HTTPStatus.BAD_REQUEST
        return _asking(request, error.message if known else "This server does not know that token.", error.status)
    answer = RedirectResponse(page.url("jobs"), HTTPStatus.SEE_OTHER)
    answer.set_cookie(COOKIE, access_token, max_age=seconds, **_cookie(request))
    return answer


@router.post("/sign-out")
async def sign_out(request: Request, _: Form) -> Response:
    """Forget the cookie."""
    return signed_out(request)


def signed_out(request: Request) -> Response:
    """Return the way to the page that asks for a token, without the cookie."""
    answer = RedirectResponse(Page(request, None).url("sign-in"), HTTPStatus.SEE_OTHER)
    answer.delete_cookie(COOKIE, **_cookie(request))
    return answer


def _asking(request: Request, problem: str = "", status: int = HTTPStatus.OK) -> Response:
    anonymous = request.app.state.services.settings.tokens is None
    return Page(request, None).render("sign_in", status=status, problem=problem, anonymous=anonymous)


def _cookie(request: Request) -> dict[str, Any]:
    path = request.scope.get("root_path", "").rstrip("/") + _PATH
    return {"path": path, "httponly": True, "samesite": "strict", "secure": _is_https(request)}


def _is_https(request: Request) -> bool:
    """Return whether the browser speaks TLS, with this server or with a proxy in front of it."""
    return request.url.scheme == "https" or request.headers.get("x-forwarded-proto") == "https"


def _from_here(request: Request) -> bool:
    """Return whether a form comes from a page of this server, as far as the browser says."""
    site, origin = request.headers.get("sec-fetch-site"), request.headers.get("origin")
    if site is not None:
        return site in {"same-origin", "none"}
    return origin is None or urlsplit(origin).netloc == request.headers.get("host")


async def _fields(request: Request) -> dict[str, str]:
    text = (await bodies.read(request, limit=bodies.SMALL)).decode(errors="replace")
    return {name: values[-1] for name, values in parse_qs(text, keep_blank_values=True).items()}
