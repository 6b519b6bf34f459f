"""What the noise learner learns agrees with the truth, which only a simulator knows."""

import io
import json
import zlib
from base64 import b64decode, b64encode
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from ibm_quantum_schemas.noise_learner_v2.version_0_1 import ResultsModel
from numpy.typing import NDArray
from qiskit import qpy
from qiskit.circuit import ClassicalRegister, QuantumCircuit, QuantumRegister
from qiskit.circuit.classical import expr
from qiskit.quantum_info import QubitSparsePauliList
from qiskit.transpiler import Target, generate_preset_pass_manager
from qiskit_aer.noise import NoiseModel
from qiskit_ibm_runtime.decoders.noise_learner import NoiseLearnerResultDecoder
from qiskit_ibm_runtime.decoders.noise_learner_v3.decoder import NoiseLearnerV3ResultDecoder
from qiskit_ibm_runtime.json import RuntimeEncoder
from qiskit_ibm_runtime.noise_learner_v3.converters.version_0_3 import noise_learner_v3_inputs_to_0_3
from qiskit_ibm_runtime.options_models import NoiseLearnerV3Options
from qiskit_ibm_runtime.results import NoiseLearnerResult, NoiseLearnerV3Result, NoiseLearnerV3Results
from samplomatic import InjectNoise, Twirl
from samplomatic.transpiler import generate_boxing_pass_manager

from kit.quantum.pauli_noise import pauli_device, symmetric
from qiskit_runtime_server.errors import InvalidInputError, NotIsaError, UnsupportedOptionError
from qiskit_runtime_server.executors.aer import AerExecutor
from qiskit_runtime_server.programs.device.dry_run import DryRun
from qiskit_runtime_server.programs.device.shots import SimulatedShots
from qiskit_runtime_server.programs.noise_learner import execute
from qiskit_runtime_server.programs.options.options import Options
from qiskit_runtime_server.programs.prepared import PreparedDevice

RATES = symmetric({"IX": 0.004, "XI": 0.001, "ZZ": 0.002, "IZ": 0.003, "YX": 0.0015, "ZI": 0.0025})
QUICK: dict[str, Any] = {"num_randomizations": 16, "layer_pair_depths": [0, 2, 8, 24]}


def learn(circuits: list[QuantumCircuit], noise: NoiseModel | None = None, **options: Any) -> NoiseLearnerResult:
    simulator = {"seed_simulator": 5, **({} if noise is None else {"noise_model": noise})}
    params = {"circuits": circuits, "options": {"support_qiskit": True, "simulator": simulator, **options}}
    document = json.dumps(params, cls=RuntimeEncoder).encode()
    result = execute(SimulatedShots(AerExecutor()), document, "fake_manila@aer", 5).document.decode()
    assert "schema_version" not in result
    return NoiseLearnerResultDecoder.decode(result)


def learn_boxes(
    *boxes: QuantumCircuit,
    version: str = "v0.3",
    noise: NoiseModel | None = None,
    backend: str = "fake_manila",
    **options: Any,
) -> NoiseLearnerV3Results:
    instructions = [instruction for box in boxes for instruction in box.data]
    params = json.loads(noise_learner_v3_inputs_to_0_3(instructions, NoiseLearnerV3Options()).model_dump_json())
    simulator = {"seed_simulator": 5} if noise is None else {"seed_simulator": 5, "noise_model": noise}
    params |= {"schema_version": version, "options": {**options, "simulator": simulator}}
    document = json.dumps(params, cls=RuntimeEncoder).encode()
    result = execute(SimulatedShots(AerExecutor()), document, f"{backend}@aer", 5)
    assert result.executions > 0
    return NoiseLearnerV3ResultDecoder.decode(result.document.decode())


def cx_box(*pairs: tuple[int, int]) -> QuantumCircuit:
    circuit = QuantumCircuit(QuantumRegister(5, "q"))
    with circuit.box([Twirl()]):
        for pair in pairs:
            circuit.cx(*pair)
    return circuit


def measuring_box(*qubits: int) -> QuantumCircuit:
    circuit = QuantumCircuit(QuantumRegister(5, "q"), ClassicalRegister(len(qubits), "c"))
    with circuit.box([Twirl()]):
        circuit.measure(qubits, range(len(qubits)))
    return circuit


