"""What a client builds from our documents is what the fake device says of itself."""

import warnings
from collections.abc import Callable
from typing import Any

import pytest
from qiskit import QuantumCircuit
from qiskit.quantum_info import Operator
from qiskit.transpiler import Target, generate_preset_pass_manager
from qiskit_ibm_runtime.fake_provider import FakeProviderForBackendV2
from qiskit_ibm_runtime.fake_provider.fake_backend import FakeBackendV2
from qiskit_ibm_runtime.ibm_backend import IBMBackend

from qiskit_runtime_server.backends.catalog import Catalog
from qiskit_runtime_server.programs.device.device import load_device

ClientBackend = Callable[..., IBMBackend]

with warnings.catch_warnings():
    warnings.filterwarnings("ignore", message="Properties of fake_nighthawk")
    FAKES: dict[str, FakeBackendV2] = {backend.name: backend for backend in FakeProviderForBackendV2().backends()}

LEGACY = {
    "fake_almaden",
    "fake_boeblingen",
    "fake_burlington",
    "fake_cambridge",
    "fake_essex",
    "fake_johannesburg",
    "fake_london",
    "fake_poughkeepsie",
    "fake_rochester",
    "fake_singapore",
}


def instructions(target: Target) -> dict[str, Any]:
    """Return error and duration of every instruction on every group of qubits."""
    return {
        name: {
            qubits: None if properties is None else (properties.error, properties.duration)
            for qubits, properties in target[name].items()
        }
        for name in target.operation_names
    }


def frame(target: Target) -> dict[str, Any]:
    """Return everything of a target but its instructions."""
    names = ("num_qubits", "dt", "granularity", "min_length", "pulse_alignment", "acquire_alignment")
    qubits = [(qubit.t1, qubit.t2, qubit.frequency) for qubit in target.qubit_properties]
    return {"qubits": qubits, **{name: getattr(target, name) for name in names}}


@pytest.mark.parametrize("name", sorted(FAKES.keys() - LEGACY))
def test_the_target_of_a_client_is_that_of_the_fake_device(
    catalog: Catalog, client_backend: ClientBackend, name: str
) -> None:
    expected = FAKES[name].target
    target = client_backend(catalog.get(name, ideal_qubits=30), fractional=None).target
    assert instructions(target) == instructions(expected)
    assert frame(target) == frame(expected)


@pytest.mark.parametrize("name", ["fake_fractional", "fake_manila", "fake_marrakesh"])
def test_circuits_are_checked_against_the_target_of_the_fake_device(catalog: Catalog, name: str) -> None:
    target = load_device(catalog, name, ideal_qubits=30).target
    assert instructions(target) == instructions(FAKES[name].target)
    assert frame(target) == frame(FAKES[name].target)


@pytest.mark.parametrize("name", sorted(LEGACY))
def test_only_the_one_qubit_basis_of_the_oldest_devices_differs(
    catalog: Catalog, client_backend: ClientBackend, name: str
) -> None:
    expected = FAKES[name].target
    target = client_backend(catalog.get(name, ideal_qubits=30)).target
    renamed = {"u1": "rz", "u2": "sx", "u3": "x"}
    assert instructions(target) == {renamed.get(gate, gate): values for gate, values in instructions(expected).items()}
    assert frame(target) == frame(expected)
    assert {error for error, _duration in instructions(target)["rz"].values()} == {0}


@pytest.mark.parametrize("name", sorted(LEGACY))
def test_a_client_with_default_settings_transpiles_to_the_oldest_devices(
    catalog: Catalog, client_backend: ClientBackend, name: str
) -> None:
    circuit = QuantumCircuit(3)
    circuit.h(0)
    circuit.cx(0, 1)
    circuit.u(0.1, 0.2, 0.3, 2)
    circuit.rzz(0.4, 0, 2)
    backend = client_backend(catalog.get(name, ideal_qubits=30))
    manager = generate_preset_pass_manager(1, backend=backend, initial_layout=[0, 1, 2], seed_transpiler=1)
    isa = manager.run(circuit)
    assert set(isa.count_ops()) <= {"rz", "sx", "x", "cx"}
    if isa.num_qubits == 5:
        assert Operator.from_circuit(isa).equiv(Operator(_widened(circuit)))


def test_fractional_gates_are_left_out_unless_a_client_asks(catalog: Catalog, client_backend: ClientBackend) -> None:
    metadata = catalog.get("fake_fractional", ideal_qubits=30)
    plain, fractional = (client_backend(metadata, fractional=asked).target.operation_names for asked in (False, True))
    assert set(fractional) - set(plain) == {"rx", "rzz"}


def test_the_ten_oldest_devices_are_the_only_ones_with_their_basis() -> None:
    assert {name for name, backend in FAKES.items() if "u3" in backend.configuration().basis_gates} == LEGACY


def _widened(circuit: QuantumCircuit) -> QuantumCircuit:
    wide = QuantumCircuit(5)
    wide.compose(circuit, range(circuit.num_qubits), inplace=True)
    return wide
