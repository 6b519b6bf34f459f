"""What could not be written, and when it is tried again.

A pass looks at everything, so every event of a RuntimeServer would repeat what the API server has refused a moment ago:
a quota, a policy and a name that somebody else has do not change with it. What was refused stands until its back-off is
over, until its RuntimeServer asks for something else, or until the object is another one.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple

from qiskit_runtime_operator.backoff import Backoff
from qiskit_runtime_operator.resource.model import RuntimeServer
from qiskit_runtime_operator.resource.names import Key
from qiskit_runtime_operator.status.status import Refusal
from qiskit_runtime_operator.watch.inventory import Known, Ref


class Attempt(NamedTuple):
    """What was tried, and on what; a refusal says nothing about another attempt.

    Attributes:
        key: The RuntimeServer.
        ref: The object.
        uid: Of the RuntimeServer.
        generation: Of the RuntimeServer: its user may have done something about it.
        wanted: The fingerprint of the manifest.
        there: UID and fingerprint of the object, as the watches show it.
    """

    key: Key
    ref: Ref
    uid: str
    generation: int
    wanted: bytes
    there: tuple[str, bytes] | None

    @classmethod
    def of(cls, server: RuntimeServer, ref: Ref, wanted: bytes = b"", known: Known | None = None) -> "Attempt":
        """Return the attempt to make of an object what a RuntimeServer wants."""
        there = None if known is None else (known.uid, known.applied)
        key = server.key
        return cls(key=key, ref=ref, uid=server.uid, generation=server.generation, wanted=wanted, there=there)


@dataclass(slots=True, kw_only=True)
class _Standing:
    attempt: Attempt
    refusal: Refusal
    times: int
    until: datetime
    taken_by: str | None
    repeated: bool = False


class Refusals:
    """The refusals that stand, of all RuntimeServers."""

    def __init__(self) -> None:
        self._standing: dict[Key, dict[Ref, _Standing]] = {}
        self._backoff = Backoff()

    def note(self, attempt: Attempt, refusal: Refusal, now: datetime, *, taken_by: str | None = None) -> Refusal:
        """Take in what an attempt came to, and return the refusal.

        Args:
            attempt: What was tried.
            refusal: Why it was not done.
            now: The time.
            taken_by: The UID of the object that has the name, if that is why.
        """
        of_server = self._standing.setdefault(attempt.key, {})
        before = of_server.get(attempt.ref)
        times = before.times + 1 if before and before.attempt == attempt else 1
        until = now + self._backoff.delay(times, 0)
        of_server[attempt.ref] = _Standing(
            attempt=attempt, refusal=refusal, times=times, until=until, taken_by=taken_by
        )
        return refusal

    def standing(self, attempt: Attempt, now: datetime) -> Refusal | None:
        """Return the refusal of the same attempt, while it is too early to try again."""
        found = self._standing.get(attempt.key, {}).get(attempt.ref)
        if found is None or found.attempt != attempt or now >= found.until:
            return None
        found.repeated = True
        return found.refusal

    def keep(self, key: Key, refusals: tuple[Refusal, ...]) -> tuple[Refusal, ...]:
        """Forget all that a pass did not meet any more; return those that are no repetitions of earlier passes."""
        there = self._standing.pop(key, {})
        kept = {ref: found for ref, found in there.items() if any(found.refusal is refusal for refusal in refusals)}
        if kept:
            self._standing[key] = kept
        repeated = [found.refusal for found in kept.values() if found.repeated]
        return tuple(refusal for refusal in refusals if not any(refusal is earlier for earlier in repeated))

    def again_in(self, key: Key, now: datetime) -> timedelta | None:
        """Return how long it is until something is to be tried again, or None if nothing is."""
        due = [found.until for found in self._standing.get(key, {}).values()]
        return max(min(due) - now, timedelta()) if due else None

    def taken(self) -> Iterator[tuple[Key, Ref, str]]:
        """Iterate over the names that others have: for whom, which one, and the UID of the object that has it."""
        for key, of_one in list(self._standing.items()):
            for ref, found in list(of_one.items()):
                if found.taken_by is not None:
                    yield key, ref, found.taken_by

    def forget(self, key: Key, ref: Ref | None = None) -> None:
        """Forget what is known of an object, or of all objects of a RuntimeServer."""
        if ref is None:
            self._standing.pop(key, None)
        else:
            self._standing.get(key, {}).pop(ref, None)
