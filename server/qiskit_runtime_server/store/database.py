"""How the parts of a SQL store reach the database and its clock."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, field
from datetime import datetime
from functools import wraps
from typing import Any, Concatenate, ParamSpec, TypeVar

from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Database:
    """Connections by what they are for.

    Attributes:
        reader: For single statements; needs to promise nothing about two of them.
        writer: For transactions, which lock the rows that they depend on (`with_for_update`).
        now: Asks the store's clock.
        calls: Those that are under way.
    """

    reader: AsyncEngine
    writer: AsyncEngine
    now: Callable[[AsyncConnection], Awaitable[Now]]
    calls: set[asyncio.Task[Any]] = field(default_factory=set)

    async def close(self) -> None:
        """Wait for the calls that are under way and close all connections."""
        await asyncio.gather(*self.calls, return_exceptions=True)
        await self.reader.dispose()
        await self.writer.dispose()


class SqlPart:
    """A part of a SQL store."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def under_way(self, call: asyncio.Task[Any]) -> None:
        """Let the database wait for `call` before it closes."""
        self._database.calls.add(call)
        call.add_done_callback(self._database.calls.discard)


def uninterrupted(
    method: Callable[Concatenate[PartT, P], Coroutine[Any, Any, T]],
) -> Callable[Concatenate[PartT, P], Coroutine[Any, Any, T]]:
    """Let `method` go on to its end when its caller is cancelled.

    A connection whose user is cancelled is thrown away, but a SQLite connection has a thread, which goes on and may
    keep the database locked; and the outcome of a commit would be anybody's guess.
    """

    @wraps(method)
    async def call(self: PartT, /, *args: P.args, **kwargs: P.kwargs) -> T:
        task = asyncio.create_task(method(self, *args, **kwargs))
        self.under_way(task)
        return await asyncio.shield(task)

    return call
