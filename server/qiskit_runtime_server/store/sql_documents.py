"""The large parts of jobs, in SQL: rows of bounded size, so that no database or driver holds one in one piece."""

from io import BytesIO

from sqlalchemy import bindparam, delete, func, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from qiskit_runtime_server.errors import JobNotFoundError
from qiskit_runtime_server.jobs import JobId
from qiskit_runtime_server.store.database import CommitInDoubtError, SqlPart, uninterrupted
from qiskit_runtime_server.store.schema import documents, jobs

CHUNK_BYTES = 1 << 20

PARAMS = "params"
RESULT = "result"
LOG = "log"

_THIS = (documents.c.job_id == bindparam("of_job"), documents.c.kind == bindparam("of_kind"))
_WRITE = insert(documents)
# A few rows at a time: a document is in memory once, not twice.
_READ = select(documents.c.data).where(*_THIS).order_by(documents.c.seq).execution_options(yield_per=2)
_FORGET = delete(documents).where(*_THIS)
_NEXT_SEQ = select(func.coalesce(func.max(documents.c.seq) + 1, 0)).where(*_THIS)
_LOCK = select(jobs.c.id).where(jobs.c.id == bindparam("of_job")).with_for_update()


async def write_document(connection: AsyncConnection, job_id: JobId, kind: str, data: bytes, *, seq: int = 0) -> None:
    """Keep `data` in rows that are numbered from `seq`; an empty document is one empty row."""
    view = memoryview(data)
    starts = range(0, max(len(data), 1), CHUNK_BYTES)
    rows = [
        {"job_id": job_id, "kind": kind, "seq": seq + number, "data": view[start : start + CHUNK_BYTES]}
        for number, start in enumerate(starts)
    ]
    await connection.execute(_WRITE, rows)


async def read_document(connection: AsyncConnection, job_id: JobId, kind: str) -> bytes | None:
    """Return the document, or None if there is none."""
    document = None
    async with connection.stream_scalars(_READ, {"of_job": job_id, "of_kind": kind}) as chunks:
        async for chunk in chunks:
            document = document or BytesIO()
            document.write(chunk)
    return None if document is None else document.getvalue()


class SqlDocuments(SqlPart):
    """A `DocumentStore`."""

    @uninterrupted
    async def params(self, job_id: JobId) -> bytes:
        """See `DocumentStore.params`."""
        params = await self._read(job_id, PARAMS)
        if params is None:
            raise JobNotFoundError(f"Job {job_id} not found.")
        return params

    @uninterrupted
    async def result(self, job_id: JobId) -> bytes | None:
        """See `DocumentStore.result`."""
        return await self._read(job_id, RESULT)

    @uninterrupted
    async def take_result(self, job_id: JobId) -> bytes | None:
        """See `DocumentStore.take_result`."""
        result = None
        try:
            async with self._database.transaction() as connection:
                await connection.execute(_LOCK, {"of_job": job_id})
                result = await read_document(connection, job_id, RESULT)
                await connection.execute(_FORGET, {"of_job": job_id, "of_kind": RESULT})
        except CommitInDoubtError:
            if result is None:
                raise
            # It may be gone from the database: another run could come back with nothing.
        return result

    @uninterrupted
    async def append_log(self, job_id: JobId, text: str) -> None:
        """See `DocumentStore.append_log`."""
        async with self._database.transaction() as connection:
            if await connection.scalar(_LOCK, {"of_job": job_id}) is None:
                return
            seq = await connection.scalar(_NEXT_SEQ, {"of_job": job_id, "of_kind": LOG})
            await write_document(connection, job_id, LOG, text.encode(), seq=seq)

    @uninterrupted
    async def log(self, job_id: JobId) -> str:
        """See `DocumentStore.log`."""
        return (await self._read(job_id, LOG) or b"").decode()

    async def _read(self, job_id: JobId, kind: str) -> bytes | None:
        async with self._database.streamer.connect() as connection:
            return await read_document(connection, job_id, kind)
