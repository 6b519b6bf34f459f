"""The executor as an HTTP service: it answers dispatchers, and never asks anybody anything.

A run does not depend on the response that watches it: a dispatcher may lose its connection, or die, and it or another
one attaches again. Only `worker.runs` knows how long that may take.
"""

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from http import HTTPStatus
from importlib.metadata import version
from typing import TYPE_CHECKING, Final

import msgspec
from starlette.applications import Starlette
from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from qiskit_runtime_server.errors import NoFreeSlotError
from qiskit_runtime_server.messages.messages import (
    BOOT_ID,
    OCCUPANCY,
    POSITION,
    TRACEPARENT,
    Confirmation,
    Event,
    Pieces,
    Task,
    framed,
)
from qiskit_runtime_server.trust.shared_keys import SharedKeys
from qiskit_runtime_server.worker.runs import Run, Runs, StaleFenceError, UnknownRunError

if TYPE_CHECKING:
    pass

# Nobody reads it.
_NOBODY_THERE: Final = 499
_VERSION: Final = version("qiskit-runtime-server")
_TASKS: Final = msgspec.msgpack.Decoder(Task)
_CONFIRMATIONS: Final = msgspec.json.Decoder(Confirmation)

Endpoint = Callable[[Request], Awaitable[Response]]


class _Key:
    """Lets nobody but the api in; the probes are for everybody."""

    def __init__(self, app: ASGIApp, keys: SharedKeys) -> None:
        self._app = app
        self._keys = keys

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and not _is_probe(scope["path"]) and not self._fits(scope):
            refusal = Response("The executor's key is missing or wrong.", HTTPStatus.UNAUTHORIZED)
            await refusal(scope, receive, send)
            return
        await self._app(scope, receive, send)

    def _fits(self, scope: Scope) -> bool:
        return not self._keys or self._keys.accept(Headers(scope=scope).get("authorization", ""))


def _is_probe(path: str) -> bool:
    return path == "/health" or path.startswith("/health/")


class Service:
    """The paths of the service."""

    def __init__(self, runs: Runs) -> None:
        self._runs = runs

    def app(self, keys: SharedKeys) -> ASGIApp:
        """Return the service as an ASGI application that asks for one of these keys, if there are any."""
        routes = [
            *self.probes(),
            Route("/v1/load", self._load),
            Route("/v1/watch", self._watch),
            Route("/v1/jobs", self._answered(self._start), methods=["POST"]),
            Route("/v1/jobs/{job_id}", self._answered(self._attach), methods=["GET"]),
            Route("/v1/jobs/{job_id}", self._answered(self._end), methods=["DELETE"]),
            Route("/v1/jobs/{job_id}/lease", self._answered(self._confirm), methods=["PUT"]),
        ]
        return _Key(Starlette(routes=routes, exception_handlers={ClientDisconnect: _left}), keys)

    def probes(self) -> list[Route]:
        """Return the paths at which supervisors ask how it is; they need no key."""
        return [
            Route("/health", self._ready),
            Route("/health/live", self._live),
            Route("/health/ready", self._ready),
        ]

    async def _live(self, _: Request) -> Response:
        return _json({"status": "alive"})

    async def _ready(self, _: Request) -> Response:
        """Answer 503 while the executor drains: it takes no jobs, though it does answer for those that it has."""
        if self._runs.draining:
            return _json({"status": "draining", "version": _VERSION}, HTTPStatus.SERVICE_UNAVAILABLE)
        return _json({"status": "ready", "version": _VERSION})

    async def _load(self, _: Request) -> Response:
        return _json(self._runs.occupancy())

    async def _watch(self, _: Request) -> Response:
        async def frames() -> AsyncIterator[bytes]:
            async for occupancy in self._runs.watch():
                yield framed(occupancy)

        return StreamingResponse(frames(), media_type="application/octet-stream")

    async def _start(self, request: Request) -> Response:
        return self._stream(self._runs.begin(await _task(request)))

    async def _attach(self, request: Request) -> Response:
        run = self._runs.find(request.path_params["job_id"])
        self._runs.attach(run, _number(request, "fence"))
        return self._stream(run, seen=_number(request, "seen") if "seen" in request.query_params else None)

    async def _confirm(self, request: Request) -> Response:
        self._runs.find(request.path_params["job_id"]).confirm(_CONFIRMATIONS.decode(await request.body()))
        return Response(status_code=HTTPStatus.NO_CONTENT)

    async def _end(self, request: Request) -> Response:
        fence = _number(request, "fence") if "fence" in request.query_params else None
        await self._runs.end(request.path_params["job_id"], fence)
        return Response(status_code=HTTPStatus.NO_CONTENT)

    def _stream(self, run: Run, *, seen: int | None = None) -> Response:
        position, events = run.watch(seen=seen)
        headers = {POSITION: str(position), OCCUPANCY: self._occupancy()}
        return StreamingResponse(_chunks(events), headers=headers, media_type="application/octet-stream")

    def _answered(self, endpoint: Endpoint) -> Endpoint:
        """Return `endpoint` with its errors as answers, for requests that mean this start of the executor."""

        async def answer(request: Request) -> Response:
            boot_id = request.headers.get(BOOT_ID)
            if boot_id not in {None, self._runs.holder.boot_id}:
                return Response("The executor has been started anew.", HTTPStatus.PRECONDITION_FAILED)
            try:
                return await endpoint(request)
            except UnknownRunError as error:
                return Response(str(error), HTTPStatus.NOT_FOUND)
            except StaleFenceError as error:
                return Response(str(error), HTTPStatus.CONFLICT)
            except NoFreeSlotError as error:
                return Response(str(error), HTTPStatus.TOO_MANY_REQUESTS, {OCCUPANCY: self._occupancy()})
            except (msgspec.DecodeError, ValueError) as error:
                return Response(str(error), HTTPStatus.BAD_REQUEST)

        return answer

    def _occupancy(self) -> str:
        return msgspec.json.encode(self._runs.occupancy()).decode()


async def _left(_: Request, __: Exception) -> Response:
    """Answer an api that has gone away while it sent: it comes back, or another one does, and says all of it again."""
    return Response(status_code=_NOBODY_THERE)


async def _task(request: Request) -> Task:
    """Return the task that a request brings; the request itself, which lasts as long as its answer, keeps no copy.

    It belongs where its header says: what is between here and the api may have a span of its own.
    """
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
    return msgspec.structs.replace(_TASKS.decode(body), traceparent=request.headers.get(TRACEPARENT))


async def _chunks(events: AsyncGenerator[Event, None]) -> AsyncIterator[bytes]:
    """Yield frames in pieces that need no second copy of a large result."""
    async for event in events:
        for piece in Pieces(event).framed():
            yield bytes(piece)


def _number(request: Request, name: str) -> int:
    return int(request.query_params[name])


def _json(content: object, status: HTTPStatus = HTTPStatus.OK) -> Response:
    return Response(msgspec.json.encode(content), status, media_type="application/json")
