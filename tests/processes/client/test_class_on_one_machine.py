"""A class on one machine: who waits for whom, whose jobs are held, and what ends a run; with the real client."""

import re
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest
from qiskit import QuantumCircuit
from qiskit_ibm_runtime.executor_sampler import Sampler

from kit.server.cluster_processes import Plugins, wait_until
from kit.server.http_jobs import end_of, long_circuit, signed_in, submission, submit, submit_named
from kit.server.server_process import ServerProcess, StartServer
from qiskit_runtime_server.client import connect

IDEAL = "fake_quantum_sim@aer"
# A job that ends with its run only.
HELD = "held class"
ROLES = '[accounts.ada]\nrole = "admin"\n'
NAMES = ("ada", "ann", "bob")
SHORT_SECONDS = 3
# The most that it takes to end a worker and to fork another, on a machine that has other work.
REPLACED_SECONDS = 6

SignIn = Callable[[ServerProcess, str], httpx.Client]


@pytest.fixture
def tokens(tmp_path: Path) -> Path:
    folder = tmp_path / "tokens"
    folder.mkdir()
    for name in NAMES:
        (folder / name).write_text(name)
    (folder / "accounts.toml").write_text(ROLES)
    return folder


@pytest.fixture
def sign_in() -> Iterator[SignIn]:
    with ExitStack() as stack:
        yield lambda server, name: stack.enter_context(signed_in(server.url, name))


def heavy() -> QuantumCircuit:
    """Return a circuit that takes minutes, in 256 MiB."""
    return long_circuit(layers=1000, num_qubits=24)


def endless() -> QuantumCircuit:
    """Return a circuit whose loop never ends, so that nobody can tell before how long it takes."""
    circuit = QuantumCircuit(24, 24)
    with circuit.while_loop((circuit.clbits[0], 0)):
        for qubit in range(24):
            circuit.rx(0.1, qubit)
            circuit.cx(qubit, (qubit + 1) % 24)
    circuit.measure(range(24), range(24))
    return circuit


@pytest.mark.slow
def test_a_bell_circuit_does_not_wait_behind_six_heavy_jobs_of_another(
    start_server: StartServer, tokens: Path, sign_in: SignIn
) -> None:
    server = start_server(f"--tokens={tokens}", "--executors=aer=2", QRS_SHORT_JOB=str(SHORT_SECONDS))
    ann, ada = sign_in(server, "ann"), sign_in(server, "ada")
    # All that takes time of its own comes first, so that the Bell circuit meets a heavy job in each slot.
    sampler, body = Sampler(connect(server.url, "bob").backend(IDEAL)), submission(heavy(), backend=IDEAL)
    jobs = [ann.post("/jobs", json=body).raise_for_status().json()["id"] for _ in range(6)]
    wait_until(lambda: running(ann, jobs) == 2)
    assert set(sampler.run([bell()], shots=100).result()[0].data.meas.get_counts()) == {"00", "11"}
    # As the page says: the rest of a trial in the slot for short jobs, and one turn of each account that waits.
    waits = re.findall(r"started: account bob, .* waited ([\d.]+) s", "".join(server.output))
    assert [float(seconds) < 2 * (SHORT_SECONDS + REPLACED_SECONDS) for seconds in waits] == [True], waits
    states = [ann.get(f"/jobs/{job}").json()["status"] for job in jobs]
    assert states.count("Running") >= 1
    assert set(states) <= {"Running", "Queued"}
    assert ada.post("/admin/accounts/ann/cancel").raise_for_status().json() == {"cancelled": 6, "more": False}


def running(client: httpx.Client, jobs: list[str]) -> int:
    return [client.get(f"/jobs/{job}").json()["status"] for job in jobs].count("Running")


def bell() -> QuantumCircuit:
    circuit = QuantumCircuit(2)
    circuit.h(0)
    circuit.cx(0, 1)
    circuit.measure_all()
    return circuit


@pytest.mark.slow
def test_what_an_account_may_take_bounds_its_runs_and_holds_its_jobs(
    start_server: StartServer, plugins: Plugins, tokens: Path, sign_in: SignIn
) -> None:
    def grant(**limits: float) -> None:
        lines = [f"{name} = {value}" for name, value in limits.items()]
        (tokens / "accounts.toml").write_text(ROLES + "\n".join(["[accounts.ann]", *lines]))

    grant(seconds_per_job=2)
    server = start_server(f"--tokens={tokens}", "--executors=aer=1", "--executors=counted=1", **plugins.environment)
    ann, ada = sign_in(server, "ann"), sign_in(server, "ada")
    state = end_of(ann, submit(ann, endless(), backend=IDEAL), seconds=120)["state"]
    assert (state["status"], state["reason_code"]) == ("Failed", 1305)
    assert "seconds_per_job of account ann" in state["reason"]
    state = end_of(ann, submit_named(ann, HELD, cost=1), seconds=120)["state"]
    assert "max_execution_time" in state["reason"]

    used = ann.get("/instances/usage").json()["usage_consumed_seconds"]
    grant(seconds_per_day=used + 4)
    time.sleep(3)
    jobs = [submit_named(ann, HELD), submit_named(ann, "flip")]
    reason = end_of(ann, jobs[0], seconds=120)["state"]["reason"]
    assert "took longer" in reason
    assert "left of seconds_per_day" in reason
    held = wait_for_reason(ann, jobs[1])
    assert held["status"] == "Queued"
    assert "used up" in held["state"]["reason"]
    # The job is told first, and then its log.
    wait_until(lambda: "Held: " in ann.get(f"/jobs/{jobs[1]}/logs").text)
    (tokens / "ann").rename(tokens.parent / "ann")
    [listed] = ada.get("/admin/jobs", params={"account": "ann", "state": "Queued"}).json()["jobs"]
    assert (listed["id"], listed["started"]) == (jobs[1], None)
    wait_until(lambda: "account ann is not there any more" in "".join(server.output))
    assert ada.get(f"/jobs/{jobs[1]}").json()["status"] == "Queued"
    (tokens.parent / "ann").rename(tokens / "ann")
    grant(seconds_per_day=1000)
    assert end_of(ada, jobs[1], seconds=60)["status"] == "Completed"


def wait_for_reason(client: httpx.Client, job_id: str) -> dict[str, Any]:
    """Return a job once it says why it is held."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        job: dict[str, Any] = client.get(f"/jobs/{job_id}").json()
        if job["state"]["reason"]:
            return job
        time.sleep(0.1)
    raise AssertionError(f"job {job_id} is not held: {job['state']}")
