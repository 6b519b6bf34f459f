"""Sessions as their owners see them, in SQL."""

from collections.abc import Sequence
from typing import Final

from sqlalchemy import Connection, bindparam, func, insert, select, update

from qiskit_runtime_server.accounts.limits import NO_LIMITS, AccountLimits
from qiskit_runtime_server.errors import SessionNotFoundError
from qiskit_runtime_server.jobs import AccountId, JobId, Session, SessionId
from qiskit_runtime_server.store.port import UNUSED_FOR
from qiskit_runtime_server.store.sql.database import SqlPart, reading, uninterrupted
from qiskit_runtime_server.store.sql.rows import session_of, session_row
from qiskit_runtime_server.store.sql.schema import CLOCK, IS_QUEUED, IS_UNUSED, jobs, sessions

_ADD: Final = insert(sessions)
"""Adds a session."""

_SOME_UNUSED: Final = (
    select(sessions.c.id)
    .where(IS_UNUSED, sessions.c.account == bindparam("of_account"), sessions.c.created > bindparam("since"))
    .limit(bindparam("most"))
    .subquery()
)
_UNUSED: Final = select(func.count()).select_from(_SOME_UNUSED)
"""How many sessions of an account were opened since then and never used. Index `sessions_of_account`."""

_OF_OWNER: Final = select(sessions).where(
    sessions.c.id == bindparam("of_session"), sessions.c.account == bindparam("of_account")
)
"""A session, if it is the account's. Primary key of `sessions`."""

_KNOWN: Final = select(sessions.c.id).where(sessions.c.id == bindparam("of_session"))
"""Whether there is a session. Primary key of `sessions`."""

_OF_OWNER_LOCKED: Final = _OF_OWNER.with_for_update(key_share=True)
"""The same as `_OF_OWNER`, locked so that no job joins it before this transaction ends. Primary key of `sessions`."""

_CLOSE: Final = (
    update(sessions).where(sessions.c.id == bindparam("of_session"), sessions.c.closed.is_(None)).values(closed=CLOCK)
)
"""Closes a session that is not closed. Primary key of `sessions`."""

_QUEUED_JOBS: Final = (
    select(jobs.c.id).where(jobs.c.session_id == bindparam("of_session"), IS_QUEUED).order_by(jobs.c.created, jobs.c.id)
)
"""The queued jobs of a session, the oldest first; reads all of its jobs. Index `jobs_of_session`."""


class SqlSessions(SqlPart):
    """A `SessionStore`."""

    @uninterrupted
    async def add(self, session: Session, limits: AccountLimits = NO_LIMITS) -> None:
        """See `SessionStore.add`."""

        def add(connection: Connection) -> None:
            if self._database.in_doubt() and connection.scalar(_KNOWN, {"of_session": session.id}) is not None:
                return
            if limits.sessions is not None:
                since = self._database.now(connection).utc - UNUSED_FOR
                which = {"of_account": session.account, "since": since, "most": limits.sessions}
                limits.check_sessions(session.account, connection.scalars(_UNUSED, which).one())
            connection.execute(_ADD, session_row(session))

        await self._database.change(add)

    @reading
    async def get(self, account: AccountId, session_id: str) -> Session:
        """See `SessionStore.get`."""
        which = {"of_session": session_id, "of_account": account}
        row = await self._database.read(lambda connection: connection.execute(_OF_OWNER, which).mappings().first())
        if row is None:
            raise _not_found(session_id)
        return session_of(row)

    @uninterrupted
    async def close(self, account: AccountId, session_id: str) -> None:
        """See `SessionStore.close`."""

        def close(connection: Connection) -> None:
            result = connection.execute(_OF_OWNER_LOCKED, {"of_session": session_id, "of_account": account})
            if result.first() is None:
                raise _not_found(session_id)
            connection.execute(_CLOSE, {"of_session": session_id})

        await self._database.change(close)

    @reading
    async def queued_jobs(self, session_id: SessionId) -> Sequence[JobId]:
        """See `SessionStore.queued_jobs`."""
        which = {"of_session": session_id}
        ids = await self._database.read(lambda connection: connection.scalars(_QUEUED_JOBS, which).all())
        return [JobId(job_id) for job_id in ids]


def _not_found(session_id: str) -> SessionNotFoundError:
    return SessionNotFoundError(f"Session {session_id} not found.")
