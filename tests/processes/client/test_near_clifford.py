"""Near-Clifford circuits through the real client, where clifft is installed."""

import math
from importlib.util import find_spec
from pathlib import Path

import pytest
from qiskit import QuantumCircuit
from qiskit_ibm_runtime import SamplerV2

from kit.server.server_process import running_server
from qiskit_runtime_server.client import connect

pytestmark = [
    pytest.mark.filterwarnings("ignore:The .*V2 class is deprecated:DeprecationWarning"),
    pytest.mark.skipif(find_spec("clifft") is None, reason="clifft is not installed: it needs Python 3.12"),
]


def test_a_tree_of_127_qubits_with_some_rotations_is_sampled_with_its_devices_errors(tmp_path: Path) -> None:
    with running_server(tmp_path, "--executors=aer=1") as server:
        backend = connect(server.url, "near").backend("fake_sherbrooke@aer")
        circuit = QuantumCircuit(127)
        pairs = sorted(backend.target["ecr"])
        for layer in range(6):
            for qubit in range(127):
                circuit.sx(qubit)
                if qubit % 30 == 5 * layer:
                    circuit.rz(math.pi / 4, qubit)
            for place in range(layer % 3, len(pairs), 3):
                circuit.ecr(*pairs[place])
        circuit.measure_all()
        sampler = SamplerV2(mode=backend)
        sampler.options.environment.log_level = "INFO"
        job = sampler.run([circuit], shots=1000)
        (result,) = job.result()
        ways = result.metadata["simulation"]
        assert [(way["method"], way["noise"]) for way in ways if len(way["qubits"]) > 20] == [
            ("near-clifford", "pauli-twirled")
        ]
        assert result.data.meas.num_shots == 1000
        assert "by near-clifford, errors twirled over the Pauli operators" in job.logs()
