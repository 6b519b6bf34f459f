"""Signing in at an OpenID provider: the way there, and the way back with the cookies of a sign-in.

What belongs to one sign-in is sealed in a cookie that is sent when the provider leads the browser back (SameSite=Lax).
The cookies of the sign-in itself are not sent on that way (Strict), so a page of this server leads on to the jobs. It
leads nowhere else: no address is taken from a request.
"""

import time
from dataclasses import replace
from datetime import timedelta
from http import HTTPStatus
from typing import Any, Final

import msgspec
from fastapi import APIRouter, Request
from fastapi.responses import RedirectResponse, Response

from qiskit_runtime_server.accounts.identity import identity
from qiskit_runtime_server.accounts.issuers.authorization_code import Attempt
from qiskit_runtime_server.accounts.seal import Seal
from qiskit_runtime_server.api import audit
from qiskit_runtime_server.api.services import Services, TheServices
from qiskit_runtime_server.console import cookies
from qiskit_runtime_server.console.rendering import HEADERS, Page
from qiskit_runtime_server.console.sign_in import ask, is_from_here
from qiskit_runtime_server.errors import IssuerUnavailableError, NotAuthenticatedError, TooManyRequestsError

_ATTEMPT: Final = "qrs_console_openid"
_PATH: Final = "sign-in/openid"
_PURPOSE: Final = "a sign-in at the OpenID provider"
_PATIENCE: Final = timedelta(minutes=10)
_LATE: Final = "This sign-in was not begun in this browser within the last ten minutes. Try again."

router = APIRouter(prefix=f"{cookies.PATH}/{_PATH}", include_in_schema=False)


@router.get("")
async def begin(request: Request, services: TheServices) -> Response:
    """Lead to the provider."""
    flow = services.issuers.browser_flow
    if flow is None:
        return ask(request, "This server knows no OpenID provider.", HTTPStatus.NOT_FOUND)
    if not is_from_here(request):
        return ask(request)
    attempt = Attempt.new(_callback(request))
    try:
        address = await flow.address_for(attempt)
    except IssuerUnavailableError as error:
        return ask(request, str(error), HTTPStatus.SERVICE_UNAVAILABLE)
    answer = RedirectResponse(address, HTTPStatus.SEE_OTHER, headers=HEADERS)
    sealed = _seal(services).closed(msgspec.json.encode(attempt).decode())
    answer.set_cookie(_ATTEMPT, sealed, max_age=int(_PATIENCE.total_seconds()), **_attributes(request))
    return answer


@router.get("/callback")
async def finish(request: Request, services: TheServices) -> Response:
    """Take whom the provider sends back, and lead on to the jobs."""
    answer = await _finished(request, services)
    # It was good for one answer.
    answer.delete_cookie(_ATTEMPT, **_attributes(request))
    return answer


async def _finished(request: Request, services: Services) -> Response:
    sealed = request.cookies.get(_ATTEMPT, "")
    opened = _seal(services).opened(sealed, within=_PATIENCE)
    if opened is None:
        return ask(request, _LATE, HTTPStatus.BAD_REQUEST)
    attempt, address = msgspec.json.decode(opened, type=Attempt), audit.address_of(request)
    try:
        signed_in = await services.sign_in_by_browser(attempt, request.query_params, address)
    except NotAuthenticatedError as error:
        return ask(request, str(error), HTTPStatus.BAD_REQUEST)
    except TooManyRequestsError as error:
        return ask(request, str(error), HTTPStatus.TOO_MANY_REQUESTS)
    except IssuerUnavailableError as error:
        return ask(request, str(error), HTTPStatus.SERVICE_UNAVAILABLE)
    access_token, seconds, _ = services.access_tokens.issue(signed_in, now=time.time())
    audit.tell("sign-in", replace(identity(signed_in.account, None), address=address))
    answer = Page(request, None).render("signed_in")
    cookies.SignInCookies(access_token=access_token, seconds=seconds, kept=None).set(request, answer)
    return answer


def _callback(request: Request) -> str:
    """Return where the provider is to send the browser: it has a list of such addresses, so no other host is one."""
    scheme = "https" if cookies.is_https(request) else "http"
    return f"{scheme}://{request.url.netloc}{Page(request, None).url(*_PATH.split('/'), 'callback')}"


def _attributes(request: Request) -> dict[str, Any]:
    common = cookies.attributes(request)
    return common | {"path": f"{common['path']}/{_PATH}", "samesite": "lax"}


def _seal(services: Services) -> Seal:
    return services.access_tokens.seal(_PURPOSE)
