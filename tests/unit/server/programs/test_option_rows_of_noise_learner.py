"""Every option of the noise learner does what the table of options says."""

import json
from typing import Any

import numpy as np
import pytest
from qiskit.circuit import QuantumCircuit, QuantumRegister
from qiskit_ibm_runtime.decoders.noise_learner import NoiseLearnerResultDecoder
from qiskit_ibm_runtime.decoders.noise_learner_v3.decoder import NoiseLearnerV3ResultDecoder
from qiskit_ibm_runtime.json import RuntimeEncoder
from qiskit_ibm_runtime.noise_learner_v3.converters.version_0_3 import noise_learner_v3_inputs_to_0_3
from qiskit_ibm_runtime.options_models import NoiseLearnerV3Options
from qiskit_ibm_runtime.results import NoiseLearnerResult, NoiseLearnerV3Result
from samplomatic import Twirl

from kit.quantum.pauli_noise import pauli_device
from kit.quantum.recording_executor import RecordingExecutor
from kit.server.option_rows import Verdict, proves
from qiskit_runtime_server.errors import InvalidInputError, NotIsaError, UnsupportedOptionError
from qiskit_runtime_server.programs.device.shots import SimulatedShots
from qiskit_runtime_server.programs.noise_learner import execute

LEGACY = "noise-learner"
V3 = "NoiseLearnerV3"
FEW: dict[str, Any] = {"num_randomizations": 2, "layer_pair_depths": [0, 1], "shots_per_randomization": 16}
BOTH = pytest.mark.parametrize("program", [LEGACY, V3])


def run(program: str, **options: Any) -> tuple[NoiseLearnerResult | NoiseLearnerV3Result, RecordingExecutor]:
    """Learn a cx on qubits 0 and 1, and a second layer where circuits are searched for them."""
    executor = RecordingExecutor()
    options = {"simulator": {"seed_simulator": 1}, **FEW, **options}
    backend = options.pop("backend", "fake_manila")
    circuit = QuantumCircuit(QuantumRegister(5, "q"))
    if program == LEGACY:
        circuit.cx(0, 1)
        circuit.cx(1, 2)
        params = {"circuits": [circuit], "options": options}
        return NoiseLearnerResultDecoder.decode(learned(executor, params, backend)), executor
    with circuit.box([Twirl()]):
        circuit.cx(0, 1) if backend == "fake_manila" else circuit.noop(0, 1)
    params = json.loads(noise_learner_v3_inputs_to_0_3(circuit.data, NoiseLearnerV3Options()).model_dump_json())
    document = learned(executor, {**params, "options": options}, backend)
    return NoiseLearnerV3ResultDecoder.decode(document)[0], executor


def learned(executor: RecordingExecutor, params: dict[str, Any], backend: str) -> str:
    document = json.dumps(params, cls=RuntimeEncoder).encode()
    return execute(SimulatedShots(executor), document, backend, 1).document.decode()


class TestBoth:
    @proves(LEGACY, "shots_per_randomization")
    @proves(V3, "shots_per_randomization")
    @BOTH
    def test_shots_per_randomization(self, program: str) -> None:
        _, executor = run(program, shots_per_randomization=23)
        assert {task.shots for task in executor.tasks} == {23}

    @proves(LEGACY, "num_randomizations")
    @proves(V3, "num_randomizations")
    @BOTH
    def test_num_randomizations(self, program: str) -> None:
        rows = [
            sum(len(task.parameter_values) for task in run(program, num_randomizations=number)[1].tasks)
            for number in (2, 4)
        ]
        assert rows[1] == 2 * rows[0]

    @proves(LEGACY, "layer_pair_depths")
    @proves(V3, "layer_pair_depths")
    @BOTH
    def test_layer_pair_depths(self, program: str) -> None:
        _, executor = run(program, layer_pair_depths=[0, 3])
        assert {task.circuit.count_ops().get("cx", 0) for task in executor.tasks if task.circuit.num_qubits > 1} == {6}
        with pytest.raises(InvalidInputError, match="layer_pair_depths"):
            run(program, layer_pair_depths=[-1])


class TestLegacy:
    @proves(LEGACY, "max_layers_to_learn", "the most frequent ones first; null sets no limit")
    def test_max_layers_to_learn(self) -> None:
        assert [len(run(LEGACY, max_layers_to_learn=most)[0]) for most in (0, 1, 4, None)] == [0, 1, 2, 2]

    @pytest.mark.slow
    @proves(LEGACY, "twirling_strategy", "which qubits belong to a layer")
    def test_twirling_strategy(self) -> None:
        sizes = {
            strategy: sum(layer.num_qubits for layer in run(LEGACY, twirling_strategy=strategy)[0])
            for strategy in ("active", "active-accum", "active-circuit", "all")
        }
        assert sizes == {"active": 4, "active-accum": 5, "active-circuit": 6, "all": 10}

    @proves(LEGACY, "simulator.noise_model", "is what is learned")
    def test_noise_model(self) -> None:
        simulator = {"noise_model": pauli_device({}), "seed_simulator": 1}
        result, _ = run(LEGACY, simulator=simulator, shots_per_randomization=512)
        assert all(np.abs(layer.error.rates).max() < 1e-9 for layer in result)

    @proves(LEGACY, "simulator.seed_simulator", "fixes the result")
    def test_seed_simulator(self) -> None:
        rates = [run(LEGACY, simulator={"seed_simulator": seed})[0][0].error.rates for seed in (1, 1, 2)]
        assert np.array_equal(rates[0], rates[1])
        assert not np.array_equal(rates[0], rates[2])

    @proves(LEGACY, "simulator.coupling_map", "restricts circuits further than the device does")
    def test_coupling_map(self) -> None:
        with pytest.raises(NotIsaError, match=r"simulator\.coupling_map"):
            run(LEGACY, simulator={"coupling_map": [[0, 1]]})

    @proves(LEGACY, "simulator.basis_gates", "restricts circuits further than the device does")
    def test_basis_gates(self) -> None:
        with pytest.raises(NotIsaError, match=r"simulator\.basis_gates"):
            run(LEGACY, simulator={"basis_gates": ["sx"]})

    @proves(LEGACY, "experimental", "`noise: {readout: asymmetric}` and `simulator`, as of the estimator; nothing else")
    def test_experimental(self) -> None:
        run(LEGACY, experimental={}, max_layers_to_learn=0)
        run(LEGACY, experimental={"noise": {"readout": "asymmetric"}}, max_layers_to_learn=1)
        with pytest.raises(UnsupportedOptionError, match="fake_quantum_sim is an ideal device"):
            run(LEGACY, experimental={"noise": {"readout": "asymmetric"}}, backend="fake_quantum_sim")
        with pytest.raises(UnsupportedOptionError, match=r"experimental\.warp is unknown"):
            run(LEGACY, experimental={"warp": 9})


