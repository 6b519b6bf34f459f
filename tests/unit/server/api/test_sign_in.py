"""Signing in with tokens that others have issued: what is answered, what is counted, what the audit stream says."""

import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from kit.server.api_in_process import BACKEND, Api, api_in_process
from kit.server.openid_provider import AUDIENCE, OpenIdProvider, openid_provider
from qiskit_runtime_server.api.audit import NAME
from qiskit_runtime_server.errors import StartupError
from qiskit_runtime_server.roles.issuers import issuers_of
from qiskit_runtime_server.settings import Settings

GROUPS = """
[groups.students]
members = ["oidc:students"]
queued = 1

[groups.staff]
members = ["oidc:staff"]
role = "admin"
"""


@pytest.fixture
def provider() -> Iterator[OpenIdProvider]:
    with openid_provider() as served:
        yield served


@asynccontextmanager
async def trusting(folder: Path, provider: OpenIdProvider, **changes: Any) -> AsyncIterator[Api]:
    said = {"auth_oidc_issuer": provider.issuer, "auth_oidc_audience": AUDIENCE, **changes}
    async with api_in_process(folder, more_accounts=GROUPS, **said) as api:
        yield api


async def trade(api: Api, token: str) -> httpx.Response:
    return await api.nobody.post("/identity/token", data={"apikey": token})


async def jobs(api: Api, authorization: str, path: str = "/api/v1/jobs") -> httpx.Response:
    return await api.nobody.get(path, headers={"Authorization": authorization})


async def test_a_token_is_traded_or_shown_each_time(tmp_path: Path, provider: OpenIdProvider) -> None:
    async with trusting(tmp_path, provider) as api:
        token = provider.token(groups=["students"], exp=int(time.time()) + 100)
        answer = await trade(api, token)
        assert answer.status_code == 200, answer.text
        assert 90 <= answer.json()["expires_in"] <= 100
        assert (await jobs(api, f"Bearer {answer.json()['access_token']}")).status_code == 200
        assert (await jobs(api, f"apikey {token}")).status_code == 200
        assert (await jobs(api, f"apikey {token}", "/api/v1/admin/jobs")).status_code == 403
        staff = provider.token("ada", groups=["staff"])
        assert (await jobs(api, f"apikey {staff}", "/api/v1/admin/jobs")).status_code == 200
        # A token of the server's own is still one.
        assert (await api.alice.get("/jobs")).status_code == 200


async def test_limits_are_those_of_the_group(tmp_path: Path, provider: OpenIdProvider) -> None:
    async with trusting(tmp_path, provider) as api:
        headers = {"Authorization": f"apikey {provider.token(groups=['students'])}"}
        found = await api.nobody.post("/v3/resources/search", headers=headers)
        assert [item["name"] for item in found.json()["items"]] == ["students"]
        body = {"program_id": "sampler", "backend": BACKEND, "params": {"pubs": []}}
        sent = [await api.nobody.post("/api/v1/jobs", headers=headers, json=body) for _ in range(2)]
        assert [answer.status_code for answer in sent] == [200, 429]
        assert "Instance students of account oidc.alice has 1 queued jobs" in sent[1].text


async def test_who_is_in_no_group_is_refused_and_the_audit_stream_says_so(
    tmp_path: Path, provider: OpenIdProvider, caplog: pytest.LogCaptureFixture
) -> None:
    async with trusting(tmp_path, provider) as api:
        token = provider.token("mallory", groups=["choir"])
        assert (await trade(api, token)).status_code == 400
        assert (await jobs(api, f"apikey {token}")).status_code == 401
        await trade(api, provider.token(groups=["students"]))
    told = [record.message for record in caplog.records if record.name == NAME]
    assert any("sign-in refused" in line and "oidc.mallory" in line for line in told)
    assert any("sign-in: account oidc.alice" in line for line in told)
    assert token not in caplog.text


async def test_an_issuer_that_is_away_is_503_and_no_failure_of_who_signs_in(
    tmp_path: Path, provider: OpenIdProvider
) -> None:
    async with trusting(tmp_path, provider, sign_in_failures_per_minute=5) as api:
        provider.broken = True
        for number in range(20):
            token = provider.token(f"user-{number}", groups=["students"])
            answers = [await trade(api, token), await jobs(api, f"apikey {token}")]
            assert [answer.status_code for answer in answers] == [503, 503]
            assert answers[0].headers["Retry-After"] == "1"
        provider.broken = False
        assert (await trade(api, token)).status_code == 200


async def test_guesses_are_slowed_down_and_who_was_right_before_is_not(
    tmp_path: Path, provider: OpenIdProvider
) -> None:
    async with trusting(tmp_path, provider, sign_in_failures_per_minute=5) as api:
        known, new = provider.token("known", groups=["students"]), provider.token("new", groups=["students"])
        assert (await trade(api, known)).status_code == 200
        wrong = [await trade(api, provider.token(f"user-{number}", aud="another")) for number in range(8)]
        assert [answer.status_code for answer in wrong] == [400] * 5 + [429] * 3
        # However long it is: to ask costs more than to look.
        assert (await trade(api, new)).status_code == 429
        assert (await trade(api, known)).status_code == 200
        assert (await api.alice.get("/jobs")).status_code == 429


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"auth_oidc_issuer": "https://id.example.org"}, "QRS_AUTH_OIDC_AUDIENCE is missing"),
        ({"auth_kubernetes_audience": "https://lab.example.org"}, "QRS_AUTH_KUBERNETES_NAMESPACES is missing"),
        (
            {"auth_jupyterhub_url": "http://hub:8081/hub/api", "auth_ca": Path("missing.pem")},
            r"QRS_AUTH_CA: missing\.pem cannot be read",
        ),
    ],
    ids=["no audience", "no namespaces", "no authorities"],
)
def test_half_of_what_is_needed_is_said_at_the_start(settings: dict[str, Any], problem: str) -> None:
    with pytest.raises(StartupError, match=problem):
        issuers_of(Settings(**settings))


@pytest.mark.parametrize(
    ("name", "value", "problem"),
    [
        ("auth_oidc_issuer", "http://id.example.org", "is not https"),
        ("auth_oidc_issuer", "id.example.org", "is no address"),
        ("auth_oidc_issuer", "https://me:secret@id.example.org", "without a user"),
        ("auth_kubernetes_url", "http://10.0.0.1", "is not https"),
        ("auth_oidc_algorithms", "HS256", "'HS256' is none of"),
        ("auth_oidc_algorithms", "none", "'none' is none of"),
        ("auth_oidc_algorithms", "", "at least 1"),
        ("auth_recheck", "2h", "at most 1h"),
    ],
)
def test_settings_that_let_in_others_are_refused(name: str, value: str, problem: str) -> None:
    with pytest.raises(StartupError, match=f"QRS_{name.upper()}.*{problem}"):
        Settings.load(**{name: value})
