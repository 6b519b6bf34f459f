"""The bodies of IBM's guides to its REST API, sent as curl sends them.

https://quantum.cloud.ibm.com/docs/guides/sampler-rest-api
https://quantum.cloud.ibm.com/docs/guides/estimator-rest-api
https://quantum.cloud.ibm.com/docs/guides/execution-modes-rest-api
"""

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from qiskit import QuantumCircuit, qasm3
from qiskit.circuit import Parameter
from qiskit.transpiler import generate_preset_pass_manager
from qiskit_ibm_runtime.fake_provider import FakeManilaV2

from kit.server.http_jobs import end_of, signed_in
from kit.server.server_process import ServerProcess

BACKEND = "fake_manila@aer"
OBSERVABLE = {"IIZII": 1, "XIZZZ": 2.3}
TWIRLING = {
    "enable_gates": True,
    "enable_measure": True,
    "num_randomizations": "auto",
    "shots_per_randomization": "auto",
    "strategy": "active-accum",
}
DECOUPLING = {
    "enable": True,
    "sequence_type": "XpXm",
    "extra_slack_distribution": "middle",
    "scheduling_method": "alap",
}
SESSION_OPTIONS = {
    "transpilation": {"optimization_level": 1},
    "twirling": {"enable_gates": True, "enable_measure": True},
}


@pytest.fixture(scope="module")
def client(server: ServerProcess) -> Iterator[httpx.Client]:
    with signed_in(server.url, "rest") as client:
        yield client


def transpiled(circuit: QuantumCircuit) -> QuantumCircuit:
    passes = generate_preset_pass_manager(optimization_level=1, backend=FakeManilaV2(), seed_transpiler=1)
    isa: QuantumCircuit = passes.run(circuit)
    return isa


@pytest.fixture(scope="module")
def resulting_qasm() -> str:
    text = """
    OPENQASM 3;
    include "stdgates.inc";
    qreg q[2];
    creg c[2];
    x q[0];
    cx q[0], q[1];
    c[0] = measure q[0];
    c[1] = measure q[1];
    """
    return str(qasm3.dumps(transpiled(qasm3.loads(text))))


@pytest.fixture(scope="module")
def parametrised() -> str:
    circuit = QuantumCircuit(2)
    circuit.rx(Parameter("theta"), 0)
    circuit.ry(Parameter("phi"), 1)
    circuit.cx(0, 1)
    circuit.measure_all()
    return str(qasm3.dumps(transpiled(circuit)))


def run(client: httpx.Client, program: str, pubs: list[Any], options: object = None, **body: Any) -> dict[str, Any]:
    """Send a job as the guides do, and return its result."""
    params = {"pubs": pubs, **({} if options is None else {"options": options}), **body.pop("params", {})}
    job = {"program_id": program, "backend": BACKEND, "params": params, **body}
    job_id = client.post("/jobs", json=job).raise_for_status().json()["id"]
    ended = end_of(client, job_id)
    assert ended["state"]["status"] == "Completed", ended
    answer = client.get(f"/jobs/{job_id}/results")
    assert answer.headers["content-type"].startswith("text/plain")
    result: dict[str, Any] = json.loads(answer.text)
    return result


class TestSampler:
    def test_each_pub_has_a_sample_for_each_shot(self, client: httpx.Client, resulting_qasm: str) -> None:
        result = run(client, "sampler", [[resulting_qasm], [resulting_qasm, None, 500]])
        first, second = (pub["data"]["c"] for pub in result["results"])
        assert (len(first["samples"]), len(second["samples"])) == (4096, 500)
        assert first["num_bits"] == 2
        # The device errs: most shots are right.
        assert second["samples"].count("0x3") > 400
        assert set(second["samples"]) <= {"0x0", "0x1", "0x2", "0x3"}
        assert [pub["metadata"]["shots"] for pub in result["results"]] == [4096, 500]
        assert result["metadata"]["version"] == 2
        (span, _) = result["metadata"]["execution"]["execution_spans"]
        assert span[2] == {"0": [[4096], [0, 1], [0, 4096]]}

    @pytest.mark.parametrize("options", [{"dynamical_decoupling": DECOUPLING}, {"twirling": TWIRLING}])
    def test_options_of_the_guide(self, client: httpx.Client, resulting_qasm: str, options: object) -> None:
        (pub,) = run(client, "sampler", [[resulting_qasm]], options)["results"]
        assert pub["data"]["c"]["samples"].count("0x3") > 3300

    @pytest.mark.parametrize("values", [[1, 2], {"theta": 1.57, "phi": 3.14}])
    def test_parameters_by_place_and_by_name(self, client: httpx.Client, parametrised: str, values: object) -> None:
        (pub,) = run(client, "sampler", [[parametrised, values, 500]])["results"]
        assert len(pub["data"]["meas"]["samples"]) == 500

    def test_bare_circuits_and_shots_of_all_pubs(self, client: httpx.Client, resulting_qasm: str) -> None:
        result = run(client, "sampler", [resulting_qasm, [resulting_qasm, None, 30]], params={"shots": 70})
        assert [len(pub["data"]["c"]["samples"]) for pub in result["results"]] == [70, 30]


