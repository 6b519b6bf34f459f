"""How jobs are simulated by default is an option of an executor, through the real client."""

import json
from pathlib import Path

import pytest
from qiskit import QuantumCircuit
from qiskit_ibm_runtime import QiskitRuntimeService, RuntimeJobFailureError, SamplerV2

from kit.server.server_process import refusal, running_server
from qiskit_runtime_server.client import connect

# Version 2 of the primitives is deprecated in the client, and what everybody uses.
pytestmark = pytest.mark.filterwarnings("ignore:The .*V2 class is deprecated:DeprecationWarning")


def ghz() -> QuantumCircuit:
    """Five qubits of fake_manila, by its own gates."""
    circuit = QuantumCircuit(5)
    circuit.sx(0)
    for qubit in range(4):
        circuit.cx(qubit, qubit + 1)
    circuit.measure_all()
    return circuit


def ways(service: QiskitRuntimeService, **simulator: str) -> list[tuple[str, str]]:
    """Run a job, and return by which methods and with which noise it was simulated."""
    sampler = SamplerV2(mode=service.backend("fake_manila@aer"))
    sampler.options.experimental = {"simulator": simulator} if simulator else {}
    (pub,) = sampler.run([ghz()], shots=100).result()
    return [(way["method"], way["noise"]) for way in pub.metadata["simulation"]]


def test_an_executors_default_is_used_and_a_jobs_own_option_wins(tmp_path: Path) -> None:
    options = {"aer": {"method": "clifford", "approximation": "none"}}
    with running_server(tmp_path, "--executors=aer=1", QRS_EXECUTOR_OPTIONS=json.dumps(options)) as server:
        service = connect(server.url, "defaults")
        with pytest.raises(RuntimeJobFailureError, match=r"simulator\.method: clifford is exact for Pauli errors only"):
            ways(service)
        assert ways(service, approximation="twirled-noise") == [("clifford-frames", "pauli-twirled")]
        ((method, noise),) = ways(service, method="automatic")
        assert method != "clifford-frames"
        assert noise == "device"


def test_a_server_with_a_default_that_makes_no_sense_does_not_start(python: str, tmp_path: Path) -> None:
    options = {"QRS_EXECUTORS": "aer=1", "QRS_EXECUTOR_OPTIONS": '{"aer": {"approximation": "some"}}'}
    said = refusal(python, tmp_path, **options)
    assert "Option approximation of 'aer' must be one of none, twirled-noise, truncated; it is 'some'." in said
