"""Views of results of the executor program and of the noise learner, in all versions of their schemas."""

import json
from typing import Any

import numpy as np
import pytest
from qiskit.circuit import ClassicalRegister, QuantumCircuit, QuantumRegister
from qiskit_ibm_runtime.decoders.noise_learner import NoiseLearnerResultDecoder
from qiskit_ibm_runtime.decoders.noise_learner_v3.decoder import NoiseLearnerV3ResultDecoder
from qiskit_ibm_runtime.json import RuntimeEncoder
from qiskit_ibm_runtime.noise_learner_v3.converters.version_0_3 import noise_learner_v3_inputs_to_0_3
from qiskit_ibm_runtime.options_models import ExecutorOptions, NoiseLearnerV3Options
from qiskit_ibm_runtime.quantum_program import QuantumProgram
from qiskit_ibm_runtime.quantum_program.params_converters import QUANTUM_PROGRAM_PARAMS_CONVERTERS
from samplomatic import Twirl, build

from qiskit_runtime_server.api.models.views import Outcomes
from qiskit_runtime_server.console import charts
from qiskit_runtime_server.errors import InvalidInputError
from qiskit_runtime_server.executors.aer import AerExecutor
from qiskit_runtime_server.programs import executor_program, noise_learner
from qiskit_runtime_server.programs.device.shots import SimulatedShots
from qiskit_runtime_server.programs.wire.quantum_program import WIRES, decode_program
from qiskit_runtime_server.worker import outcomes

LEARNING = {"num_randomizations": 2, "shots_per_randomization": 16, "layer_pair_depths": [0, 2]}


def seen(result: bytes) -> Outcomes:
    return Outcomes.model_validate_json(outcomes.outcomes(result))


def flips() -> QuantumCircuit:
    """Three qubits in two registers, whose bits are known: `left` is 01 and `right` is 1."""
    circuit = QuantumCircuit(QuantumRegister(3), ClassicalRegister(2, "left"), ClassicalRegister(1, "right"))
    circuit.x([0, 2])
    circuit.measure([0, 1, 2], [0, 1, 2])
    return circuit


def twirled() -> QuantumCircuit:
    """Two qubits that are 1 and 0, whatever their measurement is flipped by on the way."""
    circuit = QuantumCircuit(2)
    with circuit.box([Twirl()]):
        circuit.x(0)
        circuit.cx(1, 0)
    with circuit.box([Twirl()]):
        circuit.measure_all()
    return circuit


def ran(version: str) -> bytes:
    program = QuantumProgram(shots=50)
    program.append_circuit_item(flips())
    template, samplex = build(twirled())
    program.append_samplex_item(template, samplex, shape=(6,))
    params = QUANTUM_PROGRAM_PARAMS_CONVERTERS[version].encoder(program, ExecutorOptions())
    decoded = decode_program(params.model_dump_json().encode())
    return executor_program.execute(SimulatedShots(AerExecutor(threads=1)), decoded, "fake_quantum_sim@aer", 3)


@pytest.mark.parametrize("version", ["v0.1", "v1.1", "v2.0"])
def test_items_of_the_executor_program_have_histograms_and_arrays(version: str) -> None:
    found = seen(ran(version))
    assert (found.kind, len(found.pubs), found.more, found.layers) == ("item", 2, 0, [])
    plain, varied = found.pubs
    assert {one.name: one.bars for one in plain.counts} == {"left": [("01", 50)], "right": [("1", 50)]}
    assert [(one.name, one.dtype, one.shape) for one in plain.arrays] == [
        ("left", "bool", [50, 2]),
        ("right", "bool", [50, 1]),
    ]
    # Flips that were made on purpose are taken back.
    [counts] = varied.counts
    assert (counts.name, counts.bars, counts.sets) == ("meas", [("01", 50)], 6)
    assert {one.name: one.shape for one in varied.arrays} == {
        "meas": [6, 50, 2],
        "measurement_flips.meas": [6, 1, 2],
    }


def test_numbers_have_a_range_and_others_none() -> None:
    arrays = {
        "real": np.array([[0.5, -2.0]]),
        "complex": np.array([1j]),
        "nan": np.array([np.nan]),
        "none": np.empty((0, 3)),
    }
    tensors = {name: executor_program._tensor(array, WIRES["v1.1"]) for name, array in arrays.items()}
    document = {"schema_version": "v1.1", "data": [{"results": tensors, "metadata": None}], "metadata": {}}
    [item] = seen(json.dumps(document).encode()).pubs
    assert {one.name: (one.dtype, one.shape, one.least, one.largest) for one in item.arrays} == {
        "real": ("float64", [1, 2], -2.0, 0.5),
        "complex": ("complex128", [1], None, None),
        "nan": ("float64", [1], None, None),
        "none": ("float64", [0, 3], None, None),
    }


def chain() -> QuantumCircuit:
    circuit = QuantumCircuit(5)
    circuit.cx(1, 2)
    return circuit


