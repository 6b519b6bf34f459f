"""How many bytes of params and results a process holds at a time: new ones from outside are refused, others wait.

What comes from outside counts as it arrives, not as it is announced, so that a promise takes no room. All uploads
together get three quarters of the room, those of one account half of it: jobs on their way to their slots, and their
results, never wait for what a client is still sending.
"""

import asyncio
from types import TracebackType
from typing import Final, Self

from qiskit_runtime_server.errors import BusyError

SMALL_BYTES: Final = 64 * 1024
"""What is no larger does not count."""
_FOR_UPLOADS: Final = 0.75
_FOR_ONE: Final = 0.5


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
        self._uploads: dict[str, int] = {}
        self._turn = asyncio.Lock()
        self._left = asyncio.Event()

    def share(self, owner: str = "") -> "Share":
        """Return a part of the room, empty as yet, to be used as a context; `owner` is whose uploads it counts as."""
        return Share(self, owner)

    def check(self, size: int, *, already: int, owner: str) -> None:
        """Look whether a document of `owner` may grow from `already` to `size` bytes.

        Raises:
            BusyError: If there is no room, or if others wait for it.
        """
        uploads, own = sum(self._uploads.values()) - already, self._uploads.get(owner, 0) - already
        if not fits(size, own, self._limit * _FOR_ONE):
            raise BusyError("This account sends too many large jobs at a time: try again.")
        if (
            self._turn.locked()
            or not fits(size, uploads, self._limit * _FOR_UPLOADS)
            or not fits(size, self.held - already, self._limit)
        ):
            raise BusyError("Too many large documents are on their way through this server: try again.")

    def admit(self, size: int, *, already: int, owner: str) -> None:
        """Let a document of `owner` grow from `already` to `size` bytes; errors as those of `check`."""
        self.check(size, already=already, owner=owner)
        self.held += size - already
        self._uploads[owner] = self._uploads.get(owner, 0) + size - already

    async def enter(self, size: int) -> None:
        """Wait for room, in turn."""
        async with self._turn:
            while not fits(size, self.held, self._limit):
                self._left.clear()
                await self._left.wait()
            self.held += size

    def leave(self, size: int, *, uploaded_by: str | None = None) -> None:
        """Give room back; `uploaded_by` is who was let in with it."""
        self.held -= size
        if uploaded_by is not None:
            self._uploads[uploaded_by] -= size
            if not self._uploads[uploaded_by]:
                del self._uploads[uploaded_by]
        self._left.set()


def fits(size: int, others: int, limit: float) -> bool:
    """Return whether there is room beside `others`; what is larger than all of it passes alone."""
    return others == 0 or others + size <= limit


class Share:
    """A part of the room for one document at a time, given back when its context ends.

    Attributes:
        size: In bytes; 0 for nothing, and for something small.
    """

    def __init__(self, budget: ByteBudget, owner: str) -> None:
        self.size = 0
        self._budget = budget
        self._owner = owner
        self._uploaded = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self.clear()

    def check(self, size: int) -> None:
        """Look whether there is room for something from outside; errors as those of `ByteBudget.check`."""
        if size > max(self.size, SMALL_BYTES):
            self._budget.check(size, already=self.size, owner=self._owner)

    def admit(self, size: int) -> None:
        """Make room for what has come from outside, and may have grown; errors as those of `ByteBudget.check`."""
        if size > max(self.size, SMALL_BYTES):
            self._budget.admit(size, already=self.size, owner=self._owner)
            self.size, self._uploaded = size, True

    async def hold(self, size: int) -> None:
        """Make room for a document in place of the one before, and wait for it if need be.

        Nothing is held meanwhile, so that those who wait never wait for each other.
        """
        size = size if size > SMALL_BYTES else 0
        if size == self.size:
            return
        self.clear()
        if size:
            await self._budget.enter(size)
            self.size = size

    def clear(self) -> None:
        """Give the room back: the document is here no more."""
        if self.size:
            self._budget.leave(self.size, uploaded_by=self._owner if self._uploaded else None)
            self.size, self._uploaded = 0, False
