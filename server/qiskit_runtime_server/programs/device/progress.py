"""How far a run has come, in circuits, and how long it takes in all, by its plan and by what it has taken so far.

The plan of a batch counts as if a fiftieth of the run had been seen to go that fast: before anything is done it alone
counts, soon it hardly does. A first circuit that is slow, as much is prepared with it, says little of the others.

    rate = (w * plan + taken) / (w + done), w = total / 50      seconds for each circuit, of `done` ones `taken` in all
    about elapsed + rate * (total - done)
"""

import math
import time
from collections.abc import Callable
from typing import Final

from qiskit_runtime_server.messages.messages import Progress

FIRST_SECONDS: Final = 2.0
"""What is shorter is over before anybody could make use of it."""

_PLAN_COUNTS_FOR: Final = 1 / 50
"""A share of the run."""

# Between two words: a tenth of the time so far, within these.
_SHORTEST_PAUSE_SECONDS: Final = 2.0
_LONGEST_PAUSE_SECONDS: Final = 10.0


class ProgressMeter:
    """Counts the circuits of a run in batches, a part of a batch included, and tells of them now and then.

    Args:
        tell: Told, at most every two seconds, and of no run that is shorter than that.
        clock: Returns seconds.
    """

    def __init__(
        self, tell: Callable[[Progress], None] = lambda _progress: None, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._tell = tell
        self._clock = clock
        self._begin = clock()
        self._told: float | None = None
        self._total = self._done = self._batch = 0
        self._share = self._planned_seconds = self._taken_seconds = 0.0

    def plan(self, circuits: int) -> None:
        """Count circuits as some that are to be run; fewer than none if too many were counted before."""
        self._total += circuits

    def begin(self, circuits: int) -> None:
        """Begin a batch."""
        self._batch, self._share, self._planned_seconds = circuits, 0.0, 0.0

    def expect(self, seconds: float) -> None:
        """Note how long a part of the batch is planned to take; infinitely long if that is not known."""
        if math.isfinite(seconds):
            self._planned_seconds += seconds
            self._tell_if_due()

    def advance(self, share: float) -> None:
        """Note which share of the batch is done, from 0 to 1."""
        self._share, self._taken_seconds = share, self._clock() - self._begin
        self._tell_if_due()

    def end(self) -> None:
        """End the batch."""
        self._done += self._batch
        self._batch, self._share, self._taken_seconds = 0, 0.0, self._clock() - self._begin
        self._tell_if_due()

    def _tell_if_due(self) -> None:
        elapsed = self._clock() - self._begin
        total = max(self._total, self._done + self._batch)
        seconds = self._seconds(elapsed, total)
        if self._told is None:
            due = max(elapsed, seconds or 0.0) >= FIRST_SECONDS
        else:
            pause = min(max(elapsed / 10, _SHORTEST_PAUSE_SECONDS), _LONGEST_PAUSE_SECONDS)
            due = elapsed - self._told >= pause
        if due:
            self._told = elapsed
            self._tell(Progress(done=self._done + int(self._share * self._batch), total=total, seconds=seconds))

    def _seconds(self, elapsed: float, total: int) -> float | None:
        """Return how long the run takes in all, if anything is known of that."""
        done, taken = self._done + self._share * self._batch, self._taken_seconds
        if self._planned_seconds > 0 and self._batch:
            weight = total * _PLAN_COUNTS_FOR
            done_or_planned = weight + done
            taken += weight * self._planned_seconds / self._batch
        else:
            done_or_planned = done
        return None if done_or_planned == 0 else elapsed + (total - done) * taken / done_or_planned