def learned(params: dict[str, Any]) -> bytes:
    document = json.dumps(params, cls=RuntimeEncoder).encode()
    return noise_learner.execute(SimulatedShots(AerExecutor(threads=1)), document, "fake_manila@aer", 5).document


def legacy(*, support_qiskit: bool) -> bytes:
    return learned({"circuits": [chain()], "options": {"support_qiskit": support_qiskit, **LEARNING}})


@pytest.mark.parametrize("support_qiskit", [True, False])
def test_learned_layers_of_circuits_have_their_largest_rates(support_qiskit: bool) -> None:  # noqa: FBT001 - a parameter
    found = seen(legacy(support_qiskit=support_qiskit))
    assert (found.kind, found.pubs, found.more) == ("layer", [], 0)
    [layer] = found.layers
    assert (layer.qubits, layer.generators, len(layer.rates)) == ([1, 2], 15, 15)
    [truth] = NoiseLearnerResultDecoder.decode(legacy(support_qiskit=True).decode()).data
    assert truth.error is not None
    wanted = {
        " ".join(f"{letter}{1 + place}" for place, letter in enumerate(label[::-1]) if letter != "I"): rate
        for label, rate in zip(truth.error.generators.to_labels(), truth.error.rates.tolist(), strict=True)
    }
    assert {name: rate for name, rate, _ in layer.rates} == pytest.approx(wanted)
    rates = [rate for _, rate, _ in layer.rates]
    assert rates == sorted(wanted.values(), reverse=True)
    assert layer.gamma == pytest.approx(np.exp(2 * sum(wanted.values())))
    assert {error for _, _, error in layer.rates} == {None}


@pytest.mark.parametrize("version", ["v0.1", "v0.2", "v0.3"])
def test_learned_boxes_have_their_errors_too(version: str) -> None:
    box = QuantumCircuit(QuantumRegister(5, "q"))
    with box.box([Twirl()]):
        box.cx(1, 2)
    params = json.loads(noise_learner_v3_inputs_to_0_3(box.data, NoiseLearnerV3Options()).model_dump_json())
    document = learned(params | {"schema_version": version, "options": LEARNING})
    [layer] = seen(document).layers
    [truth] = NoiseLearnerV3ResultDecoder.decode(document.decode()).data
    assert (layer.qubits, layer.generators) == ([], len(truth._rates))
    rates, errors = np.array([[rate, error] for _, rate, error in layer.rates], dtype=np.float64).T
    np.testing.assert_allclose(np.sort(rates), np.sort(truth._rates))
    np.testing.assert_allclose(np.sort(errors), np.sort(truth._rates_std))
    assert {name for name, _, _ in layer.rates} >= {"X0", "Z1", "X0 Z1"}
    assert json.loads(layer.metadata)["learning_protocol"] == "lindblad"


def test_rates_are_drawn_from_zero_on_with_their_errors_and_read_out() -> None:
    chart = charts.rates([("X3 Z4", 0.02, 0.005), ("Z4", 0.001, 0.004), ("Y4", None, None)])
    assert chart is not None
    first, second = chart.points
    assert (first.label, first.text) == ("X3 Z4", "0.02 ± 0.005")
    assert first.high == chart.end
    assert chart.start < first.low < first.x < first.high  # type: ignore[operator]
    assert second.low == chart.start, "no rate is below 0"
    assert chart.title == "Rates: X3 Z4: 0.02 ± 0.005, Z4: 0.001 ± 0.004"
    assert charts.rates([("X0", 0.0, None)]) is not None
    assert charts.rates([]) is None


@pytest.mark.parametrize(
    "document",
    [
        {"data": [3]},
        {"data": [{"results": {}}]},
        {"schema_version": "v9", "data": [{"results": {}}]},
        {"schema_version": "v1.1", "data": [{"results": {"c": {"data": "AAAA", "shape": [9], "dtype": "f64"}}}]},
        {"schema_version": "v1.1", "data": [{"results": {"c": {"data": "", "shape": [0, 2], "dtype": "bool"}}}]},
        {"schema_version": "v1.1", "data": [{"results": {"c": {"data": "", "shape": [2**40], "dtype": "bool"}}}]},
        {"data": [{"rates": {}, "rates_std": {}, "generators_sparse": []}]},
        {"data": [{"qubits": [0], "error": {"generators": ["XX"], "rates": [0.1]}}]},
        {"data": [{"qubits": [0], "error": {"generators": ["X"], "rates": [0.1, 0.2]}}]},
        {"data": [{"qubits": [0, 1], "error": None}]},
    ],
    ids=str,
)
def test_a_damaged_result_is_refused_or_empty_and_harms_nobody(document: dict[str, Any]) -> None:
    try:
        found = outcomes.outcomes(json.dumps(document).encode())
    except InvalidInputError:
        return
    Outcomes.model_validate_json(found)
