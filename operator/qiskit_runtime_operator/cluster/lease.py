"""Leader election: only the replica that holds the Lease writes, and only while it knows that it holds it."""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from qiskit_runtime_operator.cluster.api_server import Cluster
from qiskit_runtime_operator.errors import ClusterError, LeadershipLostError, StaleError
from qiskit_runtime_operator.resource.kinds import LEASES
from qiskit_runtime_operator.resource.model import Manifest

logger = logging.getLogger(__name__)

# A write that has begun must be over before the Lease is.
_MARGIN: Final = timedelta(milliseconds=500)


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaseTimings:
    """Which Lease, and for how long.

    Attributes:
        duration: For how long others leave the Lease to one who has gone silent.
        period: How often it is renewed, or looked at.
    """

    namespace: str
    name: str
    identity: str
    duration: timedelta = timedelta(seconds=10)
    period: timedelta = timedelta(seconds=2)


class Leadership:
    """The hold on a Lease.

    The clocks of the replicas need not agree: one that waits counts from when it last saw the Lease change.

    Args:
        cluster: Whose writes are not bound to the Lease.
        timings: Which Lease, and for how long.
        clock: Returns monotonic seconds.
    """

    def __init__(self, cluster: Cluster, timings: LeaseTimings, clock: Callable[[], float]) -> None:
        self._cluster = cluster
        self._timings = timings
        self._clock = clock
        self._lease: Manifest | None = None
        self._changed_at = 0.0
        self._looked_at = clock()
        self._held_until = 0.0

    def leads(self) -> bool:
        """Tell whether this replica holds the Lease, for all that it knows."""
        return self._held_until > self._clock()

    def out_of_touch(self) -> list[str]:
        """Return a line if the Lease could not be looked at for a while: nobody can take over, or go on, like this."""
        age = self._clock() - self._looked_at
        if age <= 2 * self._timings.duration.total_seconds():
            return []
        return [f"the Lease could not be read for {age:.0f} s"]

    def time_left(self) -> timedelta:
        """Return for how long writing is safe.

        Raises:
            LeadershipLostError: If it is not.
        """
        left = timedelta(seconds=self._held_until - self._clock()) - _MARGIN
        if left <= timedelta():
            raise LeadershipLostError(f"the Lease {self._timings.name} has run out")
        return left

    async def acquire(self) -> None:
        """Wait until the Lease is held."""
        while not await self._attempt():  # noqa: ASYNC110 - another process lets go of it
            await asyncio.sleep(self._timings.period.total_seconds())
        logger.info("%s holds the Lease %s", self._timings.identity, self._timings.name)

    async def keep(self) -> None:
        """Renew the Lease for ever.

        Raises:
            LeadershipLostError: If somebody else has it, or if it has run out.
        """
        while True:
            await asyncio.sleep(self._timings.period.total_seconds())
            if not await self._attempt():
                self.time_left()

    async def release(self) -> None:
        """Let go of the Lease, so that others need not wait for its end."""
        self._held_until = 0.0
        try:
            lease = await self._cluster.get(LEASES, self._timings.namespace, self._timings.name)
            if lease is not None and lease["spec"].get("holderIdentity") == self._timings.identity:
                await self._write(lease, holder="")
        except ClusterError as error:
            logger.warning("the Lease could not be released: %s", error)

    async def _attempt(self) -> bool:
        """Take or renew the Lease if it may be; False if not, or if nobody knows."""
        began = self._clock()
        try:
            lease = await self._cluster.get(LEASES, self._timings.namespace, self._timings.name)
            self._looked_at = began
            if lease is not None and not self._is_free(lease):
                return False
            await self._write(lease, holder=self._timings.identity)
        except StaleError:
            return False
        except ClusterError as error:
            logger.warning("the Lease could not be read or renewed: %s", error)
            return False
        self._held_until = began + self._timings.duration.total_seconds()
        return True

    def _is_free(self, lease: Manifest) -> bool:
        """Tell whether the Lease is ours, nobody's, or of somebody who has been silent for longer than it lasts.

        Raises:
            LeadershipLostError: If it was ours.
        """
        if self._lease is None or lease["spec"] != self._lease["spec"]:
            self._changed_at = self._clock()
        self._lease = lease
        holder = lease["spec"].get("holderIdentity")
        if holder in (None, "", self._timings.identity):
            return True
        if self._held_until:
            raise LeadershipLostError(f"the Lease {self._timings.name} is held by {holder}")
        lasts = lease["spec"].get("leaseDurationSeconds", self._timings.duration.total_seconds())
        return bool(self._clock() - self._changed_at > lasts)

    async def _write(self, lease: Manifest | None, *, holder: str) -> None:
        before = lease["spec"] if lease else {}
        now = datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
        last = before.get("holderIdentity")
        same = last == holder
        spec: dict[str, Any] = {
            "holderIdentity": holder,
            "leaseDurationSeconds": int(self._timings.duration.total_seconds()),
            "acquireTime": before.get("acquireTime", now) if same else now,
            "renewTime": now,
            "leaseTransitions": before.get("leaseTransitions", 0) + (lease is not None and not same and holder != ""),
        }
        names = {"name": self._timings.name, "namespace": self._timings.namespace}
        metadata = lease["metadata"] if lease else names
        manifest = {"apiVersion": LEASES.api_version, "kind": LEASES.kind, "metadata": metadata, "spec": spec}
        if lease is not None:
            self._lease = await self._cluster.replace(LEASES, manifest)
        elif not await self._cluster.create(LEASES, manifest):
            raise StaleError("another operator has changed it first")