def by_label(labels: list[str], rates: NDArray[np.float64]) -> dict[str, float]:
    return dict(zip(labels, map(float, rates), strict=True))


class TestTruth:
    @pytest.mark.parametrize("pair", [(1, 2), (2, 1)])
    def test_learned_rates_agree_with_injected_ones(self, pair: tuple[int, int]) -> None:
        (learned,) = learn_boxes(cx_box(pair), noise=pauli_device({pair: RATES}, misread=0.01), **QUICK)
        labels = [_label(generator, pair) for generator in learned._generators]
        rates, errors = by_label(labels, learned._rates), by_label(labels, learned._rates_std)
        assert len(rates) == 15
        # Five standard errors for each of 15 rates; they are small enough to tell all rates apart.
        for label, rate in rates.items():
            assert rate == pytest.approx(RATES.get(label, 0.0), abs=5 * errors[label]), label
            assert 0 < errors[label] < 0.0004

    def test_the_legacy_form_learns_the_same(self) -> None:
        circuit = QuantumCircuit(5)
        circuit.cx(1, 2)
        (layer,) = learn([circuit], pauli_device({(1, 2): RATES}), twirling_strategy="active", **QUICK)
        assert layer.qubits == [1, 2]
        rates = by_label(layer.error.generators.to_labels(), layer.error.rates)
        # Five times the standard errors of the test above.
        assert all(rates[label] == pytest.approx(RATES.get(label, 0.0), abs=0.002) for label in rates)
        assert rates["IX"] == pytest.approx(RATES["IX"], abs=0.0012)

    def test_measurements_have_the_flip_rates_of_the_device(self) -> None:
        noise = pauli_device({}, misread=0.06)
        (learned,) = learn_boxes(measuring_box(0, 3), noise=noise, num_randomizations=64)
        assert learned.metadata["learning_protocol"] == "trex"
        assert [generator.to_sparse_list() for generator in learned._generators] in (
            [[("X", [0])], [("X", [1])]],
            [[("X", [1])], [("X", [0])]],
        )
        # exp(-2 rate) is what is left of <Z>: 1 - 2 * 0.06; five standard errors of 8,192 shots.
        assert np.exp(-2 * learned._rates) == pytest.approx(0.88, abs=0.027)
        assert learned._rates_std == pytest.approx(0.003, rel=0.5)


def _label(generator: QubitSparsePauliList, pair: tuple[int, int]) -> str:
    """Return the label of a generator, of qubits in rising order, with the control on the right."""
    ((letters, places),) = generator.to_sparse_list()
    label = ["I", "I"]
    for letter, place in zip(letters, places, strict=True):
        label[1 - place] = letter
    return "".join(label if pair[0] < pair[1] else reversed(label))


