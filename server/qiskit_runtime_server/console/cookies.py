"""The cookies of a sign-in, and how it goes on when an access token is over.

One cookie holds an access token, which is what the API itself takes. Access tokens for what an issuer may take back,
such as a token of a JupyterHub, last no longer than the issuer's answer: a minute. So a second cookie then holds the
token itself, sealed by this server, and the first request after that minute trades it again. The issuer is asked again,
and the sign-in ends with the first no, or with an hour without a request.
"""

import secrets
from dataclasses import dataclass
from typing import Any, Final, Self, cast

import msgspec
from fastapi import Request
from starlette.datastructures import MutableHeaders
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from qiskit_runtime_server.accounts.seal import Seal
from qiskit_runtime_server.api.services import Services

COOKIE: Final = "qrs_console"
KEPT: Final = "qrs_console_token"
PATH: Final = "/ui"

_PURPOSE: Final = "the token of a sign-in to the console"
# What browsers keep at least of a cookie is 4,096 bytes, its name and attributes included.
_LONGEST: Final = 3_900
_RENEWED: Final = "qrs_console_renewed"


class _Kept(msgspec.Struct, frozen=True, kw_only=True):
    """What the second cookie holds; `session` stays the same for all of a sign-in."""

    token: str
    session: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SignInCookies:
    """What a browser is to keep of a sign-in.

    Attributes:
        seconds: How long the access token lasts.
        kept: The second cookie; None if the sign-in ends with the access token.
    """

    access_token: str
    seconds: int
    kept: str | None

    @classmethod
    def of(cls, request: Request, token: str, access_token: str, seconds: int, *, session: str | None = None) -> Self:
        """Return those of whoever has traded a token for an access token; `session` is that of a sign-in to go on."""
        services, kept = _services(request), None
        if services.access_tokens.is_revocable(access_token):
            what = _Kept(token=token, session=session or secrets.token_urlsafe())
            sealed = _seal(services).closed(msgspec.json.encode(what).decode())
            kept = sealed if len(sealed) <= _LONGEST else None
        return cls(access_token=access_token, seconds=seconds, kept=kept)

    def set(self, request: Request, answer: Response) -> None:
        """Have the browser keep them, and nothing of another sign-in."""
        answer.set_cookie(COOKIE, self.access_token, max_age=self.seconds, **attributes(request))
        if self.kept is not None:
            most = int(_services(request).settings.access_token_lifetime.total_seconds())
            answer.set_cookie(KEPT, self.kept, max_age=most, **attributes(request))
        elif KEPT in request.cookies:
            answer.delete_cookie(KEPT, **attributes(request))


def forget(request: Request, answer: Response) -> None:
    """Have the browser forget the sign-in."""
    request.scope.pop(_RENEWED, None)
    for name in (COOKIE, KEPT):
        answer.delete_cookie(name, **attributes(request))


def access_token_of(request: Request) -> str:
    """Return the access token of a sign-in, which may just have been renewed; empty without one."""
    renewed: SignInCookies | None = request.scope.get(_RENEWED)
    return request.cookies.get(COOKIE, "") if renewed is None else renewed.access_token


def session_of(request: Request) -> str:
    """Return what only the browser of a sign-in has, and what stays the same while its forms are shown."""
    kept = _kept_in(request)
    return request.cookies.get(COOKIE, "") if kept is None else kept.session


def token_of(request: Request) -> str | None:
    """Return the token that can be traded again; None if the sign-in is over with its access token."""
    kept = _kept_in(request)
    return None if kept is None else kept.token


def renew(request: Request, token: str, access_token: str, seconds: int) -> None:
    """Go on with the sign-in under another access token, which the browser is told by `RenewedCookies`."""
    session = session_of(request)
    request.scope[_RENEWED] = SignInCookies.of(request, token, access_token, seconds, session=session)


class RenewedCookies:
    """Adds the cookies of sign-ins that were renewed to whatever is answered."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""

        async def with_cookies(message: Message) -> None:
            renewed: SignInCookies | None = scope.get(_RENEWED)
            if message["type"] == "http.response.start" and renewed is not None:
                carrier = Response()
                renewed.set(Request(scope), carrier)
                headers = MutableHeaders(scope=message)
                for cookie in carrier.headers.getlist("set-cookie"):
                    headers.append("set-cookie", cookie)
            await send(message)

        await self._app(scope, receive, with_cookies)


def attributes(request: Request) -> dict[str, Any]:
    """Return what is said of each cookie."""
    path = request.scope.get("root_path", "").rstrip("/") + PATH
    return {"path": path, "httponly": True, "samesite": "strict", "secure": is_https(request)}


def is_https(request: Request) -> bool:
    """Return whether the browser speaks TLS, with this server or with a proxy in front of it."""
    return request.url.scheme == "https" or request.headers.get("x-forwarded-proto") == "https"


def _kept_in(request: Request) -> _Kept | None:
    sealed = request.cookies.get(KEPT)
    if sealed is None:
        return None
    services = _services(request)
    opened = _seal(services).opened(sealed, within=services.settings.access_token_lifetime)
    return None if opened is None else msgspec.json.decode(opened, type=_Kept)


def _seal(services: Services) -> Seal:
    return services.access_tokens.seal(_PURPOSE)


def _services(request: Request) -> Services:
    return cast("Services", request.app.state.services)
