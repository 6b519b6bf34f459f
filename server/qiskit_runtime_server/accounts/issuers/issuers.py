"""Which issuer is asked about a token, and for how long its answer holds.

A token goes to one issuer at most, the one that it looks like a token of: none learns the tokens of another.
"""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

import jwt

from qiskit_runtime_server.accounts.identity import Fingerprint, fingerprint
from qiskit_runtime_server.accounts.issuers.authorization_code import AuthorizationCodeFlow
from qiskit_runtime_server.accounts.issuers.port import Claims, Issuer
from qiskit_runtime_server.accounts.principal import IssuerName, Principal
from qiskit_runtime_server.errors import IssuerUnavailableError, NotAuthenticatedError

_LONGEST_TOKEN: Final = 16 * 1024
_MOST_ANSWERS: Final = 10_000
_REFUSED_SECONDS: Final = 10.0
_AT_A_TIME: Final = 8
_PATIENCE_SECONDS: Final = 10.0
_EXPIRED: Final = "The token has expired."


@dataclass(frozen=True, slots=True, kw_only=True)
class _Answer:
    """What an issuer has said of a token; `principal` is None if nobody's."""

    principal: Principal | None
    refusal: str
    until: float


class Issuers:
    """All issuers of a server.

    Attributes:
        browser_flow: How people sign in who come with a browser; None if they can show tokens only.

    Args:
        issuers: In the order in which they are looked at.
        recheck: How long an answer holds.
        clock: Seconds that only grow.
        browser_flow: See above.
    """

    def __init__(
        self,
        issuers: Sequence[Issuer] = (),
        recheck: timedelta = timedelta(minutes=1),
        clock: Callable[[], float] = time.monotonic,
        *,
        browser_flow: AuthorizationCodeFlow | None = None,
    ) -> None:
        self.browser_flow = browser_flow
        self._issuers = issuers
        self._recheck = recheck.total_seconds()
        self._clock = clock
        self._answers: OrderedDict[Fingerprint, _Answer] = OrderedDict()
        self._turns = {issuer.name: asyncio.Semaphore(_AT_A_TIME) for issuer in issuers}

    def __len__(self) -> int:
        """Return how many answers are remembered."""
        return len(self._answers)

    def names(self) -> Collection[IssuerName]:
        """Return who they are."""
        return [issuer.name for issuer in self._issuers]

    def issuer_of(self, token: str) -> Issuer | None:
        """Return the issuer that has to be asked about a token; None if it looks like nobody's."""
        if not self._issuers or len(token) > _LONGEST_TOKEN:
            return None
        claims = _unchecked_claims(token)
        return next((issuer for issuer in self._issuers if issuer.may_have_issued(token, claims)), None)

    async def principal(self, issuer: Issuer, token: str, *, before_asking: Callable[[], None]) -> Principal:
        """Return whose token it is.

        Args:
            issuer: From `issuer_of`.
            token: Its token.
            before_asking: Called just before the issuer is asked; what it raises is raised.

        Raises:
            NotAuthenticatedError: If it is nobody's.
            IssuerUnavailableError: If that cannot be told now.
        """
        mark = fingerprint(token)
        answer = self._remembered(mark)
        if answer is None:
            try:
                async with asyncio.timeout(_PATIENCE_SECONDS), self._turns[issuer.name]:
                    # Another request may have asked meanwhile.
                    answer = self._remembered(mark)
                    if answer is None:
                        before_asking()
                        answer = await self._ask(issuer, token)
                        self._remember(mark, answer)
            except TimeoutError as error:
                raise IssuerUnavailableError(f"Too many tokens of {issuer.name} are being looked at.") from error
        if answer.principal is None:
            raise NotAuthenticatedError(answer.refusal)
        if answer.principal.ends is not None and answer.principal.ends <= time.time():
            raise NotAuthenticatedError(_EXPIRED)
        return answer.principal

    async def close(self) -> None:
        """Close all connections."""
        for issuer in self._issuers:
            await issuer.close()

    async def _ask(self, issuer: Issuer, token: str) -> _Answer:
        try:
            principal = await issuer.principal(token)
        except NotAuthenticatedError as error:
            return _Answer(principal=None, refusal=str(error), until=self._clock() + _REFUSED_SECONDS)
        return _Answer(principal=principal, refusal="", until=self._clock() + self._recheck)

    def _remembered(self, mark: Fingerprint) -> _Answer | None:
        answer = self._answers.get(mark)
        if answer is not None and answer.until > self._clock():
            self._answers.move_to_end(mark)
            return answer
        return None

    def _remember(self, mark: Fingerprint, answer: _Answer) -> None:
        self._answers[mark] = answer
        self._answers.move_to_end(mark)
        if len(self._answers) > _MOST_ANSWERS:
            self._answers.popitem(last=False)


def _unchecked_claims(token: str) -> Claims | None:
    """Return what a JWT says of itself, only to choose whom to ask; None if it is none."""
    try:
        claims = jwt.decode(token, options={"verify_signature": False})
    except (jwt.PyJWTError, ValueError, RecursionError):
        return None
    return claims if isinstance(claims, dict) else None
