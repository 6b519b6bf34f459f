"""The unmodified client signs in with tokens that others have issued, and runs a job."""

import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from qiskit_ibm_runtime.executor_sampler import Sampler

from kit.kubernetes.client import eventually
from kit.server.client_environments import EnvironmentUnavailableError, python_with, without_environment
from kit.server.http_jobs import circuit_of
from kit.server.jupyter_hub import JupyterHub, jupyter_hub
from kit.server.openid_provider import AUDIENCE, OpenIdProvider, openid_provider
from kit.server.server_process import NO_EXECUTOR, StartServer
from qiskit_runtime_server.client import connect

SCOPE = "access:services!service=qiskit-runtime-server"
GROUPS = """
[groups.students]
members = ["oidc:students", "jupyterhub:students"]
qubits = 3
"""


@pytest.fixture
def tokens(tmp_path: Path) -> Path:
    folder = tmp_path / "tokens"
    folder.mkdir()
    (folder / "accounts.toml").write_text(GROUPS)
    return folder


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have what `connect` sets put back afterwards."""
    for name in ("IAM_URL", "GLOBAL_SEARCH_URL", "GLOBAL_CATALOG_URL"):
        monkeypatch.setenv(name, "")


@pytest.fixture
def provider() -> Iterator[OpenIdProvider]:
    with openid_provider() as served:
        yield served


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[JupyterHub]:
    try:
        python = python_with("jupyterhub")
    except EnvironmentUnavailableError as error:
        without_environment(error)
    with jupyter_hub(python, tmp_path) as running:
        yield running


def runs_a_job(url: str, token: str) -> str:
    """Run a job with the client, and return whose it is."""
    service = connect(url, token)
    assert [instance["name"] for instance in service.instances()] == ["students"]
    job = Sampler(service.backend("fake_manila@aer")).run([circuit_of()], shots=10)
    assert job.result()[0].data.c.get_counts()["1"] >= 5
    return str(service.active_instance()).split(":a/")[1].split(":")[0]


def status(url: str, token: str) -> int:
    return httpx.post(f"{url}/identity/token", data={"apikey": token}, timeout=30).status_code


def test_a_user_of_an_openid_provider_runs_a_job(
    start_server: StartServer, provider: OpenIdProvider, tokens: Path
) -> None:
    server = start_server(
        "--executors=aer=1",
        f"--tokens={tokens}",
        QRS_AUTH_OIDC_ISSUER=provider.issuer,
        QRS_AUTH_OIDC_AUDIENCE=AUDIENCE,
    )
    assert runs_a_job(server.url, provider.token(groups=["students"])) == "oidc.alice"
    for wrong in (provider.token(groups=["choir"]), provider.token(groups=["students"], aud="another")):
        assert status(server.url, wrong) == 400
    provider.rotate("second")
    assert runs_a_job(server.url, provider.token("bob", groups=["students"])) == "oidc.bob"


def test_a_user_of_a_jupyterhub_runs_a_job(start_server: StartServer, hub: JupyterHub, tokens: Path) -> None:
    server = start_server(
        "--executors=aer=1", f"--tokens={tokens}", QRS_AUTH_JUPYTERHUB_URL=hub.url, QRS_AUTH_RECHECK="5s"
    )
    scopes = [SCOPE, "read:users:groups!user=alice"]
    made = hub.token("alice", scopes)
    assert runs_a_job(server.url, made["token"]) == "hub.alice"
    # A token for another service of the hub is none for this one, and bob is in no group.
    assert status(server.url, hub.token("alice", [*scopes[1:], "access:services!service=another"])["token"]) == 400
    assert status(server.url, hub.token("bob", [SCOPE, "read:users:groups!user=bob"])["token"]) == 400
    assert status(server.url, "0123456789abcdef" * 2) == 400
    with httpx.Client(base_url=f"{server.url}/ui", timeout=30) as browser:
        assert browser.post("/sign-in", data={"token": made["token"]}).headers["location"] == "/ui/jobs"
        time.sleep(6)
        assert browser.get("/jobs").status_code == 200, "what the hub has said is over, and it was asked again"
        hub.revoke("alice", made)
        eventually(lambda: browser.get("/jobs").status_code == 303, seconds=30)
    eventually(lambda: status(server.url, made["token"]) == 400, seconds=30)


def test_a_server_that_asks_only_others_needs_no_folder(start_server: StartServer, provider: OpenIdProvider) -> None:
    server = start_server(NO_EXECUTOR, QRS_AUTH_OIDC_ISSUER=provider.issuer, QRS_AUTH_OIDC_AUDIENCE=AUDIENCE)
    assert status(server.url, provider.token()) == 200
    assert status(server.url, "anything") == 400
    assert "those of oidc" in "".join(server.output)
