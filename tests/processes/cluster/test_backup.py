"""Backing up beside a server that real clients submit to, and restoring elsewhere: no acknowledged job is missing."""

import subprocess
import sys
import threading
from collections.abc import Callable
from os import environ
from pathlib import Path
from uuid import uuid4

import pytest
from qiskit import QuantumCircuit
from qiskit_ibm_runtime import QiskitRuntimeService, SamplerV2

from kit.server.cluster_processes import shared_by_apis, wait_until
from kit.server.postgresql_server import PostgresqlServer
from kit.server.server_process import running_server
from qiskit_runtime_server.client import connect

CUSTOMERS = 3
BITS = 5
SHOTS = 20


def circuit_of(number: int) -> QuantumCircuit:
    """Return a circuit that gives a number."""
    circuit = QuantumCircuit(BITS, BITS)
    for bit in range(BITS):
        if number >> bit & 1:
            circuit.x(bit)
    circuit.measure(range(BITS), range(BITS))
    return circuit


class Customer(threading.Thread):
    """Submits jobs with the client until told to stop.

    Attributes:
        acknowledged: What each job gives, by its id.
    """

    def __init__(self, url: str, first: int, over: threading.Event) -> None:
        super().__init__(daemon=True)
        self.acknowledged: dict[str, int] = {}
        self._sampler = SamplerV2(connect(url, "customer").backend("fake_quantum_sim@aer"))
        self._first = first
        self._over = over

    def run(self) -> None:
        number = self._first
        while not self._over.is_set():
            number = (number + CUSTOMERS) % 2**BITS
            job = self._sampler.run([circuit_of(number)], shots=SHOTS)
            self.acknowledged[job.job_id()] = number


def command(*arguments: str, **environment: str) -> str:
    """Run the command line, which has to succeed, and return what it wrote to stderr and stdout."""
    done = subprocess.run(
        [sys.executable, "-m", "qiskit_runtime_server", *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
        env={**environ, **environment},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


def counts_of(service: QiskitRuntimeService, job_id: str) -> dict[str, int]:
    counts: dict[str, int] = service.job(job_id).result(timeout=240)[0].data.c.get_counts()
    return counts


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.thorough)])
def new_store(request: pytest.FixtureRequest) -> Callable[[], dict[str, str]]:
    """Return a function that makes an empty store, and returns the variables of what uses it."""
    if request.param == "sqlite":
        return dict
    server: PostgresqlServer = request.getfixturevalue("postgresql_server")
    return lambda: shared_by_apis(server.create(f"store_{uuid4().hex}"))


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.filterwarnings("ignore:The SamplerV2 class:DeprecationWarning")
def test_a_store_is_backed_up_under_load_and_restored_elsewhere(
    new_store: Callable[[], dict[str, str]], tmp_path: Path
) -> None:
    here, there, file = tmp_path / "here", tmp_path / "there", tmp_path / "backup.db"
    source, target = new_store(), new_store()
    over = threading.Event()
    with running_server(here, **source) as server:
        customers = [Customer(server.url, first, over) for first in range(CUSTOMERS)]
        for customer in customers:
            customer.start()
        wait_until(lambda: sum(len(customer.acknowledged) for customer in customers) >= 12, seconds=240)
        before = {job_id: number for customer in customers for job_id, number in customer.acknowledged.copy().items()}
        said = command("backup", str(file), f"--data-dir={here}", **source)
        assert f"to {file}" in said
        over.set()
        for customer in customers:
            customer.join(60)
        server.process.kill()
    assert "Restored" in command("restore", str(file), f"--data-dir={there}", **target)
    with running_server(there, **target) as server:
        service = connect(server.url, "customer")
        for job_id, number in before.items():
            assert counts_of(service, job_id) == {f"{number:0{BITS}b}": SHOTS}
        assert service.job(next(iter(before))).status() == "DONE"
        [after] = connect(server.url, "customer").jobs(limit=1, pending=False, descending=True)
        assert after.job_id() in {job_id for customer in customers for job_id in customer.acknowledged}
