"""What the server says to requests that it cannot accept, over HTTP, and that it goes on."""

import json
import zlib
from base64 import b64encode
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from qiskit import QuantumCircuit
from qiskit.transpiler import generate_preset_pass_manager
from qiskit_ibm_runtime.fake_provider import FakeMarrakesh

from kit.server.http_jobs import end_of, params_of, signed_in, submission, submit
from kit.server.server_process import NO_EXECUTOR, ServerProcess, StartServer


@pytest.fixture
def client(server: ServerProcess) -> Iterator[httpx.Client]:
    with signed_in(server.url, "bad-input") as client:
        yield client


@pytest.fixture
def stranger(server: ServerProcess) -> Iterator[httpx.Client]:
    with signed_in(server.url, "stranger") as client:
        yield client


def message_of(response: httpx.Response, status: int) -> str:
    """Return the message of an error, which must be in both shapes that clients read."""
    assert response.status_code == status, response.text
    error = response.json()
    assert error["error"]["code"] == status
    assert error["error"]["message"] == error["errors"][0]["message"]
    assert error["trace"]
    return str(error["error"]["message"])


@pytest.mark.parametrize(
    ("changes", "status", "words"),
    [
        ({"backend": "fake_nowhere@aer"}, 404, "fake_nowhere"),
        ({"backend": "fake_manila@gpu"}, 404, "executors here are aer"),
        ({"backend": "fake_manila"}, 404, "metadata@executor"),
        ({"backend": "../../etc/passwd@aer"}, 404, "metadata@executor"),
        ({"program_id": "teleport"}, 404, "there are sampler, estimator"),
        ({"session_id": "nothing"}, 404, "ession"),
        ({"calibration_id": "yesterday"}, 404, "yesterday"),
        ({"backend": 5}, 400, "Expected `str`"),
        ({"tags": "tag"}, 400, "Expected `array`"),
        ({"cost": -1}, 400, "clients call it max_execution_time"),
        ({"cost": 2**70}, 400, "cost"),
        ({"runtime": "x/y:z"}, 400, "x/y:z"),
        ({"tags": ["t" * 1000]}, 400, "256"),
        ({"tags": ["t"] * 100}, 400, "64"),
        ({"start_session": True, "session_id": "nothing"}, 400, "cannot be in another one"),
        ({"start_session": "maybe"}, 400, "start_session"),
        ({"start_session": "True", "session_time": 10**6}, 400, "over the limit"),
    ],
)
def test_a_job_that_makes_no_sense_is_refused(
    client: httpx.Client, changes: dict[str, Any], status: int, words: str
) -> None:
    assert words in message_of(client.post("/jobs", json=submission(**changes)), status)


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b"null", b"\xff\xfe", b'{"program_id":"sampler"}', b"[" * 50_000]
)
@pytest.mark.parametrize("path", ["/jobs", "/sessions"])
def test_malformed_json_is_refused(client: httpx.Client, path: str, content: bytes) -> None:
    assert "malformed" in message_of(client.post(path, content=content), 400)


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity"])
def test_a_number_that_is_not_finite_is_named(client: httpx.Client, number: str) -> None:
    body = json.dumps(submission(params={"pubs": ["c"], "options": {"precision": [1, float(number)], "a": "b"}}))
    message = message_of(client.post("/jobs", content=body.encode()), 400)
    assert f"precision is {number.removeprefix('-')}" in message


@pytest.mark.parametrize(
    "path", ["jobs/none", "jobs/none/results", "jobs/none/logs", "jobs/none/metrics", "sessions/none"]
)
def test_what_does_not_exist_is_not_found(client: httpx.Client, path: str) -> None:
    assert "none" in message_of(client.get(path), 404)


@pytest.mark.parametrize(
    "query",
    [
        "limit=-1",
        "limit=x",
        "offset=-1",
        "pending=perhaps",
        "created_after=soon",
        "sort=UP",
        "offset=100000000000000000000000",
        "limit=3000000000",
    ],
)
def test_a_filter_that_makes_no_sense_is_refused(client: httpx.Client, query: str) -> None:
    assert query.partition("=")[0] in message_of(client.get(f"/jobs?{query}"), 400)


