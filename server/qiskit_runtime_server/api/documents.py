"""Answers that hold a document of any size, sent while it is read."""

from collections.abc import AsyncGenerator, AsyncIterator, Callable
from typing import Final

from fastapi import Response
from fastapi.responses import StreamingResponse

from qiskit_runtime_server.api.answers import AnswerRoom
from qiskit_runtime_server.byte_budget import SMALL_BYTES
from qiskit_runtime_server.errors import BusyError

# What a store has of a document in memory while it is sent: two pieces, each of at most 1 MiB.
_WINDOW_BYTES: Final = 2 << 20
JSON: Final = "application/json"


async def document_response(
    read: Callable[[], AsyncGenerator[bytes, None]],
    room: AnswerRoom,
    *,
    before: bytes = b"",
    after: bytes = b"",
    media_type: str = JSON,
) -> Response | None:
    """Return an answer with a document, or None if it has no pieces.

    Args:
        read: Begins to read the document, from its start; it may be called twice. An error once the answer has begun
            breaks the connection off, which clients notice.
        room: Of the answer.
        before: What stands in front of it.
        after: What stands behind it.
        media_type: What the answer calls itself.

    Raises:
        BusyError: If there is no room for the answer.
    """
    pieces = read()
    first, size = await _beginning(pieces)
    more = len(before) + len(after)
    try:
        room.admit(size + more)
    except BusyError:
        # Whoever waits has nothing in memory.
        first.clear()
        await pieces.aclose()
        await room.hold(size + more)
        pieces = read()
        first, size = await _beginning(pieces)
        room.admit(size + more)
    if not first:
        return None
    if size < _WINDOW_BYTES:
        return Response(b"".join((before, *first, after)), media_type=media_type)

    async def parts() -> AsyncIterator[bytes]:
        yield before
        while first:
            yield first.pop(0)
        async for piece in pieces:
            yield piece
        yield after

    return StreamingResponse(parts(), media_type=media_type)


async def _beginning(pieces: AsyncGenerator[bytes, None]) -> tuple[list[bytes], int]:
    """Return the first pieces of a document, and how much it has of it in memory at a time.

    That is less than `_WINDOW_BYTES` if the pieces are the whole of it.
    """
    first: list[bytes] = []
    size = 0
    async for piece in pieces:
        first.append(piece)
        size += len(piece)
        # Logs have many small pieces.
        if len(first) > 1 and size > SMALL_BYTES:
            return first, _WINDOW_BYTES
    return first, size