class TestCircuits:
    def test_layers_that_occur_more_often_come_first(self) -> None:
        circuit = QuantumCircuit(5)
        for pair in ((0, 1), (1, 2), (0, 1), (3, 4)):
            circuit.cx(*pair)
            circuit.barrier()
        circuit.measure_all()
        few: dict[str, Any] = {"num_randomizations": 2, "layer_pair_depths": [0, 1], "twirling_strategy": "active"}
        result = learn([circuit, circuit], max_layers_to_learn=2, **few)
        assert [layer.qubits for layer in result] == [[0, 1], [1, 2]]
        assert result.metadata["num_layers_found"] == 3
        assert result.metadata["backend"] == "fake_manila@aer"
        assert result.metadata["input_options"]["max_layers_to_learn"] == 2
        assert learn([circuit], max_layers_to_learn=0, **few).data == []
        assert len(learn([circuit], max_layers_to_learn=None, **few)) == 3

    @pytest.mark.parametrize(
        ("strategy", "qubits"),
        [
            ("active", [[0, 1], [1, 2]]),
            ("active-accum", [[0, 1], [0, 1, 2]]),
            ("active-circuit", [[0, 1, 2], [0, 1, 2]]),
            ("all", [[0, 1, 2, 3, 4], [0, 1, 2, 3, 4]]),
        ],
    )
    def test_the_strategy_says_which_qubits_belong_to_a_layer(self, strategy: str, qubits: list[list[int]]) -> None:
        circuit = QuantumCircuit(5)
        circuit.cx(0, 1)
        circuit.cx(1, 2)
        result = learn([circuit], twirling_strategy=strategy, num_randomizations=1, layer_pair_depths=[0, 1])
        assert sorted(layer.qubits for layer in result) == sorted(qubits)
        for layer in result:
            (instruction,) = layer.circuit.data
            pair = [layer.qubits[layer.circuit.find_bit(qubit).index] for qubit in instruction.qubits]
            assert pair in ([0, 1], [1, 2])

    @pytest.mark.parametrize("version", [13, 14, 17])
    def test_layers_come_in_the_format_of_the_request(self, version: int) -> None:
        circuit = QuantumCircuit(5)
        circuit.cx(2, 1)
        file = io.BytesIO()
        qpy.dump(circuit, file, version=version)
        tagged = {"__type__": "QuantumCircuit", "__value__": b64encode(zlib.compress(file.getvalue())).decode()}
        options = {"num_randomizations": 1, "layer_pair_depths": [0, 1], "support_qiskit": True}
        params = json.dumps({"circuits": [tagged], "options": options}).encode()
        result = json.loads(execute(SimulatedShots(AerExecutor()), params, "fake_manila@aer", 5).document)
        data = zlib.decompress(b64decode(result["data"][0]["__value__"]["circuit"]["__value__"]))
        assert data[:7] == b"QISKIT" + bytes([version])
        assert ResultsModel.model_validate(result).metadata.input_options.model_dump() == {
            "max_layers_to_learn": 4,
            "shots_per_randomization": 128,
            "num_randomizations": 1,
            "layer_pair_depths": [0, 1],
            "twirling_strategy": "active-accum",
        }

    def test_a_client_without_qiskit_reads_texts_and_lists(self) -> None:
        circuit = QuantumCircuit(5)
        circuit.cx(2, 1)
        few = {"num_randomizations": 1, "layer_pair_depths": [0, 1], "twirling_strategy": "active"}
        params = {"circuits": [circuit], "options": {**few, "support_qiskit": False}}
        result = execute(
            SimulatedShots(AerExecutor()), json.dumps(params, cls=RuntimeEncoder).encode(), "fake_manila", 5
        )
        (layer,) = json.loads(result.document)["data"]
        assert layer["qubits"] == [1, 2]
        assert "cx q[1], q[0];" in layer["circuit"]
        assert len(layer["error"]["generators"]) == len(layer["error"]["rates"]) == 15

    def test_what_cannot_be_learned_is_refused(self) -> None:
        dynamic = QuantumCircuit(5, 1)
        dynamic.measure(0, 0)
        with dynamic.if_test((dynamic.clbits[0], 1)):
            dynamic.x(1)
        with pytest.raises(UnsupportedOptionError, match=r"circuits\[0\]: .*control flow"):
            learn([dynamic])
        storing = QuantumCircuit(5, 1)
        storing.cx(0, 1)
        storing.measure(0, 0)
        storing.add_var("seen", expr.lift(storing.clbits[0]))
        with pytest.raises(UnsupportedOptionError, match=r"circuits\[0\]: .*control flow"):
            learn([storing])
        hadamard = QuantumCircuit(5)
        hadamard.h(0)
        with pytest.raises(NotIsaError):
            learn([hadamard])
        for params, words in (
            ({"circuits": []}, "no circuits"),
            ({"circuits": [1]}, r"circuits\[0\] must be a circuit"),
            ({"circuits": [dynamic], "options": {"support_qiskit": 1}}, "support_qiskit"),
            ({"circuits": [dynamic], "options": {"foo": 1}}, "Option foo is unknown"),
            ({"circuits": [dynamic], "options": {"layer_pair_depths": []}}, "layer_pair_depths"),
            ({"circuits": [dynamic], "extra": 1}, "'extra'"),
        ):
            with pytest.raises((InvalidInputError, UnsupportedOptionError), match=words):
                execute(
                    SimulatedShots(AerExecutor()), json.dumps(params, cls=RuntimeEncoder).encode(), "fake_manila", 1
                )


