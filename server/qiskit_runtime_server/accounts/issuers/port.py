"""What somebody who vouches for users is asked."""

from collections.abc import Mapping
from typing import Any, Protocol

from qiskit_runtime_server.accounts.principal import IssuerName, Principal

Claims = Mapping[str, Any]
"""What a JWT says, of which nothing is checked."""


class Issuer(Protocol):
    """Vouches for users."""

    name: IssuerName

    def may_have_issued(self, token: str, claims: Claims | None) -> bool:
        """Return whether the token looks like one of this issuer; `claims` is None if it is no JWT. Asks nobody."""

    async def principal(self, token: str) -> Principal:
        """Return whose token it is.

        Raises:
            NotAuthenticatedError: If it is nobody's, or not for this server.
            IssuerUnavailableError: If that cannot be told now.
        """

    async def close(self) -> None:
        """Close the connections to it."""
