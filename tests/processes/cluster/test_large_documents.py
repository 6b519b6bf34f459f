"""Params and results of 100 MB, over real HTTP, and what they cost the api."""

import base64
import io
import json
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from qiskit import QuantumCircuit
from qiskit.circuit import Parameter

from kit.faults.scripted_executor import large_bits
from kit.server.cluster_processes import Cluster, Plugins
from kit.server.http_jobs import end_of, params_of, signed_in, submit
from kit.server.server_process import ServerProcess, StartServer

MB = 1_000_000
# Base64 makes four bytes of three.
SHOTS = 75 * MB
ROWS = 9 * MB
# For what a request needs beside its document: a piece on its way in, one on its way out, and what the allocator keeps.
SLACK = 24 * MB
MEMORY = "2Gi"


def large_params() -> bytes:
    """Return sampler params of 96 MB: one circuit, many parameter values."""
    angle = Parameter("angle")
    circuit = QuantumCircuit(1, 1, name="flip")
    circuit.rz(angle, 0)
    circuit.measure(0, 0)
    params = params_of(circuit, 1)
    file = io.BytesIO()
    np.save(file, np.random.default_rng(1).random((ROWS, 1)))
    params["pubs"][0][1] = {
        "__type__": "ndarray",
        "__value__": base64.standard_b64encode(zlib.compress(file.getvalue(), 0)).decode(),
    }
    return json.dumps(params).encode()


def bits_of(result: Mapping[str, Any]) -> NDArray[np.uint8]:
    """Return the bits of the only register of a sampler's result."""
    array = result["__value__"]["pub_results"][0]["__value__"]["data"]["__value__"]["fields"]["c"]["__value__"]["array"]
    bits: NDArray[np.uint8] = np.load(io.BytesIO(zlib.decompress(base64.standard_b64decode(array["__value__"]))))
    return bits


@contextmanager
def at_most_copies(api: ServerProcess, copies: float, size: int) -> Iterator[None]:
    """Fail the test if the api takes more memory meanwhile than so many copies of a document."""
    before, _ = api.memory()
    api.forget_peak()
    yield
    taken = api.memory()[1] - before
    print(f"{taken / MB:.0f} MB for {size / MB:.0f} MB")
    assert taken < copies * size + SLACK, f"{taken / size:.2f} copies"


def run_large_jobs(api: ServerProcess) -> None:
    """Send large params and read them back, then get a large result, looking at the api's memory all the while."""
    params = large_params()
    body = b'{"program_id": "sampler", "backend": "fake_manila@counted", "params": ' + params + b"}"
    with signed_in(api.url) as client:
        end_of(client, submit(client, backend="fake_manila@counted"))  # What is imported late is there now.
        with at_most_copies(api, 2, len(body)):
            job_id = client.post("/jobs", content=body).raise_for_status().json()["id"]
            assert end_of(client, job_id, seconds=200)["status"] == "Completed"
        with at_most_copies(api, 0, len(body)):
            answer = client.get(f"/jobs/{job_id}").raise_for_status().content
        assert answer.endswith(b',"params":' + params + b"}")
        del answer, body, params

        circuit = QuantumCircuit(1, 1, name=f"large {SHOTS}")
        circuit.measure(0, 0)
        with at_most_copies(api, 2, SHOTS * 4 // 3):
            job_id = submit(client, circuit, backend="fake_manila@counted")
            assert end_of(client, job_id, seconds=200)["status"] == "Completed"
        with at_most_copies(api, 0, SHOTS * 4 // 3):
            result = client.get(f"/jobs/{job_id}/results").raise_for_status().content
    assert len(result) > 100 * MB
    assert np.array_equal(bits_of(json.loads(result)), large_bits(SHOTS))


@pytest.mark.slow
@pytest.mark.thorough
def test_100_mb_pass_through_a_server_of_one_process(start_server: StartServer, plugins: Plugins) -> None:
    run_large_jobs(start_server("--executors=counted=1", QRS_MEMORY=MEMORY, **plugins.environment))


@pytest.mark.slow
@pytest.mark.parametrize("on", [pytest.param("sqlite", marks=pytest.mark.thorough), "postgresql"])
def test_100_mb_pass_through_an_api_and_an_executor_service(
    cluster: Cluster, request: pytest.FixtureRequest, on: str
) -> None:
    database = request.getfixturevalue("shared_store") if on == "postgresql" else {}
    run_large_jobs(cluster.api(cluster.executor(f"--memory={MEMORY}").url, **database))
