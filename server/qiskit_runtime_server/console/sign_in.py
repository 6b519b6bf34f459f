"""Signing in and out, with a token that is traded for cookies.

The cookies are HttpOnly and SameSite=Strict, so that no script reads them and no other site's page has them sent. Forms
carry a token beside them that is made from them. The form for signing in, for which there is no cookie yet, is taken
from pages of this server only, as browsers say in the headers Origin and Sec-Fetch-Site.
"""

import hmac
from http import HTTPStatus
from typing import Annotated, Final
from urllib.parse import parse_qs, urlsplit

from fastapi import APIRouter, Depends, Request
from fastapi.responses import RedirectResponse, Response

from qiskit_runtime_server.api import bodies
from qiskit_runtime_server.api.services import Services
from qiskit_runtime_server.console import cookies
from qiskit_runtime_server.console.api_calls import Api, ApiError
from qiskit_runtime_server.console.rendering import Page, csrf_token

_TRADED: Final = {HTTPStatus.BAD_REQUEST, HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE}

router = APIRouter(prefix=cookies.PATH, include_in_schema=False)


async def signed_in(request: Request) -> Page:
    """Return what a page needs to know, with who is signed in; a page that says what went wrong instead has it too.

    Raises:
        ApiError: If nobody is.
    """
    page = Page(request, await Api(request).get("/caller"))
    request.state.page = page
    return page


SignedIn = Annotated[Page, Depends(signed_in)]


async def form_of(request: Request) -> dict[str, str]:
    """Return the fields of a form that a page of the console for this sign-in has sent.

    Raises:
        ApiError: If it comes from elsewhere.
    """
    fields = await _fields(request)
    expected = csrf_token(cookies.session_of(request))
    if not is_from_here(request) or not hmac.compare_digest(fields.get("csrf", "").encode(), expected.encode()):
        raise ApiError(HTTPStatus.FORBIDDEN, "This form is not of a page of this sign-in. Go back, reload, try again.")
    return fields


Form = Annotated[dict[str, str], Depends(form_of)]


@router.get("/sign-in")
async def show_sign_in(request: Request) -> Response:
    """Ask for a token."""
    return ask(request)


@router.post("/sign-in")
async def sign_in(request: Request) -> Response:
    """Trade a token for the cookies."""
    if not is_from_here(request):
        return ask(request, "This form is not of a page of this server.", HTTPStatus.FORBIDDEN)
    token = (await _fields(request)).get("token", "").strip()
    page = Page(request, None)
    try:
        access_token, seconds = await page.api.trade(token)
    except ApiError as error:
        if error.status not in _TRADED:
            raise
        known = error.status != HTTPStatus.BAD_REQUEST
        return ask(request, error.message if known else "This server does not know that token.", error.status)
    answer = RedirectResponse(page.url("jobs"), HTTPStatus.SEE_OTHER)
    cookies.SignInCookies.of(request, token, access_token, seconds).set(request, answer)
    return answer


@router.post("/sign-out")
async def sign_out(request: Request, _: Form) -> Response:
    """Forget the cookies."""
    return signed_out(request)


def signed_out(request: Request) -> Response:
    """Return the way to the page that asks for a token, without the cookies."""
    answer = RedirectResponse(Page(request, None).url("sign-in"), HTTPStatus.SEE_OTHER)
    cookies.forget(request, answer)
    return answer


def ask(request: Request, problem: str = "", status: int = HTTPStatus.OK) -> Response:
    """Return the page that asks who is there, and says what was wrong before."""
    services: Services = request.app.state.services
    flow = services.issuers.browser_flow
    return Page(request, None).render(
        "sign_in",
        status=status,
        problem=problem,
        anonymous=services.settings.tokens is None and not services.issuers.names(),
        provider=None if flow is None else flow.provider,
    )


def is_from_here(request: Request) -> bool:
    """Return whether a form comes from a page of this server, as far as the browser says."""
    site, origin = request.headers.get("sec-fetch-site"), request.headers.get("origin")
    if site is not None:
        return site in {"same-origin", "none"}
    return origin is None or urlsplit(origin).netloc == request.headers.get("host")


async def _fields(request: Request) -> dict[str, str]:
    text = (await bodies.read(request, limit=bodies.SMALL)).decode(errors="replace")
    return {name: values[-1] for name, values in parse_qs(text, keep_blank_values=True).items()}
