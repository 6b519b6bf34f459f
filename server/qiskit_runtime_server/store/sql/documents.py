"""The large parts of jobs, in SQL: rows of bounded size, so that no database or driver holds one in one piece."""

from collections.abc import AsyncGenerator, AsyncIterable, Awaitable, Callable, Sequence
from functools import partial
from io import BytesIO
from typing import Final

from sqlalchemy import Connection, bindparam, delete, func, insert, select, update

from qiskit_runtime_server.byte_budget import SMALL_BYTES
from qiskit_runtime_server.errors import JobNotFoundError
from qiskit_runtime_server.jobs import Job, JobId
from qiskit_runtime_server.store.port import DocumentKind
from qiskit_runtime_server.store.sql.database import CommitInDoubtError, SqlPart, reading, uninterrupted
from qiskit_runtime_server.store.sql.packing import PackedRow, packed, size_of, unpacked
from qiskit_runtime_server.store.sql.schema import documents, jobs

# How many rows are read or written at a time.
_PORTION: Final = 2

_THIS: Final = (documents.c.job_id == bindparam("of_job"), documents.c.kind == bindparam("of_kind"))
_WRITE: Final = insert(documents)
"""Keeps one row of a document."""

_READ: Final = (
    select(documents.c.codec, documents.c.data)
    .where(*_THIS, documents.c.seq >= bindparam("from_seq"), documents.c.seq < bindparam("to_seq"))
    .order_by(documents.c.seq)
)
"""A few consecutive rows of a document, in order. Primary key of `documents`."""

_FIRST: Final = select(documents.c.seq).where(*_THIS, documents.c.seq == bindparam("first"))
"""Whether a document has its first row. Primary key of `documents`."""

_FORGET: Final = delete(documents).where(*_THIS)
"""Removes a document. Primary key of `documents`."""

_NEXT_SEQ: Final = select(func.coalesce(func.max(documents.c.seq) + 1, 0)).where(*_THIS)
"""The number of the next row of a document. Primary key of `documents`."""

_LOCK: Final = select(jobs.c.id).where(jobs.c.id == bindparam("of_job")).with_for_update()
"""Locks a job, if it is there. Primary key of `jobs`."""

_GROW: Final = (
    update(jobs)
    .where(jobs.c.id == bindparam("of_job"))
    .values(stored_bytes=jobs.c.stored_bytes + bindparam("more_bytes"))
)
"""Adds to the size of a job's documents. Primary key of `jobs`."""

_RECOUNT: Final = (
    update(jobs)
    .where(jobs.c.id == bindparam("of_job"))
    .values(
        stored_bytes=select(func.coalesce(func.sum(func.length(documents.c.data)), 0))
        .where(documents.c.job_id == bindparam("of_job"))
        .scalar_subquery()
    )
)
"""Sums up the size of a job's documents. Primary key of `documents`."""


def write_document(
    connection: Connection, job_id: JobId, kind: DocumentKind, rows: Sequence[PackedRow], *, seq: int = 0
) -> None:
    """Keep rows of a document, which are numbered from `seq`; their size is for the caller to count."""
    for start in range(0, len(rows), _PORTION):
        values = [
            {"job_id": job_id, "kind": kind, "seq": seq + start + number, "codec": row.codec, "data": row.data}
            for number, row in enumerate(rows[start : start + _PORTION])
        ]
        connection.execute(_WRITE, values)


async def _pieces(read: Callable[[int], Awaitable[list[bytes]]]) -> AsyncGenerator[bytes, None]:
    """Yield what `read` gives from the first row on, until it gives less than a portion."""
    seq = 0
    while portion := await read(seq):
        for piece in portion:
            yield piece
        if len(portion) < _PORTION:
            return
        seq += _PORTION


async def _joined(pieces: AsyncIterable[bytes]) -> bytes | None:
    """Return all pieces in one, without a second copy; None if there are none."""
    document: BytesIO | None = None
    async for piece in pieces:
        document = document or BytesIO()
        document.write(piece)
    return None if document is None else document.getvalue()


