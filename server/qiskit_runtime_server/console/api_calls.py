"""The console's only way to anything: calls of this server's own API, as whoever is signed in.

So the console can do nothing that a client with the same token could not, and there is one place for who may do what.
"""

from http import HTTPStatus
from typing import Any, Final

import httpx
from fastapi import Request
from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

from qiskit_runtime_server.api import audit
from qiskit_runtime_server.console import cookies

_PREFIX: Final = "/api/v1"


class ApiError(Exception):
    """The API has refused a call.

    Attributes:
        status: Its HTTP status.
        message: What it said.
    """

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


class Api:
    """The API, called in this process with the access token that the request's cookies hold.

    Args:
        request: From the browser.
    """

    def __init__(self, request: Request) -> None:
        self._request = request
        self.access_token = cookies.access_token_of(request)

    async def get(self, path: str, **query: object) -> Any:  # noqa: ANN401 - any JSON
        """Return what a GET of a path is answered; None stands for an answer without content.

        Raises:
            ApiError: If it is refused.
        """
        return _content(await self._send("GET", path, params=_given(query)))

    async def text(self, path: str) -> str:
        """Return an answer that is text; errors as above."""
        return (await self._send("GET", path)).text

    async def of_instance(self, crn: str, path: str, **query: object) -> Any:  # noqa: ANN401 - any JSON
        """Do as `get` does, under an instance of the account's."""
        return _content(await self._send("GET", path, params=_given(query), headers={"Service-CRN": crn}))

    async def change(self, method: str, path: str, body: object = None) -> Any:  # noqa: ANN401 - any JSON
        """Send a request that changes something and return what is answered; errors as above."""
        options: dict[str, Any] = {} if body is None else {"json": body}
        return _content(await self._send(method, path, **options))

    async def trade(self, token: str) -> tuple[str, int]:
        """Return an access token for a token, and for how many seconds it holds.

        Raises:
            ApiError: If the token is not known, or too many were not.
        """
        answer = await self._send_once("POST", "/identity/token", prefix="", data={"apikey": token})
        found = answer.json()
        return found["access_token"], found["expires_in"]

    def forward(self, path: str, file_name: str) -> Response:
        """Return the answer of a GET as a file that browsers save, of any size, sent while it is read."""
        return _Forwarded(self._request, f"{_PREFIX}{path}", self.access_token, file_name)

    async def _send(self, method: str, path: str, **options: Any) -> httpx.Response:
        """Return an answer; if the access token is over, that of a new one, if there is one to be had."""
        try:
            return await self._send_once(method, path, **options)
        except ApiError as error:
            if error.status != HTTPStatus.UNAUTHORIZED or not await self._renew():
                raise
        return await self._send_once(method, path, **options)

    async def _renew(self) -> bool:
        """Trade the token again that the browser keeps; return whether there is one, and it is still good.

        Raises:
            ApiError: If its issuer cannot be asked now.
        """
        token = cookies.token_of(self._request)
        if token is None:
            return False
        try:
            self.access_token, seconds = await self.trade(token)
        except ApiError as error:
            if error.status == HTTPStatus.BAD_REQUEST:
                return False
            raise
        cookies.renew(self._request, token, self.access_token, seconds)
        return True

    async def _send_once(self, method: str, path: str, *, prefix: str = _PREFIX, **options: Any) -> httpx.Response:
        address = (audit.address_of(self._request), 0)
        headers = {"Authorization": f"Bearer {self.access_token}"} if self.access_token else {}
        options["headers"] = headers | options.pop("headers", {})
        transport = httpx.ASGITransport(self._request.app, client=address)
        async with httpx.AsyncClient(transport=transport, base_url="http://console", trust_env=False) as client:
            answer = await client.request(method, f"{prefix}{path}", **options)
        if answer.status_code >= HTTPStatus.BAD_REQUEST:
            raise ApiError(answer.status_code, _message(answer))
        return answer


class _Forwarded(Response):
    """Answers as the API does, with headers that make it a file."""

    def __init__(self, request: Request, path: str, access_token: str, file_name: str) -> None:
        super().__init__()
        self._app = request.app
        self._path = path
        self._access_token = access_token
        self._added = [
            (b"content-disposition", f'attachment; filename="{file_name}"'.encode()),
            (b"x-content-type-options", b"nosniff"),
            (b"cache-control", b"no-store"),
        ]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""

        async def as_file(message: Message) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": [*message["headers"], *self._added]}
            await send(message)

        inner = {key: scope[key] for key in ("type", "asgi", "http_version", "scheme", "server", "client")}
        inner |= {"method": "GET", "path": self._path, "raw_path": self._path.encode(), "root_path": ""}
        inner |= {"query_string": b"", "headers": [(b"authorization", f"Bearer {self._access_token}".encode())]}
        await self._app(inner, receive, as_file)


def _given(query: dict[str, object]) -> dict[str, Any]:
    return {name: value for name, value in query.items() if value is not None and value != ""}


def _content(answer: httpx.Response) -> Any:  # noqa: ANN401 - any JSON
    return answer.json() if answer.content else None


def _message(answer: httpx.Response) -> str:
    """Return what an error says, in either of the API's shapes."""
    said = answer.json()
    return str(said["error"]["message"] if "error" in said else said["errorMessage"])
