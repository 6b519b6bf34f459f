"""Logs what fails again and again once at first, then more and more seldom with a count: one fault, one line."""

import logging
import time
from collections.abc import Callable
from typing import Final

from qiskit_runtime_server.waiting import Backoff

_FIRST_SILENCE_SECONDS: Final = 10.0
_LONGEST_SILENCE_SECONDS: Final = 600.0


class FailureLog:
    """The log of something that is tried until it succeeds, by one task or by many.

    Args:
        logger: Where the lines go.
        clock: Seconds that only grow.
    """

    def __init__(self, logger: logging.Logger, clock: Callable[[], float] = time.monotonic) -> None:
        self._logger = logger
        self._clock = clock
        self._silence = Backoff(_FIRST_SILENCE_SECONDS, _LONGEST_SILENCE_SECONDS)
        self._told: set[str] = set()
        self._failures = 0
        self._first = self._silent_until = 0.0

    def failed(self, what: str, error: BaseException | None = None) -> None:
        """Count a failure, and write it as a warning if it is new or the last line was long ago.

        Args:
            what: A sentence; two failures are the same if it is.
            error: Its traceback is written, too, if the failure is new.
        """
        now = self._clock()
        self._failures += 1
        if self._failures == 1:
            self._first = now
        is_new = what not in self._told
        if not is_new and now < self._silent_until:
            return
        since = f" ({self._failures} failures in {now - self._first:.0f} s)" if self._failures > 1 else ""
        self._logger.warning("%s%s", what, since, exc_info=error if is_new else None)
        self._told.add(what)
        self._silent_until = now + self._silence.fail()

    def succeeded(self, what: str) -> None:
        """Write `what` at level info if there was a failure before, and begin anew."""
        if self._failures == 0:
            return
        self._logger.info("%s (failures before: %d in %.0f s).", what, self._failures, self._clock() - self._first)
        self._failures = 0
        self._told.clear()
        self._silence.succeed()