def _portion(connection: Connection, job_id: str, kind: DocumentKind, seq: int) -> list[bytes]:
    """Return what is in a few rows of a document from `seq` on; fewer at its end."""
    which = {"of_job": job_id, "of_kind": kind, "from_seq": seq, "to_seq": seq + _PORTION}
    return [unpacked(row.codec, row.data) for row in connection.execute(_READ, which).all()]


def small_params(connection: Connection, job: Job) -> bytes | None:
    """Return what was submitted, if it is small."""
    if job.params_bytes > SMALL_BYTES:
        return None
    portion = _portion(connection, job.id, DocumentKind.PARAMS, 0)
    # Of a job from before the size was kept, there may be more.
    return b"".join(portion) if len(portion) < _PORTION else None


def _whole(connection: Connection, job_id: JobId, kind: DocumentKind) -> BytesIO | None:
    """Return a document as it is in one transaction; None if there is none."""
    document, seq = BytesIO(), 0
    while portion := _portion(connection, job_id, kind, seq):
        document.writelines(portion)
        seq += _PORTION
    return document if seq else None


class SqlDocuments(SqlPart):
    """A `DocumentStore`."""

    async def params(self, job_id: JobId) -> bytes:
        """See `DocumentStore.params`."""
        params = await _joined(self.pieces(job_id, DocumentKind.PARAMS))
        if params is None:
            raise JobNotFoundError(f"Job {job_id} not found.")
        return params

    async def result(self, job_id: JobId) -> bytes | None:
        """See `DocumentStore.result`."""
        return await _joined(self.pieces(job_id, DocumentKind.RESULT))

    def pieces(self, job_id: JobId, kind: DocumentKind) -> AsyncGenerator[bytes, None]:
        """See `DocumentStore.pieces`."""
        return _pieces(partial(self._read, job_id, kind))

    @uninterrupted
    async def take_result(self, job_id: JobId) -> bytes | None:
        """See `DocumentStore.take_result`."""
        result: BytesIO | None = None

        def take(connection: Connection) -> None:
            nonlocal result
            connection.execute(_LOCK, {"of_job": job_id})
            result = _whole(connection, job_id, DocumentKind.RESULT)
            connection.execute(_FORGET, {"of_job": job_id, "of_kind": DocumentKind.RESULT})
            connection.execute(_RECOUNT, {"of_job": job_id})

        try:
            await self._database.change(take)
        except CommitInDoubtError:
            if result is None:
                raise
            # It may be gone from the database: another run could come back with nothing.
        return None if result is None else result.getvalue()

    @uninterrupted
    async def append_log(self, job_id: JobId, text: str) -> None:
        """See `DocumentStore.append_log`."""
        rows = await packed(text.encode())

        def append(connection: Connection) -> None:
            if connection.scalar(_LOCK, {"of_job": job_id}) is None:
                return
            seq = connection.scalars(_NEXT_SEQ, {"of_job": job_id, "of_kind": DocumentKind.LOG}).one()
            write_document(connection, job_id, DocumentKind.LOG, rows, seq=seq)
            connection.execute(_GROW, {"of_job": job_id, "more_bytes": size_of(rows)})

        await self._database.change(append)

    async def log(self, job_id: JobId) -> str:
        """See `DocumentStore.log`."""
        return (await _joined(self.pieces(job_id, DocumentKind.LOG)) or b"").decode()

    @reading
    async def _read(self, job_id: JobId, kind: DocumentKind, seq: int) -> list[bytes]:
        """Return a portion of a document.

        Raises:
            JobNotFoundError: If the document was there when its first portion was read, and is there no more.
        """

        def read(connection: Connection) -> list[bytes]:
            portion = _portion(connection, job_id, kind, seq)
            at_its_end = seq > 0 and len(portion) < _PORTION
            if at_its_end and connection.scalar(_FIRST, {"of_job": job_id, "of_kind": kind, "first": 0}) is None:
                raise JobNotFoundError(f"Job {job_id} was deleted while its {kind} was read.")
            return portion

        return await self._database.read(read)
