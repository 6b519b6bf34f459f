"""Reading request bodies, within limits."""

import asyncio
import re
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final, TypeVar

import msgspec
from fastapi import Request

from qiskit_runtime_server.byte_budget import Share
from qiskit_runtime_server.errors import MalformedRequestError, TooLargeError, TooSlowError

BodyT = TypeVar("BodyT")

SMALL: Final = 64 * 1024

# What clients call what they send as these.
_OPTIONS: Final = {"cost": "max_execution_time", "max_ttl": "max_time", "session_time": "max_time", "tags": "job_tags"}
_FIELD: Final = re.compile(r"at `\$\.(\w+)")
_POSITION: Final = re.compile(r"invalid character \(byte (\d+)\)")
_NOT_FINITE: Final = re.compile(b"NaN|Infinity")
# The key of a number, or of a list that it is in.
_KEY: Final = re.compile(rb'"(\w{1,64})": ?[^"]*\Z')

# A body of 100 MiB may take an hour and three quarters.
_LEAST_RATE: Final = 16 * 1024
_PATIENCE_SECONDS: Final = 20.0


async def read(request: Request, *, limit: int, share: Share | None = None) -> bytearray:
    """Return the whole body.

    Args:
        request: Its body has not been read.
        limit: In bytes.
        share: Where room is made for the body as it arrives.

    Raises:
        TooLargeError: If it is larger than `limit`; the rest is not read.
        BusyError: If there is no room for it.
        TooSlowError: If it arrives more slowly than `_LEAST_RATE` after the first `_PATIENCE_SECONDS`.
    """
    header = request.headers.get("content-length", "0")
    announced = int(header) if header.isdecimal() else 0
    _check_size(announced, limit)
    if share is not None:
        # Rather now than when half of it has been sent.
        share.check(announced)
    body = bytearray()
    begin = time.monotonic()
    chunks = request.stream()
    while True:
        due = begin + _PATIENCE_SECONDS + len(body) / _LEAST_RATE
        try:
            async with asyncio.timeout(due - time.monotonic()):
                chunk = await anext(chunks, None)
        except TimeoutError as error:
            raise TooSlowError(f"The body arrives at less than {_LEAST_RATE} bytes a second.") from error
        if chunk is None:
            return body
        body += chunk
        _check_size(len(body), limit)
        if share is not None:
            share.admit(len(body))


def _check_size(size: int, limit: int) -> None:
    if size > limit:
        raise TooLargeError(f"The body is larger than {limit} bytes, the limit of this server.")


def decode(body: bytes | bytearray, decoder: msgspec.json.Decoder[BodyT]) -> BodyT:
    """Return what `decoder` makes of a JSON body.

    Raises:
        MalformedRequestError: If it is not JSON, or not of the right shape.
    """
    try:
        return decoder.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise MalformedRequestError(f"The body is malformed: {error}{_explanation(str(error), body)}") from error


def _explanation(error: str, body: bytes | bytearray) -> str:
    """Return what the error is about in the words of a client's user, if that is more than the error says."""
    if field := _FIELD.search(error):
        option = _OPTIONS.get(field[1])
        return f"; clients call it {option}" if option else ""
    position = _POSITION.search(error)
    number = position and _NOT_FINITE.match(body, int(position[1]))
    if not number:
        return ""
    key = _KEY.search(body[max(0, number.start() - 1000) : number.start()])
    return f"; {key[1].decode() if key else 'a number'} is {number[0].decode()}, and JSON has finite numbers only"


def documented(body: type[msgspec.Struct]) -> dict[str, Any]:
    """Return what the OpenAPI document says of a body that `decode` reads, for `openapi_extra` of a route."""
    [_], schemas = msgspec.json.schema_components([body], ref_template="{name}")
    schema = _inlined({"$ref": body.__name__}, schemas)
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}


def _inlined(schema: Any, schemas: Mapping[str, Any]) -> Any:  # noqa: ANN401 - any JSON
    """Return a schema with what it refers to in place."""
    match schema:
        case {"$ref": str(name), **more}:
            return _inlined(schemas[name], schemas) | more
        case dict():
            return {key: _inlined(value, schemas) for key, value in schema.items()}
        case list():
            return [_inlined(value, schemas) for value in schema]
        case _:
            return schema


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
        raise MalformedRequestError(f"The time {time} is out of range: years 1 to 9999 are accepted.") from error


def timestamp(time: datetime | None) -> str | None:
    """Return a time as clients read it."""
    return None if time is None else time.isoformat()
