"""Signing in to the console: the cookie, who gets one, and what forms from elsewhere can do, which is nothing."""

import re

import httpx
import pytest

from kit.server.api_in_process import submit
from kit.server.console import Console, csrf_in
from qiskit_runtime_server import Settings, create_app

PAGES = ["/jobs", "/jobs/some", "/all-jobs"]


async def test_the_cookie_is_out_of_reach_of_scripts_and_of_other_sites(console: Console) -> None:
    answer = await console.nobody.post("/sign-in", data={"token": "alice"})
    [cookie] = answer.headers.get_list("set-cookie")
    parts = {part.strip().lower() for part in cookie.split(";")[1:]}
    assert {"httponly", "secure", "samesite=strict", "path=/ui"} <= parts
    assert "alice" not in cookie.partition("=")[2].split(";")[0]


async def test_over_plain_http_the_cookie_is_not_secure(console: Console) -> None:
    answer = await console.nobody.post("http://api/ui/sign-in", data={"token": "alice"})
    assert "secure" not in answer.headers["set-cookie"].lower()


@pytest.mark.parametrize("path", PAGES)
async def test_who_has_not_signed_in_is_asked_to(console: Console, path: str) -> None:
    answer = await console.nobody.get(path)
    assert (answer.status_code, answer.headers["location"]) == (303, "/ui/sign-in")


async def test_a_wrong_token_signs_nobody_in(console: Console) -> None:
    answer = await console.nobody.post("/sign-in", data={"token": "mallory"})
    assert (answer.status_code, "does not know that token" in answer.text) == (400, True)
    assert "set-cookie" not in answer.headers


async def test_a_cookie_that_is_over_leads_to_the_sign_in_and_is_dropped(console: Console) -> None:
    console.nobody.cookies.set("qrs_console", "nonsense", path="/ui")
    answer = await console.nobody.get("/jobs")
    assert (answer.status_code, answer.headers["location"]) == (303, "/ui/sign-in")
    assert 'qrs_console=""' in answer.headers["set-cookie"]


@pytest.mark.parametrize(
    "headers",
    [{"Sec-Fetch-Site": "cross-site"}, {"Sec-Fetch-Site": "same-site"}, {"Origin": "https://evil"}, {"Origin": "null"}],
)
async def test_another_sites_page_can_neither_sign_in_nor_send_forms(console: Console, headers: dict[str, str]) -> None:
    answer = await console.nobody.post("/sign-in", data={"token": "alice"}, headers=headers)
    assert (answer.status_code, "set-cookie" in answer.headers) == (403, False)
    job = await submit(console.api.alice)
    csrf = await csrf_in(console.alice, f"/jobs/{job}")
    answer = await console.alice.post(f"/jobs/{job}/cancel", data={"csrf": csrf}, headers=headers)
    assert answer.status_code == 403
    assert (await console.api.alice.get(f"/jobs/{job}")).json()["status"] == "Queued"


async def test_a_form_needs_the_token_of_its_own_sign_in(console: Console) -> None:
    job = await submit(console.api.alice)
    of_bob = await csrf_in(console.bob, "/jobs")
    for form in ({}, {"csrf": ""}, {"csrf": "0" * 64}, {"csrf": of_bob}):
        for action in ("cancel", "delete"):
            assert (await console.alice.post(f"/jobs/{job}/{action}", data=form)).status_code == 403
    assert (await console.api.alice.get(f"/jobs/{job}")).json()["status"] == "Queued"


async def test_signing_out_forgets_the_cookie(console: Console) -> None:
    answer = await console.alice.post("/sign-out", data={"csrf": await csrf_in(console.alice, "/jobs")})
    assert answer.headers["location"] == "/ui/sign-in"
    assert (await console.alice.get("/jobs")).status_code == 303


async def test_guesses_are_slowed_down(console: Console) -> None:
    for number in range(100):
        answer = await console.nobody.post("/sign-in", data={"token": f"guess {number}"})
        if answer.status_code == 429:
            break
    assert answer.status_code == 429
    assert "Too many sign-ins" in answer.text


@pytest.mark.parametrize("path", ["/sign-in", "/jobs", "/static/console.js"])
async def test_pages_run_nothing_from_elsewhere(console: Console, path: str) -> None:
    answer = await console.alice.get(path)
    assert answer.status_code == 200
    assert answer.headers["x-content-type-options"] == "nosniff"
    if path.startswith("/static"):
        return
    policy = answer.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; style-src 'self';")
    assert {"frame-ancestors 'none'", "base-uri 'none'", "form-action 'self'", "script-src 'self'"} <= {
        part.strip() for part in policy.split(";")
    }
    assert answer.headers["cache-control"] == "no-store"
    assert re.findall(r'(?:src|href)="(?!/ui)([^"#][^"]*)"', answer.text) == []
    assert not re.search(r"<style|style=|<script>|\son\w+=", answer.text)


async def test_without_the_console_there_is_none() -> None:
    app = create_app(settings=Settings(console=False))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://api") as client:
        assert (await client.get("/ui/sign-in")).status_code == 404
