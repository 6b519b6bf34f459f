"""Secrets that RuntimeServers own: read, made and replaced one by one, for no watch shows any Secret."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from qiskit_runtime_operator.cluster.api_server import Cluster
from qiskit_runtime_operator.errors import RefusedError, StaleError
from qiskit_runtime_operator.resource.kinds import SECRETS
from qiskit_runtime_operator.resource.model import Manifest, RuntimeServer, is_owned
from qiskit_runtime_operator.run.objects import Objects
from qiskit_runtime_operator.run.refusals import Attempt, Refusals
from qiskit_runtime_operator.status.refusals import write_refused
from qiskit_runtime_operator.status.status import Refusal
from qiskit_runtime_operator.watch.inventory import Known, Ref


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnedSecrets:
    """The Secrets of all RuntimeServers.

    Attributes:
        cluster: Where they are written.
        refusals: What could not be written.
        objects: Says whose an object is.
        now: The clock.
    """

    cluster: Cluster
    refusals: Refusals
    objects: Objects
    now: Callable[[], datetime]

    async def settle(
        self, server: RuntimeServer, name: str, make: Callable[[Manifest | None], Manifest | None]
    ) -> Manifest | Refusal:
        """Bring a Secret to what it should be, and return it, or say why that must not be.

        Args:
            server: The owner.
            name: Of the Secret.
            make: Returns what it should be, from what is there, if anything is; None if that is right.

        Raises:
            ClusterError: If it has to be repeated.
        """
        attempt = Attempt.of(server, Ref(SECRETS.kind, server.namespace, name))
        if standing := self.refusals.standing(attempt, self.now()):
            return standing
        found = await self.cluster.get(SECRETS, server.namespace, name)
        if found is not None and not is_owned(found, server.uid):
            return self.objects.taken(server, Known.of(SECRETS, found, self.cluster.manager), attempt)
        secret = make(found)
        try:
            if secret is not None and found is not None:
                return await self.cluster.replace(SECRETS, secret)
            if secret is not None and not await self.cluster.create(SECRETS, secret):
                raise StaleError(f"Secret {name} was made by somebody else a moment ago")
        except RefusedError as error:
            return self.refusals.note(attempt, write_refused(SECRETS.kind, name, str(error)), self.now())
        return secret or found or {}
