"""Rates: what comes too often is answered 429 with the time to wait, and nobody else notices."""

from pathlib import Path

import httpx
import pytest

from kit.server.api_in_process import api_in_process, body
from qiskit_runtime_server.api.audit import NAME
from qiskit_runtime_server.api.rates import Rate, Refusals
from qiskit_runtime_server.errors import TooManyRequestsError


class Clock:
    """Stands still until told otherwise."""

    seconds = 1000.0

    def __call__(self) -> float:
        return self.seconds


def test_a_minute_s_worth_may_come_at_once_and_then_one_after_the_other() -> None:
    clock = Clock()
    rate = Rate(30, clock)
    for _ in range(30):
        rate.take("alice", "Too many")
    with pytest.raises(
        TooManyRequestsError, match=r"^Too many: this server takes 30 a minute. Try again in 2 s"
    ) as error:
        rate.take("alice", "Too many")
    assert error.value.retry_after == 2
    rate.take("bob", "Too many")
    clock.seconds += 2
    rate.take("alice", "Too many")
    assert rate.wait("alice") == pytest.approx(2.0)
    clock.seconds += 3600
    for _ in range(30):
        rate.take("alice", "Too many")
    assert rate.wait("alice") > 0


def test_the_table_is_bounded_and_forgets_who_was_away_for_longest() -> None:
    rate = Rate(1, Clock())
    for number in range(30_000):
        rate.count(f"key {number}")
    assert len(rate) == 10_000
    assert rate.wait("key 29999") > 0
    assert rate.wait("key 0") == 0


async def test_who_guesses_tokens_is_slowed_down_and_who_is_signed_in_is_not(tmp_path: Path) -> None:
    async with api_in_process(tmp_path, sign_in_failures_per_minute=5) as api:
        assert (await api.alice.get("/jobs")).status_code == 200
        guesses = [await api.nobody.post("/identity/token", data={"apikey": f"{n}-guess"}) for n in range(7)]
        assert [guess.status_code for guess in guesses] == [400] * 5 + [429] * 2
        assert 1 <= int(guesses[-1].headers["Retry-After"]) <= 12
        # A right guess is not told from a wrong one.
        assert (await api.bob.get("/jobs")).status_code == 429
        assert (await api.alice.get("/jobs")).status_code == 200


async def test_who_guesses_from_ever_new_addresses_of_a_network_is_slowed_down(tmp_path: Path) -> None:
    async with api_in_process(tmp_path, sign_in_failures_per_minute=5) as api:
        found = []
        for number in range(7):
            transport = httpx.ASGITransport(api.app, client=(f"2001:db8::{number:x}", 1))
            async with httpx.AsyncClient(transport=transport, base_url="https://api") as stranger:
                answer = await stranger.post("/identity/token", data={"apikey": f"{number}-guess"})
            found.append(answer.status_code)
        assert found == [400] * 5 + [429] * 2


async def test_tokens_that_nobody_guesses_are_looked_at_however_many_sign_ins_fail(tmp_path: Path) -> None:
    right, wrong = "0123456789abcdef" * 2, "fedcba9876543210" * 2
    # Before the server starts, which reads the folder again only after a while.
    (tmp_path / "carol").write_text(right)
    async with api_in_process(tmp_path, sign_in_failures_per_minute=5) as api:
        for number in range(10):
            await api.nobody.post("/identity/token", data={"apikey": f"{number}-guess"})
        answers = [await api.nobody.post("/identity/token", data={"apikey": tried}) for tried in (wrong, right)]
        assert [answer.status_code for answer in answers] == [429, 200]


async def test_refusals_do_not_fill_the_audit_stream(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with api_in_process(tmp_path) as api:
        for number in range(100):
            forged = {"Authorization": f"Bearer {number}"}
            assert (await api.nobody.get("/api/v1/jobs", headers=forged)).status_code == 401
            await api.nobody.post("/identity/token", data={"apikey": f"{number}-guess"})
    assert sum(record.name == NAME for record in caplog.records) < 70


def test_refusals_that_were_not_told_are_counted() -> None:
    clock = Clock()
    refusals = Refusals(clock)
    assert [refusals.untold("address") for _ in range(62)] == [0] * 60 + [None] * 2
    assert refusals.untold("another") == 2
    clock.seconds += 1
    assert refusals.untold("address") == 0


async def test_an_account_has_a_rate_of_requests_and_one_of_submissions(tmp_path: Path) -> None:
    async with api_in_process(tmp_path, requests_per_minute=6, submissions_per_minute=2) as api:
        answers = [await api.alice.post("/jobs", json=body()) for _ in range(3)]
        assert [answer.status_code for answer in answers] == [200, 200, 429]
        assert (
            answers[2]
            .json()["error"]["message"]
            .startswith("Too many submissions of account alice: this server takes 2")
        )
        assert 1 <= int(answers[2].headers["Retry-After"]) <= 30
        found = [(await api.alice.get("/jobs")).status_code for _ in range(4)]
        assert found == [200, 200, 200, 429]
        assert (await api.ada.get("/jobs")).status_code == 200
