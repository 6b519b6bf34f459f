"""Accounts, their instances and what admins may do: over HTTP, against a real server process."""

import json
import math
import os
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import pytest
from ibm_cloud_sdk_core.authenticators import IAMAuthenticator
from ibm_platform_services import ResourceControllerV2  # type: ignore[import-untyped]
from qiskit import QuantumCircuit
from qiskit_ibm_runtime import QiskitRuntimeService
from qiskit_ibm_runtime.exceptions import IBMRuntimeError
from qiskit_ibm_runtime.executor_sampler import Sampler

from kit.server.cluster_processes import wait_until
from kit.server.http_jobs import circuit_of, end_of, signed_in, submission, submit
from kit.server.server_process import NO_EXECUTOR, StartServer, running_server
from qiskit_runtime_server.client import connect

FILE = """
[accounts.ada]
role = "admin"

[accounts.bob]
queued = 2
# Less than any run takes, on any machine.
seconds_per_day = 0.0001

[accounts.carol]
qubits = 2

[[accounts.walker.instances]]
name = "research"

[[accounts.walker.instances]]
name = "teaching"

[[accounts.alice.instances]]
name = "research"
plan = "premium"

[[accounts.alice.instances]]
name = "teaching"
plan = "open"
"""
TEACHING = "crn:v1:bluemix:public:quantum-computing:us-east:a/alice:teaching::"
NAMES = ("ada", "alice", "bob", "carol", "revoked", "walker")


def written(folder: Path) -> Path:
    """Return the folder with a token for each account."""
    folder.mkdir()
    for name in NAMES:
        (folder / name).write_text(f"{name}-1")
    (folder / "accounts.toml").write_text(FILE)
    return folder


@pytest.fixture(scope="module")
def tokens(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return written(tmp_path_factory.mktemp("accounts") / "tokens")


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory, tokens: Path) -> Iterator[str]:
    """A server that all tests share: each leaves it without unfinished jobs, or asks for accounts of its own only."""
    with running_server(tmp_path_factory.mktemp("data"), "--executors=aer=1", f"--tokens={tokens}") as server:
        yield server.url


@pytest.fixture
def ada(url: str) -> Iterator[httpx.Client]:
    with signed_in(url, "ada-1") as client:
        yield client


@pytest.fixture
def bob(url: str) -> Iterator[httpx.Client]:
    with signed_in(url, "bob-1") as client:
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
    assert [found.job_id() for found in service.jobs(instance="teaching", limit=1)] == [job]
    refused = message_of(alice.get("/jobs", headers={"Service-CRN": TEACHING.replace("teaching", "default")}), 404)
    assert "a/alice:teaching" in refused


def test_an_admin_sees_and_cancels_everybodys_jobs_and_others_do_not(
    ada: httpx.Client, alice: httpx.Client, bob: httpx.Client
) -> None:
    before = ada.get("/admin/jobs").json()["count"]
    first = submit(alice)
    assert end_of(ada, first)["account"] == "alice"
    assert ada.get(f"/jobs/{first}/results").json()["__type__"] == "PrimitiveResult"
    queued = [submit(alice, tags=["x"]) for _ in range(2)]
    assert ada.get("/jobs").json()["count"] == 0
    assert ada.get("/admin/jobs").json()["count"] == before + 3
    assert ada.get("/admin/jobs", params={"account": "alice", "tags": "x"}).json()["count"] == 2
    assert ada.get("/admin/jobs", params={"account": "walker", "tags": "x"}).json()["count"] == 0
    if ada.post(f"/jobs/{queued[1]}/cancel").status_code == 204:  # It may have been that fast.
        assert "ada" in alice.get(f"/jobs/{queued[1]}").json()["state"]["reason"]
    message_of(bob.get(f"/jobs/{first}"), 404)
    for path in ("/admin/jobs", "/admin/executors", "/admin/usage"):
        assert "bob is not an admin" in message_of(bob.get(path), 403)
    message_of(bob.patch("/admin/executors/aer", json={"draining": True}), 403)
    for job in queued:
        end_of(alice, job)


@pytest.fixture
def carol(url: str) -> Iterator[httpx.Client]:
    with signed_in(url, "carol-1") as client:
        yield client


