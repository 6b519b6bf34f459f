"""Who may use the server: tokens, the accounts behind them, and the access tokens that clients trade them for."""

import hashlib
import logging
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import NewType, Protocol

import jwt

from qiskit_runtime_server.errors import NotAuthenticatedError
from qiskit_runtime_server.jobs import AccountId

Fingerprint = NewType("Fingerprint", str)

logger = logging.getLogger(__name__)

_ALGORITHM = "HS256"
_RECHECK_SECONDS = 1.0
_ACCOUNT_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """Somebody who owns jobs and sessions."""

    id: AccountId

    @property
    def crn(self) -> str:
        """The name of the account's instance; clients take the region, the sixth field, apart."""
        return f"crn:v1:bluemix:public:quantum-computing:us-east:a/{self.id}:default::"


def fingerprint(token: str) -> Fingerprint:
    """Return the SHA-256 of `token` in hexadecimal; tokens themselves are not kept."""
    return Fingerprint(hashlib.sha256(token.encode()).hexdigest())


class Directory(Protocol):
    """Knows which token belongs to which account."""

    def find(self, token: Fingerprint) -> Account | None:
        """Return the account that the token belongs to now, or None."""


class Anonymous:
    """Any token will do; every token is an account of its own."""

    def find(self, token: Fingerprint) -> Account:
        """Return the account of this token."""
        return Account(id=AccountId(f"anonymous-{token[:12]}"))


class TokenFolder:
    """One file per account: the file's name is the account's, each line a token.

    Blank lines and those that begin with # do not count. The folder is looked at again at most once a second, so a
    token works, or stops working, within two seconds of the change.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._accounts: Mapping[Fingerprint, Account] = {}
        self._seen: object = None
        self._checked = time.monotonic()
        self._refresh()

    def find(self, token: Fingerprint) -> Account | None:
        """Return the account that lists the token."""
        if time.monotonic() - self._checked >= _RECHECK_SECONDS:
            self._checked = time.monotonic()
            self._refresh()
        return self._accounts.get(token)

    def _refresh(self) -> None:
        files = [
            path for path in sorted(self._folder.iterdir()) if _ACCOUNT_NAME.fullmatch(path.name) and path.is_file()
        ]
        seen = [
            (path.name, status.st_mtime_ns, status.st_size, status.st_ino) for path in files if (status := path.stat())
        ]
        if seen == self._seen:
            return
        self._accounts = {
            fingerprint(token): Account(id=AccountId(path.name)) for path in files for token in _tokens(path)
        }
        self._seen = seen


def _tokens(path: Path) -> list[str]:
    """Return the tokens in a file; none if it cannot be read, which must not lock everybody else out."""
    try:
        lines = [line.strip() for line in path.read_text().splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        logger.warning("The token file %s cannot be read, so its tokens do not work: %s", path, error)
        return []
    return [line for line in lines if line and not line.startswith("#")]


class AccessTokens:
    """Issues and checks access tokens.

    They are JWTs that name an account's token by its fingerprint, so that revoking the token revokes them.
    """

    def __init__(self, directory: Directory, key: str, lifetime: timedelta) -> None:
        self._directory = directory
        self._key = key
        self._lifetime = lifetime

    def issue(self, token: str, *, now: float) -> tuple[str, int, int]:
        """Return an access token for `token`, its lifetime in seconds, and when it ends, in seconds since 1970.

        Raises:
            NotAuthenticatedError: If the token is not known.
        """
        account = self.account_of(token)
        lifetime = int(self._lifetime.total_seconds())
        ends = int(now) + lifetime
        claims = {"sub": account.id, "tok": fingerprint(token), "iat": int(now), "exp": ends}
        return jwt.encode(claims, self._key, algorithm=_ALGORITHM), lifetime, ends

    def account_of(self, token: str) -> Account:
        """Return the account of a token that a user was given.

        Raises:
            NotAuthenticatedError: If the token is not known.
        """
        return self._known(fingerprint(token)) if token else self._known(None)

    def check(self, access_token: str) -> Account:
        """Return the account that an access token was issued to.

        Raises:
            NotAuthenticatedError: If it is not ours, is over, or its token was revoked.
        """
        try:
            claims = jwt.decode(access_token, self._key, algorithms=[_ALGORITHM])
            return self._known(Fingerprint(claims["tok"]))
        except (jwt.InvalidTokenError, KeyError) as error:
            raise NotAuthenticatedError(f"The access token is not valid: {error}.") from error

    def _known(self, token: Fingerprint | None) -> Account:
        account = None if token is None else self._directory.find(token)
        if account is None:
            raise NotAuthenticatedError("The token is not known to this server.")
        return account