def test_an_unknown_path_is_answered_in_the_same_shape(client: httpx.Client) -> None:
    assert "/api/v1/nothing/here" in message_of(client.get("/nothing/here"), 404)


@pytest.mark.parametrize("authorization", [None, "", "Bearer", "Bearer nonsense", "Basic YTpi", "apikey"])
def test_wrong_or_missing_credentials_are_refused(server: ServerProcess, authorization: str | None) -> None:
    headers = {} if authorization is None else {"Authorization": authorization}
    message_of(httpx.get(f"{server.url}/api/v1/backends", headers=headers), 401)


def test_a_wrong_key_is_refused_as_iam_does(start_server: StartServer, tmp_path: Path) -> None:
    (tmp_path / "tokens").mkdir()
    (tmp_path / "tokens" / "alice").write_text("right")
    url = start_server(NO_EXECUTOR, f"--tokens={tmp_path / 'tokens'}").url
    refused = httpx.post(f"{url}/identity/token", data={"apikey": "wrong"})
    assert (refused.status_code, refused.json()["errorCode"]) == (400, "BXNIM0415E")
    assert httpx.post(f"{url}/identity/token", data={"apikey": "right"}).status_code == 200
    assert httpx.get(f"{url}/api/v1/jobs", headers={"Authorization": "apikey right"}).status_code == 200
    message_of(httpx.get(f"{url}/api/v1/jobs", headers={"Authorization": "apikey wrong"}), 401)


def test_another_accounts_jobs_and_sessions_do_not_exist(client: httpx.Client, stranger: httpx.Client) -> None:
    job = submit(client)
    session = client.post("/sessions", json={"backend": "fake_manila@aer"}).json()["id"]
    paths = [
        f"/jobs/{job}",
        f"/jobs/{job}/results",
        f"/jobs/{job}/logs",
        f"/jobs/{job}/metrics",
        f"/sessions/{session}",
    ]
    for path in paths:
        message_of(stranger.get(path), 404)
    message_of(stranger.post(f"/jobs/{job}/cancel"), 404)
    message_of(stranger.delete(f"/jobs/{job}"), 404)
    message_of(stranger.put(f"/jobs/{job}/tags", json={"tags": []}), 404)
    message_of(stranger.patch(f"/sessions/{session}", json={"accepting_jobs": False}), 404)
    message_of(stranger.delete(f"/sessions/{session}/close"), 404)
    message_of(stranger.post("/jobs", json=submission(session_id=session)), 404)
    assert stranger.get("/jobs").json()["count"] == 0
    crn = {"Service-CRN": "crn:v1:bluemix:public:quantum-computing:us-east:a/somebody-else:default::"}
    message_of(stranger.get("/jobs", headers=crn), 404)


def test_params_over_the_limit_are_refused_before_they_are_read(start_server: StartServer) -> None:
    url = start_server("--executors=aer=1", QRS_MAX_PARAMS_BYTES="10000").url
    with signed_in(url) as client:
        assert "10000 bytes" in message_of(client.post("/jobs", content=b" " * 10_001), 413)
        chunks = (b" " * 1000 for _ in range(20))
        assert "10000 bytes" in message_of(client.post("/jobs", content=chunks), 413)
        assert submit(client)


def corrupt_qpy() -> dict[str, str]:
    return {"__type__": "QuantumCircuit", "__value__": b64encode(zlib.compress(b"QISKIT" + bytes(200))).decode()}


def bomb() -> dict[str, str]:
    compressor = zlib.compressobj(9)
    data = b"".join(compressor.compress(bytes(2**20)) for _ in range(512)) + compressor.flush()
    return {"__type__": "QuantumCircuit", "__value__": b64encode(data).decode()}


def too_new_qpy() -> dict[str, str]:
    header = b"QISKIT" + bytes([99, 9, 0, 0]) + bytes(100)
    return {"__type__": "QuantumCircuit", "__value__": b64encode(zlib.compress(header)).decode()}


