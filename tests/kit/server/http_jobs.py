"""Jobs over plain HTTP, for tests of what the Python client would not send, or would hide."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
from qiskit import QuantumCircuit
from qiskit_ibm_runtime import RuntimeEncoder

from kit import trusted

ENDED = {"Completed", "Failed", "Cancelled"}


@contextmanager
def signed_in(url: str, token: str = "tester") -> Iterator[httpx.Client]:  # noqa: S107 - any token will do
    """Return a client of the API that has traded `token` for an access token."""
    with httpx.Client(base_url=f"{url}/api/v1", timeout=60, verify=trusted(url)) as client:
        access = client.post(f"{url}/identity/token", data={"apikey": token}).json()["access_token"]
        client.headers["Authorization"] = f"Bearer {access}"
        yield client


def circuit_of(name: str = "flip") -> QuantumCircuit:
    """Return an ISA circuit of fake_manila that gives 1."""
    circuit = QuantumCircuit(1, 1, name=name)
    circuit.x(0)
    circuit.measure(0, 0)
    return circuit


def long_circuit(layers: int = 400, num_qubits: int = 25) -> QuantumCircuit:
    """Return a circuit that keeps a simulator busy in one go: by default for minutes, in 0.5 GiB."""
    circuit = QuantumCircuit(num_qubits, num_qubits)
    for layer in range(layers):
        for qubit in range(num_qubits):
            circuit.rz(0.1 * layer, qubit)
            circuit.sx(qubit)
        for qubit in range(layer % 2, num_qubits - 1, 2):
            circuit.cx(qubit, qubit + 1)
    circuit.measure(range(num_qubits), range(num_qubits))
    return circuit


def params_of(circuit: object, shots: object = 10) -> dict[str, Any]:
    """Return sampler params with a circuit, or with anything in its place."""
    encoded = json.loads(json.dumps(circuit, cls=RuntimeEncoder))
    return {"pubs": [[encoded, [], shots]], "options": {}, "version": 2, "support_qiskit": True}


def submission(circuit: QuantumCircuit | None = None, **changes: Any) -> dict[str, Any]:
    """Return the body of a valid job, but for `changes`."""
    params = params_of(circuit or circuit_of())
    return {"program_id": "sampler", "backend": "fake_manila@aer", "params": params, **changes}


def submit(client: httpx.Client, circuit: QuantumCircuit | None = None, **changes: Any) -> str:
    """Submit a job and return its id."""
    return str(client.post("/jobs", json=submission(circuit, **changes)).raise_for_status().json()["id"])


def submit_named(client: httpx.Client, name: str, *, backend: str = "fake_manila@counted", **changes: Any) -> str:
    """Submit a job that does what its circuit's name says, and return its id."""
    return submit(client, circuit_of(name), backend=backend, **changes)


def end_of(client: httpx.Client, job_id: str, *, seconds: float = 60) -> dict[str, Any]:
    """Return the job once it has ended."""
    return when(client, job_id, ENDED, seconds=seconds)


def when(client: httpx.Client, job_id: str, states: set[str], *, seconds: float = 60) -> dict[str, Any]:
    """Return the job once it is in one of `states`."""
    began = time.monotonic()
    while (waited := time.monotonic() - began) < seconds:
        job: dict[str, Any] = client.get(f"/jobs/{job_id}", params={"exclude_params": "true"}).json()
        if job["status"] in states:
            return job
        time.sleep(min(0.1, 0.02 + waited / 50))
    raise AssertionError(f"job {job_id} is {job['status']} after {seconds} s, not {states}")
