"""The keys of RuntimeServers: makes them, and changes them while nobody is refused."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Self

from qiskit_runtime_operator.errors import StaleError
from qiskit_runtime_operator.render.credentials.keys_secret import (
    keys_checksum,
    keys_secret,
    next_step,
    next_step_is_due,
    whole,
)
from qiskit_runtime_operator.resource.model import Manifest, RuntimeServer
from qiskit_runtime_operator.resource.names import KEYS_ANNOUNCED, KEYS_CHECKSUM, keys_name
from qiskit_runtime_operator.run.events import Events
from qiskit_runtime_operator.run.owned_secrets import OwnedSecrets
from qiskit_runtime_operator.status.notes import keys_announced, keys_changed
from qiskit_runtime_operator.status.rollout import has_older_pods, is_over
from qiskit_runtime_operator.status.status import Refusal
from qiskit_runtime_operator.watch.inventory import Inventory


@dataclass(frozen=True, slots=True, kw_only=True)
class _Seen:
    """What is kept of a Secret: no key."""

    checksum: str
    annotations: Mapping[str, str]

    @classmethod
    def of(cls, secret: Manifest) -> Self:
        return cls(checksum=keys_checksum(secret), annotations=secret["metadata"].get("annotations", {}))


@dataclass(slots=True, kw_only=True)
class Keys:
    """The keys of all RuntimeServers.

    Attributes:
        secrets: Where they are.
        inventory: Which pods there are.
        events: Tells of changes.
        random: Makes keys; see `keys_secret`.
        now: The clock.
    """

    secrets: OwnedSecrets
    inventory: Inventory
    events: Events
    random: Callable[[int], str]
    now: Callable[[], datetime]
    _seen: dict[str, _Seen] = field(default_factory=dict, init=False)

    def checksum(self, server: RuntimeServer) -> str:
        """Return what changes when the keys do; empty if there are none yet.

        Of keys that may be neither read nor made it is that of the youngest pod: while there is no Secret no pod can
        start, so those that run must not be rolled.
        """
        if seen := self._seen.get(server.uid):
            return seen.checksum
        pods = [known.body["metadata"] for _, known in self.inventory.parts(server.key, "Pod")]
        youngest = max(pods, key=lambda pod: pod.get("creationTimestamp", ""), default=Manifest())
        return str(youngest.get("annotations", {}).get(KEYS_CHECKSUM, ""))

    def look_again(self) -> None:
        """Do not take for granted any more that the Secrets are there."""
        self._seen.clear()

    async def settle(self, server: RuntimeServer, *, watched: bool) -> Refusal | None:
        """Make the keys, once, and take the next step of their change if one is due and all pods are ready for it.

        Args:
            server: The owner.
            watched: Whether the watches show all pods.

        Raises:
            ClusterError: If it has to be repeated.
        """
        name, seen = keys_name(server.name), self._seen.get(server.uid)
        if seen is None:
            made = await self.secrets.settle(
                server,
                name,
                lambda found: whole(found, self.random) if found else keys_secret(server, self.random),
            )
            if isinstance(made, Refusal):
                return made
            self._seen[server.uid] = seen = _Seen.of(made)
        if watched and next_step_is_due(seen.annotations, server, self.now()) and self._all_have(server, seen):
            return await self._change(server, seen)
        return None

    def _all_have(self, server: RuntimeServer, seen: _Seen) -> bool:
        """Tell whether no process is about that was started with other keys; one that starts later reads these."""
        deployments = [known.body for _, known in self.inventory.parts(server.key, "Deployment")]
        pods = [known.body for _, known in self.inventory.parts(server.key, "Pod") if not is_over(known.body)]
        return not any(map(has_older_pods, deployments)) and all(
            pod["metadata"].get("annotations", {}).get(KEYS_CHECKSUM) == seen.checksum for pod in pods
        )

    async def _change(self, server: RuntimeServer, seen: _Seen) -> Refusal | None:
        def changed(found: Manifest | None) -> Manifest:
            if found is None or _Seen.of(found) != seen:
                raise StaleError(f"Secret {keys_name(server.name)} has changed since it was read")
            return next_step(found, server, self.random, self.now())

        # Whatever comes of it, it is read again.
        del self._seen[server.uid]
        secret = await self.secrets.settle(server, keys_name(server.name), changed)
        if isinstance(secret, Refusal):
            self._seen[server.uid] = seen
            return secret
        self._seen[server.uid] = now = _Seen.of(secret)
        note = keys_announced() if KEYS_ANNOUNCED in now.annotations else keys_changed()
        await self.events.tell(server.key, server.uid, (note,))
        return None
