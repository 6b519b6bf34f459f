"""How often something may be done: requests and submissions of accounts, and sign-ins that fail."""

import math
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from qiskit_runtime_server.accounts.addresses import network_of
from qiskit_runtime_server.accounts.identity import AccessTokens, Fingerprint, SignedIn, fingerprint
from qiskit_runtime_server.accounts.issuers.authorization_code import Attempt, AuthorizationCodeFlow
from qiskit_runtime_server.accounts.issuers.issuers import Issuers
from qiskit_runtime_server.errors import NotAuthenticatedError, TooManyRequestsError
from qiskit_runtime_server.settings import Settings

_MOST_KEYS: Final = 10_000
_PREFIX_CHARACTERS: Final = 8
# Of hexadecimal digits these are 96 bits: no number of tries finds one.
_UNGUESSABLE_CHARACTERS: Final = 24
_REFUSALS_TOLD_PER_MINUTE: Final = 60


@dataclass(slots=True)
class _Bucket:
    tokens: float
    at: float


class Rate:
    """Token buckets by key, each with room for what a minute allows.

    Of at most 10,000 keys: past that, the one that was not asked about for longest is forgotten, and begins anew.

    Args:
        per_minute: How often; 0 for as often as anybody likes.
        clock: Seconds that only grow.
    """

    def __init__(self, per_minute: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._most = float(per_minute)
        self._clock = clock
        self._buckets: OrderedDict[str, _Bucket] = OrderedDict()

    def __len__(self) -> int:
        """Return how many keys are remembered."""
        return len(self._buckets)

    def wait(self, key: str) -> float:
        """Return after how many seconds it may be done again; 0 for now."""
        if not self._most:
            return 0.0
        return max(0.0, (1.0 - self._filled(key).tokens) * 60 / self._most)

    def count(self, key: str) -> None:
        """Note that it was done."""
        if self._most:
            bucket = self._filled(key)
            bucket.tokens = max(0.0, bucket.tokens - 1.0)

    def take(self, key: str, what: str) -> None:
        """Note that it is done, if it may be.

        Raises:
            TooManyRequestsError: If not now; `what` says what there is too much of.
        """
        _refuse_for(self.wait(key), f"{what}: this server takes {self._most:g} a minute.")
        self.count(key)

    def _filled(self, key: str) -> _Bucket:
        now = self._clock()
        bucket = self._buckets.get(key)
        if bucket is None:
            bucket = self._buckets[key] = _Bucket(self._most, now)
            if len(self._buckets) > _MOST_KEYS:
                self._buckets.popitem(last=False)
        else:
            self._buckets.move_to_end(key)
            bucket.tokens = min(self._most, bucket.tokens + (now - bucket.at) * self._most / 60)
            bucket.at = now
        return bucket


def _refuse_for(seconds: float, why: str) -> None:
    if seconds > 0:
        whole = math.ceil(seconds)
        raise TooManyRequestsError(f"{why} Try again in {whole} s.", retry_after=whole)


class SignIns:
    """Checks the tokens that accounts were given, or that an issuer has given them, and slows down those who guess.

    First a token is looked for among those of this server; then the one issuer is asked whose token it looks like.

    Failures count for the address that they come from, or its network of IPv6, and for the beginning of the token. Past
    the limit a token from there is not looked at, right or wrong, if it is short enough to be guessed and was not right
    here before. So who fails again and again behind a proxy, where all clients have one address, keeps out nobody with
    a token that `accounts add` has made. An issuer is not asked there about tokens that were not right here before,
    however long they are: each costs a call.
    """

    def __init__(self, failures_per_minute: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._failures = Rate(failures_per_minute, clock)
        self._right: OrderedDict[Fingerprint, None] = OrderedDict()

    async def sign_in(self, tokens: AccessTokens, issuers: Issuers, token: str, address: str) -> SignedIn:
        """Return whose token it is.

        Raises:
            NotAuthenticatedError: If the token is nobody's who may use this server.
            TooManyRequestsError: If too many were not, lately.
            IssuerUnavailableError: If its issuer cannot be asked now; that is no failure of who signs in.
        """
        mark = fingerprint(token)
        # Hashes of a beginning, so that no part of a token is kept.
        keys = (f"address {network_of(address)}", f"token {fingerprint(token[:_PREFIX_CHARACTERS])}")
        if mark not in self._right and len(token) < _UNGUESSABLE_CHARACTERS:
            self._refuse(keys)

        def refuse_to_ask() -> None:
            if mark not in self._right:
                self._refuse(keys)

        try:
            signed_in = await _look_up(tokens, issuers, token, refuse_to_ask)
        except NotAuthenticatedError:
            self._right.pop(mark, None)
            self._refuse(keys)
            for key in keys:
                self._failures.count(key)
            raise
        self._right[mark] = None
        self._right.move_to_end(mark)
        if len(self._right) > _MOST_KEYS:
            self._right.popitem(last=False)
        return signed_in

    async def sign_in_by_browser(
        self,
        tokens: AccessTokens,
        flow: AuthorizationCodeFlow,
        attempt: Attempt,
        answer: Mapping[str, str],
        address: str,
    ) -> SignedIn:
        """Return who has signed in at a provider; see `AuthorizationCodeFlow.principal`.

        Failures count for the address, and past the limit the provider is not asked.

        Raises:
            NotAuthenticatedError: If nobody has who may use this server.
            TooManyRequestsError: If too many have failed, lately.
            IssuerUnavailableError: If the provider cannot be asked now.
        """
        key = f"address {network_of(address)}"
        self._refuse([key])
        try:
            return tokens.admit(await flow.principal(attempt, answer))
        except NotAuthenticatedError:
            self._failures.count(key)
            raise

    def _refuse(self, keys: Iterable[str]) -> None:
        _refuse_for(max(map(self._failures.wait, keys)), "Too many sign-ins have failed.")


async def _look_up(tokens: AccessTokens, issuers: Issuers, token: str, before_asking: Callable[[], None]) -> SignedIn:
    try:
        return tokens.sign_in(token)
    except NotAuthenticatedError:
        issuer = issuers.issuer_of(token)
        if issuer is None:
            raise
    return tokens.admit(await issuers.principal(issuer, token, before_asking=before_asking))


class Refusals:
    """Which refusals the audit stream tells: of each address 60 a minute, so that nobody fills the log with them."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._told = Rate(_REFUSALS_TOLD_PER_MINUTE, clock)
        self._untold = 0

    def untold(self, address: str) -> int | None:
        """Return how many were not told since the last one that was; None if this one, of an address, is not either."""
        address = network_of(address)
        if self._told.wait(address) > 0:
            self._untold += 1
            return None
        self._told.count(address)
        untold, self._untold = self._untold, 0
        return untold


class Rates:
    """All that is limited by rate, in this process."""

    def __init__(self, settings: Settings) -> None:
        self.requests = Rate(settings.requests_per_minute)
        self.submissions = Rate(settings.submissions_per_minute)
        self.sign_ins = SignIns(settings.sign_in_failures_per_minute)
        self.refusals = Refusals()
