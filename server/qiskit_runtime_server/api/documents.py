"""Answers that hold a document of any size, sent while it is read."""

from collections.abc import AsyncIterator
from typing import Final

from fastapi import Response
from fastapi.responses import StreamingResponse

_PIECE_BYTES: Final = 1 << 20
JSON: Final = "application/json"


async def document_response(
    pieces: AsyncIterator[bytes], *, before: bytes = b"", after: bytes = b"", media_type: str = JSON
) -> Response | None:
    """Return an answer with a JSON document, or None if it has no pieces.

    Args:
        pieces: The document. An error once the answer has begun breaks the connection off, which clients notice.
        before: What stands in front of it.
        after: What stands behind it.
        media_type: What the answer calls itself.
    """
    first, second = await anext(pieces, None), await anext(pieces, None)
    if first is None:
        return None
    if second is None:
        return Response(before + first + after, media_type=media_type)

    async def parts() -> AsyncIterator[bytes]:
        for part in (before, first, second):
            yield part
        async for piece in pieces:
            yield piece
        yield after

    return StreamingResponse(parts(), media_type=media_type)


async def in_pieces(document: bytes) -> AsyncIterator[bytes]:
    """Yield a document that is in memory, so that no part of the way out makes a copy of all of it."""
    for start in range(0, max(1, len(document)), _PIECE_BYTES):
        yield document[start : start + _PIECE_BYTES]
