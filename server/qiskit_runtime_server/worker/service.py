"""The executor as an HTTP service: it answers dispatchers, and never asks anybody anything.

A run does not depend on the response that watches it: a dispatcher may lose its connection, or die, and it or another
one attaches again. Only `worker.runs` knows how long that may take.
"""

import hmac
import sys
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from http import HTTPStatus
from typing import TYPE_CHECKING

import msgspec
from prometheus_client import CollectorRegistry
from rich.console import Console
from starlette.applications import Starlette
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from qiskit_runtime_server.byte_budget import ByteBudget
from qiskit_runtime_server.errors import NoFreeSlotError, StartupError
from qiskit_runtime_server.machine import default_slots, usable_bytes, usable_cores
from qiskit_runtime_server.messages.messages import (
    BOOT_ID,
    OCCUPANCY,
    POSITION,
    Completed,
    Confirmation,
    Event,
    Failed,
    Pieces,
    Task,
    framed,
)
from qiskit_runtime_server.metrics import metrics_route, new_registry
from qiskit_runtime_server.serve import is_loopback, listen, serve_app, serve_beside
from qiskit_runtime_server.settings import Settings
from qiskit_runtime_server.worker import selftest
from qiskit_runtime_server.worker.child import WorkerSpec
from qiskit_runtime_server.worker.metrics import ExecutorMetrics
from qiskit_runtime_server.worker.runs import Run, Runs, StaleFenceError, UnknownRunError
from qiskit_runtime_server.worker.slots import Slots, all_or_none

if TYPE_CHECKING:
    from qiskit_runtime_server.executors.base import BaseExecutor

_TASKS = msgspec.msgpack.Decoder(Task)
_CONFIRMATIONS = msgspec.json.Decoder(Confirmation)

Endpoint = Callable[[Request], Awaitable[Response]]


class _Key:
    """Lets nobody but the api in; the probes are for everybody."""

    def __init__(self, app: ASGIApp, key: str | None) -> None:
        self._app = app
        self._expected = None if key is None else f"Bearer {key}".encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and not scope["path"].startswith("/health/") and not self._fits(scope):
            refusal = Response("The executor's key is missing or wrong.", HTTPStatus.UNAUTHORIZED)
            await refusal(scope, receive, send)
            return
        await self._app(scope, receive, send)

    def _fits(self, scope: Scope) -> bool:
        given = Headers(scope=scope).get("authorization", "").encode()
        return self._expected is None or hmac.compare_digest(given, self._expected)


class Service:
    """The paths of the service."""

    def __init__(self, runs: Runs) -> None:
        self._runs = runs

    def app(self, key: str | None) -> ASGIApp:
        """Return the service as an ASGI application that asks for `key`."""
        routes = [
            Route("/health/live", self._live),
            Route("/health/ready", self._ready),
            Route("/v1/load", self._load),
            Route("/v1/watch", self._watch),
            Route("/v1/jobs", self._answered(self._start), methods=["POST"]),
            Route("/v1/jobs/{job_id}", self._answered(self._attach), methods=["GET"]),
            Route("/v1/jobs/{job_id}", self._answered(self._end), methods=["DELETE"]),
            Route("/v1/jobs/{job_id}/lease", self._answered(self._confirm), methods=["PUT"]),
        ]
        return _Key(Starlette(routes=routes), key)

    async def _live(self, _: Request) -> Response:
        return _json({"status": "alive"})

    async def _ready(self, _: Request) -> Response:
        """Answer 503 while the executor drains: it takes no jobs, though it does answer for those that it has."""
        if self._runs.draining:
            return _json({"status": "draining"}, HTTPStatus.SERVICE_UNAVAILABLE)
        return _json({"status": "ready"})

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


async def serve_executor(name: str, settings: Settings, executor: "BaseExecutor | None" = None) -> None:
    """Serve the executor called `name` until SIGTERM or Ctrl-C.

    It then takes no more jobs, but answers for those that it has for `settings.drain`, or until a second signal.

    Args:
        name: An installed executor.
        settings: Its `host`, `port`, `slots`, `memory_bytes`, `executor_key` and the times.
        executor: Used in place of an installed one.

    Raises:
        StartupError: If it cannot start.
    """
    key = None if settings.executor_key is None else settings.executor_key.get_secret_value()
    if key is None and not is_loopback(settings.host):
        raise StartupError(
            f"Anybody who reaches {settings.host} could use this executor: set QRS_EXECUTOR_KEY, here and for the api."
        )
    registry = new_registry()
    measures = ExecutorMetrics(registry)
    with listen(settings.host, settings.port) as listener:
        async with (
            running(name, settings, measures, executor) as runs,
            serve_beside(
                _internal_app(registry, measures, runs), settings.host, settings.internal_port
            ) as internal_url,
        ):

            def announce(url: str) -> None:
                occupancy = runs.occupancy()
                console = Console(highlight=False, soft_wrap=True)
                console.print(f"[bold]Executor {name}[/bold]")
                console.print(
                    f"  slots      {occupancy.slots}, each for {occupancy.capabilities.num_qubits} ideal qubits"
                )
                if internal_url is not None:
                    console.print(f"  internal   {internal_url}/metrics")
                console.print(f"Listening on {url}")

            await serve_app(
                Service(runs).app(key),
                listener,
                announce=announce,
                drain=partial(runs.drain, settings.drain),
                close=runs.close,
            )