@pytest.mark.parametrize(
    ("circuit", "words"),
    [(corrupt_qpy, "QPY"), (bomb, "MiB"), (too_new_qpy, "99"), (lambda: {"__type__": "settings"}, "")],
)
def test_hostile_circuits_fail_their_own_job_only(client: httpx.Client, circuit: Callable[[], Any], words: str) -> None:
    hostile = {"pubs": [[circuit(), [], 10]], "options": {}, "version": 2}
    job = end_of(client, submit(client, params=hostile))
    assert job["status"] == "Failed"
    assert words in job["state"]["reason"]
    assert job["state"]["reason_code"] == 1002
    assert end_of(client, submit(client))["status"] == "Completed"


@pytest.mark.parametrize(("shots", "words"), [(0, "shots"), (-1, "shots"), (10**9, "shots"), ("many", "shots")])
def test_impossible_numbers_of_shots_fail(client: httpx.Client, shots: object, words: str) -> None:
    circuit = QuantumCircuit(1, 1)
    circuit.measure(0, 0)
    job = end_of(client, submit(client, params=params_of(circuit, shots)))
    assert job["status"] == "Failed"
    assert words in job["state"]["reason"]


def test_a_circuit_that_is_not_isa_fails_and_says_which_gate(client: httpx.Client) -> None:
    circuit = QuantumCircuit(2, 1)
    circuit.h(0)
    circuit.measure(0, 0)
    job = end_of(client, submit(client, params=params_of(circuit)))
    assert job["status"] == "Failed"
    assert "h" in job["state"]["reason"]
    assert "ranspile" in job["state"]["reason"]


def test_a_circuit_that_cannot_fit_fails_and_says_how_much_it_would_need(start_server: StartServer) -> None:
    circuit = QuantumCircuit(40)
    for layer in range(40):
        circuit.ry(0.3 + layer, range(40))
        circuit.cx(range(layer % 2, 39, 2), range(layer % 2 + 1, 40, 2))
    circuit.measure_all()
    passes = generate_preset_pass_manager(backend=FakeMarrakesh(), optimization_level=0, layout_method="sabre")
    isa = passes.run(circuit)
    with signed_in(start_server("--executors=aer=1", QRS_MEMORY=str(2**30)).url) as client:
        job = end_of(client, submit(client, isa, backend="fake_marrakesh@aer"))
        assert job["status"] == "Failed"
        assert "16 TiB" in job["state"]["reason"]
        job = end_of(client, submit(client, circuit, backend="fake_quantum_sim@aer"))
        assert job["status"] == "Failed"
        assert "40" in job["state"]["reason"]


def test_nothing_leaks(client: httpx.Client, server: ServerProcess) -> None:
    def files() -> int:
        return len(list(Path(f"/proc/{server.process.pid}/fd").iterdir()))

    def work() -> None:
        for _ in range(20):
            end_of(client, submit(client))
            client.post("/jobs", content=b"{")

    # Once, for all connections to the database that there are at most.
    work()
    before = files()
    work()
    assert files() <= before + 2


@pytest.mark.parametrize("time", ["9999-12-31T23:59:59-14:00", "0001-01-01T00:00:00%2B14:00"])
def test_a_time_outside_of_the_calendar_is_refused(client: httpx.Client, time: str) -> None:
    assert "out of range" in message_of(client.get(f"/jobs?created_after={time}"), 400)


def test_a_session_is_for_one_backend_and_within_the_limit(client: httpx.Client) -> None:
    session = client.post("/sessions", json={"backend": "fake_manila@aer"}).json()["id"]
    refused = client.post("/jobs", json=submission(session_id=session, backend="fake_torino@aer"))
    assert "fake_manila@aer" in message_of(refused, 400)
    refused = client.post("/sessions", json={"backend": "fake_manila@aer", "max_ttl": 10**6})
    assert "28800 s" in message_of(refused, 400)


def test_a_reason_does_not_repeat_megabytes(client: httpx.Client) -> None:
    circuit = QuantumCircuit(1, 1)
    circuit.measure(0, 0)
    job = end_of(client, submit(client, params=params_of(circuit, "9" * 1_000_000)))
    assert job["status"] == "Failed"
    assert len(job["state"]["reason"]) <= 2000


def test_the_token_endpoint_reads_little(server: ServerProcess) -> None:
    message_of(httpx.post(f"{server.url}/identity/token", data={"apikey": "x" * 100_000}), 413)
