"""How many bytes of params and results a process holds at a time: new ones from outside are refused, others wait."""

import asyncio
from types import TracebackType
from typing import Final, Self

from qiskit_runtime_server.errors import BusyError

_SMALL_BYTES: Final = 64 * 1024


class ByteBudget:
    """The room for large documents on their way through this process.

    What is small does not count, so that a few large documents do not stand in the way of everybody.

    Attributes:
        held: How many bytes are here now.

    Args:
        limit: In bytes. A document that is larger than this passes when no other is here.
    """

    def __init__(self, limit: int) -> None:
        self.held = 0
        self._limit = limit
        self._turn = asyncio.Lock()
        self._left = asyncio.Event()

    def share(self) -> "Share":
        """Return a part of the room, empty as yet, to be used as a context."""
        return Share(self)

    def admit(self, size: int, *, already: int) -> None:
        """Let a document grow from `already` to `size` bytes.

        Raises:
            BusyError: If there is no room, or if others wait for it.
        """
        if self._turn.locked() or not self._fits(size, self.held - already):
            raise BusyError("Too many large documents are on their way through this server: try again.")
        self.held += size - already

    async def enter(self, size: int) -> None:
        """Wait for room, in turn."""
        async with self._turn:
            while not self._fits(size, self.held):
                self._left.clear()
                await self._left.wait()
            self.held += size

    def leave(self, size: int) -> None:
        """Give room back."""
        self.held -= size
        self._left.set()

    def _fits(self, size: int, others: int) -> bool:
        return others == 0 or others + size <= self._limit


class Share:
    """A part of the room for one document at a time, given back when its context ends.

    Attributes:
        size: In bytes; 0 for nothing, and for something small.
    """

    def __init__(self, budget: ByteBudget) -> None:
        self.size = 0
        self._budget = budget

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self.clear()

    def admit(self, size: int) -> None:
        """Make room for something from outside, which may have grown; errors as those of `ByteBudget.admit`."""
        if size > max(self.size, _SMALL_BYTES):
            self._budget.admit(size, already=self.size)
            self.size = size

    async def hold(self, size: int) -> None:
        """Make room for a document in place of the one before, and wait for it if need be.

        Nothing is held meanwhile, so that those who wait never wait for each other.
        """
        size = size if size > _SMALL_BYTES else 0
        if size == self.size:
            return
        self.clear()
        if size:
            await self._budget.enter(size)
            self.size = size

    def clear(self) -> None:
        """Give the room back: the document is here no more."""
        if self.size:
            self._budget.leave(self.size)
            self.size = 0