def test_a_private_result_is_not_for_admins(ada: httpx.Client, alice: httpx.Client) -> None:
    job = submit(alice, private=True)
    assert "params" not in ada.get(f"/jobs/{job}").json()
    assert end_of(ada, job)["status"] == "Completed"
    assert "alice" in message_of(ada.get(f"/jobs/{job}/results"), 403)
    assert alice.get(f"/jobs/{job}/results").status_code == 200


def test_an_access_token_ends_soon_after_its_token_was_revoked(url: str, tokens: Path) -> None:
    with signed_in(url, "revoked-1") as client:
        assert client.get("/jobs").status_code == 200
        (tokens / "revoked").write_text("revoked-2")
        wait_until(lambda: client.get("/jobs").status_code == 401)


def test_an_executor_that_an_admin_drains_lets_jobs_wait_until_it_is_told_to_go_on(
    ada: httpx.Client, alice: httpx.Client
) -> None:
    assert ada.patch("/admin/executors/aer", json={"draining": True}).status_code == 204
    job = submit(alice)
    assert alice.get("/backends/fake_manila@aer/status").json()["status"] == "paused"
    [executor] = ada.get("/admin/executors").json()["executors"]
    assert executor.items() >= {"name": "aer", "queued": 1, "running": 0, "slots": 1, "draining": True}.items()
    assert alice.get(f"/jobs/{job}").json()["status"] == "Queued"
    assert ada.patch("/admin/executors/aer", json={"draining": False}).status_code == 204
    assert end_of(alice, job)["status"] == "Completed"
    assert alice.get("/backends/fake_manila@aer/status").json()["status"] == "active"
    assert "aer" in message_of(ada.patch("/admin/executors/nothing", json={"draining": True}), 404)
    message_of(ada.patch("/admin/executors/aer", json={}), 400)


def test_a_client_is_told_limit_and_use(url: str, ada: httpx.Client, bob: httpx.Client) -> None:
    ada.patch("/admin/executors/aer", json={"draining": True})
    jobs = [submit(bob) for _ in range(2)]
    refused = message_of(bob.post("/jobs", json=submission()), 429)
    assert "Instance default of account bob has 2 queued jobs; its limit is 2" in refused
    ada.patch("/admin/executors/aer", json={"draining": False})
    ended = end_of(bob, jobs[0])["state"]
    assert ended["status"] == "Failed"
    assert "what was left of seconds_per_day of account bob" in ended["reason"]
    # The other one waits for the next day.
    wait_until(lambda: "are used up" in bob.get(f"/jobs/{jobs[1]}").json()["state"].get("reason", ""))
    assert bob.get(f"/jobs/{jobs[1]}").json()["status"] == "Queued"
    assert bob.post(f"/jobs/{jobs[1]}/cancel").status_code == 204
    usage = bob.get("/instances/usage").json()
    assert usage["usage_limit_seconds"] == 1
    assert usage["usage_limit_reached"]
    seconds = bob.get(f"/jobs/{jobs[0]}/metrics").json()["usage"]["seconds"]
    assert usage["usage_consumed_seconds"] == math.ceil(seconds)
    service = connect(url, "bob-1")
    assert service.usage()["usage_remaining_seconds"] == 0
    backend = service.backend("fake_manila@aer")
    sampler = Sampler(mode=backend)
    with (
        pytest.warns(UserWarning, match="has met its usage limit"),
        pytest.raises(IBMRuntimeError, match=r"s of slot time today; its limit is 0.0001 s per day"),
    ):
        sampler.run([circuit_of()])
    bob.delete(f"/jobs/{jobs[0]}")
    [kept] = [used for used in ada.get("/admin/usage").json()["usage"] if used["account"] == "bob"]
    assert (kept["executor"], kept["jobs"]) == ("aer", 1)
    assert kept["seconds"] == pytest.approx(seconds)


def test_a_circuit_with_a_part_wider_than_the_limit_fails_and_says_so(carol: httpx.Client) -> None:
    chain = QuantumCircuit(3, 3)
    chain.cx(0, 1)
    chain.cx(1, 2)
    chain.measure(range(3), range(3))
    state = end_of(carol, submit(carol, chain))["state"]
    assert state["status"] == "Failed"
    assert "3 qubits that depend on each other; the limit of this account is 2" in state["reason"]


