"""What IBM's C client sends, https://github.com/Qiskit/qiskit-ibm-runtime-c, and a C program that does the same."""

import json
import os
import re
import shutil
import struct
import subprocess
import zlib
from base64 import b64decode, b64encode
from collections.abc import Iterator
from math import pi
from pathlib import Path
from typing import Any

import httpx
import pytest

from kit import ROOT
from kit.server.http_jobs import end_of, signed_in
from kit.server.server_process import ServerProcess
from qiskit_runtime_server.client import environment

EXAMPLE = ROOT / "examples" / "jobs.c"
HEADERS = {"IBM-API-Version": "2025-06-01", "User-Agent": "qiskit-ibm-runtime-rs/0.0.1"}
# Each instruction: its class in Qiskit, its qubits, its bits, its parameters.
Instruction = tuple[str, list[int], list[int], list[float]]
BELL: list[Instruction] = [
    ("RZGate", [0], [], [pi / 2]),
    ("SXGate", [0], [], []),
    ("RZGate", [0], [], [pi / 2]),
    ("CXGate", [0, 1], [], []),
]
MEASURED: list[Instruction] = [*BELL, ("Measure", [0], [0], []), ("Measure", [1], [1], [])]


def qpy_of(num_qubits: int, num_clbits: int, instructions: list[Instruction]) -> bytes:
    """Return QPY 14 as the C client writes it, which leaves out more than Qiskit does.

    The circuit has no name and its qubits no register, each gate a control state of 1, and all sizes of the layout
    that there is not are -1.
    """
    metadata, register = b"{}", b"meas"
    file = struct.pack("!6sBBBBQcc", b"QISKIT", 14, 2, 1, 0, 1, b"p", b"q")
    sizes = num_qubits, num_clbits, len(metadata), 1, len(instructions), 0
    file += struct.pack("!HcHIIQIQI", 0, b"f", 8, *sizes) + struct.pack("!d", 0) + metadata
    file += struct.pack("!c?IH?", b"c", True, num_clbits, len(register), True) + register  # noqa: FBT003
    file += struct.pack(f"!{num_clbits}q", *range(num_clbits))
    file += struct.pack("!Q", 0)
    for name, qubits, clbits, parameters in instructions:
        counts = len(name), 0, len(parameters), len(qubits), len(clbits)
        file += struct.pack("!HHHIIBHqII", *counts, 0, 0, 0, int(name == "CXGate"), 1) + name.encode()
        bits = [(b"q", qubit) for qubit in qubits] + [(b"c", clbit) for clbit in clbits]
        file += b"".join(struct.pack("!cI", *bit) for bit in bits)
        file += b"".join(struct.pack("!cQ", b"f", 8) + struct.pack("<d", value) for value in parameters)
    return file + struct.pack("!H", 0) + struct.pack("!BiiiIi", 0, -1, -1, -1, 0, 0)


def circuit_of(num_clbits: int, instructions: list[Instruction]) -> dict[str, str]:
    qpy = zlib.compress(qpy_of(5, num_clbits, instructions))
    return {"__type__": "QuantumCircuit", "__value__": b64encode(qpy).decode()}


@pytest.fixture(scope="module")
def client(server: ServerProcess) -> Iterator[httpx.Client]:
    with signed_in(server.url, "c") as client:
        client.headers.update(HEADERS)
        yield client


def run(client: httpx.Client, program: str, pub: object, **params: Any) -> dict[str, Any]:
    """Send a job as the client does, and return what it reads of the only pub."""
    job = {"program_id": program, "backend": "fake_manila@aer", "version": 2, "params": {"pubs": [pub], **params}}
    job_id = client.post("/jobs", json=job).raise_for_status().json()["id"]
    ended = end_of(client, job_id)
    assert ended["status"] == "Completed", ended
    (result,) = client.get(f"/jobs/{job_id}/results").json()["results"]
    data: dict[str, Any] = result["data"]
    return data


