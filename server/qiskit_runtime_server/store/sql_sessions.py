"""Sessions as their owners see them, in SQL."""

from collections.abc import Sequence

from sqlalchemy import bindparam, insert, select, update

from qiskit_runtime_server.errors import SessionNotFoundError
from qiskit_runtime_server.jobs import AccountId, JobId, Session, SessionId
from qiskit_runtime_server.store.database import SqlPart, uninterrupted
from qiskit_runtime_server.store.rows import session_of, session_row
from qiskit_runtime_server.store.schema import IS_QUEUED, jobs, sessions

_ADD = insert(sessions)
_OF_OWNER = select(sessions).where(
    sessions.c.id == bindparam("of_session"), sessions.c.account == bindparam("of_account")
)
_KNOWN = select(sessions.c.id).where(sessions.c.id == bindparam("of_session"))
_OF_OWNER_LOCKED = _OF_OWNER.with_for_update(key_share=True)
_CLOSE = (
    update(sessions)
    .where(sessions.c.id == bindparam("of_session"), sessions.c.closed.is_(None))
    .values(closed=bindparam("now"))
)
_QUEUED_JOBS = (
    select(jobs.c.id).where(jobs.c.session_id == bindparam("of_session"), IS_QUEUED).order_by(jobs.c.created, jobs.c.id)
)


class SqlSessions(SqlPart):
    """A `SessionStore`."""

    @uninterrupted
    async def add(self, session: Session) -> None:
        """See `SessionStore.add`."""
        async with self._database.transaction() as connection:
            if self._database.in_doubt() and await connection.scalar(_KNOWN, {"of_session": session.id}) is not None:
                return
            await connection.execute(_ADD, session_row(session))

    @uninterrupted
    async def get(self, account: AccountId, session_id: str) -> Session:
        """See `SessionStore.get`."""
        async with self._database.reader.connect() as connection:
            result = await connection.execute(_OF_OWNER, {"of_session": session_id, "of_account": account})
        if (row := result.mappings().first()) is None:
            raise _not_found(session_id)
        return session_of(row)

    @uninterrupted
    async def close(self, account: AccountId, session_id: str) -> None:
        """See `SessionStore.close`."""
        async with self._database.transaction() as connection:
            result = await connection.execute(_OF_OWNER_LOCKED, {"of_session": session_id, "of_account": account})
            if result.first() is None:
                raise _not_found(session_id)
            now = (await self._database.now(connection)).utc
            await connection.execute(_CLOSE, {"of_session": session_id, "now": now})

    @uninterrupted
    async def queued_jobs(self, session_id: SessionId) -> Sequence[JobId]:
        """See `SessionStore.queued_jobs`."""
        async with self._database.reader.connect() as connection:
            ids = (await connection.scalars(_QUEUED_JOBS, {"of_session": session_id})).all()
        return [JobId(job_id) for job_id in ids]


def _not_found(session_id: str) -> SessionNotFoundError:
    return SessionNotFoundError(f"Session {session_id} not found.")
