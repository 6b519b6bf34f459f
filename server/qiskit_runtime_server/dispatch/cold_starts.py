"""How long executors take to come up for a job, as this process has seen it; nothing is known of before its start."""

from collections import deque
from dataclasses import dataclass
from datetime import datetime
from statistics import median
from typing import Final

from qiskit_runtime_server.backends.names import ExecutorName
from qiskit_runtime_server.jobs import Job

# One that nodes or an admin have kept waiting does not count for long.
_REMEMBERED: Final = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class ColdStart:
    """What an executor without a slot is expected to do for a job.

    Attributes:
        seconds: From the submission to the first slot.
        slots: How many there are then.
    """

    seconds: float
    slots: int


class ColdStarts:
    """The last ones of each executor."""

    def __init__(self) -> None:
        self._last: dict[ExecutorName, deque[ColdStart]] = {}

    def of(self, executor: ExecutorName) -> ColdStart | None:
        """Return what is to be expected, the median of the last ones; None if there was none."""
        last = self._last.get(executor)
        if last is None:
            return None
        return ColdStart(seconds=median(start.seconds for start in last), slots=last[-1].slots)

    def claimed(self, job: Job, *, away_since: datetime, back: datetime, slots: int) -> None:
        """Note which job came first when an executor had slots again, unless it has not waited for these alone.

        Args:
            job: As it was claimed.
            away_since: From when on the executor had no slot.
            back: Until when.
            slots: How many it had then.
        """
        if job.created > away_since and job.runs == 1:
            last = self._last.setdefault(job.executor, deque(maxlen=_REMEMBERED))
            last.append(ColdStart(seconds=max(0.0, (back - job.created).total_seconds()), slots=slots))
