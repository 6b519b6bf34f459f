"""The server-side primitives of the client with all their options at once, unmodified, on a real server."""

import pytest
from qiskit.circuit import ClassicalRegister, QuantumCircuit
from qiskit_ibm_runtime import EstimatorV2, IBMBackend, QiskitRuntimeService, RuntimeJobFailureError, SamplerV2
from qiskit_ibm_runtime.execution_span import TwirledSliceSpanV2

from kit.server.server_process import ServerProcess
from qiskit_runtime_server.client import connect

# The client says of them, and of one of their options, that they will go.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

DECOUPLING = {
    "enable": True,
    "sequence_type": "XY4",
    "extra_slack_distribution": "edges",
    "scheduling_method": "asap",
    "skip_reset_qubits": True,
}
TWIRLING = {
    "enable_gates": True,
    "enable_measure": True,
    "num_randomizations": 16,
    "shots_per_randomization": 100,
    "strategy": "active",
}


@pytest.fixture(scope="module")
def sherbrooke(server: ServerProcess) -> IBMBackend:
    return connect(server.url, "legacy-options").backend("fake_sherbrooke@aer")


@pytest.fixture(scope="module")
def service(server: ServerProcess) -> QiskitRuntimeService:
    return connect(server.url, "legacy-options")


def dynamic() -> QuantumCircuit:
    circuit = QuantumCircuit(5, 1)
    circuit.measure(0, 0)
    with circuit.if_test((circuit.clbits[0], 1)):
        circuit.x(1)
    return circuit


def waiting(backend: IBMBackend) -> QuantumCircuit:
    """Three qubits, one of which waits for the two others; all end in 0."""
    circuit = QuantumCircuit(backend.num_qubits)
    for _ in range(2):
        circuit.ecr(1, 0)
    circuit.barrier()
    for _ in range(2):
        circuit.ecr(1, 2)
    return circuit


def test_a_sampler_job_with_all_options(sherbrooke: IBMBackend) -> None:
    circuit = waiting(sherbrooke)
    circuit.add_register(ClassicalRegister(3, "three"))
    circuit.measure([0, 1, 2], [0, 1, 2])
    options = {
        "default_shots": 400,
        "dynamical_decoupling": DECOUPLING,
        "twirling": TWIRLING,
        "simulator": {"seed_simulator": 42},
        "execution": {"init_qubits": True, "rep_delay": 0.00025, "meas_type": "classified"},
    }
    result = SamplerV2(sherbrooke, options=options).run([circuit]).result()
    counts = result[0].data.three.get_counts()
    # The two counts of the twirling options make the shots.
    assert sum(counts.values()) == result[0].metadata["shots"] == 1600
    assert counts["000"] > 1300
    assert result[0].metadata["num_randomizations"] == 16
    (span,) = result.metadata["execution"]["execution_spans"]
    assert isinstance(span, TwirledSliceSpanV2)
    assert span.mask(0).sum() == 1600


def test_an_estimator_job_with_all_options(sherbrooke: IBMBackend) -> None:
    circuit = waiting(sherbrooke)
    options = {
        "default_precision": 0.03,
        "default_shots": 1600,
        "resilience_level": 2,
        "seed_estimator": 7,
        "dynamical_decoupling": DECOUPLING,
        "twirling": TWIRLING,
        "simulator": {"seed_simulator": 3},
        "execution": {"init_qubits": True, "rep_delay": 0.00025},
        "resilience": {
            "measure_mitigation": True,
            "measure_noise_learning": {"num_randomizations": 64, "shots_per_randomization": 100},
            "zne_mitigation": True,
            "zne": {
                "amplifier": "gate_folding",
                "noise_factors": [1, 3, 5],
                "extrapolator": ["exponential", "linear"],
                "extrapolated_noise_factors": [0, 1],
            },
            "layer_noise_learning": {"max_layers_to_learn": 3, "layer_pair_depths": [0, 1, 2]},
        },
    }
    observable = "I" * (sherbrooke.num_qubits - 3) + "ZZZ"
    job = EstimatorV2(sherbrooke, options=options).run([(circuit, observable)])
    result = job.result()
    data = result[0].data
    assert float(data.evs) == pytest.approx(1, abs=0.2)
    assert data.evs_noise_factors[0] > data.evs_noise_factors[-1]
    assert data.evs_extrapolated.shape == (2, 2)
    assert result[0].metadata["shots"] == 1600
    assert result.metadata["resilience"]["zne"]["noise_factors"] == [1, 3, 5]
    assert result.metadata["dynamical_decoupling"]["sequence_type"] == "XY4"
    # Nothing here needs the errors of layers, and the log says so.
    assert "layer_noise_learning.max_layers_to_learn has no effect" in job.logs()


def test_an_estimator_job_without_a_level_gets_level_1_where_it_can(manila: IBMBackend) -> None:
    plain = QuantumCircuit(5)
    plain.x(1)
    estimator = EstimatorV2(manila, options={"simulator": {"seed_simulator": 3}})
    mitigated, lowered = estimator.run([(plain, "IIIZI"), (dynamic(), "IIIZI")]).result()
    assert mitigated.metadata["resilience"] == {}
    assert mitigated.metadata["num_randomizations"] == 32
    assert lowered.metadata["resilience"]["resilience_level"] == 0
    assert "control flow" in lowered.metadata["resilience"]["level_reason"]
    estimator.options.resilience_level = 1
    with pytest.raises(RuntimeJobFailureError, match="control flow"):
        estimator.run([(dynamic(), "IIIZI")]).result()


@pytest.mark.parametrize(
    "options",
    [
        {"twirling": {"enable_gates": True}},
        {"resilience": {"zne_mitigation": True}},
        {"resilience": {"pec_mitigation": True}},
    ],
)
def test_dynamic_circuits_are_refused_with_the_name_of_what_cannot_be_done(
    manila: IBMBackend, options: dict[str, dict[str, bool]]
) -> None:
    job = EstimatorV2(manila, options=options).run([(dynamic(), "IIIZI")])
    (name,) = (f"{section}.{switch}" for section, switches in options.items() for switch in switches)
    with pytest.raises(RuntimeJobFailureError, match=rf"{name}.* circuits with control flow"):
        job.result()
