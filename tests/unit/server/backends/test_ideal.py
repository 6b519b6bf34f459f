"""The ideal device as clients see it."""

import time
from collections.abc import Callable

import pytest
from qiskit import QuantumCircuit
from qiskit.circuit.library import QFTGate, efficient_su2
from qiskit.circuit.random import random_circuit
from qiskit.quantum_info import Operator
from qiskit.transpiler import generate_preset_pass_manager
from qiskit_ibm_runtime.ibm_backend import IBMBackend
from qiskit_ibm_runtime.utils.utils import is_isa_circuit

from qiskit_runtime_server.backends.catalog import Catalog

ClientBackend = Callable[..., IBMBackend]
SETTINGS = [(fractional, level) for fractional in (False, True) for level in range(4)]


@pytest.fixture(scope="module", params=["fake_quantum_sim", "statevector_simulator"])
def name(request: pytest.FixtureRequest) -> str:
    value: str = request.param
    return value


def ideal(catalog: Catalog, client_backend: ClientBackend, *, fractional: bool = False, qubits: int = 25) -> IBMBackend:
    return client_backend(catalog.get("fake_quantum_sim", ideal_qubits=qubits), fractional=fractional)


def dynamic_circuit() -> QuantumCircuit:
    circuit = QuantumCircuit(3, 3)
    circuit.h(0)
    circuit.measure(0, 0)
    with circuit.if_test((0, 1)) as otherwise:
        circuit.x(1)
    with otherwise:
        circuit.ry(0.3, 2)
    with circuit.for_loop(range(3)):
        circuit.cx(0, 1)
    with circuit.while_loop((0, 1)):
        circuit.h(0)
        circuit.measure(0, 0)
    with circuit.switch(circuit.cregs[0]) as case:
        with case(0):
            circuit.rzz(-0.2, 1, 2)
        with case(case.DEFAULT):
            circuit.z(2)
    circuit.reset(0)
    circuit.delay(100, 0, unit="ns")
    circuit.delay(7, 1)
    circuit.measure_all()
    return circuit


def test_it_is_fully_connected_and_has_no_errors(catalog: Catalog, client_backend: ClientBackend, name: str) -> None:
    backend = client_backend(catalog.get(name, ideal_qubits=25))
    assert backend.num_qubits == 25
    assert backend.coupling_map is None
    assert backend.properties() is None
    assert backend.target.instruction_supported("cx", (0, 24))
    assert backend.name == f"{name}@aer"


def test_a_large_one_is_as_quick_to_build_as_a_small_one(catalog: Catalog, client_backend: ClientBackend) -> None:
    started = time.process_time()
    backend = ideal(catalog, client_backend, qubits=1000)
    assert backend.target.num_qubits == 1000
    assert time.process_time() - started < 1


@pytest.mark.parametrize(("fractional", "level"), SETTINGS)
def test_transpiled_circuits_do_what_they_did(
    catalog: Catalog,
    client_backend: ClientBackend,
    fractional: bool,  # noqa: FBT001 - a parameter of the test
    level: int,
) -> None:
    backend = ideal(catalog, client_backend, fractional=fractional)
    manager = generate_preset_pass_manager(level, backend=backend, seed_transpiler=1)
    for seed in range(4):
        circuit = random_circuit(5, 8, seed=seed)
        isa = manager.run(circuit)
        assert is_isa_circuit(isa, backend.target) == ""
        assert isa.num_qubits == 5
        assert Operator.from_circuit(isa).equiv(Operator(circuit))


@pytest.mark.parametrize(("fractional", "level"), SETTINGS)
def test_wide_and_dynamic_circuits_become_isa_circuits(
    catalog: Catalog,
    client_backend: ClientBackend,
    fractional: bool,  # noqa: FBT001 - a parameter of the test
    level: int,
) -> None:
    backend = ideal(catalog, client_backend, fractional=fractional)
    manager = generate_preset_pass_manager(level, backend=backend, seed_transpiler=1)
    fourier = QuantumCircuit(25)
    fourier.append(QFTGate(25), range(25))
    circuits = [fourier, random_circuit(25, 10, seed=3, measure=True), efficient_su2(12, reps=2), dynamic_circuit()]
    for circuit in circuits:
        isa = manager.run(circuit)
        assert is_isa_circuit(isa, backend.target) == ""
        assert isa.num_parameters == circuit.num_parameters


def test_a_default_client_keeps_the_plain_gates_as_they_are(catalog: Catalog, client_backend: ClientBackend) -> None:
    circuit = QuantumCircuit(3)
    circuit.h(0)
    circuit.cx(0, 2)
    circuit.s(1)
    circuit.cz(1, 2)
    circuit.rz(0.1, 2)
    manager = generate_preset_pass_manager(0, backend=ideal(catalog, client_backend))
    assert dict(manager.run(circuit).count_ops()) == dict(circuit.count_ops())
