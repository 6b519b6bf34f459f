"""Both noise learners of the client, unmodified, on a real server, and mitigation with what they learn."""

from typing import Any

import numpy as np
import pytest
from qiskit.circuit import QuantumCircuit
from qiskit_ibm_runtime import EstimatorV2, IBMBackend, QiskitRuntimeService
from qiskit_ibm_runtime.executor_estimator import Estimator
from qiskit_ibm_runtime.executor_noise_learner import NoiseLearnerV3 as ClientSideNoiseLearner
from qiskit_ibm_runtime.noise_learner import NoiseLearner
from qiskit_ibm_runtime.noise_learner_v3 import NoiseLearnerV3
from samplomatic import Twirl

from kit.server.server_process import ServerProcess
from qiskit_runtime_server.client import connect

QUICK: dict[str, Any] = {"num_randomizations": 8, "layer_pair_depths": [0, 2, 8]}

pytestmark = pytest.mark.filterwarnings("ignore:The (NoiseLearner|Estimator).*:DeprecationWarning")


@pytest.fixture(scope="module")
def service(server: ServerProcess) -> QiskitRuntimeService:
    return connect(server.url, "noise-learning")


def bell() -> QuantumCircuit:
    circuit = QuantumCircuit(5)
    circuit.sx(1)
    circuit.cx(1, 2)
    return circuit


def test_layers_of_circuits_are_learned_and_used(manila: IBMBackend) -> None:
    learner = NoiseLearner(manila, {**QUICK, "twirling_strategy": "active", "simulator": {"seed_simulator": 1}})
    known = learner.run([bell()]).result()
    (layer,) = known
    assert layer.qubits == [1, 2]
    assert sum(layer.error.rates) == pytest.approx(0.02, abs=0.02)
    options = {
        "simulator": {"seed_simulator": 1},
        "twirling": {"strategy": "active"},
        "resilience": {"pec_mitigation": True, "layer_noise_model": known},
    }
    estimated = EstimatorV2(manila, options=options).run([(bell(), "IIZZI")]).result()
    (result,) = estimated
    assert result.metadata["resilience"]["layer_noise"]["layers_learned"] == 0
    assert result.metadata["resilience"]["layer_noise"]["layers_without_noise"] == 0
    (said,) = estimated.metadata["resilience"]["layer_noise_model"]
    assert said.qubits == layer.qubits
    assert said.circuit == layer.circuit
    np.testing.assert_allclose(said.error.rates, layer.error.rates)
    # The spread over seeds is 0.02.
    assert float(result.data.evs) == pytest.approx(1, abs=0.1)


@pytest.mark.parametrize("learner", [NoiseLearnerV3, ClientSideNoiseLearner])
def test_boxes_are_learned_in_the_server_and_in_the_client(manila: IBMBackend, learner: type[Any]) -> None:
    circuit = QuantumCircuit(5)
    with circuit.box([Twirl()]):
        circuit.cx(1, 2)
    (learned,) = learner(manila, options=QUICK).run(circuit.data).result()
    assert len(learned) == 15
    assert 0 < sum(learned._rates) < 0.1


@pytest.mark.parametrize("method", ["pec", "pea"])
def test_what_the_client_has_learned_of_layers_corrects_its_estimates(manila: IBMBackend, method: str) -> None:
    resilience = {
        "pec": {"pec_mitigation": True},
        "pea": {"zne_mitigation": True, "zne": {"amplifier": "pea", "noise_factors": [1, 2, 4]}},
    }
    options = {
        "resilience_level": 1,
        "simulator": {"seed_simulator": 1},
        "twirling": {"num_randomizations": 500, "shots_per_randomization": 16},
        "resilience": resilience[method],
    }
    circuit = bell()
    for _ in range(14):
        circuit.barrier()
        circuit.cx(1, 2)
    estimator = Estimator(manila, options=options)
    layers = estimator.find_unique_layers([(circuit, "IIZZI")])
    learning = {**QUICK, "num_randomizations": 32, "simulator": {"seed_simulator": 1}}
    learned = ClientSideNoiseLearner(manila, options=learning).run(layers).result()
    models = [errors.to_pauli_lindblad_map() for errors in learned]
    estimator.options.resilience.layer_noise_model = list(zip(layers, models, strict=True))
    (corrected,) = estimator.run([(circuit, "IIZZI")]).result()
    (plain,) = Estimator(manila, options={**options, "resilience": {}}).run([(circuit, "IIZZI")]).result()
    # The seeds fix both; over other seeds the corrected value is spread by 0.03.
    assert abs(1 - float(corrected.data.evs)) < (1 - float(plain.data.evs)) / 2
