"""How long executors take to come up for a job, as the apis of a store have seen it."""

import logging
from collections import deque
from dataclasses import dataclass
from datetime import datetime
from statistics import median
from typing import Final

import msgspec

from qiskit_runtime_server.backends.names import ExecutorName
from qiskit_runtime_server.jobs import Job
from qiskit_runtime_server.store.overviews import Overviews

# One that nodes or an admin have kept waiting does not count for long.
_REMEMBERED: Final = 5

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class ColdStart:
    """What an executor without a slot is expected to do for a job.

    Attributes:
        seconds: From the submission to the first slot.
        slots: How many there are then.
    """

    seconds: float
    slots: int


_KEPT: Final = msgspec.json.Decoder(list[ColdStart])


class ColdStarts:
    """The last ones of each executor."""

    def __init__(self) -> None:
        self._last: dict[ExecutorName, deque[ColdStart]] = {}

    def of(self, executor: ExecutorName) -> ColdStart | None:
        """Return what is to be expected, the median of the last ones; None if there was none."""
        last = self._last.get(executor)
        if not last:
            return None
        return ColdStart(seconds=median(start.seconds for start in last), slots=last[-1].slots)

    async def recall(self, executor: ExecutorName, store: Overviews) -> None:
        """Learn what any api has kept."""
        kept = await store.kept_text(_name(executor))
        if kept is None:
            return
        try:
            self._last[executor] = deque(_KEPT.decode(kept.text), maxlen=_REMEMBERED)
        except msgspec.DecodeError as error:
            logger.warning("What is kept of cold starts of executor %s cannot be read: %s", executor, error)

    async def keep(self, executor: ExecutorName, store: Overviews) -> None:
        """Keep what is known for all apis, and for after a restart."""
        last = list(self._last.get(executor, ()))
        await store.keep_text(_name(executor), msgspec.json.encode(last).decode())

    def claimed(self, job: Job, *, away_since: datetime, back: datetime, slots: int) -> bool:
        """Note which job came first when an executor had slots again, unless it has not waited for these alone.

        Args:
            job: As it was claimed.
            away_since: From when on the executor had no slot.
            back: Until when.
            slots: How many it had then.

        Returns:
            Whether it was noted.
        """
        if job.created <= away_since or job.runs != 1:
            return False
        last = self._last.setdefault(job.executor, deque(maxlen=_REMEMBERED))
        last.append(ColdStart(seconds=max(0.0, (back - job.created).total_seconds()), slots=slots))
        return True


def _name(executor: ExecutorName) -> str:
    return f"cold starts of {executor}"
