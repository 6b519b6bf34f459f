"""Devices are read once and know what the client knows."""

import pytest

from qiskit_runtime_server.backends.catalog import Catalog
from qiskit_runtime_server.errors import BackendNotFoundError
from qiskit_runtime_server.programs.device.device import load_device


def test_a_device_is_found_with_and_without_its_executor_and_is_kept() -> None:
    catalog = Catalog()
    one = load_device(catalog, "fake_manila@aer", ideal_qubits=20)
    assert one is load_device(catalog, "fake_manila", ideal_qubits=20)
    assert one is load_device(Catalog(), "fake_manila", ideal_qubits=25)
    assert (one.name, one.num_qubits, one.max_shots) == ("fake_manila", 5, 100_000)
    assert one.noise is one.noise
    assert one.target is one.target


def test_the_ideal_device_has_the_size_asked_for_and_no_noise() -> None:
    device = load_device(Catalog(), "fake_quantum_sim@aer", ideal_qubits=23)
    assert (device.num_qubits, device.target.num_qubits, device.noise) == (23, 23, None)
    assert device.target.instruction_supported("cx", (22, 0))
    assert load_device(Catalog(), "fake_quantum_sim@aer", ideal_qubits=24).num_qubits == 24


def test_a_target_has_fractional_gates_and_control_flow_together() -> None:
    names = load_device(Catalog(), "fake_fractional", ideal_qubits=20).target.operation_names
    assert {"rzz", "rx", "if_else", "rz"} <= set(names)


@pytest.mark.parametrize("name", ["fake_nothing", "fake_nothing@aer", "fake_manila@AER!", "@aer"])
def test_an_unknown_device_is_not_found(name: str) -> None:
    with pytest.raises(BackendNotFoundError):
        load_device(Catalog(), name, ideal_qubits=20)
