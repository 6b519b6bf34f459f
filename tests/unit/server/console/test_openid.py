"""Signing in to the console at an OpenID provider: the way there and back, and what must not get in by it."""

import re
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

import httpx
import pytest

from kit.server.console import Console, console_in_process, csrf_in
from kit.server.openid_provider import AUDIENCE, CALLBACK, CLIENT, OpenIdProvider, openid_provider
from qiskit_runtime_server.errors import StartupError
from qiskit_runtime_server.roles.issuers import issuers_of
from qiskit_runtime_server.settings import Settings

ATTEMPT = "qrs_console_openid"
SECRET = "a secret: with % and é"  # noqa: S105 - of a provider in a test
GROUPS = """
[groups.students]
members = ["oidc:students"]
"""


@pytest.fixture
def provider() -> Iterator[OpenIdProvider]:
    with openid_provider() as served:
        served.groups = ["students"]
        yield served


@asynccontextmanager
async def trusting(folder: Path, provider: OpenIdProvider, **changes: Any) -> AsyncIterator[Console]:
    said = {
        "auth_oidc_issuer": provider.issuer,
        "auth_oidc_audience": AUDIENCE,
        "auth_oidc_client_id": CLIENT,
        "more_accounts": GROUPS,
        **changes,
    }
    async with console_in_process(folder, **said) as console:
        yield console


@pytest.fixture
async def console(tmp_path: Path, provider: OpenIdProvider) -> AsyncIterator[Console]:
    async with trusting(tmp_path, provider) as served:
        yield served


async def begin(browser: httpx.AsyncClient) -> dict[str, str]:
    """Begin to sign in, and return what the provider is asked for."""
    answer = await browser.get("/sign-in/openid")
    assert answer.status_code == 303, answer.text
    return dict(parse_qsl(urlsplit(answer.headers["location"]).query))


def changed(address: str, **query: str | None) -> str:
    """Return an address with another query."""
    found = dict(parse_qsl(urlsplit(address).query)) | query
    kept = {name: value for name, value in found.items() if value is not None}
    return f"{address.partition('?')[0]}?{urlencode(kept)}"


async def assert_refused(browser: httpx.AsyncClient, address: str, why: str, status: int = 400) -> None:
    answer = await browser.get(address)
    assert (answer.status_code, "qrs_console" in browser.cookies) == (status, False), answer.text
    [problem] = re.findall(r'role="alert">(.*?)</p>', answer.text)
    assert why in problem
    assert ATTEMPT not in browser.cookies, "it was good for one answer"
    assert (await browser.get("/jobs")).status_code == 303


async def test_somebody_signs_in_and_uses_the_console(console: Console, provider: OpenIdProvider) -> None:
    browser = console.nobody
    page = (await browser.get("/sign-in")).text
    assert '<a class="button" href="/ui/sign-in/openid">Sign in with 127.0.0.1</a>' in page
    asked = await begin(browser)
    assert asked["redirect_uri"] == f"https://api{CALLBACK}"
    answer = await browser.get(provider.sign_in(asked))
    assert answer.status_code == 200
    # Strict cookies are not sent on the way from another site, so this page leads on.
    assert '<meta http-equiv="refresh" content="0; url=/ui/jobs">' in answer.text
    [cookie] = [one for one in answer.headers.get_list("set-cookie") if one.startswith("qrs_console=ey")]
    parts = {part.strip().lower() for part in cookie.split(";")[1:]}
    assert {"httponly", "secure", "samesite=strict", "path=/ui", "max-age=3600"} <= parts
    jobs = await browser.get("/jobs")
    assert (jobs.status_code, "oidc.alice" in jobs.text) == (200, True)
    answer = await browser.post("/sign-out", data={"csrf": await csrf_in(browser, "/jobs")})
    assert answer.headers["location"] == "/ui/sign-in"
    assert (await browser.get("/jobs")).status_code == 303


async def test_what_belongs_to_a_sign_in_is_sent_only_on_the_way_back_and_nobody_reads_it(console: Console) -> None:
    answer = await console.nobody.get("/sign-in/openid")
    asked = dict(parse_qsl(urlsplit(answer.headers["location"]).query))
    [cookie] = answer.headers.get_list("set-cookie")
    parts = {part.strip().lower() for part in cookie.split(";")[1:]}
    assert {"httponly", "secure", "samesite=lax", "path=/ui/sign-in/openid", "max-age=600"} <= parts
    assert not any(asked[name] in cookie for name in ("state", "nonce", "code_challenge"))
    assert min(len(asked[name]) for name in ("state", "nonce", "code_challenge")) >= 43
    again = await begin(console.bob)
    assert all(again[name] != asked[name] for name in ("state", "nonce", "code_challenge"))


