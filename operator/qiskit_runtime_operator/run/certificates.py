"""The certificates of RuntimeServers that the operator signs itself: made, and renewed while pods read them again."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial

from qiskit_runtime_operator.render.credentials.certificates import (
    Wanted,
    are_signed_here,
    authority_secret,
    certificate_secret,
    certificates,
)
from qiskit_runtime_operator.resource.model import RuntimeServer
from qiskit_runtime_operator.resource.names import authority_name
from qiskit_runtime_operator.run.owned_secrets import OwnedSecrets
from qiskit_runtime_operator.status.status import Refusal


@dataclass(slots=True, kw_only=True)
class Certificates:
    """The certificates of all RuntimeServers.

    Attributes:
        secrets: Where they are.
        now: The clock.
    """

    secrets: OwnedSecrets
    now: Callable[[], datetime]
    _settled: dict[str, tuple[Wanted, ...]] = field(default_factory=dict, init=False)

    def look_again(self) -> None:
        """Do not take for granted any more that the Secrets are there, and last for long enough."""
        self._settled.clear()

    async def settle(self, server: RuntimeServer) -> list[Refusal]:
        """Make what is missing, renew what is about to end, and return what could not be written.

        Raises:
            ClusterError: If it has to be repeated.
        """
        all_wanted = certificates(server)
        if not are_signed_here(server) or self._settled.get(server.uid) == all_wanted:
            return []
        now = self.now()
        authority = await self.secrets.settle(
            server, authority_name(server.name), lambda found: authority_secret(server, found, now)
        )
        if isinstance(authority, Refusal):
            return [authority]
        settled = [
            await self.secrets.settle(
                server, wanted.secret, partial(certificate_secret, server, wanted, authority, now=now)
            )
            for wanted in all_wanted
        ]
        refusals = [found for found in settled if isinstance(found, Refusal)]
        if not refusals:
            self._settled[server.uid] = all_wanted
        return refusals
