"""A store on a SQL database: its parts put together."""

from collections.abc import Callable

from qiskit_runtime_server.store.overviews import Overviews
from qiskit_runtime_server.store.port import (
    Archive,
    CountStore,
    DocumentStore,
    JobStore,
    QueueStore,
    SessionStore,
    Signals,
)
from qiskit_runtime_server.store.sql.archive import SqlArchive
from qiskit_runtime_server.store.sql.counts import SqlCounts
from qiskit_runtime_server.store.sql.database import Database
from qiskit_runtime_server.store.sql.documents import SqlDocuments
from qiskit_runtime_server.store.sql.jobs import SqlJobs
from qiskit_runtime_server.store.sql.overviews import SqlOverviews
from qiskit_runtime_server.store.sql.queue import SqlQueue
from qiskit_runtime_server.store.sql.sessions import SqlSessions


class SqlStore:
    """A `Store`; owns its database and what has to be let go after it.

    Args:
        database: Is closed with the store.
        release: Is called after that, to let a folder's lock go, for example.
    """

    def __init__(self, database: Database, release: Callable[[], None] | None = None) -> None:
        self.jobs: JobStore = SqlJobs(database)
        self.documents: DocumentStore = SqlDocuments(database)
        self.queue: QueueStore = SqlQueue(database)
        self.sessions: SessionStore = SqlSessions(database)
        self.archive: Archive = SqlArchive(database)
        self.counts: CountStore = SqlCounts(database)
        self.overviews: Overviews = SqlOverviews(database)
        self.signals: Signals = database.hub
        self.database = database
        self._release = release

    def __str__(self) -> str:
        return str(self.database)

    async def has_room(self) -> bool:
        """See `Store.has_room`."""
        return await self.database.has_room()

    async def close(self) -> None:
        """See `Store.close`."""
        await self.database.close()
        if self._release is not None:
            self._release()
