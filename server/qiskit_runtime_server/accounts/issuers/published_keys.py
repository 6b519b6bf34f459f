"""What an OpenID provider publishes: the keys to check signatures with, and where it signs people in.

They are fetched when they are first needed and again after ten minutes; earlier if a token names a key that is not
among them, as after a rotation, but only some times a minute: whoever sends tokens can think of any name.
"""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import jwt

from qiskit_runtime_server.accounts.issuers.outside import Outside
from qiskit_runtime_server.auth_settings import is_safe
from qiskit_runtime_server.errors import IssuerUnavailableError, NotAuthenticatedError

_DISCOVERY: Final = "/.well-known/openid-configuration"
_OK: Final = 200
_FRESH_SECONDS: Final = 600.0
# While the provider is away, those that it had published last are used.
_STALE_SECONDS: Final = 24 * 3600.0
_MOST_KEYS: Final = 100
_EARLY_FETCHES_PER_MINUTE: Final = 6
_RETRY_SECONDS: Final = 5.0
# Which keys can check which signatures; shared secrets check none.
_KINDS: Final = {"RS": "RSA", "PS": "RSA", "ES": "EC", "Ed": "OKP"}

logger = logging.getLogger(__name__)


class PublishedKeys:
    """The keys of a provider.

    Args:
        issuer: The provider, as its tokens call it.
        outside: The way to it.
        clock: Seconds that only grow.
    """

    def __init__(self, issuer: str, outside: Outside, clock: Callable[[], float] = time.monotonic) -> None:
        self._issuer = issuer
        self._outside = outside
        self._clock = clock
        self._keys: Sequence[Mapping[str, Any]] = ()
        self._about: Mapping[str, Any] = {}
        self._fetched: float | None = None
        self._tried: float | None = None
        self._early: deque[float] = deque(maxlen=_EARLY_FETCHES_PER_MINUTE)
        self._fetching = asyncio.Lock()

    async def key(self, kid: str | None, algorithm: str) -> jwt.PyJWK:
        """Return the key of that name that checks signatures of that kind; without a name, the only one that does.

        Raises:
            NotAuthenticatedError: If there is none.
            IssuerUnavailableError: If none could be fetched.
        """
        await self._refresh_if_old()
        found = self._find(kid, algorithm)
        if found is None and self._may_fetch_early():
            seen = self._fetched
            await self._refresh(lambda: self._fetched != seen)
            found = self._find(kid, algorithm)
        if found is None:
            raise NotAuthenticatedError("The token is signed with a key that its issuer does not publish.")
        try:
            return jwt.PyJWK(dict(found), algorithm)
        except jwt.PyJWTError as error:
            raise NotAuthenticatedError(f"The issuer's key is of no use: {error}") from error

    async def metadata(self) -> Mapping[str, Any]:
        """Return what the provider says of itself; see OpenID Connect Discovery 1.0, section 3.

        Raises:
            IssuerUnavailableError: If it was not to be had for a day.
        """
        await self._refresh_if_old()
        return self._about

    async def close(self) -> None:
        """Close the connections to the provider."""
        await self._outside.close()

    def _age(self) -> float:
        return float("inf") if self._fetched is None else self._clock() - self._fetched

    def _find(self, kid: str | None, algorithm: str) -> Mapping[str, Any] | None:
        fitting = [
            key
            for key in self._keys
            if key.get("kty") == _KINDS[algorithm[:2]]
            and key.get("use", "sig") == "sig"
            and key.get("alg", algorithm) == algorithm
            and (kid is None or key.get("kid") == kid)
        ]
        return fitting[0] if len(fitting) == 1 else None

    def _may_fetch_early(self) -> bool:
        now = self._clock()
        if len(self._early) == self._early.maxlen and now - self._early[0] < 60:  # noqa: PLR2004 - a minute
            return False
        self._early.append(now)
        return True

    async def _refresh_if_old(self) -> None:
        await self._refresh(lambda: self._age() < _FRESH_SECONDS)

    async def _refresh(self, done: Callable[[], bool]) -> None:
        """Fetch the keys, once for all who wait for them; those that there are stay if that fails."""
        if done():
            return
        async with self._fetching:
            if done():
                return
            usable = self._age() < _STALE_SECONDS
            if usable and self._tried is not None and self._clock() - self._tried < _RETRY_SECONDS:
                return
            self._tried = self._clock()
            try:
                self._about, self._keys = await self._fetch()
            except IssuerUnavailableError as error:
                if not usable:
                    raise
                logger.warning("The keys of %s stay as they were: %s", self._issuer, error)
            else:
                self._fetched, self._tried = self._clock(), None

    async def _fetch(self) -> tuple[Mapping[str, Any], Sequence[Mapping[str, Any]]]:
        about = await self._document(self._issuer.rstrip("/") + _DISCOVERY)
        if about.get("issuer") != self._issuer:
            raise IssuerUnavailableError(f"{self._outside.who} calls itself {about.get('issuer')!r}.")
        url = about.get("jwks_uri")
        if not isinstance(url, str) or not is_safe(url):
            raise IssuerUnavailableError(f"{self._outside.who} has no keys at a safe address.")
        keys = (await self._document(url)).get("keys")
        if not isinstance(keys, list) or len(keys) > _MOST_KEYS or not all(isinstance(key, dict) for key in keys):
            raise IssuerUnavailableError(f"{self._outside.who} publishes no list of keys, or too long a one.")
        return about, keys

    async def _document(self, url: str) -> Mapping[str, Any]:
        answer = await self._outside.ask("GET", url)
        if answer.status != _OK or not isinstance(answer.document, dict):
            raise self._outside.unexpected(answer)
        return answer.document
