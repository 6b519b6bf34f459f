"""A sign-in with a token that may be taken back goes on for as long as its issuer vouches for it, and no longer."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from datetime import timedelta
from pathlib import Path

import httpx
import pytest

from kit.server.api_in_process import submit
from kit.server.console import Console, console_in_process, csrf_in
from kit.server.openid_provider import OpenIdProvider, openid_provider

TOKEN = "0123456789abcdef" * 2
KEPT = "qrs_console_token"
RECHECK = timedelta(seconds=2)


@pytest.fixture
def hub() -> Iterator[OpenIdProvider]:
    """Serve what a hub says of its user alice, at the path that it does."""
    with openid_provider() as served:
        served.documents["/user"] = {
            "kind": "user",
            "name": "alice",
            "groups": [],
            "scopes": ["access:services!service=qiskit-runtime-server"],
        }
        yield served


@pytest.fixture
async def console(tmp_path: Path, hub: OpenIdProvider) -> AsyncIterator[Console]:
    """Trust that hub for two seconds."""
    async with console_in_process(tmp_path, auth_jupyterhub_url=hub.issuer, auth_recheck=RECHECK) as served:
        answer = await served.nobody.post("/sign-in", data={"token": TOKEN})
        assert (answer.status_code, answer.headers["location"]) == (303, "/ui/jobs"), answer.text
        yield served


async def wait() -> None:
    """Wait until what the hub has said is over, and the access token with it."""
    await asyncio.sleep(RECHECK.total_seconds() + 0.2)


@pytest.mark.slow
async def test_it_outlasts_the_first_access_token_and_its_forms_stay_good(
    console: Console, hub: OpenIdProvider
) -> None:
    browser = console.nobody
    csrf = await csrf_in(browser, "/jobs")
    for _ in range(2):
        await wait()
        answers = await asyncio.gather(*(browser.get(path) for path in ("/jobs", "/devices", "/sessions")))
        assert [answer.status_code for answer in answers] == [200] * 3
    assert hub.asked.count("/user") >= 3, "again each time"
    await wait()
    answer = await browser.post("/sign-out", data={"csrf": csrf})
    assert (answer.status_code, answer.headers["location"]) == (303, "/ui/sign-in")
    assert dict(browser.cookies) == {}
    assert (await browser.get("/jobs")).status_code == 303


@pytest.mark.slow
async def test_it_ends_when_the_issuer_refuses(console: Console, hub: OpenIdProvider) -> None:
    del hub.documents["/user"]
    await wait()
    answer = await console.nobody.get("/jobs")
    assert (answer.status_code, answer.headers["location"]) == (303, "/ui/sign-in")
    assert dict(console.nobody.cookies) == {}


@pytest.mark.slow
async def test_it_waits_for_an_issuer_that_is_away(console: Console, hub: OpenIdProvider) -> None:
    hub.broken = True
    await wait()
    answer = await console.nobody.get("/jobs")
    assert (answer.status_code, "JupyterHub" in answer.text) == (503, True)
    hub.broken = False
    assert (await console.nobody.get("/jobs")).status_code == 200


async def test_the_token_is_kept_where_nobody_reads_it(console: Console) -> None:
    answer = await console.nobody.post("/sign-in", data={"token": TOKEN})
    [kept] = [cookie for cookie in answer.headers.get_list("set-cookie") if cookie.startswith(KEPT)]
    parts = {part.strip().lower() for part in kept.split(";")[1:]}
    assert {"httponly", "secure", "samesite=strict", "path=/ui", "max-age=3600"} <= parts
    assert TOKEN not in kept


@pytest.mark.parametrize("kept", ["nonsense", "é", "gAAAA" + "A" * 100])
async def test_what_this_server_has_not_sealed_signs_nobody_in(console: Console, kept: str) -> None:
    async with AsyncExitStack() as stack:
        transport = httpx.ASGITransport(console.api.app)
        browser = await stack.enter_async_context(httpx.AsyncClient(transport=transport, base_url="https://api/ui"))
        answer = await browser.get("/jobs", headers={b"Cookie": f"{KEPT}={kept}".encode()})
    assert (answer.status_code, answer.headers["location"]) == (303, "/ui/sign-in")


@pytest.mark.slow
async def test_an_hour_without_a_request_ends_it(tmp_path: Path, hub: OpenIdProvider) -> None:
    lifetime = timedelta(seconds=3)
    changes = {"auth_jupyterhub_url": hub.issuer, "auth_recheck": RECHECK, "access_token_lifetime": lifetime}
    async with console_in_process(tmp_path, **changes) as console:
        await console.nobody.post("/sign-in", data={"token": TOKEN})
        sealed = console.nobody.cookies[KEPT]
        await asyncio.sleep(lifetime.total_seconds() + 1.2)
        answer = await console.nobody.get("/jobs", headers={"Cookie": f"{KEPT}={sealed}"})
        assert (answer.status_code, answer.headers["location"]) == (303, "/ui/sign-in")


async def test_another_sign_in_leaves_nothing_of_it(console: Console) -> None:
    job = await submit(console.api.alice)
    await console.nobody.post("/sign-in", data={"token": "alice"})
    assert KEPT not in console.nobody.cookies
    assert (await console.nobody.get(f"/jobs/{job}")).status_code == 200
