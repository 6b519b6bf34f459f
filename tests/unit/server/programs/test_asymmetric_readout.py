"""With `experimental.noise.readout: asymmetric`, a 0 and a 1 are misread as often as the calibration says of each.

The device has gates without errors, so every probability can be worked out by hand.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from functools import reduce
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from qiskit.circuit import QuantumCircuit
from qiskit.primitives import PrimitiveResult
from qiskit.primitives.containers.estimator_pub import EstimatorPub
from qiskit.primitives.containers.sampler_pub import SamplerPub
from qiskit_aer.noise import NoiseModel
from qiskit_ibm_runtime.decoders.noise_learner_v3.decoder import NoiseLearnerV3ResultDecoder
from qiskit_ibm_runtime.json import RuntimeEncoder
from qiskit_ibm_runtime.noise_learner_v3.converters import noise_learner_v3_inputs_to_0_3
from qiskit_ibm_runtime.options_models import NoiseLearnerV3Options
from samplomatic import Twirl

from kit.quantum.circuits import bell
from kit.quantum.recording_executor import RecordingExecutor
from qiskit_runtime_server.backends.catalog import Catalog
from qiskit_runtime_server.backends.fake import fake_files
from qiskit_runtime_server.errors import InvalidInputError, UnsupportedOptionError
from qiskit_runtime_server.programs import noise_learner
from qiskit_runtime_server.programs.device.shots import SimulatedShots

SHOTS = 100_000
ASYMMETRIC = {"experimental": {"noise": {"readout": "asymmetric"}}}
SYMMETRIC = {"experimental": {"noise": {"readout": "symmetric"}}}

# Of each qubit: how often a 0 is read as 1, and a 1 as 0.
MISREAD = [(0.02, 0.17), (0.01, 0.30), (0.08, 0.05), (0.0, 0.12), (0.11, 0.0)]

Change = Callable[[dict[str, Any]], object]
Sample = Callable[..., PrimitiveResult[Any]]


def write_device(folder: Path, change: Change) -> None:
    """Write a device of five qubits whose readout is all that goes wrong."""
    configuration, properties = (json.loads(path.read_text()) for path in fake_files()["fake_manila"] if path)
    for gate in properties["gates"]:
        for parameter in gate["parameters"]:
            parameter["value"] = 0.0
    for qubit, (one_for_zero, zero_for_one) in enumerate(MISREAD):
        values = {
            "prob_meas1_prep0": one_for_zero,
            "prob_meas0_prep1": zero_for_one,
            "readout_error": (one_for_zero + zero_for_one) / 2,
        }
        for parameter in properties["qubits"][qubit]:
            parameter["value"] = values.get(parameter["name"], parameter["value"])
    change(properties)
    (folder / "lopsided.configuration.json").write_text(json.dumps(configuration))
    (folder / "lopsided.properties.json").write_text(json.dumps(properties))


@pytest.fixture
def executor(tmp_path: Path) -> RecordingExecutor:
    return on_device(tmp_path)


def on_device(folder: Path, change: Change = lambda _properties: None) -> RecordingExecutor:
    write_device(folder, change)
    executor = RecordingExecutor()
    executor.catalog = Catalog(folder)
    return executor


def sample(
    executor: RecordingExecutor, circuit: QuantumCircuit, options: Mapping[str, Any], backend: str = "lopsided"
) -> PrimitiveResult[Any]:
    pub = SamplerPub.coerce((circuit, None, SHOTS))
    return executor.execute_sampler([pub], {"simulator": {"seed_simulator": 11}, **options}, backend)


def estimate(
    executor: RecordingExecutor, circuit: QuantumCircuit, observables: Sequence[str], **options: Any
) -> PrimitiveResult[Any]:
    pub = EstimatorPub.coerce((circuit, list(observables), None, 1 / np.sqrt(SHOTS)))
    return executor.execute_estimator([pub], {"simulator": {"seed_simulator": 11}, **options}, "lopsided")


def prepared(ones: Sequence[int], qubits: Sequence[int] = range(5)) -> QuantumCircuit:
    circuit = QuantumCircuit(5, len(qubits))
    for qubit in ones:
        circuit.x(qubit)
    circuit.measure(qubits, range(len(qubits)))
    return circuit


def confusion(qubits: Sequence[int]) -> NDArray[np.float64]:
    """Return the probabilities to read the outcome of the column when that of the row is there, first qubit lowest."""
    matrices = [np.array([[1 - a, a], [b, 1 - b]]) for a, b in (MISREAD[qubit] for qubit in reversed(qubits))]
    return reduce(np.kron, matrices)


def shares(result: PrimitiveResult[Any], width: int) -> NDArray[np.float64]:
    counts = result[0].data.c.get_int_counts()
    return np.array([counts.get(outcome, 0) for outcome in range(2**width)]) / SHOTS


def check(found: NDArray[np.float64], expected: NDArray[np.float64]) -> None:
    """Check that no share is more than five standard deviations off."""
    deviation = np.sqrt(expected * (1 - expected) / SHOTS)
    assert np.all(np.abs(found - expected) <= 5 * deviation + 1e-12), (found, expected)


class TestSampler:
    @pytest.mark.parametrize("qubit", range(5))
    def test_each_value_of_a_qubit_has_its_own_error(self, executor: RecordingExecutor, qubit: int) -> None:
        for value in (0, 1):
            found = shares(sample(executor, prepared([qubit] * value, [qubit]), ASYMMETRIC), 1)
            check(found, confusion([qubit])[value])

    @pytest.mark.parametrize("options", [{}, SYMMETRIC], ids=["default", "symmetric"])
    def test_without_the_option_both_have_their_mean(
        self, executor: RecordingExecutor, options: Mapping[str, Any]
    ) -> None:
        mean = sum(MISREAD[1]) / 2
        for value in (0, 1):
            found = shares(sample(executor, prepared([1] * value, [1]), options), 1)
            check(found, np.array([1 - mean, mean])[[value, 1 - value]])

    def test_a_bell_pair_is_misread_more_where_it_is_one(self, executor: RecordingExecutor) -> None:
        circuit = bell(5, 2)
        circuit.measure([0, 1], [0, 1])
        expected = np.array([0.5, 0, 0, 0.5]) @ confusion([0, 1])
        check(shares(sample(executor, circuit, ASYMMETRIC), 2), expected)

    def test_a_misread_one_in_the_middle_decides_wrongly(self, executor: RecordingExecutor) -> None:
        circuit = QuantumCircuit(5, 2)
        circuit.x(0)
        circuit.measure(0, 0)
        with circuit.if_test((circuit.clbits[0], 1)):
            circuit.x(2)
        circuit.measure(2, 1)
        seen = 1 - MISREAD[0][1]
        first, second = MISREAD[2]
        # Bit 0 lowest: it is 0 with 17 %, and qubit 2 stays in its ground state then.
        expected = np.array(
            [(1 - seen) * (1 - first), seen * second, (1 - seen) * first, seen * (1 - second)], dtype=np.float64
        )
        check(shares(sample(executor, circuit, ASYMMETRIC), 2), expected)
        assert [task.circuit.has_control_flow_op() for task in executor.tasks] == [True]

    @pytest.mark.parametrize("gates", [False, True], ids=["measurements", "gates"])
    def test_twirled_measurements_are_misread_by_the_mean(self, executor: RecordingExecutor, gates: bool) -> None:  # noqa: FBT001 - a case
        twirling = {"enable_measure": True, "enable_gates": gates, "num_randomizations": 2000}
        result = sample(executor, prepared([1], [1]), {**ASYMMETRIC, "twirling": twirling})
        mean = sum(MISREAD[1]) / 2
        # The randomizations are what there are few of: each has one rate or the other.
        spread = abs(MISREAD[1][0] - MISREAD[1][1]) / 2 / np.sqrt(2000)
        assert shares(result, 1)[0] == pytest.approx(mean, abs=5 * spread)

    def test_the_result_says_so(self, executor: RecordingExecutor) -> None:
        assert sample(executor, bell(5, 2), ASYMMETRIC).metadata["noise"] == {"readout": "asymmetric"}
        assert "noise" not in sample(executor, bell(5, 2), {}).metadata


class TestEstimator:
    def test_values_without_mitigation_are_shifted_as_well_as_scaled(self, executor: RecordingExecutor) -> None:
        first, second = MISREAD[1]
        observables = ["IIIZI", "IIZII"]
        for ones, expected in (([], 1 - 2 * first), ([1], -(1 - 2 * second))):
            values = estimate(executor, prepared_bare(ones), observables, resilience_level=0, **ASYMMETRIC)[0].data.evs
            assert values[0] == pytest.approx(expected, abs=5 / np.sqrt(SHOTS))
            assert values[1] == pytest.approx(1 - 2 * MISREAD[2][0], abs=5 / np.sqrt(SHOTS))

    def test_a_pair_has_the_value_that_its_outcomes_give(self, executor: RecordingExecutor) -> None:
        outcomes = np.array([0.5, 0, 0, 0.5]) @ confusion([0, 1])
        expected = outcomes @ np.array([1, -1, -1, 1])
        value = float(estimate(executor, bell(5, 2), ["IIIZZ"], resilience_level=0, **ASYMMETRIC)[0].data.evs[0])
        assert value == pytest.approx(expected, abs=5 / np.sqrt(SHOTS))

    def test_trex_takes_the_errors_out(self, executor: RecordingExecutor) -> None:
        options = {"resilience_level": 1, "twirling": {"num_randomizations": 2000}, **ASYMMETRIC}
        options["resilience"] = {"measure_noise_learning": {"num_randomizations": 2000}}
        data = estimate(executor, bell(5, 2), ["IIIZZ", "IIIXX"], **options)[0].data
        # 2000 randomizations of two qubits whose rates differ by up to 29 %, and as many for the calibration.
        assert data.evs == pytest.approx([1, 1], abs=5 * 2 * 0.29 / np.sqrt(2000))

    def test_the_result_says_so(self, executor: RecordingExecutor) -> None:
        assert estimate(executor, bell(5, 2), ["IIIZZ"], **ASYMMETRIC).metadata["noise"] == {"readout": "asymmetric"}
        assert "noise" not in estimate(executor, bell(5, 2), ["IIIZZ"]).metadata


def prepared_bare(ones: Sequence[int]) -> QuantumCircuit:
    circuit = QuantumCircuit(5)
    for qubit in ones:
        circuit.x(qubit)
    return circuit


class TestNoiseLearner:
    def test_the_mean_of_both_errors_is_learned(self, executor: RecordingExecutor) -> None:
        circuit = QuantumCircuit(5, 2)
        with circuit.box([Twirl()]):
            circuit.measure([1, 2], [0, 1])
        params = json.loads(noise_learner_v3_inputs_to_0_3(circuit.data, NoiseLearnerV3Options()).model_dump_json())
        given = {"num_randomizations": 1000, "shots_per_randomization": 16, **ASYMMETRIC}
        document = json.dumps({**params, "options": given}, cls=RuntimeEncoder).encode()
        text = noise_learner.execute(SimulatedShots(executor), document, "lopsided", 1).document.decode()
        (learned,) = NoiseLearnerV3ResultDecoder.decode(text)
        # exp(-2 rate) is what is left of <Z>: 1 - 2p, with p the mean of both errors; five standard errors.
        left = [1 - sum(MISREAD[qubit]) for qubit in (1, 2)]
        assert sorted(np.exp(-2 * learned._rates)) == pytest.approx(sorted(left), abs=5 * 0.29 / np.sqrt(1000))


class TestRefusals:
    def test_an_ideal_device_has_no_readout_errors(self, executor: RecordingExecutor) -> None:
        with pytest.raises(UnsupportedOptionError, match=r"readout: asymmetric.*fake_quantum_sim is an ideal device"):
            sample(executor, prepared([], [0]), ASYMMETRIC, backend="fake_quantum_sim")

    @pytest.mark.parametrize("value", [None, -0.1, 1.5])
    @pytest.mark.parametrize("name", ["prob_meas0_prep1", "prob_meas1_prep0"])
    def test_a_device_that_does_not_know_them_says_for_which_qubits(
        self, tmp_path: Path, name: str, value: float | None
    ) -> None:
        def spoil(properties: dict[str, Any]) -> None:
            for qubit in (1, 3):
                parameters = properties["qubits"][qubit]
                (place,) = (i for i, parameter in enumerate(parameters) if parameter["name"] == name)
                if value is None:
                    del parameters[place]
                else:
                    parameters[place]["value"] = value

        executor = on_device(tmp_path, spoil)
        sample(executor, prepared([], [0]), SYMMETRIC)
        with pytest.raises(UnsupportedOptionError, match=r"of lopsided has no prob_meas1_prep0.* for qubits 1, 3\."):
            sample(executor, prepared([], [0]), ASYMMETRIC)

    def test_a_faulty_qubit_need_not_have_them(self, tmp_path: Path) -> None:
        fault = {"name": "operational", "value": 0, "unit": "", "date": "2024-01-01T00:00:00+00:00"}
        executor = on_device(tmp_path, lambda properties: properties["qubits"].__setitem__(4, [fault]))
        check(shares(sample(executor, prepared([1], [1]), ASYMMETRIC), 1), confusion([1])[1])

    @pytest.mark.parametrize("options", [ASYMMETRIC, SYMMETRIC], ids=["asymmetric", "symmetric"])
    def test_a_noise_model_of_the_job_has_errors_of_its_own(
        self, executor: RecordingExecutor, options: Mapping[str, Any]
    ) -> None:
        with pytest.raises(InvalidInputError, match=r"noise\.readout cannot be combined with simulator\.noise_model"):
            sample(executor, prepared([], [0]), {**options, "simulator": {"noise_model": NoiseModel()}})

    @pytest.mark.parametrize(
        ("experimental", "words"),
        [
            ({"noise": {"readouts": "asymmetric"}}, r"noise\.readouts is unknown.*mean experimental\.noise\.readout\?"),
            ({"nois": {"readout": "asymmetric"}}, r"experimental\.nois is unknown"),
            ({"warp": 9}, r"experimental\.warp is unknown"),
        ],
    )
    def test_an_unknown_name_is_refused_with_the_nearest(
        self, executor: RecordingExecutor, experimental: Mapping[str, Any], words: str
    ) -> None:
        with pytest.raises(UnsupportedOptionError, match=words):
            sample(executor, prepared([], [0]), {"experimental": experimental})

    @pytest.mark.parametrize(
        ("experimental", "words"),
        [
            ({"noise": {"readout": "lopsided"}}, "must be one of symmetric, asymmetric; it is 'lopsided'"),
            ({"noise": {"readout": True}}, "must be one of symmetric, asymmetric"),
            ({"noise": "asymmetric"}, "experimental.noise must be an object"),
        ],
    )
    def test_a_value_that_makes_no_sense_is_refused(
        self, executor: RecordingExecutor, experimental: Mapping[str, Any], words: str
    ) -> None:
        with pytest.raises(InvalidInputError, match=words):
            sample(executor, prepared([], [0]), {"experimental": experimental})
