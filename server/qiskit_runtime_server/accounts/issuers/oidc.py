"""Access tokens and ID tokens of an OpenID provider: signed JWTs, checked by the keys that it publishes.

https://openid.net/specs/openid-connect-core-1_0.html, RFC 9068 (access tokens), RFC 8725 (what to mind).
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import jwt

from qiskit_runtime_server.accounts.issuers.port import Claims
from qiskit_runtime_server.accounts.issuers.published_keys import PublishedKeys
from qiskit_runtime_server.accounts.principal import IssuerName, Principal
from qiskit_runtime_server.errors import NotAuthenticatedError

_LEEWAY_SECONDS: Final = 30
# Others, such as logout tokens, are signed alike and mean something else.
_TYPES: Final = frozenset({"jwt", "at+jwt", "application/at+jwt"})
_DEMANDED: Final = ("exp", "iss", "aud")


class OidcIssuer:
    """An OpenID provider.

    Args:
        issuer: What it calls itself.
        audience: Whom its tokens have to be for.
        account_claim: The claim that names the account.
        groups_claim: The claim with the groups.
        algorithms: How tokens may be signed.
        keys: What it publishes.
    """

    name = IssuerName.OIDC

    def __init__(  # noqa: PLR0913 - one argument per setting
        self,
        *,
        issuer: str,
        audience: str,
        account_claim: str,
        groups_claim: str,
        algorithms: Sequence[str],
        keys: PublishedKeys,
    ) -> None:
        self._issuer = issuer
        self._audience = audience
        self._account_claim = account_claim
        self._groups_claim = groups_claim
        self._algorithms = tuple(algorithms)
        self._keys = keys

    def may_have_issued(self, token: str, claims: Claims | None) -> bool:  # noqa: ARG002 - see the port
        """See the port."""
        return claims is not None and claims.get("iss") == self._issuer

    async def principal(self, token: str) -> Principal:
        """See the port."""
        return self.principal_of(await self.claims(token, self._audience))

    async def claims(self, token: str, audience: str) -> Claims:
        """Return what a token of the provider's says that is for an audience, its signature and times checked.

        Raises:
            NotAuthenticatedError: If it is none, or is over.
            IssuerUnavailableError: If that cannot be told now.
        """
        try:
            header = jwt.get_unverified_header(token)
            algorithm = header.get("alg")
            if algorithm not in self._algorithms:
                raise NotAuthenticatedError(f"Tokens that are signed by {algorithm!r} are not accepted.")
            if str(header.get("typ", "jwt")).lower() not in _TYPES:
                raise NotAuthenticatedError(f"A token of the type {header['typ']!r} is for something else.")
            key = await self._keys.key(header.get("kid"), algorithm)
            claims: Claims = jwt.decode(
                token,
                key,
                algorithms=[algorithm],
                audience=audience,
                issuer=self._issuer,
                leeway=_LEEWAY_SECONDS,
                options={"require": list(_DEMANDED), "enforce_minimum_key_length": True},
            )
        except jwt.PyJWTError as error:
            raise NotAuthenticatedError(f"The token is not valid: {error}.") from error
        return claims

    def principal_of(self, claims: Claims) -> Principal:
        """Return whom checked claims name.

        Raises:
            NotAuthenticatedError: If they name nobody.
        """
        groups = tuple(f"{self.name}:{group}" for group in _groups(claims, self._groups_claim))
        return Principal(issuer=self.name, name=self._account_name(claims), groups=groups, ends=float(claims["exp"]))

    @property
    def url(self) -> str:
        """What the provider calls itself."""
        return self._issuer

    async def close(self) -> None:
        """See the port."""
        await self._keys.close()

    def _account_name(self, claims: Claims) -> str:
        name = claims.get(self._account_claim)
        if not isinstance(name, str) or not name:
            raise NotAuthenticatedError(f"The token has no claim {self._account_claim!r}, which names the account.")
        if self._account_claim == "email" and claims.get("email_verified") is not True:
            raise NotAuthenticatedError("The token does not say that its e-mail address is verified.")
        return name


def _groups(claims: Claims, name: str) -> list[str]:
    """Return the groups of a claim, whose name may have dots itself, as those with an address have."""
    found: Any = claims.get(name)
    if found is None:
        found = claims
        for part in name.split("."):
            found = found.get(part) if isinstance(found, Mapping) else None
    listed = [found] if isinstance(found, str) else found
    return [group for group in listed if isinstance(group, str)] if isinstance(listed, list) else []
