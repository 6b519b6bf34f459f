"""How far a run has come, in circuits, where it is, and how long it takes in all, by its plan and by what it has taken.

The plan of a batch counts as if a fiftieth of the run had been seen to go that fast: before anything is done it alone
counts, soon it hardly does. A first circuit that is slow, as much is prepared with it, says little of the others.

    rate = (w * plan + taken) / (w + done), w = total / 50      seconds for each circuit, of `done` ones `taken` in all
    about elapsed + rate * (total - done)
"""

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from qiskit_runtime_server.messages.messages import Progress
from qiskit_runtime_server.simulation.contract import tell_nobody

FIRST_SECONDS: Final = 0.2
"""Nobody is told of what is shorter: status calls wait for its end in any case."""

_PLAN_COUNTS_FOR: Final = 1 / 50
"""A share of the run."""

# Between two words: a tenth of the time so far, within these.
_SHORTEST_PAUSE_SECONDS: Final = 2.0
_LONGEST_PAUSE_SECONDS: Final = 10.0

_FIRST_LINE_SECONDS: Final = 10.0
"""A log has no line of how far runs have come that are shorter."""

# Between two lines: these seconds, or a tenth of the time so far, so that a run of three hours has some sixty.
_LINE_PAUSE_SECONDS: Final = 10.0
# Of that, before a line may say that a pub is over, or whatever else is not a part of something else.
_END_OF_STAGE_PAUSE: Final = 0.5

_MINUTE: Final = 60


class ProgressMeter:
    """Counts the circuits of a run in batches, a part of a batch included, and tells of them now and then.

    Args:
        tell: Told, at most every two seconds, and of no run that is shorter than a fifth of one.
        log: Given lines for people, at most every five seconds, and of no run that is shorter than ten.
        clock: Returns seconds.
    """

    def __init__(
        self,
        tell: Callable[[Progress], None] = tell_nobody,
        log: Callable[[str], None] = tell_nobody,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._tell = tell
        self._log = log
        self._clock = clock
        self._begin = clock()
        self._told: float | None = None
        self._last_line = 0.0
        self._stages: list[str] = []
        self._total = self._done = self._batch = 0
        self._share = self._planned_seconds = self._taken_seconds = 0.0

    @property
    def planned(self) -> int:
        """How many circuits were planned so far."""
        return self._total

    def plan(self, circuits: int) -> None:
        """Count circuits as some that are to be run; fewer than none if too many were counted before."""
        self._total += circuits

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Say what is being run meanwhile, for people, within what was said before; an empty name says nothing."""
        if not name:
            yield
            return
        self._stages.append(name)
        try:
            yield
            self._log_if_due(ended=True)
        finally:
            self._stages.pop()

    def begin(self, circuits: int) -> None:
        """Begin a batch."""
        self._batch, self._share, self._planned_seconds = circuits, 0.0, 0.0

    def expect(self, seconds: float) -> None:
        """Note how long a part of the batch is planned to take; infinitely long if that is not known."""
        if math.isfinite(seconds):
            self._planned_seconds += seconds
            self._tell_if_due()
            self._log_if_due()

    def advance(self, share: float) -> None:
        """Note which share of the batch is done, from 0 to 1."""
        self._share, self._taken_seconds = share, self._clock() - self._begin
        self._tell_if_due()
        if share < 1:
            self._log_if_due()

    def end(self) -> None:
        """End the batch."""
        self._done += self._batch
        self._batch, self._share, self._taken_seconds = 0, 0.0, self._clock() - self._begin
        self._tell_if_due()
        # Most batches end a stage, which says so itself.
        if not self._stages:
            self._log_if_due()

    def _tell_if_due(self) -> None:
        elapsed = self._clock() - self._begin
        if self._told is None:
            due = max(elapsed, self._seconds(elapsed) or 0.0) >= FIRST_SECONDS
        else:
            pause = min(max(elapsed / 10, _SHORTEST_PAUSE_SECONDS), _LONGEST_PAUSE_SECONDS)
            due = elapsed - self._told >= pause
        if due:
            self._told = elapsed
            self._tell(self._now(elapsed))

    def _log_if_due(self, *, ended: bool = False) -> None:
        elapsed = self._clock() - self._begin
        pause = max(elapsed / 10, _LINE_PAUSE_SECONDS)
        if ended and len(self._stages) == 1:
            pause *= _END_OF_STAGE_PAUSE
        if elapsed >= _FIRST_LINE_SECONDS and elapsed - self._last_line >= pause:
            self._last_line = elapsed
            self._log(_line(self._now(elapsed), elapsed, ended=ended))

    def _now(self, elapsed: float) -> Progress:
        done, total = self._done_and_total()
        return Progress(
            done=int(done),
            total=total,
            seconds=self._seconds(elapsed),
            fraction=done / total if total else None,
            stage=", ".join(self._stages),
        )

    def _done_and_total(self) -> tuple[float, int]:
        return self._done + self._share * self._batch, max(self._total, self._done + self._batch)

    def _seconds(self, elapsed: float) -> float | None:
        """Return how long the run takes in all, if anything is known of that."""
        (done, total), taken = self._done_and_total(), self._taken_seconds
        if self._planned_seconds > 0 and self._batch:
            weight = total * _PLAN_COUNTS_FOR
            done_or_planned = weight + done
            taken += weight * self._planned_seconds / self._batch
        else:
            done_or_planned = done
        return None if done_or_planned == 0 else elapsed + (total - done) * taken / done_or_planned


def numbered(what: str, index: int, count: int) -> str:
    """Return the name of a stage that is one of several, as in `pub 2 of 5`; nothing if it is the only one."""
    return f"{what} {index + 1} of {count}" if count > 1 else ""


def _line(progress: Progress, elapsed: float, *, ended: bool) -> str:
    """Return how far a run has come, for people."""
    stage = progress.stage and f"{', done with' if ended else ', at'} {progress.stage}"
    left = 0.0 if progress.seconds is None else progress.seconds - elapsed
    rest = f"; about {_duration(left)} to go" if left > 0 else ""
    part = progress.fraction or 0.0
    return (
        f"{math.floor(100 * part)} % done{stage}: {progress.done} of about {progress.total} circuits"
        f" in {_duration(elapsed)}{rest}."
    )


def _duration(seconds: float) -> str:
    if seconds < 2 * _MINUTE:
        return f"{seconds:.0f} s"
    minutes = round(seconds / _MINUTE)
    return f"{minutes} min" if minutes < 2 * _MINUTE else f"{minutes / _MINUTE:.1f} h"
