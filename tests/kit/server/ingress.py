"""A reverse proxy before several apis, as a cluster has one."""

import threading
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from itertools import cycle
from types import TracebackType
from typing import Self

import httpx
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

_METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE"]
# Those of one connection, not of the message.
_HOP_BY_HOP = {"host", "connection", "keep-alive", "transfer-encoding", "content-length"}
_PATIENCE_SECONDS = 60


class Ingress:
    """Passes each request to the next replica; answers 503 if that does not listen, and 502 if it hangs up.

    Attributes:
        refusals: How often it answered what by itself.
        url: Where it listens.
    """

    def __init__(self, replicas: Sequence[str]) -> None:
        self.refusals: Counter[int] = Counter()
        self._replicas = cycle(replicas)
        app = Starlette(routes=[Route("/{path:path}", self._pass_on, methods=_METHODS)], lifespan=self._lifespan)
        self._server = uvicorn.Server(uvicorn.Config(app, port=0, log_config=None, access_log=False))
        self._thread = threading.Thread(target=self._server.run, daemon=True)
        self.url = ""

    def __enter__(self) -> Self:
        self._thread.start()
        while not self._server.started:
            time.sleep(0.01)
        self.url = f"http://127.0.0.1:{self._server.servers[0].sockets[0].getsockname()[1]}"
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self._server.should_exit = True
        self._thread.join()

    @asynccontextmanager
    async def _lifespan(self, _: Starlette) -> AsyncIterator[None]:
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=None)
        async with httpx.AsyncClient(timeout=_PATIENCE_SECONDS, limits=limits, trust_env=False) as self._client:
            yield

    async def _pass_on(self, request: Request) -> Response:
        url = httpx.URL(next(self._replicas)).copy_with(raw_path=request.url.path.encode())
        onward = self._client.build_request(
            request.method,
            url,
            params=tuple(request.query_params.multi_items()),
            content=await request.body(),
            headers=_end_to_end(request.headers.items()),
        )
        try:
            answer = await self._client.send(onward, stream=True)
            content = b"".join([chunk async for chunk in answer.aiter_raw()])
        except httpx.ConnectError:
            return self._refusal(503)
        except httpx.HTTPError:
            return self._refusal(502)
        return Response(content, answer.status_code, _end_to_end(answer.headers.items()))

    def _refusal(self, status: int) -> Response:
        self.refusals[status] += 1
        return Response(status_code=status)


def _end_to_end(headers: Iterable[tuple[str, str]]) -> dict[str, str]:
    return {name: value for name, value in headers if name not in _HOP_BY_HOP}
