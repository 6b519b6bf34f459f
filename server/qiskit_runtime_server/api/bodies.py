"""Reading request bodies, within limits."""

from datetime import UTC, datetime
from typing import TypeVar

import msgspec
from fastapi import Request

from qiskit_runtime_server.errors import MalformedRequestError, TooLargeError

BodyT = TypeVar("BodyT")

SMALL = 64 * 1024


async def read(request: Request, *, limit: int) -> bytes:
    """Return the whole body.

    Raises:
        TooLargeError: If it is larger than `limit` bytes; the rest is not read.
    """
    announced = request.headers.get("content-length", "0")
    if announced.isdecimal() and int(announced) > limit:
        raise _too_large(limit)
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > limit:
            raise _too_large(limit)
    return bytes(body)


def decode(body: bytes, decoder: msgspec.json.Decoder[BodyT]) -> BodyT:
    """Return what `decoder` makes of a JSON body.

    Raises:
        MalformedRequestError: If it is not JSON, or not of the right shape.
    """
    try:
        return decoder.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise MalformedRequestError(f"The body is malformed: {error}") from error


def utc(time: datetime | None) -> datetime | None:
    """Return a time in UTC, which clients send, not always saying so.

    Raises:
        MalformedRequestError: If it is outside of the calendar.
    """
    if time is None:
        return None
    try:
        return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)
    except OverflowError as error:
        raise MalformedRequestError(f"{time} is outside of the calendar.") from error


def timestamp(time: datetime | None) -> str | None:
    """Return a time as clients read it."""
    return None if time is None else time.isoformat()


def _too_large(limit: int) -> TooLargeError:
    return TooLargeError(f"The body is larger than {limit} bytes, the limit of this server.")
