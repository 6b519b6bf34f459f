"""Tokens of an OpenID provider: what is accepted, and everything else that must not be."""

import base64
import hashlib
import hmac
import json
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import pytest

from kit.server.openid_provider import AUDIENCE, OpenIdProvider, openid_provider
from qiskit_runtime_server.accounts.issuers.oidc import OidcIssuer
from qiskit_runtime_server.accounts.issuers.outside import Outside
from qiskit_runtime_server.accounts.issuers.published_keys import PublishedKeys
from qiskit_runtime_server.errors import IssuerUnavailableError, NotAuthenticatedError


@pytest.fixture
def provider() -> Iterator[OpenIdProvider]:
    with openid_provider() as served:
        yield served


class Clock:
    """Stands still until told otherwise."""

    seconds = 1000.0

    def __call__(self) -> float:
        return self.seconds


@asynccontextmanager
async def issuer_of(provider: OpenIdProvider, clock: Clock | None = None, **changes: Any) -> AsyncIterator[OidcIssuer]:
    outside = Outside("The OpenID provider", authorities=None, setting="QRS_AUTH_CA")
    said: dict[str, Any] = {
        "issuer": provider.issuer,
        "audience": AUDIENCE,
        "account_claim": "sub",
        "groups_claim": "groups",
        "algorithms": ("RS256", "ES256"),
        **changes,
    }
    issuer = OidcIssuer(keys=PublishedKeys(provider.issuer, outside, clock or Clock()), **said)
    try:
        yield issuer
    finally:
        await issuer.close()


async def test_a_token_says_who_it_is_and_until_when(provider: OpenIdProvider) -> None:
    ends = int(time.time()) + 50
    async with issuer_of(provider) as issuer:
        principal = await issuer.principal(provider.token(exp=ends, groups=["staff", 7, "choir"]))
    assert (principal.account, principal.groups) == ("oidc.alice", ("oidc:staff", "oidc:choir"))
    assert (principal.ends, principal.revocable) == (ends, False)


@pytest.mark.parametrize("aud", [AUDIENCE, ["another", AUDIENCE]])
async def test_the_audience_may_be_one_of_several(provider: OpenIdProvider, aud: object) -> None:
    async with issuer_of(provider) as issuer:
        assert (await issuer.principal(provider.token(aud=aud))).name == "alice"


@pytest.mark.parametrize(
    "claims",
    [
        {"exp": timedelta(seconds=-60)},
        {"exp": None},
        {"nbf": timedelta(hours=1)},
        {"iat": timedelta(hours=1)},
        {"aud": "another"},
        {"aud": ["another"]},
        {"aud": None},
        {"iss": "https://elsewhere.example.org"},
        {"iss": None},
        {"sub": None},
        {"sub": ""},
    ],
    ids=str,
)
async def test_a_token_that_says_something_else_is_refused(provider: OpenIdProvider, claims: dict[str, Any]) -> None:
    """Times are given from now on: processes that run the tests together have to give them the same names."""
    said: dict[str, Any] = {
        name: int(time.time() + value.total_seconds()) if isinstance(value, timedelta) else value
        for name, value in claims.items()
    }
    async with issuer_of(provider) as issuer:
        with pytest.raises(NotAuthenticatedError):
            await issuer.principal(provider.token(**said))


