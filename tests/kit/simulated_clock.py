"""An event loop whose time passes only when nothing is left to do: asyncio code runs unchanged, hours in a moment."""

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any, TypeVar

ResultT = TypeVar("ResultT")


class StuckError(RuntimeError):
    """Everything waits, and for no time that will come."""


class _Selector(selectors.DefaultSelector):
    """Waits for nothing: what would be waited for passes at once."""

    seconds = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        found = super().select(0)
        if not found and timeout is None:
            raise StuckError("all tasks wait for something that nobody will do")
        if not found and timeout is not None:
            self.seconds += max(0.0, timeout)
        return found


class SimulatedClock(asyncio.SelectorEventLoop):
    """The event loop; for code that speaks to nobody outside of it."""

    def __init__(self) -> None:
        self._simulated = _Selector()
        super().__init__(self._simulated)

    def time(self) -> float:
        return self._simulated.seconds


def simulated(work: Coroutine[Any, Any, ResultT]) -> ResultT:
    """Run a coroutine to its end on a simulated clock that begins at 0."""
    with asyncio.Runner(loop_factory=SimulatedClock) as runner:
        return runner.run(work)
