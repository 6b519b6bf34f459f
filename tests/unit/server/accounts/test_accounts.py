"""Tokens, accounts, access tokens."""

import os
import time
from contextlib import nullcontext
from datetime import timedelta
from pathlib import Path

import jwt
import pytest

from qiskit_runtime_server.accounts.identity import AccessTokens, Anonymous, fingerprint
from qiskit_runtime_server.accounts.token_folder import TokenFolder
from qiskit_runtime_server.errors import NotAuthenticatedError

KEY = "a-signing-key-that-is-long-enough-for-hs256"
HOUR = timedelta(hours=1)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "alice").write_text("# issued in May\n\nalice-1\n  alice-2  \n")
    (tmp_path / "bob").write_text("bob-1")
    (tmp_path / "..data").mkdir()
    return tmp_path


def test_every_line_of_a_file_is_a_token_of_its_account(folder: Path) -> None:
    tokens = AccessTokens(TokenFolder(folder), KEY, HOUR)
    assert [tokens.account_of(token).id for token in ("alice-1", "alice-2", "bob-1")] == ["alice", "alice", "bob"]


@pytest.mark.parametrize("token", ["", "#", "# issued in May", "alice", "alice-1\n"])
def test_nothing_else_is_a_token(folder: Path, token: str) -> None:
    with pytest.raises(NotAuthenticatedError):
        AccessTokens(TokenFolder(folder), KEY, HOUR).account_of(token)


def test_an_access_token_leads_back_to_the_account(folder: Path) -> None:
    tokens = AccessTokens(TokenFolder(folder), KEY, HOUR)
    access_token, lifetime, expiration = tokens.issue(tokens.sign_in("bob-1"), now=time.time())
    assert tokens.check(access_token).id == "bob"
    assert lifetime == 3600
    assert expiration == pytest.approx(time.time() + 3600, abs=5)
    assert "bob-1" not in str(jwt.decode(access_token, options={"verify_signature": False}))


def test_an_access_token_ends_but_not_on_its_way(folder: Path) -> None:
    tokens = AccessTokens(TokenFolder(folder), KEY, HOUR)
    assert tokens.check(issued(tokens, ago=3605)).id == "bob"
    with pytest.raises(NotAuthenticatedError, match="expired"):
        tokens.check(issued(tokens, ago=3611))


def test_an_access_token_of_another_key_is_refused(folder: Path) -> None:
    others = AccessTokens(TokenFolder(folder), KEY[::-1], HOUR)
    access_token, _, _ = others.issue(others.sign_in("bob-1"), now=time.time())
    with pytest.raises(NotAuthenticatedError):
        AccessTokens(TokenFolder(folder), KEY, HOUR).check(access_token)


def issued(tokens: AccessTokens, *, ago: float = 0) -> str:
    access_token, _, _ = tokens.issue(tokens.sign_in("bob-1"), now=time.time() - ago)
    return access_token


def test_while_the_key_is_changed_access_tokens_of_both_are_accepted_and_end_as_usual(folder: Path) -> None:
    other = KEY[::-1]
    before, after = (AccessTokens(TokenFolder(folder), key, HOUR) for key in (KEY, other))
    announced = AccessTokens(TokenFolder(folder), KEY, HOUR, also=other)
    changed = AccessTokens(TokenFolder(folder), other, HOUR, also=KEY)
    for tokens in (before, announced, changed, after):
        access_token = issued(tokens)
        assert [checking.check(access_token).id for checking in (announced, changed)] == ["bob", "bob"]
    # Each signs with its first key only: who does not know the second one yet, or any more, is not left out.
    assert before.check(issued(announced)).id == "bob"
    assert after.check(issued(changed)).id == "bob"
    for tokens in (before, after):
        over = issued(tokens, ago=3611)
        with pytest.raises(NotAuthenticatedError, match="expired"):
            changed.check(over)
    with pytest.raises(NotAuthenticatedError, match="Signature"):
        changed.check(issued(AccessTokens(TokenFolder(folder), f"{KEY}, a third one", HOUR)))


def test_an_access_token_that_was_valid_before_ends_too(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tokens = AccessTokens(TokenFolder(folder), KEY, HOUR)
    access_token, begin = issued(tokens), time.time()
    for seconds, valid in ((0, True), (3605, True), (3611, False)):
        monkeypatch.setattr(time, "time", lambda seconds=seconds: begin + seconds)
        with nullcontext() if valid else pytest.raises(NotAuthenticatedError, match="expired"):
            assert tokens.check(access_token).id == "bob"


def test_an_unsigned_access_token_is_refused(folder: Path) -> None:
    unsigned = jwt.encode({"tok": fingerprint("bob-1"), "exp": time.time() + 60}, "", algorithm="none")
    with pytest.raises(NotAuthenticatedError):
        AccessTokens(TokenFolder(folder), KEY, HOUR).check(unsigned)


def test_a_removed_token_takes_its_access_tokens_with_it(folder: Path, clock: list[float]) -> None:
    tokens = AccessTokens(TokenFolder(folder), KEY, HOUR)
    access_token, _, _ = tokens.issue(tokens.sign_in("alice-1"), now=time.time())
    (folder / "alice").write_text("alice-2")
    clock[0] += 1.1
    with pytest.raises(NotAuthenticatedError):
        tokens.check(access_token)
    assert tokens.account_of("alice-2").id == "alice"


def test_a_new_account_is_seen_within_two_seconds(folder: Path, clock: list[float]) -> None:
    tokens = AccessTokens(TokenFolder(folder), KEY, HOUR)
    assert tokens.account_of("bob-1").id == "bob"
    (folder / "carol").write_text("carol-1")
    os.utime(folder / "carol", (1, 1))
    clock[0] += 1.1
    assert tokens.account_of("carol-1").id == "carol"


def test_anonymous_tokens_are_accounts_of_their_own() -> None:
    tokens = AccessTokens(Anonymous(), KEY, HOUR)
    assert tokens.account_of("one") == tokens.account_of("one")
    assert tokens.account_of("one") != tokens.account_of("two")
    assert "one" not in tokens.account_of("one").id


def test_a_file_that_cannot_be_read_locks_nobody_else_out(folder: Path) -> None:
    (folder / "mallory").write_bytes(b"\xff\xfe\x00")
    tokens = AccessTokens(TokenFolder(folder), KEY, HOUR)
    assert tokens.account_of("bob-1").id == "bob"


def test_anonymous_accounts_are_told_apart_by_128_bits() -> None:
    token = fingerprint("any token")
    digits = Anonymous().find(token).id.removeprefix("anonymous-")
    assert len(digits) == 32
    assert token.startswith(digits)