def coded(part: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=")


def claims_of(provider: OpenIdProvider) -> dict[str, Any]:
    return {"iss": provider.issuer, "aud": AUDIENCE, "sub": "ada", "exp": int(time.time()) + 60}


@pytest.mark.parametrize("algorithm", ["none", "None", "", None])
async def test_a_token_without_a_signature_is_refused(provider: OpenIdProvider, algorithm: str | None) -> None:
    forged = f"{coded({'alg': algorithm, 'kid': provider.kid})}.{coded(claims_of(provider))}."
    async with issuer_of(provider) as issuer:
        with pytest.raises(NotAuthenticatedError):
            await issuer.principal(forged)


@pytest.mark.parametrize("form", ["pem", "jwk"])
async def test_a_public_key_is_no_shared_secret(provider: OpenIdProvider, form: str) -> None:
    key = provider.public_pem() if form == "pem" else json.dumps(provider.public_keys()[0]).encode()
    signed = f"{coded({'alg': 'HS256', 'kid': provider.kid})}.{coded(claims_of(provider))}"
    digest = hmac.new(key, signed.encode(), hashlib.sha256).digest()
    forged = f"{signed}.{base64.urlsafe_b64encode(digest).decode().rstrip('=')}"
    async with issuer_of(provider) as issuer:
        with pytest.raises(NotAuthenticatedError, match="'HS256' are not accepted"):
            await issuer.principal(forged)


async def test_a_published_secret_signs_nothing(provider: OpenIdProvider) -> None:
    provider.documents["/keys"] = {"keys": [{"kty": "oct", "k": coded("secret"), "kid": provider.kid, "alg": "RS256"}]}
    async with issuer_of(provider) as issuer:
        with pytest.raises(NotAuthenticatedError, match="does not publish"):
            await issuer.principal(provider.token())


@pytest.mark.parametrize("changed", [{"use": "enc"}, {"alg": "PS256"}, {"kty": "EC"}], ids=str)
async def test_a_key_for_something_else_checks_no_signature(provider: OpenIdProvider, changed: dict[str, Any]) -> None:
    provider.documents["/keys"] = {"keys": [{**provider.public_keys()[0], **changed}]}
    async with issuer_of(provider) as issuer:
        with pytest.raises(NotAuthenticatedError):
            await issuer.principal(provider.token())


async def test_a_changed_token_is_refused(provider: OpenIdProvider) -> None:
    header, _, signature = provider.token().split(".")
    async with issuer_of(provider) as issuer:
        with pytest.raises(NotAuthenticatedError):
            await issuer.principal(f"{header}.{coded(claims_of(provider))}.{signature}")


@pytest.mark.parametrize("kind", ["logout+jwt", "dpop+jwt", "secevent+jwt"])
async def test_a_token_of_another_type_is_refused(provider: OpenIdProvider, kind: str) -> None:
    async with issuer_of(provider) as issuer:
        with pytest.raises(NotAuthenticatedError, match="for something else"):
            await issuer.principal(provider.token(headers={"typ": kind}))
        assert await issuer.principal(provider.token(headers={"typ": "at+jwt"}))


async def test_keys_of_curves_are_keys_too(provider: OpenIdProvider) -> None:
    provider.rotate("curve", elliptic=True)
    async with issuer_of(provider) as issuer:
        assert (await issuer.principal(provider.token())).name == "alice"
    async with issuer_of(provider, algorithms=("RS256",)) as issuer:
        with pytest.raises(NotAuthenticatedError, match="'ES256' are not accepted"):
            await issuer.principal(provider.token())


async def test_after_a_rotation_the_new_key_is_fetched_at_once_and_the_old_one_is_worth_nothing(
    provider: OpenIdProvider,
) -> None:
    async with issuer_of(provider) as issuer:
        old = provider.token()
        await issuer.principal(old)
        provider.rotate("second")
        assert (await issuer.principal(provider.token())).name == "alice"
        with pytest.raises(NotAuthenticatedError, match="does not publish"):
            await issuer.principal(old)


async def test_keys_are_kept_for_ten_minutes_and_unknown_names_do_not_make_it_hammer_the_provider(
    provider: OpenIdProvider,
) -> None:
    clock = Clock()
    async with issuer_of(provider, clock) as issuer:
        for _ in range(20):
            await issuer.principal(provider.token())
        assert provider.asked.count("/keys") == 1
        for number in range(50):
            with pytest.raises(NotAuthenticatedError):
                await issuer.principal(provider.token(headers={"kid": f"unknown-{number}"}))
        assert provider.asked.count("/keys") == 1 + 6
        clock.seconds += 601
        await issuer.principal(provider.token())
        assert provider.asked.count("/keys") == 1 + 6 + 1


async def test_while_the_provider_is_away_known_keys_count_and_nobody_is_called_wrong(provider: OpenIdProvider) -> None:
    clock = Clock()
    async with issuer_of(provider, clock) as issuer:
        provider.broken = True
        with pytest.raises(IssuerUnavailableError, match="it answers 500"):
            await issuer.principal(provider.token())
        provider.broken = False
        await issuer.principal(provider.token())
        provider.broken = True
        clock.seconds += 3600
        asked = len(provider.asked)
        for _ in range(10):
            assert (await issuer.principal(provider.token())).name == "alice"
        assert len(provider.asked) == asked + 1
        clock.seconds += 24 * 3600
        with pytest.raises(IssuerUnavailableError):
            await issuer.principal(provider.token())


@pytest.mark.parametrize(
    ("path", "document"),
    [
        ("/.well-known/openid-configuration", {"issuer": "https://elsewhere.example.org", "jwks_uri": "http://[::1]/"}),
        ("/.well-known/openid-configuration", {}),
        ("/keys", {"keys": "none"}),
        ("/keys", {"keys": [7]}),
        ("/keys", [1]),
        ("/keys", {"keys": [{"kid": str(number)} for number in range(101)]}),
        ("/keys", {"keys": [], "more": "x" * (1 << 20)}),
    ],
    ids=["another issuer", "no issuer", "no list", "no keys", "no object", "too many", "too long"],
)
async def test_documents_that_make_no_sense_are_no_reason_to_call_a_token_wrong(
    provider: OpenIdProvider, path: str, document: object
) -> None:
    provider.documents[path] = document
    async with issuer_of(provider) as issuer:
        with pytest.raises(IssuerUnavailableError):
            await issuer.principal(provider.token())


async def test_keys_come_by_a_way_on_which_nobody_can_change_them(provider: OpenIdProvider) -> None:
    about = {"issuer": provider.issuer, "jwks_uri": "http://keys.example.org/keys"}
    provider.documents["/.well-known/openid-configuration"] = about
    async with issuer_of(provider) as issuer:
        with pytest.raises(IssuerUnavailableError, match="safe address"):
            await issuer.principal(provider.token())


async def test_other_claims_can_name_the_account_and_the_groups(provider: OpenIdProvider) -> None:
    async with issuer_of(provider, account_claim="preferred_username", groups_claim="realm_access.roles") as issuer:
        principal = await issuer.principal(
            provider.token(preferred_username="bob", realm_access={"roles": ["a"]}, groups=["b"])
        )
        assert (principal.account, principal.groups) == ("oidc.bob", ("oidc:a",))
        with pytest.raises(NotAuthenticatedError, match="preferred_username"):
            await issuer.principal(provider.token())
    async with issuer_of(provider, groups_claim="https://example.org/groups") as issuer:
        principal = await issuer.principal(provider.token(more={"https://example.org/groups": "one"}))
        assert principal.groups == ("oidc:one",)


@pytest.mark.parametrize("verified", [None, False, "true"])
async def test_an_address_that_is_not_verified_names_nobody(provider: OpenIdProvider, verified: object) -> None:
    async with issuer_of(provider, account_claim="email") as issuer:
        with pytest.raises(NotAuthenticatedError, match="verified"):
            await issuer.principal(provider.token(email="a@example.org", email_verified=verified))
        assert await issuer.principal(provider.token(email="a@example.org", email_verified=True))


async def test_only_its_own_tokens_are_looked_at(provider: OpenIdProvider) -> None:
    async with issuer_of(provider) as issuer:
        assert issuer.may_have_issued("", {"iss": provider.issuer})
        assert not issuer.may_have_issued("", {"iss": f"{provider.issuer}/"})
        assert not issuer.may_have_issued("", None)
