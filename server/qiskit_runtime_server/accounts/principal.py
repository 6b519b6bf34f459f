"""Who signs in with a token that somebody else has issued, and what their account is called.

An issuer calls people as it likes. Their account is called after the issuer, a dot, and that name if it can be part of
an account's name; otherwise what is left of it and 128 bits of its hash, so that no two are taken for each other.
"""

import hashlib
import re
from collections.abc import Collection
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from qiskit_runtime_server.jobs import AccountId

LONGEST_NAME: Final = 63
"""Of an account."""

# Hexadecimal: with half of them, somebody could look for a name that is taken for another's.
_DIGITS: Final = 32
# Without an underscore, which is what comes before the digits.
_PLAIN: Final = re.compile(r"[A-Za-z0-9.-]+")


class IssuerName(StrEnum):
    """Spelled as in accounts.toml, where it comes before the name of a group."""

    KUBERNETES = "kubernetes"
    OIDC = "oidc"
    JUPYTERHUB = "jupyterhub"


_PREFIXES: Final = {IssuerName.KUBERNETES: "k8s.", IssuerName.OIDC: "oidc.", IssuerName.JUPYTERHUB: "hub."}


@dataclass(frozen=True, slots=True, kw_only=True)
class Principal:
    """Somebody whom an issuer vouches for.

    Attributes:
        name: What the issuer calls them, and nobody else.
        groups: What the issuer calls the groups that they are in, each behind the issuer's name and a colon.
        ends: When the token ends, in seconds since 1970; None if it says nothing of that.
        revocable: Whether the issuer may take the token back before.
    """

    issuer: IssuerName
    name: str
    groups: tuple[str, ...] = ()
    ends: float | None = None
    revocable: bool = False

    @property
    def account(self) -> AccountId:
        """What their account is called, if it is one of their own."""
        prefix = _PREFIXES[self.issuer]
        if _PLAIN.fullmatch(self.name) and len(prefix) + len(self.name) <= LONGEST_NAME:
            return AccountId(prefix + self.name)
        digits = hashlib.sha256(self.name.encode(errors="surrogatepass")).hexdigest()[:_DIGITS]
        room = LONGEST_NAME - len(prefix) - 1 - _DIGITS
        kept = "".join(_PLAIN.findall(self.name))[:room]
        return AccountId(f"{prefix}{kept}_{digits}")


def issuer_of_account(name: AccountId, issuers: Collection[IssuerName] = tuple(IssuerName)) -> IssuerName | None:
    """Return whose people have accounts that are called so; None if it is none of these issuers."""
    return next((issuer for issuer in issuers if name.startswith(_PREFIXES[issuer])), None)
