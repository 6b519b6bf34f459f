"""The primitives that run in the client, unmodified, on the executor program of a real server."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from qiskit import ClassicalRegister, QuantumCircuit, QuantumRegister
from qiskit.circuit import Parameter
from qiskit.primitives import BitArray, PubResult
from qiskit.quantum_info import PauliLindbladMap, SparsePauliOp
from qiskit.transpiler import generate_preset_pass_manager
from qiskit_ibm_runtime import Batch, Executor, IBMBackend, QiskitRuntimeService
from qiskit_ibm_runtime.exceptions import RuntimeJobFailureError
from qiskit_ibm_runtime.executor_estimator import Estimator
from qiskit_ibm_runtime.executor_sampler import Sampler
from qiskit_ibm_runtime.quantum_program import QuantumProgram
from samplomatic import Twirl, build

from kit.quantum.circuits import ghz
from kit.server.server_process import ServerProcess
from qiskit_runtime_server.client import connect

SHOTS = 4096
SEED = {"simulator": {"seed_simulator": 11}}
TWIRLING = {"twirling": {"enable_gates": True, "enable_measure": True}}


@pytest.fixture(scope="module")
def service(server: ServerProcess) -> QiskitRuntimeService:
    return connect(server.url, "client-side")


@pytest.fixture(scope="module")
def ideal(service: QiskitRuntimeService) -> IBMBackend:
    return service.backend("fake_quantum_sim@aer")


def isa(backend: IBMBackend, circuit: QuantumCircuit) -> QuantumCircuit:
    manager = generate_preset_pass_manager(optimization_level=1, backend=backend, seed_transpiler=1)
    transpiled: QuantumCircuit = manager.run(circuit)
    return transpiled


def sample(backend: IBMBackend, circuit: QuantumCircuit, **options: Any) -> BitArray:
    pub_result = Sampler(mode=backend, options={**SEED, **options}).run([circuit], shots=SHOTS).result()[0]
    bits: BitArray = pub_result.data.meas
    return bits


def estimate(backend: IBMBackend, circuit: QuantumCircuit, terms: Mapping[str, float], **options: Any) -> PubResult:
    circuit = isa(backend, circuit)
    observable = SparsePauliOp.from_list(list(terms.items())).apply_layout(circuit.layout)
    estimator = Estimator(mode=backend, options={**SEED, **options})
    resilience = estimator.options.resilience
    if resilience.pec_mitigation or resilience.zne.amplifier == "pea":
        layers = estimator.find_unique_layers([(circuit, observable)])
        assert layers
        errors = PauliLindbladMap.from_list([("IZ", 0.1)])
        resilience.layer_noise_model = [(layer, errors) for layer in layers]
    (pub_result,) = estimator.run([(circuit, observable)]).result()
    return pub_result


def distance(first: BitArray, second: BitArray) -> float:
    """Return the total variation distance between two sets of shots."""
    one, other = first.get_int_counts(), second.get_int_counts()
    keys = one.keys() | other
    parts = [(one.get(key, 0) / first.num_shots, other.get(key, 0) / second.num_shots) for key in keys]
    return float(sum(abs(p - q) for p, q in parts)) / 2


class TestSampler:
    def test_twirled_and_untwirled_counts_agree_on_the_ideal_device(self, ideal: IBMBackend) -> None:
        # Not transpiled: samplomatic 0.21 twirls p, u and ry wrongly if qubits side by side have different angles.
        circuit = QuantumCircuit(3)
        for layer in range(3):
            for qubit in range(3):
                circuit.sx(qubit)
                circuit.rz(0.4 + 0.5 * qubit - 0.3 * layer, qubit)
                circuit.sx(qubit)
            circuit.cx(layer % 2, layer % 2 + 1)
        circuit.measure_all()
        plain = sample(ideal, circuit)
        for options in (
            TWIRLING,
            {"twirling": {"enable_gates": True}},
            {"twirling": {"enable_measure": True, "num_randomizations": 64, "shots_per_randomization": 64}},
        ):
            twirled = sample(ideal, circuit, **options)
            assert twirled.num_shots == SHOTS
            # Two samples of 4,096 shots over 8 equal outcomes are 0.023 apart, and more than 0.055 once in 10,000.
            assert distance(plain, twirled) < 0.055

    def test_twirling_keeps_the_fidelity_on_a_device_with_errors(self, manila: IBMBackend) -> None:
        circuit = isa(manila, ghz(3))
        plain, twirled = (sample(manila, circuit, **options).get_int_counts() for options in ({}, TWIRLING))
        fidelities = [(counts[0] + counts[7]) / SHOTS for counts in (plain, twirled)]
        assert fidelities == pytest.approx([0.87, 0.87], abs=0.05)

    def test_a_seed_fixes_randomizations_and_shots(self, manila: IBMBackend) -> None:
        circuit = isa(manila, ghz(2))
        first, second = (sample(manila, circuit, **TWIRLING) for _ in range(2))
        other = sample(manila, circuit, **TWIRLING, simulator={"seed_simulator": 12})
        assert np.array_equal(first.array, second.array)
        assert not np.array_equal(first.array, other.array)

    def test_sweeps_registers_and_several_pubs_come_back_in_shape(self, manila: IBMBackend) -> None:
        circuit = QuantumCircuit(QuantumRegister(2), ClassicalRegister(1, "left"), ClassicalRegister(1, "right"))
        circuit.rx(Parameter("a"), 0)
        circuit.x(1)
        circuit.measure([0, 1], [0, 1])
        circuit = isa(manila, circuit)
        angles = np.array([[[0.0]], [[np.pi]]])
        for options in ({}, TWIRLING):
            sampler = Sampler(mode=manila, options={**SEED, **options})
            swept, again = sampler.run([(circuit, angles), (circuit, [0.0])], shots=1024).result()
            assert swept.data.left.shape == (2, 1)
            assert swept.data.left.num_shots == again.data.right.num_shots == 1024
            ones = swept.data.left.expectation_values("Z").ravel()
            assert ones == pytest.approx([1, -1], abs=0.15)
            assert again.data.right.expectation_values("Z") == pytest.approx(-1, abs=0.15)

    @pytest.mark.parametrize("sequence", ["XX", "XpXm", "XY4"])
    def test_dynamical_decoupling_fills_idle_times_and_keeps_the_state(self, manila: IBMBackend, sequence: str) -> None:
        circuit = QuantumCircuit(3)
        circuit.h(0)
        for _ in range(4):
            circuit.cx(1, 2)
        circuit.cx(0, 1)
        circuit.measure_all()
        circuit = isa(manila, circuit)
        decoupling = {"enable": True, "sequence_type": sequence}
        plain = sample(manila, circuit)
        decoupled = sample(manila, circuit, dynamical_decoupling=decoupling)
        # The pulses cancel out; the delays that come with them relax the qubits a little.
        assert distance(plain, decoupled) < 0.12
        assert distance(plain, decoupled) > 0
        counts = decoupled.get_int_counts()
        assert counts[0] + counts[3] > 0.8 * SHOTS

    def test_dynamic_circuits_run(self, manila: IBMBackend) -> None:
        circuit = QuantumCircuit(2, 2)
        circuit.h(0)
        circuit.measure(0, 0)
        with circuit.if_test((circuit.clbits[0], 1)):
            circuit.x(1)
        circuit.measure(1, 1)
        result = Sampler(mode=manila, options=SEED).run([isa(manila, circuit)], shots=SHOTS).result()
        counts = result[0].data.c.get_counts()
        assert counts["00"] + counts["11"] > 0.85 * SHOTS

    @pytest.mark.parametrize(("level", "shape"), [("kerneled", (100, 2)), ("avg_kerneled", (2,))])
    def test_measurements_come_as_points_on_demand(
        self, manila: IBMBackend, level: str, shape: tuple[int, ...]
    ) -> None:
        sampler = Sampler(mode=manila, options={"execution": {"meas_type": level}})
        points = sampler.run([isa(manila, ghz(2))], shots=100).result()[0].data.meas
        assert points.shape == shape
        assert np.iscomplexobj(points)


class TestEstimator:
    def test_higher_levels_come_closer_to_the_truth(self, manila: IBMBackend) -> None:
        levels = [
            estimate(manila, ghz(3, measured=False), {"ZZI": 1.0, "XXX": 0.5}, resilience_level=level).data
            for level in (0, 1, 2)
        ]
        errors = [abs(float(data.evs) - 1.5) for data in levels]
        assert errors[0] > 0.15
        assert errors[1] < 0.5 * errors[0]
        assert errors[2] < 0.5 * errors[0]
        assert all(0 < float(data.stds) < 0.1 for data in levels)

    @pytest.mark.parametrize("amplifier", ["gate_folding", "gate_folding_front", "gate_folding_back", "pea"])
    def test_every_amplifier_of_zero_noise_extrapolation_works(self, manila: IBMBackend, amplifier: str) -> None:
        zne = {"amplifier": amplifier, "noise_factors": [1, 2, 3], "extrapolator": "linear"}
        resilience = {"zne_mitigation": True, "zne": zne}
        circuit = ghz(2, measured=False)
        options = {"resilience_level": 1, "resilience": resilience, "default_precision": 0.003}
        data = estimate(manila, circuit, {"XX": 1.0}, **options).data
        # For pea, a line through what falls exponentially overshoots by 0.2.
        assert float(data.evs) == pytest.approx(1, abs=0.3)
        assert data.evs_noise_factors.shape == (3,)
        # With three times the noise the value falls by 0.02, with a standard deviation of 0.003.
        assert data.evs_noise_factors[0] > data.evs_noise_factors[-1]

    def test_probabilistic_error_cancellation_scales_and_signs_randomizations(self, ideal: IBMBackend) -> None:
        # The device has no errors, so cancelling those of the model overshoots, by exp(2 * rate) for each error that
        # anticommutes with the observable.
        options = {
            "resilience_level": 1,
            "resilience": {"pec_mitigation": True},
            "twirling": {"num_randomizations": 1000, "shots_per_randomization": 8},
        }
        circuit = ghz(2, measured=False)
        untouched, flipped = (estimate(ideal, circuit, {name: 1.0}, **options).data.evs for name in ("ZZ", "XX"))
        # Over seeds, the spread is 0.009; this is five times that.
        assert float(untouched) == pytest.approx(1, abs=0.045)
        # Every drawn error turns XX, and its sign turns it back: nothing is left to chance.
        assert float(flipped) == pytest.approx(np.exp(0.2), abs=1e-6)

    def test_ten_qubits_of_a_large_device_are_estimated(self, service: QiskitRuntimeService) -> None:
        sherbrooke = service.backend("fake_sherbrooke@aer")
        result = estimate(sherbrooke, ghz(10, measured=False), {"Z" * 10: 1.0}, resilience_level=0)
        assert -1 <= float(result.data.evs) <= 1
        assert 0 < float(result.data.stds) < 0.02


class TestExecutor:
    def test_circuits_and_samplexes_run_together(self, manila: IBMBackend) -> None:
        rotation = QuantumCircuit(1)
        rotation.rx(Parameter("a"), 0)
        rotation.measure_all()
        boxed = QuantumCircuit(2)
        with boxed.box([Twirl()]):
            boxed.rx(Parameter("b"), 0)
            boxed.cx(0, 1)
        with boxed.box([Twirl()]):
            boxed.measure_all()
        template, samplex = build(boxed)
        program = QuantumProgram(shots=500, passthrough_data={"mine": np.arange(3)})
        program.append_circuit_item(isa(manila, rotation), circuit_arguments=[[0.0], [np.pi]])
        values = {"parameter_values": [[0.0], [np.pi]]}
        program.append_samplex_item(template, samplex, samplex_arguments=values, shape=(4, 2))
        with Batch(backend=manila) as batch:
            executor = Executor(mode=batch, options={"experimental": {"seed_simulator": 1}})
            result = executor.run(program).result()
        assert result.passthrough_data["mine"].tolist() == [0, 1, 2]
        circuits, twirled = result
        assert circuits["meas"].mean(axis=(1, 2)) == pytest.approx([0, 1], abs=0.1)
        bits = twirled["meas"] ^ twirled["measurement_flips.meas"]
        assert bits.mean(axis=(0, 2)) == pytest.approx(np.array([[0, 0], [1, 1]]), abs=0.1)
        assert [part.size for span in result.metadata.chunk_timing for part in span.parts] == [2, 8]

    @pytest.mark.parametrize(
        ("options", "words"),
        [
            ({"execution": {"init_qubits": False}}, "init_qubits"),
            ({"experimental": {"warp": 9}}, "experimental.warp"),
        ],
    )
    def test_what_is_not_simulated_is_refused_by_name(
        self, manila: IBMBackend, options: dict[str, Any], words: str
    ) -> None:
        program = QuantumProgram(shots=5)
        program.append_circuit_item(isa(manila, ghz(2)))
        with pytest.raises(RuntimeJobFailureError, match=words):
            Executor(mode=manila, options=options).run(program).result()

    def test_a_circuit_that_was_not_transpiled_is_refused(self, manila: IBMBackend) -> None:
        program = QuantumProgram(shots=5)
        program.append_circuit_item(ghz(2))
        with pytest.raises(RuntimeJobFailureError, match="h on qubit 0"):
            Executor(mode=manila).run(program).result()