@pytest.mark.parametrize("method", ["client_secret_basic", "client_secret_post"])
async def test_a_secret_is_shown_to_the_provider_and_read_each_time(
    tmp_path: Path, provider: OpenIdProvider, method: str
) -> None:
    provider.shown_by = method
    provider.secret, file = SECRET, tmp_path.parent / f"{tmp_path.name}.secret"
    file.write_text(f"{SECRET}\n")
    async with trusting(tmp_path, provider, auth_oidc_client_secret_file=file, auth_oidc_scopes="groups") as console:
        browser = console.nobody
        asked = await begin(browser)
        assert asked["scope"] == "openid groups"
        await browser.get(provider.sign_in(asked))
        assert (await browser.get("/jobs")).status_code == 200
        assert ("client_secret" in provider.redeemed[0]) == (method == "client_secret_post")
        file.write_text("another")
        browser.cookies.clear()
        await assert_refused(browser, provider.sign_in(await begin(browser)), "by its id and secret", 503)


async def test_an_answer_to_another_sign_in_is_refused(console: Console, provider: OpenIdProvider) -> None:
    for state in ("", "another", None):
        address = provider.sign_in(await begin(console.nobody))
        await assert_refused(console.nobody, changed(address, state=state), "another sign-in")
    assert provider.redeemed == [], "nothing is asked of the provider"


async def test_another_browsers_answer_is_refused(console: Console, provider: OpenIdProvider) -> None:
    """Who is led to the address of an attacker's answer is not signed in as the attacker, with a sign-in or without."""
    of_attacker = provider.sign_in(await begin(console.bob))
    await assert_refused(console.nobody, of_attacker, "not begun in this browser")
    await begin(console.nobody)
    await assert_refused(console.nobody, of_attacker, "another sign-in")


async def test_a_code_is_good_once(console: Console, provider: OpenIdProvider) -> None:
    browser = console.nobody
    address = provider.sign_in(await begin(browser))
    kept = browser.cookies[ATTEMPT]
    assert (await browser.get(address)).status_code == 200
    browser.cookies.clear()
    await assert_refused(browser, address, "not begun in this browser")
    # Even for whoever has kept the cookie.
    answer = await browser.get(address, headers={"Cookie": f"{ATTEMPT}={kept}"})
    assert (answer.status_code, "does not accept the code" in answer.text) == (400, True)
    assert "qrs_console=ey" not in str(answer.headers)


async def test_a_code_that_was_injected_is_worth_nothing_without_its_verifier(
    console: Console, provider: OpenIdProvider
) -> None:
    stolen = dict(parse_qsl(urlsplit(provider.sign_in(await begin(console.bob))).query))["code"]
    address = provider.sign_in(await begin(console.nobody))
    await assert_refused(console.nobody, changed(address, code=stolen), "does not accept the code")


async def test_the_answer_of_a_foreign_provider_is_refused(console: Console, provider: OpenIdProvider) -> None:
    for issuer in ("https://elsewhere.example.org", "", None):
        address = provider.sign_in(await begin(console.nobody))
        await assert_refused(console.nobody, changed(address, iss=issuer), "another provider")
    assert provider.redeemed == [], "no other provider's code is shown to this one"


WRONG: Sequence[tuple[dict[str, Any], str]] = [
    ({"nonce": "another"}, "another sign-in"),
    ({"nonce": None}, "another sign-in"),
    ({"aud": AUDIENCE}, "not valid"),
    ({"aud": [CLIENT, "another"]}, "another client"),
    ({"aud": [CLIENT, "another"], "azp": "another"}, "another client"),
    ({"azp": "another"}, "another client"),
    ({"iss": "https://elsewhere.example.org"}, "not valid"),
    ({"exp": 1}, "not valid"),
    ({"sub": None}, "no claim"),
    ({"groups": ["choir"]}, "in no group"),
]


async def test_an_id_token_that_is_not_for_this_sign_in_is_refused(tmp_path: Path, provider: OpenIdProvider) -> None:
    async with trusting(tmp_path, provider, sign_in_failures_per_minute=100) as console:
        for said, why in WRONG:
            provider.id_token = said
            await assert_refused(console.nobody, provider.sign_in(await begin(console.nobody)), why)


