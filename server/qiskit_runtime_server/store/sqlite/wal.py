"""Tells whether SQLite, when it recovered a write-ahead log, has left out what had been committed.

A log is a header and then frames, a page each. SQLite reads it up to the first frame whose checksum is wrong, as every
log ends after a power failure: there the last transaction may be torn, which was not synchronised and nobody was told
of. With `synchronous = FULL` a transaction begins only when the one before is on the disk. So where a frame follows on
a commit that was not read, that commit had been synchronised, and has been damaged since.

Formats: https://www.sqlite.org/walformat.html and https://www.sqlite.org/fileformat2.html#the_write_ahead_log
"""

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Final

_HEADER: Final = struct.Struct(">IIII8sII")
"""Magic number, version, bytes of a page, number of the checkpoint, salts, checksums."""

_FRAME: Final = struct.Struct(">II8sII")
"""Number of the page, pages of the database if the frame commits (else 0), salts, checksums."""

_MAGIC: Final = {0x377F0682: "<", 0x377F0683: ">"}
"""The order of the bytes in what is summed up."""

_INDEX_FRAMES: Final = struct.Struct("=16xI")
"""Where the log's index, in memory that processes share, says how many frames are valid."""

_PORTION: Final = 1 << 20


def is_blank(wal: Path) -> bool:
    """Return whether a log is empty, or holds nothing but zeros, as a file that was made longer and never written."""
    with wal.open("rb") as opened:
        return not any(any(portion) for portion in iter(lambda: opened.read(_PORTION), b""))


def first_lost_frame(wal: Path) -> int | None:
    """Return the number, from 1, of the first frame that was not read, if a lost commit follows; None if none does.

    To be called while a connection is open that has read from the database, which has made the index.
    """
    with wal.open("rb") as opened:
        header = opened.read(_HEADER.size)
        if len(header) < _HEADER.size or not _is_sound(header):
            # It is synchronised before a frame is written, and lies within one sector.
            return 1
        _, _, page_bytes, _, salts, *_ = _HEADER.unpack(header)
        valid = _valid_frames(wal)
        committed = False
        for pages, frame_salts in _frames(opened, page_bytes, after=valid):
            if frame_salts != salts:
                continue  # Of an earlier round, or damaged.
            if committed:
                return valid + 1
            committed = pages > 0
    return None


def _valid_frames(wal: Path) -> int:
    index = wal.with_name(f"{wal.name.removesuffix('-wal')}-shm")
    with index.open("rb") as opened:
        [valid] = _INDEX_FRAMES.unpack(opened.read(_INDEX_FRAMES.size))
    return int(valid)


def _frames(opened: BinaryIO, page_bytes: int, *, after: int) -> Iterator[tuple[int, bytes]]:
    place = _HEADER.size + after * (_FRAME.size + page_bytes)
    while True:
        opened.seek(place)
        frame = opened.read(_FRAME.size)
        if len(frame) < _FRAME.size:
            return
        _, pages, salts, *_ = _FRAME.unpack(frame)
        yield pages, salts
        place += _FRAME.size + page_bytes


def _is_sound(header: bytes) -> bool:
    magic, *_, first, second = _HEADER.unpack(header)
    if magic not in _MAGIC:
        return False
    words = struct.unpack(f"{_MAGIC[magic]}6I", header[:24])
    one = two = 0
    for even, odd in zip(words[::2], words[1::2], strict=True):
        one = (one + even + two) % 2**32
        two = (two + odd + one) % 2**32
    return (one, two) == (first, second)
