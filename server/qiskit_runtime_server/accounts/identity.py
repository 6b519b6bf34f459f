"""Who may use the server: tokens, the accounts behind them, and the access tokens that clients trade them for."""

import hashlib
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import timedelta
from functools import lru_cache, partial
from typing import Any, Final, NewType, Protocol

import jwt

from qiskit_runtime_server.accounts.limits import USUAL_LIMITS, AccountLimits
from qiskit_runtime_server.accounts.principal import IssuerName, Principal
from qiskit_runtime_server.accounts.seal import Seal
from qiskit_runtime_server.accounts.teaching import NOBODY, Role, Teaching, crn_of
from qiskit_runtime_server.errors import NotAuthenticatedError, NotFoundError
from qiskit_runtime_server.jobs import AccountId, name_of

Fingerprint = NewType("Fingerprint", str)

_ALGORITHM: Final = "HS256"
# With the groups of whom an issuer vouches for, a token may be some kilobytes long.
_KEPT_TOKENS: Final = 1024
_LARGEST_KEPT_TOKEN: Final = 2048
# Longer than a request is on its way, and than the clocks of two apis are apart; clients ask for the next token when
# a fifth of its time is left, and never see it refused.
_LEEWAY_SECONDS: Final = 10
# Hexadecimal: with half of them, somebody could look for a token that is taken for another's.
_ANONYMOUS_DIGITS: Final = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class Instance:
    """What clients select by CRN: a plan, and the limits of its jobs."""

    name: str = "default"
    plan: str = "self-hosted"
    limits: AccountLimits = USUAL_LIMITS


DEFAULT_INSTANCE: Final = Instance()


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """Somebody who owns jobs and sessions, whatever instance they are sent under.

    Attributes:
        id: What they are kept under; no later account of the same name has it.
        instances: The first one is taken where a client selects none.
        teaching: Whose jobs it may look at and cancel, beside its own.
    """

    id: AccountId
    role: Role = Role.USER
    instances: tuple[Instance, ...] = (DEFAULT_INSTANCE,)
    teaching: Teaching = NOBODY

    @property
    def name(self) -> str:
        """What people call it."""
        return name_of(self.id)

    def crn(self, instance: Instance) -> str:
        """Return the CRN of an instance."""
        return crn_of(self.name, instance.name)


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """Who calls, and under which instance.

    Attributes:
        address: Where from; empty where nobody knows.
    """

    account: Account
    instance: Instance
    address: str = ""

    @property
    def id(self) -> AccountId:
        """The account's."""
        return self.account.id

    @property
    def name(self) -> str:
        """The account's."""
        return self.account.name

    @property
    def crn(self) -> str:
        """The instance's."""
        return self.account.crn(self.instance)

    @property
    def is_admin(self) -> bool:
        """Whether this may look after other accounts' jobs, and after executors."""
        return self.account.role is Role.ADMIN

    @property
    def teaching(self) -> Teaching:
        """The account's."""
        return self.account.teaching


def identity(account: Account, crn: str | None) -> Identity:
    """Return an account under the instance of that CRN, or under its first one if `crn` is None.

    A name will do for a CRN: the client's `jobs` and `least_busy` send what they are given.

    Raises:
        NotFoundError: If the account has no such instance.
    """
    for instance in account.instances:
        if crn is None or crn in {account.crn(instance), instance.name}:
            return Identity(account=account, instance=instance)
    known = ", ".join(map(account.crn, account.instances))
    raise NotFoundError(f"Instance {crn!r} not found; this account has {known}.")


def fingerprint(token: str) -> Fingerprint:
    """Return the SHA-256 of `token` in hexadecimal; tokens themselves are not kept."""
    return Fingerprint(hashlib.sha256(token.encode()).hexdigest())


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedIn:
    """Somebody who has shown a token that is right: one of this server's, or that of another issuer.

    Attributes:
        token: The fingerprint of a token of this server's.
        principal: Whom the issuer vouches for, with those of their groups only that say something here.
    """

    account: Account
    token: Fingerprint | None = None
    principal: Principal | None = None


class Directory(Protocol):
    """Knows which token belongs to which account, and which account somebody has whom an issuer vouches for."""

    def find(self, token: Fingerprint) -> Account | None:
        """Return the account that the token belongs to now, or None."""

    def admit(self, principal: Principal) -> SignedIn | None:
        """Return somebody whom an issuer vouches for, or None if they may not use the server now."""

    def account(self, account_id: AccountId) -> Account | None:
        """Return the account, or None if nobody can sign in as it now."""

    def named(self, name: str) -> Account | None:
        """Return the account that has a name now, or None if none has."""

    def id_of(self, name: str) -> AccountId | None:
        """Return the id of that account, at the cost of looking it up."""

    def plans(self) -> Collection[str]:
        """Return the plans that instances have."""


class Anonymous:
    """Any token will do; every token is an account of its own, named by 128 bits of the token's fingerprint."""

    def find(self, token: Fingerprint) -> Account:
        """Return the account of this token."""
        return Account(id=AccountId(f"anonymous-{token[:_ANONYMOUS_DIGITS]}"))

    def admit(self, principal: Principal) -> None:
        """Return that nobody else's word is taken: no issuers are asked where any token will do."""

    def account(self, account_id: AccountId) -> Account:
        """Return the account: whoever has the token can sign in."""
        return Account(id=account_id)

    def named(self, name: str) -> Account:
        """Return the same."""
        return Account(id=AccountId(name))

    def id_of(self, name: str) -> AccountId:
        """Return the name."""
        return AccountId(name)

    def plans(self) -> Collection[str]:
        """Return the one plan."""
        return {DEFAULT_INSTANCE.plan}


