"""What a calibration marks as faulty is refused, and circuits for every fake device's own target are not."""

from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from typing import Any

import pytest
from qiskit import generate_preset_pass_manager
from qiskit.circuit import CircuitInstruction, IfElseOp, Parameter, QuantumCircuit
from qiskit.primitives.containers.sampler_pub import SamplerPub

from qiskit_runtime_server.backends.catalog import Catalog
from qiskit_runtime_server.errors import InvalidInputError, NotIsaError
from qiskit_runtime_server.programs.device.device import Device, load_device
from qiskit_runtime_server.programs.device.isa import check_circuit, check_rzz_values
from qiskit_runtime_server.programs.options.options import Options

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


def if_statement(circuit: QuantumCircuit) -> None:
    with circuit.if_test((circuit.clbits[0], 1)):
        circuit.x(0)


def for_loop(circuit: QuantumCircuit) -> None:
    with circuit.for_loop(range(2)):
        circuit.x(0)


def while_loop(circuit: QuantumCircuit) -> None:
    with circuit.while_loop((circuit.clbits[0], 1)):
        circuit.x(0)


def switch_statement(circuit: QuantumCircuit) -> None:
    with circuit.switch(circuit.clbits[0]) as case, case(1):
        circuit.x(0)


@pytest.mark.parametrize(
    ("name", "build", "words"),
    [
        (
            "fake_boston",
            for_loop,
            r"fake_boston has no for loops \(for_loop\): of control flow, it has if statements\.",
        ),
        ("fake_boston", switch_statement, r"fake_boston has no switch statements \(switch_case\)"),
        ("fake_torino", while_loop, "no while loops .*it has if statements and for loops and switch statements"),
        ("fake_armonk", if_statement, r"no if statements \(if_else\): it runs no control flow at all"),
    ],
)
def test_control_flow_that_a_device_lacks_is_refused_in_the_words_of_users(
    name: str, build: Callable[[QuantumCircuit], None], words: str
) -> None:
    circuit = QuantumCircuit(1, 1)
    build(circuit)
    with pytest.raises(NotIsaError, match=words):
        check_circuit(circuit, load_device(Catalog(), name, ideal_qubits=5), Options(), "pubs[0]")


def test_a_block_of_another_width_is_refused() -> None:
    # As damaged QPY has them; Qiskit itself builds none.
    circuit = QuantumCircuit(3, 1)
    block = IfElseOp((circuit.clbits[0], 1), QuantumCircuit(2, 1))
    circuit._append(CircuitInstruction(block, circuit.qubits, circuit.clbits))
    device = load_device(Catalog(), "fake_manila", ideal_qubits=5)
    with pytest.raises(InvalidInputError, match="A block of if_else has 2 qubits; the instruction acts on 3"):
        check_circuit(circuit, device, Options(), "pubs[0]")


class TestAnglesInLoops:
    """No fake device has both rzz and for loops; one from a folder may."""

    @pytest.fixture
    def device(self) -> Device:
        metadata = Catalog().get("fake_fractional", ideal_qubits=5)
        configuration = dict(metadata.configuration)
        configuration["supported_instructions"] = [*configuration["supported_instructions"], "for_loop"]
        return Device.from_metadata(replace(metadata, configuration=configuration, digest="looping"))

    def check(self, device: Device, circuit: QuantumCircuit, *values: float) -> None:
        check_circuit(circuit, device, Options(), "pubs[0]")
        check_rzz_values(circuit, SamplerPub.coerce((circuit, values)).parameter_values, device, "pubs[0]")

    def looping(self, indices: range, angle: Parameter | float = 0.1) -> QuantumCircuit:
        index, twice = Parameter("index"), Parameter("twice")
        circuit = QuantumCircuit(2)
        with circuit.for_loop(indices, index), circuit.box(), circuit.for_loop((1, 2), twice):
            circuit.rzz(index * twice * angle, 0, 1)
        return circuit

    def test_every_round_counts(self, device: Device) -> None:
        self.check(device, self.looping(range(1, 8)))
        with pytest.raises(NotIsaError, match=r"index=8\.0, twice=2\.0 makes it 1\.6"):
            self.check(device, self.looping(range(1, 9)))

    def test_together_with_every_parameter_set(self, device: Device) -> None:
        circuit = self.looping(range(3), Parameter("a"))
        self.check(device, circuit, 0.3)
        with pytest.raises(NotIsaError, match=r"a=0\.5, index=2\.0, twice=2\.0 makes it 2\.0"):
            self.check(device, circuit, 0.5)

    def test_more_rounds_than_can_be_simulated_are_refused_at_once(self, device: Device) -> None:
        with pytest.raises(
            InvalidInputError, match=r"pubs\[0\]: loops with angles of rzz gates have more than 1000000"
        ):
            self.check(device, self.looping(range(10**9)))

    def test_a_loop_without_rounds_has_no_angles(self, device: Device) -> None:
        self.check(device, self.looping(range(0)))

    def test_an_angle_without_a_value_is_refused(self, device: Device) -> None:
        index = Parameter("index")
        circuit = QuantumCircuit(2)
        with circuit.for_loop(range(2), index):
            circuit.rzz(1 / index, 0, 1)
        with pytest.raises(InvalidInputError, match=r"pubs\[0\]: an rzz gate: The angle .* has no value"):
            self.check(device, circuit)
