"""Whom a token is shown to, how often, and what happens to crowds."""

import asyncio
import time
from collections.abc import Callable

import pytest

from qiskit_runtime_server.accounts.issuers.issuers import Issuers
from qiskit_runtime_server.accounts.issuers.port import Claims
from qiskit_runtime_server.accounts.principal import IssuerName, Principal
from qiskit_runtime_server.errors import IssuerUnavailableError, NotAuthenticatedError, TooManyRequestsError


class Clock:
    """Stands still until told otherwise."""

    seconds = 1000.0

    def __call__(self) -> float:
        return self.seconds


class PlayedIssuer:
    """Knows the token `right`, and is as slow as a test wants it.

    Attributes:
        asked: The tokens that it was shown.
        at_once: How many it was looking at together, at most.
    """

    name = IssuerName.JUPYTERHUB

    def __init__(self, ends: float | None = None) -> None:
        self.asked: list[str] = []
        self.ends = ends
        self.away = False
        self.going = asyncio.Event()
        self.going.set()
        self.now = self.at_once = 0

    def may_have_issued(self, token: str, claims: Claims | None) -> bool:
        return claims is None

    async def principal(self, token: str) -> Principal:
        self.asked.append(token)
        self.now += 1
        self.at_once = max(self.at_once, self.now)
        await self.going.wait()
        self.now -= 1
        if self.away:
            raise IssuerUnavailableError("away")
        if not token.startswith("right"):
            raise NotAuthenticatedError("nobody's")
        return Principal(issuer=self.name, name=token, ends=self.ends)

    async def close(self) -> None:
        """Do nothing."""


def nothing() -> None:
    """Refuse nobody."""


async def look(issuers: Issuers, issuer: PlayedIssuer, token: str, before: Callable[[], None] = nothing) -> str:
    return (await issuers.principal(issuer, token, before_asking=before)).name


async def test_an_answer_holds_for_a_time() -> None:
    issuer, clock = PlayedIssuer(), Clock()
    issuers = Issuers([issuer], clock=clock)
    for _ in range(3):
        assert await look(issuers, issuer, "right") == "right"
        with pytest.raises(NotAuthenticatedError):
            await look(issuers, issuer, "wrong")
    assert issuer.asked == ["right", "wrong"]
    clock.seconds += 11
    with pytest.raises(NotAuthenticatedError):
        await look(issuers, issuer, "wrong")
    await look(issuers, issuer, "right")
    assert issuer.asked == ["right", "wrong", "wrong"]
    clock.seconds += 60
    await look(issuers, issuer, "right")
    assert issuer.asked == ["right", "wrong", "wrong", "right"]


async def test_no_answer_outlives_the_token(monkeypatch: pytest.MonkeyPatch) -> None:
    ends = time.time() + 1000
    issuer = PlayedIssuer(ends=ends)
    issuers = Issuers([issuer])
    await look(issuers, issuer, "right")
    monkeypatch.setattr(time, "time", lambda: ends + 0.1)
    with pytest.raises(NotAuthenticatedError, match="expired"):
        await look(issuers, issuer, "right")


async def test_what_cannot_be_told_now_is_not_remembered() -> None:
    issuer = PlayedIssuer()
    issuers = Issuers([issuer])
    issuer.away = True
    with pytest.raises(IssuerUnavailableError):
        await look(issuers, issuer, "right")
    issuer.away = False
    assert await look(issuers, issuer, "right")


async def test_the_answers_that_are_remembered_are_bounded() -> None:
    issuer = PlayedIssuer()
    issuers = Issuers([issuer])
    for number in range(10_100):
        await look(issuers, issuer, f"right-{number}")
    assert len(issuers) == 10_000


async def test_a_crowd_with_one_token_costs_one_call_and_one_with_many_comes_in_turns() -> None:
    issuer = PlayedIssuer()
    issuers = Issuers([issuer])
    issuer.going.clear()
    waiting = [asyncio.create_task(look(issuers, issuer, f"right-{number}")) for number in range(100)]
    await asyncio.sleep(0.05)
    assert len(issuer.asked) == 8
    issuer.going.set()
    await asyncio.gather(*waiting)
    assert (len(issuer.asked), issuer.at_once) == (100, 8)
    await asyncio.gather(*(look(issuers, issuer, "right-7") for _ in range(100)))
    assert len(issuer.asked) == 100


async def test_guesses_that_come_together_are_refused_as_if_they_came_one_by_one() -> None:
    issuer, failures = PlayedIssuer(), [0]
    issuers = Issuers([issuer])

    def refuse() -> None:
        if failures[0] >= 10:
            raise TooManyRequestsError("too many", retry_after=1)

    async def guess(number: int) -> None:
        try:
            await look(issuers, issuer, f"wrong-{number}", refuse)
        except NotAuthenticatedError:
            failures[0] += 1

    results = await asyncio.gather(*(guess(number) for number in range(500)), return_exceptions=True)
    assert sum(isinstance(result, TooManyRequestsError) for result in results) == 500 - len(issuer.asked)
    # Those that were being looked at when the tenth failed.
    assert len(issuer.asked) <= 10 + 8
