"""How the parts of a SQL store reach the database, its clock and those who wait for news."""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from datetime import datetime
from functools import partial, wraps
from typing import Any, Concatenate, Final, ParamSpec, TypeVar

from sqlalchemy import Connection

from qiskit_runtime_server.errors import MalformedRequestError, StoreFullError
from qiskit_runtime_server.jobs import Job
from qiskit_runtime_server.machine import in_words
from qiskit_runtime_server.store.hub import Hub
from qiskit_runtime_server.store.port import Ended, Signal
from qiskit_runtime_server.store.sql.schema import ASK_CLOCK
from qiskit_runtime_server.waiting import KeptTasks

# Of what is kept free, results leave this part for cancelling, deleting and sweeping.
_LAST_PART: Final = 4

P = ParamSpec("P")
T = TypeVar("T")
PartT = TypeVar("PartT", bound="SqlPart")


@dataclass(frozen=True, slots=True, kw_only=True)
class Now:
    """The store's time.

    Attributes:
        lease: Seconds on the clock that leases are measured with; means nothing outside of the store.
    """

    utc: datetime
    lease: float


class CommitInDoubtError(Exception):
    """The connection broke while a transaction was being committed."""


class Database(ABC):
    """Runs plain functions on connections; a subclass knows what is special to its product.

    Such a function may run on another thread, and must do nothing but use its connection.

    Args:
        keep_free: How many bytes new jobs leave free on the disk.
    """

    def __init__(self, keep_free: int = 0) -> None:
        self.hub = Hub()
        self._keep_free = keep_free
        self._calls = KeptTasks()

    @abstractmethod
    async def read(self, query: Callable[[Connection], T]) -> T:
        """Return what `query` finds with single statements; nothing is promised about two of them.

        Whoever waits for it may be cancelled, which leaves the connection fit for others.
        """

    @abstractmethod
    async def change(self, change: Callable[[Connection], T]) -> T:
        """Run `change` in a transaction, which locks the rows that it depends on (`with_for_update`), and commit.

        Raises:
            CommitInDoubtError: If nobody knows whether that happened.
        """

    @abstractmethod
    def at(self, utc: datetime) -> Now:
        """Return the store's time as its clock has just shown it."""

    def now(self, connection: Connection) -> Now:
        """Ask the store's clock; where it counts, `CLOCK` is rather asked for along with something else."""
        return self.at(connection.execute(ASK_CLOCK).scalar_one())

    async def room(self) -> int | None:
        """Return how many bytes can still be written; None if that cannot be seen from here."""
        return None

    async def has_room(self) -> bool:
        """Return whether a new job would not be refused for want of room."""
        room = await self.room()
        return room is None or room >= self._keep_free

    async def refuse_if_full(self, size: int, *, to_begin: bool) -> None:
        """Refuse to write `size` bytes if little room is left.

        Args:
            size: Of what is to be written.
            to_begin: Whether it is a new job, which is refused first; the rest of the room is for those that go on,
                and the last of it for what makes room.

        Raises:
            StoreFullError: If there would be too little room.
        """
        room = await self.room()
        kept = self._keep_free if to_begin else self._keep_free // _LAST_PART
        if room is not None and room - size < kept:
            raise StoreFullError(
                f"{self} has too little room left: {in_words(kept)} are kept free (QRS_KEEP_FREE). Delete jobs to make"
                " some."
            )

    async def complete(self, call: Callable[[], Awaitable[T]]) -> T:
        """Run `call` to its end, which may take several runs; see `in_doubt`."""
        return await call()

    def in_doubt(self) -> bool:
        """Return whether an earlier run of this call may have been committed."""
        return False

    def announce_end(self, job: Job, *, deleted: bool = False) -> None:
        """Tell who counts them, and everybody who watches, that a job has ended; the end has just been committed."""
        self.hub.ended(job)
        self.announce(Ended(job_id=job.id, job=None if deleted else job))

    def announce(self, signal: Signal) -> None:
        """Tell everybody who watches what has just been committed."""
        self.hub.announce(signal)

    async def come_to_rest(self) -> None:
        """Wait for the calls that are under way, also those whose callers have gone."""
        await self._calls.ended()

    @abstractmethod
    async def close(self) -> None:
        """Come to rest and close all connections."""

    def start(self, call: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Run `call` as a task that `close` waits for."""
        return self._calls.begin(call)


class SqlPart:
    """A part of a SQL store."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def start(self, call: Callable[[], Awaitable[T]]) -> asyncio.Task[T]:
        """Have the database run `call` to its end."""
        return self._database.start(self.complete(call))

    async def complete(self, call: Callable[[], Awaitable[T]]) -> T:
        """Have the database run `call` to its end, and wait for that."""
        try:
            return await self._database.complete(call)
        except UnicodeEncodeError as error:
            raise MalformedRequestError(f"The request has text that is not Unicode: {error}.") from error


def uninterrupted(
    method: Callable[Concatenate[PartT, P], Coroutine[Any, Any, T]],
) -> Callable[Concatenate[PartT, P], Coroutine[Any, Any, T]]:
    """Let `method` go on to its end when its caller is cancelled.

    A connection whose user is cancelled is thrown away, but on SQLite its thread goes on and may keep the database
    locked; and the outcome of a commit would be anybody's guess.
    """

    @wraps(method)
    async def call(self: PartT, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return await asyncio.shield(self.start(partial(method, self, *args, **kwargs)))

    return call


def reading(
    method: Callable[Concatenate[PartT, P], Coroutine[Any, Any, T]],
) -> Callable[Concatenate[PartT, P], Coroutine[Any, Any, T]]:
    """Have the database run `method`, which changes nothing, so that nobody waits for it whose caller is cancelled."""

    @wraps(method)
    async def call(self: PartT, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return await self.complete(partial(method, self, *args, **kwargs))

    return call