def test_the_clients_own_calls_find_workloads_and_instances(url: str) -> None:
    service = connect(url, "walker-1")
    with signed_in(url, "walker-1") as walker:
        # Of their instances the client has chosen one.
        walker.headers["Service-CRN"] = service.active_instance()
        job = submit(walker, tags=["of the walk"])
        end_of(walker, job)
        assert walker.get("/tags", params={"search": "the walk"}).json() == {"tags": ["of the walk"]}
        assert walker.get("/analytics/usage").json()["usage"] > 0
    rest = service._active_api_client._api
    found = rest.workloads_get(search="of the walk", status=["completed", "failed"], sort="-createdAt", limit=5)
    assert [(one["id"], one["mode"]) for one in found["workloads"]] == [(job, "job")]
    controller = ResourceControllerV2(authenticator=IAMAuthenticator("walker-1", url=url))
    controller.set_service_url(url)
    teaching = TEACHING.replace("alice", "walker")
    listed = controller.list_resource_instances(name="teaching").get_result()
    assert [resource["crn"] for resource in listed["resources"]] == [teaching]
    one = controller.get_resource_instance(teaching).get_result()
    assert one["name"] == "teaching"


def test_a_broken_file_changes_nothing_over_a_restart(start_server: StartServer, tmp_path: Path) -> None:
    tokens = written(tmp_path / "tokens")
    options = (NO_EXECUTOR, f"--tokens={tokens}")
    first = start_server(*options)
    with signed_in(first.url, "ada-1") as ada:
        ada.get("/admin/executors").raise_for_status()
    with closing(sqlite3.connect(f"file:{first.data_dir}/store.db?mode=ro", uri=True)) as database:
        wait_until(lambda: database.execute("SELECT 1 FROM kept_texts").fetchall() != [])
    assert first.stop() == 0
    (tokens / "accounts.toml").write_text(FILE + "[accounts.ada")
    second = start_server(*options)
    said = "".join(second.output)
    assert "that were valid last, since 20" in said, said
    with signed_in(second.url, "ada-1") as ada, signed_in(second.url, "carol-1") as carol:
        ada.get("/admin/executors").raise_for_status()
        assert message_of(carol.get("/admin/executors"), 403)


def test_an_account_is_removed_with_its_data_and_its_name_given_anew_finds_nothing(
    python: str, url: str, tokens: Path
) -> None:
    def accounts(*arguments: str) -> str:
        command = [python, "-m", "qiskit_runtime_server", "accounts", *arguments]
        environment = {**os.environ, "QRS_URL": url, "QRS_TOKEN": "ada-1"}
        done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
        return done.stdout

    [added] = json.loads(accounts("add", str(tokens), "dora", "--json"))
    wait_until(lambda: httpx.get(f"{url}/api/v1/jobs", headers=apikey(added["token"])).status_code == 200)
    with signed_in(url, added["token"]) as dora:
        ended = submit(dora)
        end_of(dora, ended)
        submit(dora, tags=["x"])
    said = accounts("remove", str(tokens), "dora", "--with-data")
    assert said.startswith("dora: 2 jobs are deleted;"), said
    [again] = json.loads(accounts("add", str(tokens), "dora", "--json"))
    wait_until(lambda: httpx.get(f"{url}/api/v1/jobs", headers=apikey(again["token"])).status_code == 200)
    with signed_in(url, again["token"]) as dora, signed_in(url, "ada-1") as ada:
        assert dora.get("/jobs").json()["count"] == 0
        assert ada.get(f"/jobs/{ended}").status_code == 404
        mine = submit(dora)
        assert end_of(dora, mine)["account"] == "dora"
    assert accounts("remove", str(tokens), "dora", "--end-jobs") == "dora: 0 jobs are ended.\n"
    [third] = json.loads(accounts("add", str(tokens), "dora", "--json"))
    wait_until(lambda: httpx.get(f"{url}/api/v1/jobs", headers=apikey(third["token"])).status_code == 200)
    with signed_in(url, third["token"]) as dora, signed_in(url, "ada-1") as ada:
        assert dora.get(f"/jobs/{mine}").status_code == 404
        assert ada.get(f"/jobs/{mine}").json()["account"] == "dora"


def apikey(token: str) -> dict[str, str]:
    return {"Authorization": f"apikey {token}"}
