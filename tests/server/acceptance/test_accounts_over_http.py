"""Accounts, their instances and what admins may do: over HTTP, against a real server process."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from http_jobs import end_of, signed_in, submission, submit
from qiskit_ibm_runtime import QiskitRuntimeService
from server_process import StartServer

from qiskit_runtime_server.client import connect

FILE = """
[accounts.ada]
role = "admin"

[[accounts.alice.instances]]
name = "research"
plan = "premium"

[[accounts.alice.instances]]
name = "teaching"
plan = "open"
"""
TEACHING = "crn:v1:bluemix:public:quantum-computing:us-east:a/alice:teaching::"


@pytest.fixture
def tokens(tmp_path: Path) -> Path:
    folder = tmp_path / "tokens"
    folder.mkdir()
    for name in ("ada", "alice", "bob"):
        (folder / name).write_text(f"{name}-1")
    (folder / "accounts.toml").write_text(FILE)
    return folder


@pytest.fixture
def url(start_server: StartServer, tokens: Path) -> str:
    return start_server("--executor=aer=1", f"--tokens={tokens}").url


@pytest.fixture
def ada(url: str) -> Iterator[httpx.Client]:
    with signed_in(url, "ada-1") as client:
        yield client


@pytest.fixture
def alice(url: str) -> Iterator[httpx.Client]:
    with signed_in(url, "alice-1") as client:
        yield client


def message_of(response: httpx.Response, status: int) -> str:
    """Return the message of an error in the shape that clients print."""
    assert response.status_code == status, response.text
    error: dict[str, Any] = response.json()["error"]
    assert error["code"] == status
    return str(error["message"])


def test_a_client_finds_its_instances_and_sends_jobs_under_the_one_that_it_selects(
    url: str, alice: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = connect(url, "alice-1")
    assert {(item["name"], item["plan"]) for item in service.instances()} == {
        ("research", "premium"),
        ("teaching", "open"),
    }
    for name in ("IAM_URL", "GLOBAL_SEARCH_URL", "GLOBAL_CATALOG_URL"):
        monkeypatch.setenv(name, url)
    account = {"channel": "ibm_quantum_platform", "token": "alice-1", "url": f"{url}/experimental/api/v1"}
    chosen = QiskitRuntimeService(**account, instance="teaching")
    assert chosen.active_instance() == TEACHING
    assert chosen.usage()["instance_id"] == TEACHING
    job = alice.post("/jobs", json=submission(), headers={"Service-CRN": TEACHING}).json()["id"]
    assert alice.get(f"/jobs/{job}").json()["instance"] == TEACHING
    refused = message_of(alice.get("/jobs", headers={"Service-CRN": TEACHING.replace("teaching", "default")}), 404)
    assert "a/alice:teaching" in refused


def test_an_admin_sees_and_cancels_everybodys_jobs_and_others_do_not(
    url: str, ada: httpx.Client, alice: httpx.Client
) -> None:
    first = submit(alice)
    assert end_of(ada, first)["account"] == "alice"
    assert ada.get(f"/jobs/{first}/results").json()["__type__"] == "PrimitiveResult"
    queued = [submit(alice, tags=["x"]) for _ in range(2)]
    assert ada.get("/jobs").json()["count"] == 0
    assert ada.get("/admin/jobs").json()["count"] == 3
    assert ada.get("/admin/jobs", params={"account": "alice", "tags": "x"}).json()["count"] == 2
    assert ada.get("/admin/jobs", params={"account": "bob"}).json()["count"] == 0
    if ada.post(f"/jobs/{queued[1]}/cancel").status_code == 204:  # It may have been that fast.
        assert "ada" in alice.get(f"/jobs/{queued[1]}").json()["state"]["reason"]
    with signed_in(url, "bob-1") as bob:
        message_of(bob.get(f"/jobs/{first}"), 404)
        assert "bob is none" in message_of(bob.get("/admin/jobs"), 403)


def test_a_private_result_is_not_for_admins(ada: httpx.Client, alice: httpx.Client) -> None:
    job = submit(alice, private=True)
    assert "params" not in ada.get(f"/jobs/{job}").json()
    assert end_of(ada, job)["status"] == "Completed"
    assert "alice" in message_of(ada.get(f"/jobs/{job}/results"), 403)
    assert alice.get(f"/jobs/{job}/results").status_code == 200


def test_an_access_token_ends_two_seconds_after_its_token_was_revoked(alice: httpx.Client, tokens: Path) -> None:
    assert alice.get("/jobs").status_code == 200
    (tokens / "alice").write_text("alice-2")
    start = time.monotonic()
    while alice.get("/jobs").status_code != 401:
        assert time.monotonic() - start < 2
        time.sleep(0.05)
