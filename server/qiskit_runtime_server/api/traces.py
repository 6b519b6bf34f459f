"""Gives requests their traces, which their errors and the log quote; see `log.trace`."""

from fastapi import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from qiskit_runtime_server.log.trace import begin_trace, is_trace


class TracedRequests:
    """ASGI middleware that begins a trace for each request."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request."""
        if scope["type"] == "http":
            begin_trace()
        await self._app(scope, receive, send)


async def traced_as_job(request: Request) -> None:
    """Have a request about a job carry the job's trace; what cannot be a job's id is none."""
    if is_trace(job_id := request.path_params.get("job_id", "")):
        begin_trace(job_id)
