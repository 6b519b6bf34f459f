"""How often an object is set back, and how often that is told.

Against somebody who changes an object again and again, the operator sets it back no more than once a minute.

There is a token bucket for each object. A repair takes a token; a full bucket has `BURST` of them, and one comes back
each `REFILL`. While fewer than half are there, the object is contested.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from qiskit_runtime_operator.watch.inventory import Ref

BURST: Final = 10
REFILL: Final = timedelta(minutes=1)
TELL: Final = timedelta(minutes=5)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Bucket:
    tokens: float
    at: datetime

    def level(self, now: datetime) -> float:
        return min(self.tokens + (now - self.at) / REFILL, BURST)


class Repairs:
    """The buckets of all objects; those that are full are not kept."""

    def __init__(self) -> None:
        self._buckets: dict[Ref, _Bucket] = {}
        self._managers: dict[Ref, tuple[str, ...]] = {}

    def may(self, ref: Ref, now: datetime) -> bool:
        """Tell whether an object may be set back now."""
        return self._level(ref, now) >= 1

    def done(self, ref: Ref, now: datetime) -> None:
        """Say that an object was set back."""
        self._buckets[ref] = _Bucket(tokens=self._level(ref, now) - 1, at=now)

    def contested_by(self, ref: Ref, now: datetime) -> str | None:
        """Return who changes an object again and again, or None if nobody does."""
        level = self._level(ref, now)
        if level >= BURST / 2:
            return None
        return ", ".join(self._managers.get(ref, ())) or "somebody"

    def name(self, ref: Ref, managers: tuple[str, ...]) -> None:
        """Say which field managers had changed an object."""
        self._managers[ref] = managers

    def forget(self, ref: Ref) -> None:
        """Forget an object that is not wanted any more."""
        self._buckets.pop(ref, None)
        self._managers.pop(ref, None)

    def _level(self, ref: Ref, now: datetime) -> float:
        bucket = self._buckets.get(ref)
        if bucket is None:
            return BURST
        level = bucket.level(now)
        if level >= BURST:
            self.forget(ref)
        return level


class Occurrences:
    """Counts what happens again and again, so that it is told as one Event with a count every few minutes."""

    def __init__(self) -> None:
        self._told: dict[str, tuple[datetime, int]] = {}

    def due(self, what: str, now: datetime) -> int:
        """Note an occurrence and return how many to tell of now: all that were not told yet, or 0 to tell nothing."""
        at, untold = self._told.get(what, (now - TELL, 0))
        if now - at < TELL:
            self._told[what] = (at, untold + 1)
            return 0
        self._told = {key: value for key, value in self._told.items() if now - value[0] < TELL}
        self._told[what] = (now, 0)
        return untold + 1
