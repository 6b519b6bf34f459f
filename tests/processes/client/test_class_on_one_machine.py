"""A class on one machine: who waits for whom, whose jobs are held, and what ends a run; with the real client."""

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest
from qiskit import QuantumCircuit
from qiskit_ibm_runtime.executor_sampler import Sampler

from kit.server.http_jobs import long_circuit, signed_in, submit, when
from kit.server.server_process import ServerProcess, StartServer
from qiskit_runtime_server.client import connect

IDEAL = "fake_quantum_sim@aer"
ROLES = '[accounts.ada]\nrole = "admin"\n'
NAMES = ("ada", "ann", "bob")

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
    return long_circuit(num_qubits=24)


def bell_counts(url: str, name: str) -> dict[str, int]:
    """Run a Bell circuit as a student does, and return the counts."""
    bell = QuantumCircuit(2)
    bell.h(0)
    bell.cx(0, 1)
    bell.measure_all()
    backend = connect(url, name).backend(IDEAL)
    counts: dict[str, int] = Sampler(backend).run([bell], shots=100).result()[0].data.meas.get_counts()
    return counts


@pytest.mark.slow
def test_a_bell_circuit_does_not_wait_behind_six_heavy_jobs_of_another(
    start_server: StartServer, tokens: Path, sign_in: SignIn
) -> None:
    server = start_server(f"--tokens={tokens}", QRS_SHORT_JOB="3")
    ann, ada = sign_in(server, "ann"), sign_in(server, "ada")
    jobs = [submit(ann, heavy(), backend=IDEAL) for _ in range(6)]
    when(ann, jobs[0], {"Running"})
    begin = time.monotonic()
    assert set(bell_counts(server.url, "bob")) == {"00", "11"}
    # Two slots: in one a heavy job may be tried for 3 s, and the client asks once a second or so.
    assert time.monotonic() - begin < 45
    states = [ann.get(f"/jobs/{job}").json()["status"] for job in jobs]
    assert states.count("Running") >= 1
    assert set(states) <= {"Running", "Queued"}
    assert ada.post("/admin/accounts/ann/cancel").raise_for_status().json() == {"cancelled": 6, "more": False}
