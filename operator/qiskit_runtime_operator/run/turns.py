"""Whose turn it is to be rolled out when an upgrade of the operator changes the pods of all RuntimeServers.

Who is rolling out is read from the Deployments, and when the last one began from the statuses, so that a restart of the
operator changes nothing. A roll-out that has stalled gives its place to the next one: one RuntimeServer that cannot
roll must not keep all others from it.
"""

from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from typing import Final

from qiskit_runtime_operator.resource.kinds import ResourceKind
from qiskit_runtime_operator.resource.model import Manifest, RuntimeServer
from qiskit_runtime_operator.resource.names import LAST_ROLLOUT, TEMPLATE_CHECKSUM, Key, api_name
from qiskit_runtime_operator.resource.times import time_of
from qiskit_runtime_operator.status.rollout import is_rolling
from qiskit_runtime_operator.watch.inventory import Inventory, Ref

# For a thousand RuntimeServers that ask at the same time.
_COUNT_AGAIN: Final = timedelta(seconds=1)


class Turns:
    """The turns of all RuntimeServers of one operator.

    Args:
        inventory: Where it is read who is rolling out.
        at_once: How many may at a time; any number if this is 0.
        interval: How long after the start of one the next one may start.
    """

    def __init__(self, inventory: Inventory, at_once: int = 0, interval: timedelta = timedelta()) -> None:
        self._inventory = inventory
        self._at_once = at_once
        self._interval = interval
        self._begun: dict[Key, datetime] = {}
        self._waiting: dict[Key, dict[Ref, bytes]] = {}
        self._rolling: set[Key] = set()
        self._counted_at: datetime | None = None

    @property
    def bounded(self) -> bool:
        """Whether anybody ever has to wait."""
        return bool(self._at_once or self._interval)

    def hold_back(
        self, server: RuntimeServer, wanted: Iterable[tuple[ResourceKind, Manifest]], now: datetime
    ) -> frozenset[Ref]:
        """Return the objects that stay as they are, because it is not this RuntimeServer's turn to be rolled out.

        Those are Deployments whose pods would be others, and the settings that the api's would then read. What its user
        changes, what somebody deletes, and what somebody else changes while it is held back, is not.
        """
        key = server.key
        body, before = self._inventory.server(key), self._waiting.get(key, {})
        if not self.bounded or body is None or server.spec.suspend:
            self.forget(key)
            return frozenset()
        changes = dict(self._changes(server, wanted))
        damaged = any(before.get(ref, applied) != applied for ref, applied in changes.items())
        asked = body["status"].get("observedGeneration") != server.generation
        if not changes or asked or damaged or self._take(key, now):
            self.forget(key)
            return frozenset()
        self._waiting[key] = changes
        api = api_name(server.name)
        held = {ref for ref in changes if ref.name == api}
        settings = Ref("ConfigMap", server.namespace, api)
        return frozenset(changes) | ({settings} if held and self._inventory.find(settings) else set())

    def _changes(
        self, server: RuntimeServer, wanted: Iterable[tuple[ResourceKind, Manifest]]
    ) -> Iterator[tuple[Ref, bytes]]:
        """Iterate over the Deployments that are there with another pod template than the one that is rendered.

        With each comes what the operator has applied to it.
        """
        for kind, manifest in wanted:
            known = self._inventory.find(Ref.of(kind, manifest))
            if kind.kind == "Deployment" and known is not None and known.owner == server.uid:
                if known.body["spec"]["replicas"] != manifest["spec"].get("replicas", known.body["spec"]["replicas"]):
                    continue  # another number of pods is needed, now
                annotations = (found["metadata"].get("annotations", {}) for found in (manifest, known.body))
                if len({found.get(TEMPLATE_CHECKSUM) for found in annotations}) > 1:
                    yield Ref.of(kind, manifest), known.applied

    def waits(self, key: Key) -> bool:
        """Tell whether a RuntimeServer waits for its turn."""
        return key in self._waiting

    def _take(self, key: Key, now: datetime) -> bool:
        """Begin a roll-out if that may be."""
        others = self._rolling_now(now) - {key}
        if self._room(others) and self._time(now):
            self._begun[key] = now
            return True
        return False

    def begun(self, key: Key) -> datetime | None:
        """Return when a roll-out began whose pass is not over."""
        return self._begun.get(key)

    def done(self, key: Key) -> None:
        """Say that the pass over a RuntimeServer is over: from now on its Deployments tell whether it rolls."""
        if self._begun.pop(key, None):
            self._counted_at = None

    def forget(self, key: Key) -> None:
        """Say that a RuntimeServer does not wait, or is gone."""
        self._waiting.pop(key, None)

    def next(self, now: datetime) -> Iterable[Key]:
        """Return who may ask again now, those that have waited longest first."""
        if not self._waiting or not self._time(now):
            return ()
        waiting = [key for key in self._waiting if self._inventory.server(key)]
        rolling = self._rolling_now(now)
        room = self._at_once - len(rolling) if self._at_once else len(waiting)
        return waiting[: 1 if self._interval and room > 0 else max(room, 0)]

    def __str__(self) -> str:
        return f"at most {self._at_once or 'any number of'} at once" + (
            f", one each {self._interval.total_seconds():.0f} s" if self._interval else ""
        )

    def _room(self, others: set[Key]) -> bool:
        return not self._at_once or len(others) < self._at_once

    def _time(self, now: datetime) -> bool:
        if not self._interval:
            return True
        bodies = filter(None, map(self._inventory.server, self._inventory.servers()))
        written = (time_of(body["status"].get(LAST_ROLLOUT, "")) for body in bodies)
        starts = [*filter(None, written), *self._begun.values()]
        return all(now - start >= self._interval for start in starts)

    def _rolling_now(self, now: datetime) -> set[Key]:
        if self._counted_at is None or now - self._counted_at > _COUNT_AGAIN:
            self._rolling = {key for key in self._inventory.servers() if self._is_rolling(key)}
            self._counted_at = now
        return self._rolling | self._begun.keys()

    def _is_rolling(self, key: Key) -> bool:
        return any(is_rolling(known.body) for _, known in self._inventory.parts(key, "Deployment"))
