"""The client, unmodified, asks for readout errors that differ for 0 and 1, as its own properties of the device say."""

from typing import Any

import numpy as np
import pytest
from qiskit.circuit import QuantumCircuit
from qiskit_ibm_runtime import EstimatorV2, Executor, IBMBackend, NoiseLearner, QiskitRuntimeService, SamplerV2
from qiskit_ibm_runtime.exceptions import RuntimeJobFailureError
from qiskit_ibm_runtime.executor_sampler import Sampler
from qiskit_ibm_runtime.fake_provider import FakeManilaV2
from qiskit_ibm_runtime.quantum_program import QuantumProgram

from kit.server.server_process import ServerProcess
from qiskit_runtime_server.client import connect

SHOTS = 50_000
QUBIT = 2
ASYMMETRIC: dict[str, Any] = {"experimental": {"noise": {"readout": "asymmetric"}}}

pytestmark = pytest.mark.filterwarnings("ignore:The .* is deprecated:DeprecationWarning")


@pytest.fixture(scope="module")
def service(server: ServerProcess) -> QiskitRuntimeService:
    return connect(server.url, "readout")


@pytest.fixture(scope="module")
def misread(manila: IBMBackend) -> tuple[float, float]:
    """Return how often the qubit's 0 is read as 1, and its 1 as 0."""
    known = manila.properties().qubit_property(QUBIT)
    return known["prob_meas1_prep0"][0], known["prob_meas0_prep1"][0]


def ground(*, measured: bool = True) -> QuantumCircuit:
    circuit = QuantumCircuit(5, 1)
    if measured:
        circuit.measure(QUBIT, 0)
    return circuit


def near(share: float) -> Any:  # noqa: ANN401 - what pytest compares with has no public type
    return pytest.approx(share, abs=5 * np.sqrt(share * (1 - share) / SHOTS))


@pytest.mark.parametrize("sampler", [SamplerV2, Sampler])
def test_samplers(manila: IBMBackend, misread: tuple[float, float], sampler: type[Any]) -> None:
    zero, one = misread
    for options, share in ((ASYMMETRIC, zero), ({}, (zero + one) / 2)):
        result = sampler(manila, options={**options, "default_shots": SHOTS}).run([ground()]).result()
        assert result[0].data.c.get_int_counts().get(1, 0) / SHOTS == near(share)


@pytest.mark.parametrize(("sampler", "asymmetric"), [(SamplerV2, True), (Sampler, False)])
def test_what_the_client_s_local_testing_mode_does(
    misread: tuple[float, float], sampler: type[Any], *, asymmetric: bool
) -> None:
    zero, one = misread
    result = sampler(FakeManilaV2(), options={"default_shots": SHOTS}).run([ground()]).result()
    assert result[0].data.c.get_int_counts().get(1, 0) / SHOTS == near(zero if asymmetric else (zero + one) / 2)


def test_the_estimator(manila: IBMBackend, misread: tuple[float, float]) -> None:
    options = {**ASYMMETRIC, "resilience_level": 0, "default_shots": SHOTS}
    (result,) = EstimatorV2(manila, options=options).run([(ground(measured=False), "IIZII")]).result()
    assert (1 - float(result.data.evs)) / 2 == near(misread[0])


def test_the_executor(manila: IBMBackend, misread: tuple[float, float]) -> None:
    program = QuantumProgram(shots=SHOTS)
    program.append_circuit_item(ground())
    (item,) = Executor(mode=manila, options=ASYMMETRIC).run(program).result()
    assert item["c"].mean() == near(misread[0])


def test_the_noise_learner_tells_what_it_was_given(manila: IBMBackend) -> None:
    circuit = QuantumCircuit(5)
    circuit.cx(1, 2)
    few = {"num_randomizations": 1, "layer_pair_depths": [0, 1], "shots_per_randomization": 8}
    result = NoiseLearner(manila, {**few, **ASYMMETRIC}).run([circuit]).result()
    assert result.metadata["input_options"]["experimental"] == ASYMMETRIC["experimental"]


def test_the_result_says_so_and_what_is_unknown_is_refused(manila: IBMBackend) -> None:
    assert SamplerV2(manila, options=ASYMMETRIC).run([ground()]).result().metadata["noise"] == {"readout": "asymmetric"}
    job = SamplerV2(manila, options={"experimental": {"noise": {"readuot": "asymmetric"}}}).run([ground()])
    with pytest.raises(RuntimeJobFailureError, match=r"mean experimental\.noise\.readout"):
        job.result()