@pytest.mark.parametrize(("shots", "number"), [(1000, 1000), (None, 4096)])
def test_a_pub_of_its_sampler_is_a_circuit(client: httpx.Client, shots: int | None, number: int) -> None:
    samples = run(client, "sampler", circuit_of(2, MEASURED), shots=shots, version=2)["meas"]["samples"]
    assert len(samples) == number
    # The device errs: most shots are right.
    assert samples.count("0x0") + samples.count("0x3") > 0.8 * number


@pytest.mark.parametrize("others", [{}, {"precision": None, "support_qiskit": None}])
def test_a_pub_of_its_estimator_is_a_circuit_and_an_observable(client: httpx.Client, others: dict[str, None]) -> None:
    pub = [circuit_of(0, BELL), {"IIIZZ": 0.5, "IIIXX": 0.5}]
    data = run(client, "estimator", pub, resilience_level=1, version=2, **others)
    assert data["evs"] == pytest.approx(1, abs=0.15)
    # It reads nothing else in there.
    assert all(isinstance(value, float) for value in data.values())


def test_it_finds_what_it_needs_of_instances_and_backends(server: ServerProcess, client: httpx.Client) -> None:
    form = {"grant_type": "urn:ibm:params:oauth:grant-type:apikey", "apikey": "c"}
    access = httpx.post(f"{server.url}/identity/token", data=form).raise_for_status().json()["access_token"]
    search = {"query": "service_name:quantum-computing", "fields": ["crn", "service_plan_unique_id", "name", "doc"]}
    bearer = {"Authorization": f"Bearer {access}"}
    found = httpx.post(f"{server.url}/v3/resources/search", params={"limit": 100}, json=search, headers=bearer).json()
    (instance,) = [item for item in found["items"] if "extensions" in item["doc"]]
    crn = {"Service-CRN": instance["crn"]}
    devices = client.get("/backends", headers=crn).raise_for_status().json()["devices"]
    assert min(devices, key=lambda device: device["queue_length"])["name"]
    properties = client.get("/backends/fake_manila@aer/properties", headers=crn).json()
    assert client.get("/backends/fake_manila@aer/configuration", headers=crn).json()["n_qubits"] == 5
    lengths = [
        value["unit"] for gate in properties["gates"] for value in gate["parameters"] if value["name"] == "gate_length"
    ]
    # It reads no other unit.
    assert set(lengths) == {"ns"}


def test_the_example_has_the_circuits_of_the_client() -> None:
    text = EXAMPLE.read_text()
    for name, num_clbits, instructions in (("MEASURED", 2, MEASURED), ("BELL", 0, BELL)):
        found = re.search(rf"{name}\[\] =((?:\s+\"[^\"]+\")+);", text)
        assert found is not None
        written = "".join(re.findall(r'"([^"]+)"', found[1]))
        assert zlib.decompress(b64decode(written)) == qpy_of(5, num_clbits, instructions)


def test_the_example_runs(server: ServerProcess, tmp_path: Path) -> None:
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("there is no C compiler")
    header = [compiler, "-fsyntax-only", "-include", "curl/curl.h", "-x", "c", os.devnull]
    if subprocess.run(header, capture_output=True, check=False).returncode != 0:
        pytest.skip("curl/curl.h is not there (Debian: libcurl4-openssl-dev)")
    strict = ["-std=c99", "-Wall", "-Wextra", "-Wpedantic", "-Werror"]
    subprocess.run([compiler, *strict, EXAMPLE, "-lcurl", "-o", tmp_path / "jobs"], check=True)
    env = {**os.environ, **environment(server.url, "a token of C")}
    done = subprocess.run([tmp_path / "jobs"], env=env, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    sampler, samples, estimator, values = done.stdout.splitlines()
    assert [line.split()[0] for line in (sampler, estimator)] == ["sampler", "estimator"]
    assert [line.split()[-1] for line in (sampler, estimator)] == ["Completed", "Completed"]
    assert len(json.loads(samples)["results"][0]["data"]["meas"]["samples"]) == 1000
    assert json.loads(values)["results"][0]["data"]["evs"] == pytest.approx(1, abs=0.15)