def checks(place: str, **options: object) -> dict[str, Any]:
    return {"bit_flip_checks": {place: {"enable": True, **options}}}


class TestV3:
    @proves(V3, "bit_flip_checks.pre_circuit.enable", "alone as well")
    def test_pre_circuit(self) -> None:
        self._check("pre_circuit")

    @proves(V3, "bit_flip_checks.post_circuit.enable", "alone as well")
    def test_post_circuit(self) -> None:
        self._check("post_circuit")

    def _check(self, place: str) -> None:
        kept, tasks = self._kept(**checks(place))
        assert 0.3 < kept < 1
        assert max(task.circuit.count_ops()["measure"] for task in tasks) > 1
        assert self._kept(**checks(place, enable=False))[0] == 1

    @proves(V3, "bit_flip_checks.pre_circuit.x_pulse_type", "`xslow` is simulated as the device's x gate")
    def test_pulse_before(self) -> None:
        self._pulses("pre_circuit")

    @proves(V3, "bit_flip_checks.post_circuit.x_pulse_type", "`xslow` is simulated as the device's x gate")
    def test_pulse_after(self) -> None:
        self._pulses("post_circuit")

    def _pulses(self, place: str) -> None:
        slow, turned = (self._kept(**checks(place, x_pulse_type=kind))[1] for kind in ("xslow", "rx"))
        assert all("rx" not in task.circuit.count_ops() for task in slow)
        assert {task.circuit.count_ops().get("rx", 0) % 20 for task in turned} == {0}
        assert any("rx" in task.circuit.count_ops() for task in turned)

    @proves(V3, "bit_flip_checks.pre_circuit.strategy", "`node` or `edge`")
    def test_strategy_before(self) -> None:
        assert self._kept(**checks("pre_circuit", strategy="edge"))[0] > self._kept(**checks("pre_circuit"))[0]

    @proves(V3, "bit_flip_checks.post_circuit.strategy", "`node` or `edge`")
    def test_strategy_after(self) -> None:
        assert self._kept(**checks("post_circuit", strategy="edge"))[0] > self._kept(**checks("post_circuit"))[0]

    def _kept(self, **options: Any) -> tuple[float, list[Any]]:
        simulator = {"noise_model": pauli_device({}, misread=0.05), "seed_simulator": 1}
        result, executor = run(V3, simulator=simulator, **options)
        return result.metadata["post_selection"]["fraction_kept"][0], executor.tasks

    @proves(V3, "execution.init_qubits", "`true`; `false` is refused")
    def test_init_qubits(self) -> None:
        run(V3, init_qubits=True)
        with pytest.raises(UnsupportedOptionError, match="init_qubits: false"):
            run(V3, init_qubits=False)

    @proves(V3, "execution.rep_delay", "checked against the device's range; a simulation needs no pause")
    def test_rep_delay(self) -> None:
        with pytest.raises(InvalidInputError, match="rep_delay: 10"):
            run(V3, rep_delay=10.0, backend="fake_sherbrooke")

    @proves(V3, "execution.scheduler_timing", "the schema has no place for it", Verdict.NOT_SENT)
    @proves(V3, "execution.stretch_values", "the schema has no place for it", Verdict.NOT_SENT)
    @proves(V3, "experimental", "the schema has no place for it", Verdict.NOT_SENT)
    @proves(V3, "simulator.angle_decimals", "for the local mode only", Verdict.NOT_SENT)
    @proves(V3, "simulator.layer_noise_model", "for the local mode only", Verdict.NOT_SENT)
    @proves(V3, "simulator.seed_simulator", "for the local mode only", Verdict.NOT_SENT)
    @proves(V3, "simulator.warn_absent", "for the local mode only", Verdict.NOT_SENT)
    def test_what_the_client_does_not_send(self) -> None:
        options = NoiseLearnerV3Options(
            experimental={"warp": 9},
            execution={"scheduler_timing": True, "stretch_values": True},
            simulator={"angle_decimals": 3, "seed_simulator": 4, "warn_absent": False},
        )
        circuit = QuantumCircuit(2)
        with circuit.box([Twirl()]):
            circuit.cx(0, 1)
        sent = noise_learner_v3_inputs_to_0_3(circuit.data, options).model_dump()["options"]
        assert not {"scheduler_timing", "stretch_values", "experimental", "simulator", "execution"} & sent.keys()
