"""Room for large answers: how many bytes a process holds for clients that have yet to read them.

A client that does not read keeps its answer in memory until the connection's deadline (`roles.connections`), and may
open hundreds of connections. So a large answer takes room before its document is read from the store, and gives it back
when all of it has left the process or the connection has ended. Where there is none, it waits a moment without holding
anything, then it is refused. The room is apart from that of uploads and of jobs inside, so that neither keeps the other
waiting, and one account gets half of it.

What is cut into pieces here waits for the one before to be read: beside what it counts for, an answer has no more than
two of them in the buffers of its connection.
"""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Final, Self

from fastapi import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from qiskit_runtime_server.api.errors import unavailable_response
from qiskit_runtime_server.byte_budget import SMALL_BYTES, fits
from qiskit_runtime_server.errors import BusyError

_FOR_ONE: Final = 0.5
_PATIENCE_SECONDS: Final = 5.0
_PIECE_BYTES: Final = 256 * 1024
_IN_SCOPE: Final = "qiskit_runtime_server.answer_room"
_NO_ROOM: Final = "Too many large answers wait to be read, of this account or of all: try again."


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Waiter:
    size: int
    owner: str
    let_in: "asyncio.Future[None]"


class AnswerBudget:
    """The room for the large answers of this process; what is small does not count.

    Attributes:
        held: How many bytes are here now.

    Args:
        limit: In bytes. An answer that is larger than this, or than an account's part, passes when no other is here.
        patience: For how many seconds an answer waits for room.
    """

    def __init__(self, limit: int, *, patience: float = _PATIENCE_SECONDS) -> None:
        self.held = 0
        self._limit = limit
        self._patience = patience
        self._of: dict[str, int] = {}
        self._waiting: list[_Waiter] = []

    def room(self) -> "AnswerRoom":
        """Return the room of one answer, empty as yet, to be used as a context."""
        return AnswerRoom(self)

    def admit(self, size: int, owner: str, *, already: int) -> None:
        """Let an answer of `owner` that is in memory, and was let in with `already` bytes, have `size`.

        Raises:
            BusyError: If there is no room.
        """
        if not self._has_room(size, owner, already):
            raise BusyError(_NO_ROOM)
        self._take(size - already, owner)

    async def enter(self, size: int, owner: str) -> None:
        """Wait for room, behind those of the same owner.

        Raises:
            BusyError: If none is found in time.
        """
        if self._has_room(size, owner) and all(one.owner != owner for one in self._waiting):
            self._take(size, owner)
            return
        waiter = _Waiter(size=size, owner=owner, let_in=asyncio.get_running_loop().create_future())
        self._waiting.append(waiter)
        try:
            async with asyncio.timeout(self._patience):
                await asyncio.shield(waiter.let_in)
        except BaseException as error:
            if waiter.let_in.done():  # let in just now, too late
                self.leave(size, owner)
            else:
                self._waiting.remove(waiter)
            if isinstance(error, TimeoutError):
                raise BusyError(_NO_ROOM) from error
            raise

    def leave(self, size: int, owner: str) -> None:
        """Give room back, and let those in for whom there is enough now."""
        self.held -= size
        self._of[owner] -= size
        if not self._of[owner]:
            del self._of[owner]
        for waiter in list(self._next()):
            self._waiting.remove(waiter)
            waiter.let_in.set_result(None)

    def _next(self) -> Iterator[_Waiter]:
        """Yield who may come in, in turn; whoever has to wait on keeps only its own account's waiting."""
        kept: set[str] = set()
        for waiter in self._waiting:
            if waiter.owner not in kept and self._has_room(waiter.size, waiter.owner):
                self._take(waiter.size, waiter.owner)
                yield waiter
            else:
                kept.add(waiter.owner)

    def _has_room(self, size: int, owner: str, already: int = 0) -> bool:
        own = self._of.get(owner, 0) - already
        return fits(size, own, self._limit * _FOR_ONE) and fits(size, self.held - already, self._limit)

    def _take(self, size: int, owner: str) -> None:
        self.held += size
        self._of[owner] = self._of.get(owner, 0) + size


class AnswerRoom:
    """The room of one answer, given back when its context ends.

    Attributes:
        owner: Whose answer it is, by account; empty for somebody who has not signed in. To be set before it is used.
        size: In bytes; 0 for nothing, and for something small.
    """

    def __init__(self, budget: AnswerBudget) -> None:
        self.owner = ""
        self.size = 0
        self._budget = budget

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self.clear()

    async def hold(self, size: int) -> None:
        """Have room for so much before it is read; nothing is held meanwhile.

        Raises:
            BusyError: If none is found in time.
        """
        self.clear()
        if size > SMALL_BYTES:
            await self._budget.enter(size, self.owner)
            self.size = size

    def admit(self, size: int) -> None:
        """Have room for what is here already, and may be larger than was expected.

        Raises:
            BusyError: If there is none.
        """
        if size > max(self.size, SMALL_BYTES):
            self._budget.admit(size, self.owner, already=self.size)
            self.size = size

    def clear(self) -> None:
        """Give the room back."""
        if self.size:
            self._budget.leave(self.size, self.owner)
            self.size = 0


def room_of(request: Request) -> AnswerRoom:
    """Return the room of the answer to a request."""
    room: AnswerRoom = request.scope[_IN_SCOPE]
    return room


class RoomForAnswers:
    """ASGI middleware that keeps an answer's room until it has been sent, and cuts what is large into pieces.

    What comes in one large piece from a route that has not made room takes it here; where there is none, it is dropped
    and the answer is 503.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request."""
        # Without services the app has not started, and answers so little that it does not count.
        services = getattr(scope["app"].state, "services", None)
        if scope["type"] != "http" or services is None:
            await self._app(scope, receive, send)
            return
        with services.answers.room() as room:
            scope[_IN_SCOPE] = room
            answer = _Answer(room, scope, receive, send)
            await self._app(scope, receive, answer.send)


class _Answer:
    def __init__(self, room: AnswerRoom, scope: Scope, receive: Receive, send: Send) -> None:
        self._room = room
        self._connection = scope, receive, send
        self._start: Message | None = None
        self._refused = False

    async def send(self, message: Message) -> None:
        """Send a part of the answer; its head goes with the first piece, which says whether there is room for it."""
        if self._refused:
            return
        scope, receive, send = self._connection
        if message["type"] == "http.response.start":
            self._start = message
            return
        if message["type"] != "http.response.body":
            await send(message)
            return
        if self._start is not None:
            try:
                self._room.admit(len(message.get("body", b"")))
            except BusyError as error:
                self._refused = True
                await unavailable_response(Request(scope), error)(scope, receive, send)
                return
            await send(self._start)
            self._start = None
        for piece in _pieces(message):
            await send(piece)


def _pieces(message: Message) -> Iterator[dict[str, Any]]:
    """Yield a part of a body in pieces; the last one of something large is empty, and waits until all has been read."""
    body = message.get("body", b"")
    if len(body) <= SMALL_BYTES:
        yield dict(message)
        return
    view = memoryview(body)
    for start in range(0, len(view), _PIECE_BYTES):
        yield {"type": message["type"], "body": bytes(view[start : start + _PIECE_BYTES]), "more_body": True}
    yield {**message, "body": b""}
