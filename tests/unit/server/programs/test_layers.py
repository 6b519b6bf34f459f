"""Which of the models that a job brings along is that of a layer."""

from itertools import permutations
from typing import Any

import pytest
from qiskit.circuit import QuantumCircuit
from qiskit.primitives.containers.estimator_pub import EstimatorPub
from qiskit.quantum_info import PauliList
from qiskit_ibm_runtime.results import LayerError, PauliLindbladError

from qiskit_runtime_server.executors.aer import AerExecutor
from qiskit_runtime_server.programs.mitigation.layers import Layer, found_layers, known_errors


def model(qubits: list[int], **rates: float) -> LayerError:
    """Return errors of the layer with a cx on the first two of its qubits."""
    circuit = QuantumCircuit(len(qubits))
    circuit.cx(0, 1)
    return LayerError(circuit, qubits, PauliLindbladError(PauliList(list(rates)), list(rates.values())))


PAIR = model([0, 1], XI=0.01)
THREE = model([0, 1, 2], IXI=0.02)
FOUR = model([0, 1, 2, 3], IIIX=0.03)


@pytest.fixture(scope="module")
def layers() -> dict[tuple[int, ...], Layer]:
    """Return the layers with a cx on the qubits 0 and 1, by the qubits that are twirled along."""
    circuit = QuantumCircuit(3)
    circuit.cx(0, 1)
    circuit.cx(1, 2)
    circuit.cx(0, 1)
    found = found_layers([circuit], "active-accum", range(3))
    return {layer.qubits: layer for layer in found if layer.gates == {("cx", (0, 1))}}


@pytest.mark.parametrize("known", list(permutations([PAIR, THREE, FOUR])))
def test_a_model_of_just_its_qubits_goes_first(
    layers: dict[tuple[int, ...], Layer], known: tuple[LayerError, ...]
) -> None:
    for qubits, rate in (((0, 1), 0.01), ((0, 1, 2), 0.02)):
        errors = known_errors(layers[qubits], known)
        assert errors is not None
        assert errors.rates.tolist() == [rate]


@pytest.mark.parametrize(
    ("known", "rate"), [((PAIR, FOUR), 0.03), ((FOUR, PAIR), 0.03), ((PAIR, model([0, 1, 3], XII=0.05)), 0.01)]
)
def test_else_the_one_of_the_most_qubits_whose_errors_it_can_have(
    layers: dict[tuple[int, ...], Layer], known: tuple[LayerError, ...], rate: float
) -> None:
    errors = known_errors(layers[0, 1, 2], known)
    assert errors is not None
    assert errors.rates.tolist() == [rate]


def test_a_model_without_errors_or_of_other_gates_says_nothing(layers: dict[tuple[int, ...], Layer]) -> None:
    unknown = LayerError(THREE.circuit, [0, 1, 2], None)
    assert known_errors(layers[0, 1, 2], [unknown, model([1, 0], XI=0.1), model([1, 2], XI=0.1)]) is None


@pytest.mark.parametrize(
    "method", [{"pec_mitigation": True}, {"zne_mitigation": True, "zne": {"amplifier": "pea"}}], ids=["PEC", "PEA"]
)
@pytest.mark.parametrize("brought", [True, False])
def test_the_result_says_which_models_were_used(method: dict[str, Any], *, brought: bool) -> None:
    circuit = QuantumCircuit(5)
    circuit.cx(0, 1)
    few = {"num_randomizations": 2, "shots_per_randomization": 16, "layer_pair_depths": [0, 1]}
    errors = {"layer_noise_model": [PAIR]} if brought else {"layer_noise_learning": few}
    options = {"simulator": {"seed_simulator": 1}, "twirling": {"strategy": "active"}, "resilience": method | errors}
    pub = EstimatorPub.coerce((circuit, "IIIIZ", None, 0.1))
    result = AerExecutor().execute_estimator([pub], options, "fake_manila")
    (said,) = result.metadata["resilience"]["layer_noise_model"]
    assert said.qubits == [0, 1]
    assert said.circuit == PAIR.circuit
    if brought:
        assert (said.error.generators.to_labels(), said.error.rates.tolist()) == (["XI"], [0.01])
    else:
        assert len(said.error.rates) == 15