class AccessTokens:
    """Issues and checks access tokens.

    They are JWTs that name an account's token by its fingerprint, so that revoking the token revokes them; or whom an
    issuer vouches for, so that what accounts.toml says of them counts for each request.

    Args:
        directory: Who is there.
        key: Signs them.
        lifetime: How long they last; they are accepted for ten seconds more, as requests are under way.
        recheck: How long at most those last that were traded for a token that its issuer may revoke.
        also: A second key, whose access tokens are accepted: the next one, or the former one.
    """

    def __init__(
        self,
        directory: Directory,
        key: str,
        lifetime: timedelta,
        recheck: timedelta = timedelta(minutes=1),
        *,
        also: str | None = None,
    ) -> None:
        self._directory = directory
        self._key = key
        self._also = also
        self._lifetime = lifetime.total_seconds()
        self._recheck = recheck.total_seconds()
        # To check a signature takes a tenth of a request's time, and a client shows the same token with each.
        self._signed = lru_cache(_KEPT_TOKENS)(self._verified)

    def issue(self, somebody: SignedIn, *, now: float) -> tuple[str, int, int]:
        """Return an access token for somebody, its lifetime in seconds, and when it ends, in seconds since 1970.

        Raises:
            NotAuthenticatedError: If the token that they have shown ends within a second.
        """
        principal = somebody.principal
        lifetime = self._lifetime
        claims: dict[str, object] = {"tok": somebody.token}
        if principal is not None:
            claims = {"who": _claims(principal)}
            if principal.revocable:
                claims["revocable"] = True
                lifetime = min(lifetime, self._recheck)
            if principal.ends is not None:
                lifetime = min(lifetime, principal.ends - now)
        if lifetime < 1:
            raise NotAuthenticatedError("The token is about to end.")
        ends = int(now) + int(lifetime)
        claims |= {"sub": somebody.account.id, "iat": int(now), "exp": ends}
        return jwt.encode(claims, self._key, algorithm=_ALGORITHM), int(lifetime), ends

    def sign_in(self, token: str) -> SignedIn:
        """Return whose token of this server's it is.

        Raises:
            NotAuthenticatedError: If the token is not known.
        """
        mark = fingerprint(token) if token else None
        return SignedIn(account=self._known(mark), token=mark)

    def account_of(self, token: str) -> Account:
        """Return the account of a token of this server's; errors as those of `sign_in`."""
        return self.sign_in(token).account

    def admit(self, principal: Principal) -> SignedIn:
        """Return somebody whom an issuer vouches for.

        Raises:
            NotAuthenticatedError: If they may not use this server.
        """
        admitted = self._directory.admit(principal)
        if admitted is None:
            raise NotAuthenticatedError(f"{principal.account} is in no group that may use this server, or is disabled.")
        return admitted

    def check(self, access_token: str) -> Account:
        """Return the account that an access token was issued to.

        Raises:
            NotAuthenticatedError: If it is not ours, is over, or its token was revoked.
        """
        try:
            kept = len(access_token) <= _LARGEST_KEPT_TOKEN
            claims = self._signed(access_token) if kept else self._verified(access_token)
            if claims["exp"] <= time.time() - _LEEWAY_SECONDS:
                raise jwt.ExpiredSignatureError("Signature has expired")
            if "who" in claims:
                return self.admit(_principal(claims["who"])).account
            return self._known(Fingerprint(claims["tok"]))
        except (jwt.InvalidTokenError, KeyError, ValueError) as error:
            raise NotAuthenticatedError(f"The access token is not valid: {error}.") from error

    def is_revocable(self, access_token: str) -> bool:
        """Return whether it was traded for a token that its issuer may take back, and so lasts a short time only."""
        return bool(self._signed(access_token).get("revocable"))

    def seal(self, purpose: str) -> Seal:
        """Return what seals for a purpose, with the keys that sign access tokens."""
        return Seal(purpose, self._key, *([] if self._also is None else [self._also]))

    def plans(self) -> Collection[str]:
        """Return the plans that instances have."""
        return self._directory.plans()

    def id_of(self, said: str) -> AccountId:
        """Return the id of the account that an admin speaks of: by its name if it has that now, else by its id.

        See `exact` for those who want to be sure.
        """
        return self._directory.id_of(said) or AccountId(said.removesuffix("~"))

    def is_current(self, account_id: AccountId) -> bool:
        """Return whether it is the account that has its name now, and not one that had it before."""
        return self._directory.id_of(name_of(account_id)) == account_id

    def _verified(self, access_token: str) -> Mapping[str, Any]:
        """Return what an access token says that one of the keys has signed, and that is not over."""
        read = partial(jwt.decode, access_token, algorithms=[_ALGORITHM], leeway=_LEEWAY_SECONDS)
        try:
            return read(self._key)
        except jwt.InvalidSignatureError:
            if self._also is None:
                raise
            return read(self._also)

    def _known(self, token: Fingerprint | None) -> Account:
        account = None if token is None else self._directory.find(token)
        if account is None:
            raise NotAuthenticatedError("The token is not known to this server.")
        return account


def _claims(principal: Principal) -> dict[str, Any]:
    return {"issuer": principal.issuer, "name": principal.name, "groups": principal.groups}


def _principal(claims: Mapping[str, Any]) -> Principal:
    """Return whom an access token names; errors are those of `dict` and `StrEnum`."""
    return Principal(issuer=IssuerName(claims["issuer"]), name=claims["name"], groups=tuple(claims["groups"]))
