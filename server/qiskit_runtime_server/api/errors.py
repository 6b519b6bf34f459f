"""How errors look over HTTP: the one table of status codes, and the two shapes of body that clients read."""

import logging
from http import HTTPStatus
from typing import Final

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from qiskit_runtime_server.errors import (
    InjectedError,
    InvalidStateError,
    LimitError,
    NotAllowedError,
    NotAuthenticatedError,
    NotFoundError,
    RequestError,
    ServerError,
    TooLargeError,
    TooManyRequestsError,
    TooSlowError,
    UnavailableError,
)
from qiskit_runtime_server.log.trace import current_trace

logger = logging.getLogger(__name__)

# Nothing permanent is a 5xx: clients repeat those for 15 seconds, POST included.
STATUS: Final[dict[type[ServerError], HTTPStatus]] = {
    RequestError: HTTPStatus.BAD_REQUEST,
    TooSlowError: HTTPStatus.REQUEST_TIMEOUT,
    TooLargeError: HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    NotAuthenticatedError: HTTPStatus.UNAUTHORIZED,
    NotAllowedError: HTTPStatus.FORBIDDEN,
    LimitError: HTTPStatus.TOO_MANY_REQUESTS,
    TooManyRequestsError: HTTPStatus.TOO_MANY_REQUESTS,
    NotFoundError: HTTPStatus.NOT_FOUND,
    InvalidStateError: HTTPStatus.CONFLICT,
    UnavailableError: HTTPStatus.SERVICE_UNAVAILABLE,
}
_BROKEN_OFF: Final = 499
# Strangers write paths as long as they like: with each in the log they could fill a disk.
_MOST_OF_PATH: Final = 300
_MOST_OF_MESSAGE: Final = 2_000


def status_of(error: ServerError) -> HTTPStatus:
    """Return the status of the nearest mapped ancestor."""
    known = (STATUS[cls] for cls in type(error).__mro__ if cls in STATUS)
    return next(known, HTTPStatus.INTERNAL_SERVER_ERROR)


def error_response(request: Request, status: int, message: str) -> JSONResponse:
    """Return an error for every client: `error` is what the Python client prints, `errors` is IBM's own shape.

    The log has a line with its trace, so that a user who quotes it can be helped.
    """
    trace = current_trace()
    level = logging.INFO if status < HTTPStatus.INTERNAL_SERVER_ERROR else logging.WARNING
    path = request.scope.get("raw_path", b"")[:_MOST_OF_PATH].decode("ascii", "replace")
    # What a client wrote may be part of the message, and must not begin a line of its own.
    said = " ".join(message[:_MOST_OF_MESSAGE].split())
    fields = {"method": request.method[:_MOST_OF_PATH], "path": path, "status": status, "trace": trace}
    logger.log(level, "%s %s answered %d, trace %s: %s", *fields.values(), said, extra=fields)
    body = {
        "error": {"message": message, "code": status},
        "errors": [{"code": status, "message": message, "solution": "", "more_info": ""}],
        "trace": trace,
    }
    return JSONResponse(body, status)


def unavailable_response(request: Request, error: UnavailableError) -> JSONResponse:
    """Return the answer to a request that may succeed later, and say when to try again."""
    response = error_response(request, status_of(error), str(error))
    response.headers["Retry-After"] = str(error.retry_after)
    return response


def install(app: FastAPI) -> None:
    """Have `app` answer every error in that shape."""

    @app.exception_handler(RequestError)
    async def refused(request: Request, error: RequestError) -> JSONResponse:
        return error_response(request, status_of(error), str(error))

    @app.exception_handler(UnavailableError)
    async def unavailable(request: Request, error: UnavailableError) -> JSONResponse:
        return unavailable_response(request, error)

    @app.exception_handler(TooManyRequestsError)
    async def too_many(request: Request, error: TooManyRequestsError) -> JSONResponse:
        response = error_response(request, status_of(error), str(error))
        response.headers["Retry-After"] = str(error.retry_after)
        return response

    @app.exception_handler(InjectedError)
    async def injected(request: Request, error: InjectedError) -> JSONResponse:
        response = error_response(request, error.status, str(error))
        response.headers["Retry-After"] = str(error.retry_after)
        return response

    @app.exception_handler(ClientDisconnect)
    async def left(_: Request, __: ClientDisconnect) -> Response:
        # In the middle of what it sent; nobody reads this, but it is counted as one that broke off.
        return Response(status_code=_BROKEN_OFF)

    @app.exception_handler(RequestValidationError)
    async def malformed(request: Request, error: RequestValidationError) -> JSONResponse:
        problems = "; ".join(f"{'.'.join(map(str, item['loc']))}: {item['msg']}" for item in error.errors())
        return error_response(request, HTTPStatus.BAD_REQUEST, f"The request is malformed: {problems}.")

    @app.exception_handler(HTTPException)
    async def unknown(request: Request, error: HTTPException) -> JSONResponse:
        return error_response(
            request,
            error.status_code,
            f"{request.method[:_MOST_OF_PATH]} {request.url.path[:_MOST_OF_PATH]}: {error.detail}.",
        )

    @app.exception_handler(Exception)
    async def broken(request: Request, __: Exception) -> JSONResponse:
        # The traceback is logged behind this by the HTTP server.
        message = "The server made a mistake; its log says more."
        return error_response(request, HTTPStatus.INTERNAL_SERVER_ERROR, message)
