"""How documents are cut into rows, each compressed by itself so that any of them can be read alone."""

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import zstandard

ROW_BYTES: Final = 1 << 20
"""How much of a document one row holds, before compression."""

ZSTD: Final = "zstd"

# What short jobs send and get is smaller; compressing it would cost time and bring nothing.
_SMALLEST: Final = 4096
# Most of a document is base64 of what is compressed already: only its entropy can be coded, which the lowest level does
# as well as any, at 350 MB/s and more; zlib takes 20 times as long.
_LEVEL: Final = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class PackedRow:
    """What a row holds.

    Attributes:
        codec: How `data` is compressed; None if it is not.
    """

    codec: str | None
    data: bytes | memoryview


async def packed(document: bytes | memoryview) -> list[PackedRow]:
    """Return the rows of a document, one if it is empty; a long one is compressed on another thread."""
    if len(document) <= ROW_BYTES:
        return list(_rows(document))
    return await asyncio.to_thread(lambda: list(_rows(document)))


def unpacked(codec: str | None, data: bytes) -> bytes:
    """Return what a row holds.

    Raises:
        ValueError: If this release does not know the codec.
    """
    match codec:
        case None:
            return data
        case "zstd":
            return zstandard.ZstdDecompressor().decompress(data)
        case _:
            raise ValueError(f"The codec {codec!r} of a document is not known to this release.")


def size_of(rows: Sequence[PackedRow]) -> int:
    """Return how many bytes the rows take."""
    return sum(len(row.data) for row in rows)


def _rows(document: bytes | memoryview) -> Iterator[PackedRow]:
    view = memoryview(document)
    compressor = zstandard.ZstdCompressor(level=_LEVEL)
    for start in range(0, max(len(view), 1), ROW_BYTES):
        piece = view[start : start + ROW_BYTES]
        compressed = compressor.compress(piece) if len(piece) >= _SMALLEST else None
        if compressed is not None and len(compressed) < len(piece):
            yield PackedRow(codec=ZSTD, data=compressed)
        else:
            yield PackedRow(codec=None, data=piece)
