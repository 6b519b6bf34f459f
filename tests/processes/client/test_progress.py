"""What `job.metrics()` says of jobs that take their time: how far one has come, and when others are about to start."""

import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest
from qiskit import QuantumCircuit
from qiskit.circuit import Parameter
from qiskit_ibm_runtime import QiskitRuntimeService, RuntimeJobV2, SamplerV2

from kit.server.server_process import running_server
from qiskit_runtime_server.client import connect

pytestmark = pytest.mark.filterwarnings("ignore:The Sampler.*:DeprecationWarning")

ROWS = 3000


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[QiskitRuntimeService]:
    with running_server(tmp_path_factory.mktemp("data"), QRS_EXECUTORS="aer=1") as server:
        yield connect(server.url, "ada")


def layers(number: int, num_qubits: int = 18) -> QuantumCircuit:
    """Return a circuit of which one parameter set takes about a tenth of a second, and not less on a busy machine."""
    angle = Parameter("a")
    circuit = QuantumCircuit(num_qubits, num_qubits)
    for layer in range(number):
        for qubit in range(num_qubits):
            circuit.rz(angle, qubit)
            circuit.sx(qubit)
        for qubit in range(layer % 2, num_qubits - 1, 2):
            circuit.cx(qubit, qubit + 1)
    circuit.measure(range(num_qubits), range(num_qubits))
    return circuit


def metrics_of(job: RuntimeJobV2, *, done: int) -> dict[str, Any]:
    """Return what a job's metrics say once it has done so many circuits."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        metrics: dict[str, Any] = job.metrics()
        if metrics["progress"] is not None and metrics["progress"]["done"] >= done:
            return metrics
        time.sleep(0.1)
    raise AssertionError(metrics)


def time_of(metrics: dict[str, Any], name: str) -> datetime:
    return datetime.fromisoformat(metrics[name])


def test_the_client_sees_how_far_a_job_is_and_when_the_next_one_starts(service: QiskitRuntimeService) -> None:
    sampler = SamplerV2(service.backend("fake_quantum_sim@aer"))
    job = sampler.run([(layers(20), np.linspace(0.1, 3, ROWS))], shots=10)
    queued = sampler.run([layers(1).assign_parameters([0.1])], shots=10)
    first = metrics_of(job, done=0)
    assert time_of(first, "estimated_completion_time") > datetime.now(UTC)
    assert first["estimated_start_time"] is None
    later = metrics_of(job, done=first["progress"]["done"] + 1)
    assert first["progress"]["total"] == later["progress"]["total"] == ROWS
    assert later["progress"]["done"] < ROWS
    waits = queued.metrics()
    assert (waits["position_in_queue"], waits["progress"]) == (1, None)
    ends = sorted(time_of(metrics, "estimated_completion_time") for metrics in (later, job.metrics()))
    assert ends[0] <= time_of(waits, "estimated_start_time") <= ends[1]
    job.cancel()
    assert queued.result()[0].data.c.num_shots == 10
    ended = queued.metrics()
    assert [ended[name] for name in ("progress", "estimated_start_time", "estimated_completion_time")] == [None] * 3