class TestBoxes:
    @pytest.mark.parametrize("version", ["v0.1", "v0.2", "v0.3"])
    def test_every_version_of_the_schema_is_answered_in_kind(self, version: str) -> None:
        few: dict[str, Any] = {"num_randomizations": 2, "layer_pair_depths": [0, 1, 2]}
        gates, measurement = learn_boxes(cx_box((0, 1), (3, 2)), measuring_box(4, 1), version=version, **few)
        kept = gates.metadata["post_selection"]["fraction_kept"]
        assert (gates.metadata["learning_protocol"], kept) == ("lindblad", {0: 1.0, 1: 1.0, 2: 1.0})
        assert measurement.metadata["post_selection"]["fraction_kept"] == 1.0
        assert ("success_rates" in gates.metadata["post_selection"]) == (version != "v0.1")
        assert gates.to_pauli_lindblad_map().num_qubits == 4

    def test_what_is_no_layer_is_refused(self) -> None:
        turned = QuantumCircuit(QuantumRegister(5, "q"))
        with turned.box([Twirl()]):
            turned.rz(0.3, 0)
        plain = QuantumCircuit(QuantumRegister(5, "q"))
        with plain.box():
            plain.cx(0, 1)
        far = cx_box((0, 4))
        loose = QuantumCircuit(5)
        loose.cx(0, 1)
        for circuit, words in ((plain, "Twirl"), (far, "cx on qubits"), (loose, "Expected a 'box'")):
            with pytest.raises(InvalidInputError, match=rf"instructions\[0\].*{words}"):
                learn_boxes(circuit)
        with pytest.raises(InvalidInputError):
            learn_boxes(turned)
        with pytest.raises(InvalidInputError, match=r"v0\.1, v0\.2, v0\.3"):
            learn_boxes(cx_box((0, 1)), version="v0.4")


class TestDressedBoxes:
    """Boxes keep the one-qubit gates of their dressing, as the client's own pass makes them."""

    @pytest.mark.parametrize("dressing", ["left", "right"])
    def test_gates_of_the_dressing_are_no_part_of_the_layer(self, dressing: str) -> None:
        circuit = QuantumCircuit(QuantumRegister(5, "q"))
        with circuit.box([Twirl(dressing=dressing), InjectNoise("M")]):
            if dressing == "left":
                circuit.sx(1)
            circuit.cx(1, 2)
            circuit.x(0)
            if dressing == "right":
                circuit.sx(2)
        few: dict[str, Any] = {"num_randomizations": 8, "layer_pair_depths": [0, 2, 8]}
        (learned,) = learn_boxes(circuit, noise=pauli_device({(1, 2): {"IX": 0.02}}), **few)
        found = {str(generator.to_sparse_list()): rate for generator, rate in _pairs(learned)}
        # On qubits 0, 1 and 2: all of one qubit, and of two neighbours. Only x and what cx makes of it err.
        assert len(found) == 9 + 2 * 9
        # A tenth of the injected rate is ten standard errors.
        assert found["[('X', [1])]"] + found["[('XX', [1, 2])]"] == pytest.approx(0.02, abs=0.004)

    @pytest.mark.parametrize(
        "device",
        [
            "fake_manila",
            "fake_athens",
            "fake_rochester",
            "fake_kyiv",
            "fake_cairo",
            "fake_torino",
            "fake_prague",
            "fake_fractional",
        ],
    )
    def test_boxes_of_the_clients_pass_are_learned_in_every_basis(self, device: str) -> None:
        target = _target(device)
        circuit = QuantumCircuit(QuantumRegister(3, "q"))
        circuit.h(0)
        circuit.cz(0, 1)
        circuit.h(1)
        circuit.cx(1, 2)
        circuit.measure_all()
        isa = generate_preset_pass_manager(optimization_level=1, target=target, seed_transpiler=1).run(circuit)
        boxing = generate_boxing_pass_manager(
            inject_noise_targets="all", measure_annotations="all", twirling_strategy="active_circuit"
        )
        boxes = QuantumCircuit(isa.qubits, isa.clbits)
        boxes.data = [part for part in boxing.run(isa).data if part.operation.name == "box"]
        few: dict[str, Any] = {"num_randomizations": 2, "shots_per_randomization": 32, "layer_pair_depths": [0, 1]}
        learned = learn_boxes(boxes, backend=device, **few)
        protocols = [result.metadata["learning_protocol"] for result in learned]
        assert set(protocols[:-1]) == {"lindblad"}
        assert protocols[-1] == "trex"
        for result in learned:
            assert np.isfinite(result._rates_std).all()

    def test_gates_on_other_qubits_and_half_turns_are_learned(self) -> None:
        # As large as the machine's memory allows.
        ideal = QuantumCircuit(QuantumRegister(_target("fake_quantum_sim").num_qubits, "q"))
        fractional = QuantumCircuit(QuantumRegister(5, "q"))
        with ideal.box([Twirl()]):
            ideal.h(2)
            ideal.cz(0, 1)
        with fractional.box([Twirl()]):
            fractional.sx(0)
            fractional.rzz(np.pi / 2, 0, 1)
        few: dict[str, Any] = {"num_randomizations": 1, "layer_pair_depths": [0, 1]}
        (learned,) = learn_boxes(ideal, backend="fake_quantum_sim", **few)
        assert np.abs(learned._rates).max() < 1e-9
        (learned,) = learn_boxes(fractional, backend="fake_fractional", **few)
        assert len(learned) == 15


