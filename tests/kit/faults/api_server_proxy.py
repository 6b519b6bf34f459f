"""A proxy before the real API server, which injects what that will not do on demand: errors, silence, cut wires."""

import asyncio
import json
import re
import ssl
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
from aiohttp import web

_HOP_BY_HOP = {"host", "connection", "transfer-encoding", "content-encoding", "content-length"}
_START_SECONDS = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What the operator asks for."""

    method: str
    path: str
    watches: bool

    def matches(self, method: str, path: str) -> bool:
        """Tell whether it is of a method (`WATCH` for watches) and of a path that fits a regular expression."""
        return method == ("WATCH" if self.watches else self.method) and bool(re.search(path, self.path))


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """What happens instead of an answer.

    Attributes:
        method: Of the requests that it happens to; WATCH for watches.
        path: A regular expression.
        times: How often it happens; for ever, if None.
        status: What is answered, with `reason`, in the place of an answer.
        event: For a watch: the error that it ends with.
        silent: Whether nothing is answered, for a watch: nothing that happens is told.
        delay: How many seconds the answer takes.
        cut: Whether the wire is cut in the middle of an answer, for a watch: at its first event.
        call: What is called, in a thread of the proxy's, before the request is passed on.
    """

    method: str
    path: str
    times: int | None = 1
    status: int | None = None
    reason: str = ""
    retry_after: int | None = None
    event: int | None = None
    silent: bool = False
    delay: float = 0
    cut: bool = False
    call: Callable[[], None] | None = None


@dataclass(slots=True)
class ApiServerProxy:
    """Passes requests on to the API server of a kubeconfig, unless a fault says otherwise.

    Attributes:
        kubeconfig: What leads to the proxy.
        requests: What was asked for, in order.
        happened: The faults that happened, in order.
    """

    upstream: str
    authority: str
    kubeconfig: Path
    requests: list[Request] = field(default_factory=list)
    happened: list[Fault] = field(default_factory=list)
    _faults: list[Fault] = field(default_factory=list)
    _closing: asyncio.Event = field(default_factory=asyncio.Event)
    _http: aiohttp.ClientSession = field(init=False)

    def inject(self, *faults: Fault) -> None:
        """Let these happen, in the place of all others."""
        self._faults = list(faults)

    def count(self, method: str, path: str = "") -> int:
        """Return how many requests were of a method and of a path that fits a regular expression."""
        return sum(request.matches(method, path) for request in self.requests)

    async def serve(self, port: "Future[int]", end: asyncio.Event) -> None:
        """Pass requests on until `end` is set, and say on which port."""
        app = web.Application(client_max_size=2**24)
        app.router.add_route("*", "/{path:.*}", self._handle)
        runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        trusted = ssl.create_default_context(cafile=self.authority)
        connector = aiohttp.TCPConnector(ssl=trusted, limit=0)
        async with aiohttp.ClientSession(connector=connector, auto_decompress=False) as self._http:
            port.set_result(runner.addresses[0][1])
            await end.wait()
            self._closing.set()
            await runner.cleanup()
        await asyncio.sleep(0.1)  # for transports, which close on the loop's next rounds

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        asked = Request(method=request.method, path=request.path, watches="watch" in request.query)
        self.requests.append(asked)
        fault = self._next_fault(asked)
        if fault is None:
            return await self._pass_on(request, None)
        self.happened.append(fault)
        if fault.call is not None:
            await asyncio.to_thread(fault.call)
        await asyncio.sleep(fault.delay)
        if fault.status is not None:
            return _refusal(fault)
        if fault.silent and not asked.watches:
            await self._closing.wait()
        return await self._pass_on(request, fault)

    def _next_fault(self, asked: Request) -> Fault | None:
        for fault in self._faults:
            happened = self.happened.count(fault)
            if asked.matches(fault.method, fault.path) and (fault.times is None or happened < fault.times):
                return fault
        return None

    async def _pass_on(self, request: web.Request, fault: Fault | None) -> web.StreamResponse:
        headers = {name: value for name, value in request.headers.items() if name.lower() not in _HOP_BY_HOP}
        # What is spoilt has to be readable; the API server compresses long lists.
        headers["Accept-Encoding"] = "identity"
        url = self.upstream + request.raw_path
        unlimited = aiohttp.ClientTimeout(total=None)
        body = await request.read() or None
        async with self._http.request(request.method, url, data=body, headers=headers, timeout=unlimited) as answer:
            kept = {name: value for name, value in answer.headers.items() if name.lower() not in _HOP_BY_HOP}
            response = web.StreamResponse(status=answer.status, headers=kept)
            await response.prepare(request)
            async for chunk in answer.content.iter_any():
                if fault is not None and not await self._spoil(fault, request, response):
                    return response
                await response.write(chunk)
            await response.write_eof()
            return response

    async def _spoil(self, fault: Fault, request: web.Request, response: web.StreamResponse) -> bool:
        """Do what the fault does to a chunk of an answer; tell whether it goes on."""
        if fault.silent:
            await self._closing.wait()
        if fault.event is not None:
            status = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": fault.event, "reason": "Gone"}
            await response.write(json.dumps({"type": "ERROR", "object": status}).encode() + b"\n")
            await response.write_eof()
            return False
        if fault.cut and request.transport is not None:
            request.transport.abort()
            return False
        return True


def _refusal(fault: Fault) -> web.Response:
    status = {
        "kind": "Status",
        "apiVersion": "v1",
        "status": "Failure",
        "code": fault.status,
        "reason": fault.reason,
        "message": f"injected: {fault.reason}",
    }
    headers = {} if fault.retry_after is None else {"Retry-After": str(fault.retry_after)}
    return web.json_response(status, status=fault.status or 500, headers=headers)


@contextmanager
def running_proxy(kubeconfig: Path, into: Path) -> Iterator[ApiServerProxy]:
    """Run a proxy for the API server of `kubeconfig`, and write a kubeconfig for it to `into`."""
    document = json.loads(kubeconfig.read_text())
    cluster = document["clusters"][0]["cluster"]
    proxy = ApiServerProxy(upstream=cluster["server"], authority=cluster["certificate-authority"], kubeconfig=into)
    loop, port, end = asyncio.new_event_loop(), Future[int](), asyncio.Event()
    thread = threading.Thread(target=loop.run_until_complete, args=(proxy.serve(port, end),))
    thread.start()
    document["clusters"][0]["cluster"] = {"server": f"http://127.0.0.1:{port.result(_START_SECONDS)}"}
    into.write_text(json.dumps(document))
    try:
        yield proxy
    finally:
        loop.call_soon_threadsafe(end.set)
        thread.join()
        loop.close()
