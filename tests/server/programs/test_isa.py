"""What a calibration marks as faulty is refused, and circuits for every fake device's own target are not."""

from copy import deepcopy
from dataclasses import replace
from typing import Any

import pytest
from qiskit import generate_preset_pass_manager
from qiskit.circuit import QuantumCircuit

from qiskit_runtime_server.backends.catalog import Catalog
from qiskit_runtime_server.errors import NotIsaError
from qiskit_runtime_server.programs.device import Device
from qiskit_runtime_server.programs.isa import check_circuit
from qiskit_runtime_server.programs.options import Options

FAULT = {"name": "operational", "value": 0, "unit": "", "date": "2024-01-01T00:00:00+00:00"}


def faulty_device(*, qubit: int | None = None, edge: list[int] | None = None) -> Device:
    metadata = Catalog().get("fake_manila", ideal_qubits=5)
    properties: dict[str, Any] = deepcopy(dict(metadata.properties or {}))
    if qubit is not None:
        properties["qubits"][qubit].append(FAULT)
    for gate in properties["gates"]:
        if gate["qubits"] == edge:
            gate["parameters"].append(FAULT)
    return Device.from_metadata(replace(metadata, properties=properties, digest="faulty"))


def test_a_gate_on_a_faulty_qubit_is_refused() -> None:
    device = faulty_device(qubit=3)
    circuit = QuantumCircuit(5)
    circuit.sx(2)
    check_circuit(circuit, device, Options(), "pubs[0]")
    circuit.sx(3)
    with pytest.raises(NotIsaError, match="sx on qubit 3 is not supported: the qubit is faulty"):
        check_circuit(circuit, device, Options(), "pubs[0]")


def test_a_gate_on_a_faulty_connection_is_refused() -> None:
    device = faulty_device(edge=[1, 2])
    circuit = QuantumCircuit(5)
    circuit.cx(0, 1)
    check_circuit(circuit, device, Options(), "pubs[0]")
    circuit.cx(1, 2)
    with pytest.raises(NotIsaError, match=r"cx on qubits 1, 2 is not supported: .*faulty"):
        check_circuit(circuit, device, Options(), "pubs[0]")


@pytest.mark.parametrize(
    "name", ["fake_manila", "fake_sherbrooke", "fake_marrakesh", "fake_torino", "fake_quantum_sim"]
)
def test_transpiled_circuits_are_accepted(name: str) -> None:
    device = Device.from_metadata(Catalog().get(name, ideal_qubits=10))
    circuit = QuantumCircuit(4, 4)
    circuit.h(0)
    for qubit in range(3):
        circuit.cx(0, qubit + 1)
        circuit.ry(0.3, qubit)
    circuit.barrier()
    circuit.measure(range(4), range(4))
    with circuit.if_test((circuit.clbits[0], 1)):
        circuit.x(1)
    transpiled = generate_preset_pass_manager(optimization_level=1, target=device.target, seed_transpiler=1).run(
        circuit
    )
    check_circuit(transpiled, device, Options(), "pubs[0]")
