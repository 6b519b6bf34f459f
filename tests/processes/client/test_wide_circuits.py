"""Circuits of all 127 qubits of a device, through the real client, and what the results and logs say of them."""

import time

import numpy as np
import pytest
from qiskit import QuantumCircuit
from qiskit_ibm_runtime import IBMBackend, QiskitRuntimeService, RuntimeJobFailureError, SamplerV2

from kit.server.server_process import ServerProcess
from qiskit_runtime_server.client import connect

# Version 2 of the primitives is deprecated in the client, and what everybody uses.
pytestmark = pytest.mark.filterwarnings("ignore:The .*V2 class is deprecated:DeprecationWarning")

SHOTS = 4096


@pytest.fixture(scope="module")
def service(server: ServerProcess) -> QiskitRuntimeService:
    return connect(server.url, "wide circuits")


@pytest.fixture(scope="module")
def sherbrooke(service: QiskitRuntimeService) -> IBMBackend:
    return service.backend("fake_sherbrooke@aer")


def layers(device: IBMBackend, depth: int, angle: float = np.pi / 2) -> QuantumCircuit:
    """Return layers of single-qubit gates on all qubits, and of ecr on as many pairs as there is room for."""
    rng = np.random.default_rng(3)
    pairs = sorted(device.target["ecr"])
    circuit = QuantumCircuit(device.num_qubits)
    for _ in range(depth):
        for qubit in range(device.num_qubits):
            circuit.rz(angle * int(rng.integers(4)), qubit)
            circuit.sx(qubit)
        busy: set[int] = set()
        for place in rng.permutation(len(pairs)).tolist():
            if busy.isdisjoint(pairs[place]):
                busy.update(pairs[place])
                circuit.ecr(*pairs[place])
    return circuit


def test_twenty_layers_on_127_qubits_run_with_the_devices_noise_and_say_that_it_is_twirled(
    sherbrooke: IBMBackend,
) -> None:
    circuit = layers(sherbrooke, 20)
    circuit.measure_all()
    sampler = SamplerV2(mode=sherbrooke, options={"environment": {"log_level": "INFO"}})
    job = sampler.run([circuit], shots=SHOTS)
    (pub,) = job.result()
    (way,) = pub.metadata["simulation"]
    assert (way["method"], way["noise"], way["truncation_error"]) == ("clifford-frames", "pauli-twirled", 0.0)
    assert sorted(way["qubits"]) == list(range(127))
    assert "127 qubits by clifford-frames, errors twirled over the Pauli operators" in job.logs()
    assert "couplers of fake_sherbrooke whose calibrated error is 1" in job.logs()
    assert pub.data.meas.num_shots == SHOTS
    assert pub.data.meas.num_bits == 127
    # Nothing is left of the state, so bits are fair but for errors of reading, which are symmetric.
    assert abs(pub.data.meas.to_bool_array().mean() - 0.5) < 0.01


def test_the_options_can_rule_approximations_out(sherbrooke: IBMBackend) -> None:
    circuit = layers(sherbrooke, 20)
    circuit.measure_all()
    sampler = SamplerV2(mode=sherbrooke)
    sampler.options.experimental = {"simulator": {"approximation": "none"}}
    with pytest.raises(RuntimeJobFailureError, match=r"it would run with simulator\.approximation: twirled-noise"):
        sampler.run([circuit], shots=SHOTS).result()


def test_what_no_method_can_run_is_refused_within_seconds(sherbrooke: IBMBackend) -> None:
    circuit = layers(sherbrooke, 20, angle=0.3)
    circuit.measure_all()
    begin = time.monotonic()
    with pytest.raises(RuntimeJobFailureError, match="127 qubits of the circuit are entangled"):
        SamplerV2(mode=sherbrooke).run([circuit], shots=SHOTS).result()
    assert time.monotonic() - begin < 60