class TestEstimator:
    def test_values_are_numbers(self, client: httpx.Client, resulting_qasm: str) -> None:
        (pub,) = run(client, "estimator", [[resulting_qasm, OBSERVABLE, None]])["results"]
        assert {"evs", "stds", "ensemble_standard_error"} <= pub["data"].keys()
        assert all(isinstance(value, float) for value in pub["data"].values())
        assert {"shots", "target_precision", "circuit_metadata", "resilience", "num_randomizations"} <= pub[
            "metadata"
        ].keys()

    @pytest.mark.parametrize(
        "options",
        [
            {
                "resilience": {
                    "measure_mitigation": True,
                    "zne_mitigation": True,
                    "zne": {"extrapolator": ["exponential", "linear"], "noise_factors": [1, 3, 5]},
                }
            },
            {"dynamical_decoupling": DECOUPLING},
            {"twirling": TWIRLING},
        ],
    )
    def test_options_of_the_guide(self, client: httpx.Client, resulting_qasm: str, options: object) -> None:
        (pub,) = run(client, "estimator", [[resulting_qasm, {"IIZII": 1}, None]], options)["results"]
        assert abs(abs(pub["data"]["evs"]) - 1) < 0.2
        assert pub["metadata"]["shots"] >= 4096

    def test_precision_of_all_pubs(self, client: httpx.Client, resulting_qasm: str) -> None:
        pubs = [[resulting_qasm, {"IIZII": 1}], [resulting_qasm, {"IIZII": 1}, None, 0.1]]
        result = run(client, "estimator", pubs, params={"precision": 0.05, "resilience_level": 0})
        assert [pub["metadata"]["shots"] for pub in result["results"]] == [400, 100]


class TestSessions:
    def test_jobs_of_the_guide_run_in_a_session(
        self, client: httpx.Client, resulting_qasm: str, parametrised: str
    ) -> None:
        body = {"backend": BACKEND, "mode": "dedicated"}
        session = client.post("/sessions", json=body).raise_for_status().json()["id"]
        ones = [{"IIIIZ": 1}, {"IIIZI": 1}, {"IIZII": 1}, {"IZIII": 1}]
        four = [[{"IIIIZ": 1}], [{"IIIZI": 1}], [{"IIZII": 1}], [{"IZIII": 1}]]
        shapes = []
        pubs: list[Any]
        for pubs in (
            [[resulting_qasm, ones]],
            [[parametrised, four, [[0.1, 0.2], [0.3, 0.4]]]],
            [[resulting_qasm, {"IIIIZ": 1}], [resulting_qasm, {"IIIZI": 1}]],
        ):
            result = run(client, "estimator", pubs, SESSION_OPTIONS, session_id=session)
            shapes.append(_shape(result["results"][0]["data"]["evs"]))
        assert shapes == [(4,), (4, 2), ()]
        for pubs, shape in (
            ([[resulting_qasm]], (4096,)),
            ([[parametrised, [[0, 1], [1, 2], [2, 3]]]], (3, 4096)),
            ([[parametrised, [0.1, 0.2]], [resulting_qasm, None, 100]], (4096,)),
        ):
            result = run(client, "sampler", pubs, SESSION_OPTIONS, session_id=session)
            (register,) = result["results"][0]["data"].values()
            assert _shape(register["samples"]) == shape
        closed = client.delete(f"/sessions/{session}/close")
        assert closed.is_success
        assert closed.text == ""

    def test_a_batch_is_a_mode_of_a_session(self, client: httpx.Client) -> None:
        body = {"backend": BACKEND, "instance": "hub1/group1/project1", "mode": "batch"}
        session = client.post("/sessions", json=body).raise_for_status().json()["id"]
        assert client.get(f"/sessions/{session}").json()["mode"] == "batch"

    @pytest.mark.parametrize(("said", "starts"), [("True", True), (True, True), ("False", False), (False, False)])
    def test_a_job_may_start_a_session(
        self,
        client: httpx.Client,
        resulting_qasm: str,
        said: object,
        starts: bool,  # noqa: FBT001
    ) -> None:
        job = {
            "program_id": "sampler",
            "backend": BACKEND,
            "hub": "hub1",
            "group": "group1",
            "project": "project1",
            "start_session": said,
            "session_time": 60,
            "params": {"pubs": [[resulting_qasm]], "version": 2},
        }
        answer = client.post("/jobs", json=job).raise_for_status().json()
        assert ("session_id" in answer) is starts
        if starts:
            session = client.get(f"/sessions/{answer['session_id']}").json()
            assert (session["backend_name"], session["max_ttl"]) == (BACKEND, 60)
            assert end_of(client, answer["id"])["session_id"] == answer["session_id"]


def _shape(values: object) -> tuple[int, ...]:
    return (len(values), *_shape(values[0])) if isinstance(values, list) else ()


def test_the_list_says_what_is_known_of_each_processor(client: httpx.Client) -> None:
    listed = client.get("/backends", headers={"IBM-API-Version": "2025-01-01"}).raise_for_status().json()["devices"]
    devices = {device["name"]: device for device in listed}
    assert devices["fake_marrakesh@aer"]["processor_type"] == {"family": "Heron", "revision": "2"}
    assert devices["fake_marrakesh@aer"]["clops"] == {"type": "hardware", "value": 195_000}
    assert devices["fake_armonk@aer"]["processor_type"]["revision"] == "1.2"
    assert all(isinstance(device["clops"]["value"], int) for device in listed if "clops" in device)
    assert not {"processor_type", "clops"} & devices["fake_quantum_sim@aer"].keys()
    assert {device["is_simulator"] for device in listed} == {False}
    names = client.get("/backends", headers={"IBM-API-Version": "2024-01-01"}).raise_for_status().json()["devices"]
    assert names == list(devices)


def test_a_job_that_asks_for_too_much_time_gets_what_there_is(client: httpx.Client, resulting_qasm: str) -> None:
    costs = []
    for said in ({"cost": 100_000}, {"cost": 20}, {}):
        job = {"program_id": "sampler", "backend": BACKEND, "params": {"pubs": [[resulting_qasm]]}, **said}
        job_id = client.post("/jobs", json=job).raise_for_status().json()["id"]
        costs.append(client.get(f"/jobs/{job_id}").json()["cost"])
    assert costs == [10_800, 20, 10_800]