def _internal_app(registry: CollectorRegistry, measures: ExecutorMetrics, runs: Runs) -> Starlette:
    async def refresh() -> None:
        measures.show(runs.occupancy(), runs.states())

    return Starlette(routes=[metrics_route(registry, refresh)])


@asynccontextmanager
async def running(
    name: str, settings: Settings, measures: ExecutorMetrics, executor: "BaseExecutor | None" = None
) -> AsyncGenerator[Runs, None]:
    """Start the slots of an executor, try each with a small job, and take jobs until the end.

    Raises:
        StartupError: If a slot does not come up, or cannot run the small job.
    """
    slots = _slots(name, settings, settings.slots or default_slots(), executor)
    try:
        await slots.start()
        measures.self_test_seconds.set(await _try_out(name, slots))
        runs = Runs(slots, measures, orphan_after=settings.orphan_after, orphan_kept=settings.orphan_kept)
        await runs.start()
        yield runs
        await runs.close()
    finally:
        await slots.stop()


async def examine(name: str, settings: Settings) -> None:
    """Print what the executor called `name` can do here, and have it run a small job.

    Raises:
        StartupError: If it does not come up, or cannot run the job; the message says why.
    """
    slots = _slots(name, settings, 1)
    console = Console(highlight=False, soft_wrap=True)
    try:
        await slots.start()
        found = await slots.capabilities()
        console.print(f"[bold]Executor {name}[/bold]")
        console.print(f"  device     {found.device}")
        if found.compute_capability:
            console.print(f"  compute    {found.compute_capability}")
        if found.memory_bytes:
            console.print(f"  memory     {found.memory_bytes / 2**30:.1f} GiB for states")
        console.print(f"  qubits     {found.num_qubits}, {found.precision} precision")
        console.print(f"  methods    {', '.join(found.methods)}")
        console.print(f"  self-test  passed in {await _try_out(name, slots):.2f} s")
    finally:
        await slots.stop()


def _slots(name: str, settings: Settings, size: int, executor: "BaseExecutor | None" = None) -> Slots:
    spec = WorkerSpec(
        executor=executor or name,
        memory_bytes=(settings.memory_bytes or usable_bytes()) // size,
        threads=max(1, usable_cores() // size),
        snapshots=settings.snapshots,
        options=settings.executor_options.get(name, {}),
    )
    # What is here is bounded by the number of slots.
    return Slots(spec, size, ByteBudget(sys.maxsize))


async def _try_out(name: str, slots: Slots) -> float:
    """Have each slot run a small job, and return how many seconds the slowest took."""
    task = selftest.task(name, (await slots.capabilities()).num_qubits)

    async def try_out() -> float:
        slot = await slots.reserve()
        start = time.monotonic()
        try:
            *_, last = [event async for event in slot.run(task)]
        finally:
            slot.release()
        if not isinstance(last, Completed):
            reason = last.reason if isinstance(last, Failed) else "it gave no result"
            raise StartupError(f"The executor failed its own test: {reason}")
        return time.monotonic() - start

    return max(await all_or_none(try_out() for _ in range(slots.size)))


async def _task(request: Request) -> Task:
    """Return the task that a request brings; the request itself, which lasts as long as its answer, keeps no copy."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
    return _TASKS.decode(body)


async def _chunks(events: AsyncGenerator[Event, None]) -> AsyncIterator[bytes]:
    """Yield frames in pieces that need no second copy of a large result."""
    async for event in events:
        for piece in Pieces(event).framed():
            yield bytes(piece)


def _number(request: Request, name: str) -> int:
    return int(request.query_params[name])


def _json(content: object, status: HTTPStatus = HTTPStatus.OK) -> Response:
    return Response(msgspec.json.encode(content), status, media_type="application/json")
