"""Each private name of Aer does what is expected of it, and is used in one module."""

import ast
from pathlib import Path

import pytest
from qiskit.circuit import Delay, QuantumCircuit
from qiskit_aer import AerSimulator
from qiskit_aer.noise import NoiseModel, ReadoutError, depolarizing_error
from qiskit_aer.noise.passes import LocalNoisePass, RelaxationNoisePass

import qiskit_runtime_server
from qiskit_runtime_server.simulation import noise_models

SERVER = Path(qiskit_runtime_server.__file__).parent


@pytest.fixture
def model() -> NoiseModel:
    model = NoiseModel()
    model.add_all_qubit_quantum_error(depolarizing_error(0.1, 1), "sx")
    model.add_quantum_error(depolarizing_error(0.2, 2), "cx", [1, 0])
    model.add_all_qubit_readout_error(ReadoutError([[0.9, 0.1], [0.2, 0.8]]))
    model.add_readout_error(ReadoutError([[0.7, 0.3], [0.4, 0.6]]), [1])
    return model


def test_default_errors_are_those_of_all_qubits(model: NoiseModel) -> None:
    assert dict(noise_models.default_errors(model)) == {"sx": depolarizing_error(0.1, 1)}


def test_local_errors_are_those_of_some_qubits(model: NoiseModel) -> None:
    assert noise_models.local_errors(model) == {"cx": {(1, 0): depolarizing_error(0.2, 2)}}


def test_readout_errors_of_some_qubits_come_before_those_of_all(model: NoiseModel) -> None:
    assert list(noise_models.local_readout_errors(model)) == [(1,)]
    assert noise_models.default_readout_error(model) == ReadoutError([[0.9, 0.1], [0.2, 0.8]])
    assert noise_models.readout_error(model, 1) == ReadoutError([[0.7, 0.3], [0.4, 0.6]])
    assert noise_models.readout_error(model, 0) == ReadoutError([[0.9, 0.1], [0.2, 0.8]])
    assert noise_models.readout_error(NoiseModel(), 0) is None


def test_a_model_without_readout_errors_has_its_other_errors(model: NoiseModel) -> None:
    noise_models.remove_readout_errors(model)
    errors = model.to_dict()["errors"]
    assert {error["type"] for error in errors} == {"qerror"}
    assert len(errors) == 2


def test_passes_that_are_appended_are_run(model: NoiseModel) -> None:
    seen: list[Delay] = []
    noise_models.passes(model).append(
        LocalNoisePass(lambda delay, _qubits: seen.append(delay), op_types=Delay, method="append")
    )
    circuit = QuantumCircuit(1)
    circuit.delay(10, 0)
    circuit.measure_all()
    AerSimulator(noise_model=model).run(circuit, shots=1).result()
    assert [delay.duration for delay in seen] == [10]


def test_a_pass_of_relaxation_says_what_a_delay_does() -> None:
    relaxation = RelaxationNoisePass([1e-4, 1e-4], [1e-4, 1e-4], dt=1e-9, op_types=Delay)
    error = noise_models.relaxation(relaxation, Delay(1000, "dt"), 1)
    assert error is not None
    assert error.num_qubits == 1


def test_no_other_module_uses_a_private_name_of_aer() -> None:
    private = {node.attr for node in _attributes(SERVER / "simulation/noise_models.py") if node.attr.startswith("_")}
    assert len(private) == 6
    for path in SERVER.rglob("*.py"):
        if path.name != "noise_models.py":
            assert {node.attr for node in _attributes(path)}.isdisjoint(private), path


def _attributes(path: Path) -> list[ast.Attribute]:
    return [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Attribute)]