def _target(device: str) -> Target:
    return PreparedDevice.of(SimulatedShots(AerExecutor()), Options(), device).device.target


def _pairs(learned: NoiseLearnerV3Result) -> list[tuple[QubitSparsePauliList, float]]:
    return list(zip(learned._generators, map(float, learned._rates), strict=True))


class TestDryRun:
    def test_it_gives_a_result_of_the_right_shape(self) -> None:
        circuit = QuantumCircuit(5)
        circuit.cx(0, 1)
        params = {"circuits": [circuit], "options": {"twirling_strategy": "active", **QUICK}}
        runner = DryRun(AerExecutor())
        document = execute(runner, json.dumps(params, cls=RuntimeEncoder).encode(), "mock_manila@aer", 1).document
        (layer,) = NoiseLearnerResultDecoder.decode(document.decode())
        assert layer.error.num_qubits == 2
        assert len(layer.error.rates) == 15
        assert runner.seconds > 0


class TestChecks:
    """Shots in which a bit does not flip are dropped."""

    @pytest.mark.parametrize(
        ("checks", "kept"),
        [
            # Every bit of the two qubits and their two neighbours has to be read as 0 after two flips.
            ({"pre_circuit": {"enable": True}}, 0.95**4),
            # Two readings of the same bit have to differ, so one of them may not be wrong alone.
            ({"post_circuit": {"enable": True}}, (0.95**2 + 0.05**2) ** 4),
            ({"post_circuit": {"enable": True, "x_pulse_type": "rx"}}, (0.95**2 + 0.05**2) ** 4),
            ({"pre_circuit": {"enable": True}, "post_circuit": {"enable": True}}, 0.95**4 * (0.95**2 + 0.05**2) ** 4),
        ],
    )
    def test_each_check_takes_effect_alone_and_with_the_other(self, checks: Mapping[str, Any], kept: float) -> None:
        noise = pauli_device({}, misread=0.05)
        (learned,) = learn_boxes(measuring_box(1, 2), noise=noise, bit_flip_checks=checks, num_randomizations=16)
        selection = learned.metadata["post_selection"]
        # 2,048 shots; five standard errors.
        assert selection["fraction_kept"] == pytest.approx(kept, abs=0.055)
        assert set(selection["success_rates"]) == {0, 1, 2, 3}

    def test_edges_drop_less_than_nodes(self) -> None:
        noise = pauli_device({}, misread=0.05)
        checks = {"post_circuit": {"enable": True, "strategy": "edge"}}
        (learned,) = learn_boxes(measuring_box(1, 2), noise=noise, bit_flip_checks=checks, num_randomizations=16)
        # Of the two qubits, or of the two neighbours, which are none of each other: 1 - 0.095^2.
        assert learned.metadata["post_selection"]["fraction_kept"] == pytest.approx(0.991, abs=0.011)
