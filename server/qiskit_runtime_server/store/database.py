"""How the parts of a SQL store reach the database and its clock."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine


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
        reader: Every statement is a transaction of its own.
        writer: Every transaction sees what it would see if it were alone, as far as it locks rows (`with_for_update`).
        now: Asks the store's clock.
    """

    reader: AsyncEngine
    writer: AsyncEngine
    now: Callable[[AsyncConnection], Awaitable[Now]]