async def test_an_id_token_for_several_that_was_issued_to_this_server_is_good(
    console: Console, provider: OpenIdProvider
) -> None:
    provider.id_token = {"aud": [CLIENT, "another"], "azp": CLIENT}
    await console.nobody.get(provider.sign_in(await begin(console.nobody)))
    assert (await console.nobody.get("/jobs")).status_code == 200


async def test_a_clock_that_is_a_little_off_keeps_nobody_out(console: Console, provider: OpenIdProvider) -> None:
    provider.id_token = {"iat": int(time.time()) + 20, "exp": int(time.time()) - 20}
    await console.nobody.get(provider.sign_in(await begin(console.nobody)))
    assert (await console.nobody.get("/jobs")).status_code == 200


async def test_a_provider_that_signs_nobody_in_is_quoted_as_text(console: Console, provider: OpenIdProvider) -> None:
    for error, said in (("access_denied", "access_denied"), ("<script>alert(1)</script>", "an error")):
        address = changed(provider.sign_in(await begin(console.nobody)), code=None, error=error)
        await assert_refused(console.nobody, address, f"The provider has signed nobody in: {said}.")


async def test_no_address_of_a_request_is_gone_to(console: Console, provider: OpenIdProvider) -> None:
    for query in ("next=https://evil.example.org", "redirect_uri=https://evil.example.org", "url=//evil"):
        answer = await console.nobody.get(f"/sign-in/openid?{query}")
        asked = dict(parse_qsl(urlsplit(answer.headers["location"]).query))
        assert asked["redirect_uri"] == f"https://api{CALLBACK}"
        answer = await console.nobody.get(f"{provider.sign_in(asked)}&{query}")
        assert answer.status_code == 200
        assert "evil" not in answer.text


async def test_another_sites_page_cannot_begin_it(console: Console) -> None:
    answer = await console.nobody.get("/sign-in/openid", headers={"Sec-Fetch-Site": "cross-site"})
    assert (answer.status_code, dict(console.nobody.cookies)) == (200, {})


async def test_failures_are_slowed_down(tmp_path: Path, provider: OpenIdProvider) -> None:
    async with trusting(tmp_path, provider, sign_in_failures_per_minute=3) as console:
        provider.id_token = {"nonce": "another"}
        for _ in range(3):
            await assert_refused(console.nobody, provider.sign_in(await begin(console.nobody)), "another sign-in")
        await assert_refused(console.nobody, provider.sign_in(await begin(console.nobody)), "Too many sign-ins", 429)
        assert len(provider.redeemed) == 3


async def test_a_provider_that_is_away_is_said_to_be(console: Console, provider: OpenIdProvider) -> None:
    provider.broken = True
    answer = await console.nobody.get("/sign-in/openid")
    assert (answer.status_code, "OpenID provider" in answer.text) == (503, True)
    provider.broken = False
    address = provider.sign_in(await begin(console.nobody))
    provider.broken = True
    await assert_refused(console.nobody, address, "cannot be asked", 503)


@pytest.mark.parametrize("name", ["authorization_endpoint", "token_endpoint"])
async def test_nobody_is_led_to_where_others_listen(console: Console, provider: OpenIdProvider, name: str) -> None:
    path = "/.well-known/openid-configuration"
    about: Any = provider.answer(path)[1]
    provider.documents[path] = {**about, name: "http://login.example.org/"}
    answer = await console.nobody.get("/sign-in/openid")
    if name == "token_endpoint":
        address = provider.sign_in(dict(parse_qsl(urlsplit(answer.headers["location"]).query)))
        await assert_refused(console.nobody, address, "safe address", 503)
    else:
        assert (answer.status_code, "safe address" in answer.text) == (503, True)


async def test_without_a_client_id_there_is_no_such_way(tmp_path: Path, provider: OpenIdProvider) -> None:
    async with trusting(tmp_path, provider, auth_oidc_client_id=None) as console:
        assert "sign-in/openid" not in (await console.nobody.get("/sign-in")).text
        assert (await console.nobody.get("/sign-in/openid")).status_code == 404


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"auth_oidc_client_id": CLIENT}, "QRS_AUTH_OIDC_CLIENT_ID: say whose"),
        (
            {
                "auth_oidc_issuer": "https://id.example.org",
                "auth_oidc_audience": AUDIENCE,
                "auth_oidc_client_secret_file": Path("secret"),
            },
            "QRS_AUTH_OIDC_CLIENT_SECRET_FILE: say whose",
        ),
    ],
)
def test_half_of_what_is_needed_is_said_at_the_start(settings: dict[str, Any], problem: str) -> None:
    with pytest.raises(StartupError, match=problem):
        issuers_of(Settings(**settings))
