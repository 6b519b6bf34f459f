"""The executor program runs quantum programs of all schema versions, as the client writes them."""

import json
import math
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from numpy.typing import NDArray
from qiskit.circuit import BoxOp, ClassicalRegister, Parameter, QuantumCircuit, QuantumRegister
from qiskit.quantum_info import PauliLindbladMap
from qiskit_ibm_runtime.decoders.executor.decoder import ExecutorResultDecoder
from qiskit_ibm_runtime.options_models import ExecutorOptions
from qiskit_ibm_runtime.quantum_program import QuantumProgram
from qiskit_ibm_runtime.quantum_program.params_converters import QUANTUM_PROGRAM_PARAMS_CONVERTERS
from qiskit_ibm_runtime.results.quantum_program import QuantumProgramResult
from samplomatic import InjectNoise, Tag, Twirl, build

from qiskit_runtime_server.errors import InvalidInputError, NotIsaError, TooManyShotsError, UnsupportedOptionError
from qiskit_runtime_server.executors import AerExecutor
from qiskit_runtime_server.executors.base import BitTensor, SampleTask
from qiskit_runtime_server.messages.messages import Completed, Prediction, Routing, Task
from qiskit_runtime_server.programs import executor_program, kerneled
from qiskit_runtime_server.programs.device.device import load_device
from qiskit_runtime_server.programs.executor_program import _BitWriter
from qiskit_runtime_server.worker.run import run_program

VERSIONS = ["v0.1", "v0.2", "v1.0", "v1.1", "v2.0"]


@pytest.fixture(scope="module")
def executor() -> AerExecutor:
    return AerExecutor(threads=1)


def flips() -> QuantumCircuit:
    """Three qubits in two registers, whose bits are known: `left` is 01 and `right` is 1, the first bit last."""
    circuit = QuantumCircuit(QuantumRegister(3), ClassicalRegister(2, "left"), ClassicalRegister(1, "right"))
    circuit.x([0, 2])
    circuit.measure([0, 1, 2], [0, 1, 2])
    return circuit


def rotation() -> QuantumCircuit:
    """One qubit, measured as 1 with probability cos(a/2)^2; a second one, with angle b."""
    circuit = QuantumCircuit(2, 2)
    for qubit, name in enumerate("ab"):
        circuit.sx(qubit)
        circuit.rz(Parameter(name), qubit)
        circuit.sx(qubit)
        circuit.measure(qubit, qubit)
    return circuit


def twirled(*, noisy: bool = False) -> QuantumCircuit:
    """A boxed circuit for fake_manila with one parameter; its bits are equal for a = 0, and different for a = pi."""
    circuit = QuantumCircuit(2)
    with circuit.box([Twirl(), *([InjectNoise("errors", "scale")] if noisy else [])]):
        circuit.rx(Parameter("a"), 0)
        circuit.cx(0, 1)
    with circuit.box([Twirl()]):
        circuit.cx(0, 1)
    with circuit.box([Twirl()]):
        circuit.measure_all()
    return circuit


def program(shots: int = 50, **fields: Any) -> QuantumProgram:
    """Two circuit items and two samplex items."""
    program = QuantumProgram(shots=shots, **fields)
    program.append_circuit_item(flips())
    program.append_circuit_item(rotation(), circuit_arguments=np.zeros((3, 2, 2)))
    template, samplex = build(twirled())
    program.append_samplex_item(template, samplex, samplex_arguments={"parameter_values": [0.0]}, shape=(4,))
    angles = np.array([[0.0], [np.pi]])
    program.append_samplex_item(template, samplex, samplex_arguments={"parameter_values": angles}, shape=(5, 2))
    return program


def written(program: QuantumProgram, version: str = "v2.0", **options: Any) -> dict[str, Any]:
    """Return the params that the client sends."""
    params = QUANTUM_PROGRAM_PARAMS_CONVERTERS[version].encoder(program, ExecutorOptions(**options))
    document: dict[str, Any] = params.model_dump(mode="json")
    return document


def task(executor: AerExecutor, params: object, *, backend: str = "fake_quantum_sim", seed: int = 3) -> Task:
    digest = executor.catalog.get(backend, ideal_qubits=executor.capabilities().num_qubits).digest
    return Task(
        job_id="job",
        fence=1,
        program_id="executor",
        backend_name=f"{backend}@aer",
        calibration_digest=digest,
        seed=seed,
        seconds=60.0,
        params=json.dumps(params).encode(),
    )


def completed(executor: AerExecutor, params: object, **changes: Any) -> Completed:
    return run_program(task(executor, params, **changes), executor, print)


def run(executor: AerExecutor, params: object, **changes: Any) -> QuantumProgramResult:
    """Return what the client makes of the result."""
    result = ExecutorResultDecoder.decode(completed(executor, params, **changes).result.decode())
    assert isinstance(result, QuantumProgramResult)
    return result


def bits(executor: AerExecutor, params: object, **changes: Any) -> list[dict[str, NDArray[Any]]]:
    return [dict(item) for item in run(executor, params, **changes)]


def same(first: list[dict[str, NDArray[Any]]], second: list[dict[str, NDArray[Any]]]) -> bool:
    return all(
        a.keys() == b.keys() and all(np.array_equal(a[name], b[name]) for name in a)
        for a, b in zip(first, second, strict=True)
    )


@pytest.mark.parametrize("version", VERSIONS)
class TestEveryVersion:
    def test_items_of_all_kinds_have_the_shapes_that_the_client_expects(
        self, executor: AerExecutor, version: str
    ) -> None:
        results = bits(executor, written(program(), version))
        shapes = [{name: array.shape for name, array in item.items()} for item in results]
        assert shapes == [
            {"left": (50, 2), "right": (50, 1)},
            {"c": (3, 2, 50, 2)},
            {"meas": (4, 50, 2), "measurement_flips.meas": (4, 1, 2)},
            {"meas": (5, 2, 50, 2), "measurement_flips.meas": (5, 2, 1, 2)},
        ]
        assert {array.dtype for item in results for array in item.values()} == {np.dtype(bool)}

    def test_the_bits_are_right(self, executor: AerExecutor, version: str) -> None:
        flat, swept, randomized, both = bits(executor, written(program(), version))
        assert (flat["left"] == [True, False]).all()
        assert flat["right"].all()
        assert swept["c"].all()
        straight = randomized["meas"] ^ randomized["measurement_flips.meas"]
        assert (straight[..., 0] == straight[..., 1]).all()
        assert not straight.any()
        straight = both["meas"] ^ both["measurement_flips.meas"]
        assert not straight[:, 0].any()
        assert straight[:, 1, :, 0].all()
        assert not straight[:, 1, :, 1].any()

    def test_the_document_is_of_the_same_version_and_says_when_what_was_run(
        self, executor: AerExecutor, version: str
    ) -> None:
        done = completed(executor, written(program(), version))
        assert json.loads(done.result)["schema_version"] == version
        timing = ExecutorResultDecoder.decode(done.result.decode()).metadata.chunk_timing
        assert [(part.idx_item, part.size) for span in timing for part in span.parts] == [
            (0, 1),
            (1, 6),
            (2, 4),
            (3, 10),
        ]
        assert all(span.start <= span.stop for span in timing)
        assert all(earlier.stop <= later.start for earlier, later in pairwise(timing))
        assert done.metrics.num_circuits == 4
        assert done.metrics.executions == 50 * (1 + 6 + 4 + 10)
        assert done.metrics.num_qubits == (3, 2, 2, 2)

    def test_clients_read_results_that_say_where_they_were_made(self, executor: AerExecutor, version: str) -> None:
        routing = Routing(predictions={"aer": Prediction(seconds=0.5), "gpu": Prediction(refusal="no")}, looks=1)
        done = run_program(replace(task(executor, written(program(), version)), routing=routing), executor, print)
        said = json.loads(done.result)["metadata"]["routing"]
        assert said == {"executor": "aer", "predicted_seconds": {"aer": 0.5}}
        assert len(ExecutorResultDecoder.decode(done.result.decode()).metadata.chunk_timing) == 4

    def test_what_is_only_passed_through_comes_back_unchanged(self, executor: AerExecutor, version: str) -> None:
        data: dict[str, Any] = {
            "numbers": np.arange(6.0).reshape(2, 3),
            "nested": [{"text": "ü", "no": None}, 0.1, True, 2**40],
        }
        small = QuantumProgram(shots=1, passthrough_data=data)
        small.append_circuit_item(flips())
        small._semantic_role = "somebody's"
        sent = written(small, version)
        received = json.loads(completed(executor, sent).result)
        for part in ("passthrough_data", "semantic_role"):
            assert received.get(part) == sent["quantum_program"].get(part)
        decoded = run(executor, sent)
        if version == "v0.1":
            assert decoded.passthrough_data is None
        else:
            assert np.array_equal(decoded.passthrough_data["numbers"], data["numbers"])
            assert decoded.passthrough_data["nested"] == data["nested"]

    def test_chunks_are_timed_and_change_no_bit(self, executor: AerExecutor, version: str) -> None:
        def chunked(size: int | None) -> dict[str, Any]:
            program = QuantumProgram(shots=20)
            program.append_circuit_item(rotation(), circuit_arguments=np.full((7, 2), 0.5), chunk_size=size)
            template, samplex = build(twirled())
            values = {"parameter_values": [0.3]}
            program.append_samplex_item(template, samplex, samplex_arguments=values, shape=(2, 2), chunk_size=size)
            return written(program, version)

        results = [run(executor, chunked(size)) for size in (None, 3, 1)]
        assert same([dict(item) for item in results[0]], [dict(item) for item in results[1]])
        assert same([dict(item) for item in results[0]], [dict(item) for item in results[2]])
        parts = [part for span in results[1].metadata.chunk_timing for part in span.parts]
        assert [(part.idx_item, part.size) for part in parts] == [(0, 3), (0, 3), (0, 1), (1, 3), (1, 1)]

    def test_a_samplex_whose_values_are_tensors_and_noise_maps_draws_its_signs(
        self, executor: AerExecutor, version: str
    ) -> None:
        template, samplex = build(twirled(noisy=True))
        arguments = {
            "parameter_values": [0.0],
            "pauli_lindblad_maps.errors": PauliLindbladMap.from_sparse_list([("XX", [0, 1], 0.1)], 2),
            "noise_scales.scale": np.array([[0.0], [-20.0]]),
        }
        program = QuantumProgram(shots=10)
        program.append_samplex_item(template, samplex, samplex_arguments=arguments, shape=(2, 40))
        (result,) = bits(executor, written(program, version))
        assert result["pauli_signs"].shape == (2, 40, 1)
        wrong = (result["meas"] ^ result["measurement_flips.meas"]).any(axis=-1)
        assert not result["pauli_signs"][0].any()
        assert not wrong[0].any()
        # The scale makes the rate -2, so a sign flips, and XX acts, with probability (1 - exp(-4)) / 2.
        assert 5 < result["pauli_signs"][1].sum() < 35
        # After the second CX, an error XX of the first is one on the first qubit alone.
        assert (wrong[1] == result["pauli_signs"][1]).all()


class TestSeeds:
    def test_every_attempt_at_a_job_gives_the_same_bits(self, executor: AerExecutor) -> None:
        params = written(program())
        first, second, other = (bits(executor, params, backend="fake_manila", seed=seed) for seed in (1, 1, 2))
        assert same(first, second)
        assert not np.array_equal(first[1]["c"], other[1]["c"])
        assert not np.array_equal(first[3]["measurement_flips.meas"], other[3]["measurement_flips.meas"])

    def test_experimental_options_can_seed_a_job(self, executor: AerExecutor) -> None:
        params = [written(program(), experimental={"seed_simulator": seed}) for seed in (5, 5, 6)]
        first, second, other = (
            bits(executor, one, backend="fake_manila", seed=number) for number, one in enumerate(params)
        )
        assert same(first, second)
        assert not same(first, other)

    def test_client_side_primitives_seed_a_job_with_their_simulator_options(self, executor: AerExecutor) -> None:
        def seeded(seed: int) -> dict[str, Any]:
            simulator = {"seed_simulator": seed, "layer_noise_model": None}
            return written(program(passthrough_data={"post_processor": {"options": {"simulator": simulator}}}))

        first, second, other = (
            bits(executor, seeded(seed), backend="fake_manila", seed=number) for number, seed in enumerate((5, 5, 6))
        )
        assert same(first, second)
        assert not same(first, other)

    def test_elements_and_items_that_are_alike_have_randomness_of_their_own(self, executor: AerExecutor) -> None:
        template, samplex = build(twirled())
        program = QuantumProgram(shots=64)
        for _ in range(2):
            values = {"parameter_values": np.full((2, 1), np.pi / 2)}
            program.append_samplex_item(template, samplex, samplex_arguments=values, shape=(8, 2))
        results = bits(executor, written(program))
        drawn = np.concatenate([result["measurement_flips.meas"].reshape(8, 2, 2) for result in results], axis=1)
        assert len(np.unique(drawn, axis=1)[0]) > 1
        shots = np.concatenate([(item["meas"] ^ item["measurement_flips.meas"]).reshape(16, -1) for item in results])
        assert len(np.unique(shots, axis=0)) == 32


class TestPhysics:
    def test_twirling_changes_no_counts_on_an_ideal_device(self, executor: AerExecutor) -> None:
        plain = QuantumCircuit(2)
        for operation in (item.operation for item in twirled().data[:2]):
            plain.compose(operation.blocks[0], inplace=True)
        plain.measure_all()
        template, samplex = build(twirled())
        program = QuantumProgram(shots=200)
        program.append_circuit_item(plain, circuit_arguments=np.full((100, 1), 0.8))
        values = {"parameter_values": [0.8]}
        program.append_samplex_item(template, samplex, samplex_arguments=values, shape=(100,))
        straight, undone = bits(executor, written(program), seed=7)
        expected = math.sin(0.4) ** 2
        # Four standard deviations of 20,000 shots.
        bound = 4 * math.sqrt(expected * (1 - expected) / 20_000)
        ones = (undone["meas"] ^ undone["measurement_flips.meas"]).reshape(-1, 2)
        assert straight["meas"][..., 0].mean() == pytest.approx(expected, abs=bound)
        assert ones[:, 0].mean() == pytest.approx(expected, abs=bound)
        assert not straight["meas"][..., 1].any()
        assert not ones[:, 1].any()
        assert 0.3 < undone["measurement_flips.meas"].mean() < 0.7

    def test_all_variants_of_a_circuit_are_one_task_of_the_simulator(self) -> None:
        tasks: list[SampleTask] = []

        class Watched(AerExecutor):
            def sample(self, task: SampleTask) -> BitTensor:
                tasks.append(task)
                return super().sample(task)

        template, samplex = build(twirled())
        program = QuantumProgram(shots=10)
        program.append_samplex_item(template, samplex, samplex_arguments={"parameter_values": [0.1]}, shape=(30,))
        bits(Watched(threads=1), written(program), backend="fake_manila")
        assert [task.parameter_values.shape[0] for task in tasks] == [30]

    def test_errors_of_the_device_are_in_the_bits(self, executor: AerExecutor) -> None:
        params = written(program(shots=4000))
        (flat, *_) = bits(executor, params, backend="fake_manila")
        wrong = 1 - flat["right"].mean()
        # Reading a 1 of qubit 2 goes wrong for 9.7 % of all shots; five standard deviations are 2.3 %.
        assert 0.07 < wrong < 0.125

    @pytest.mark.parametrize(
        ("decimals", "angle"), [(0, 0.0), (1, 0.4 * np.pi / 2), (5, 0.7), (2**70, 0.7), (None, 0.7)]
    )
    def test_client_side_primitives_round_angles_to_parts_of_a_quarter_turn(
        self, executor: AerExecutor, decimals: int | None, angle: float
    ) -> None:
        data = {"post_processor": {"options": {"simulator": {"angle_decimals": decimals, "seed_simulator": 1}}}}
        program = QuantumProgram(shots=20_000, passthrough_data=data)
        program.append_circuit_item(rotation(), circuit_arguments=[0.7, 0.7])
        (result,) = bits(executor, written(program))
        # Four standard deviations.
        assert result["c"].mean(axis=0) == pytest.approx([math.cos(angle / 2) ** 2] * 2, abs=0.009)


class TestBoxes:
    def boxed(self) -> QuantumCircuit:
        circuit = QuantumCircuit(QuantumRegister(3), ClassicalRegister(3, "c"))
        with circuit.box([Tag("layer")]):
            circuit.x(1)
            with circuit.box():
                circuit.x(2)
        with circuit.box():
            circuit.measure([0, 1, 2], [0, 1, 2])
        return circuit

    def test_boxes_are_opened(self, executor: AerExecutor) -> None:
        program = QuantumProgram(shots=5)
        program.append_circuit_item(self.boxed())
        (result,) = bits(executor, written(program))
        assert (result["c"] == [False, True, True]).all()

    def test_boxes_in_control_flow_are_opened(self, executor: AerExecutor) -> None:
        circuit = QuantumCircuit(2, 2)
        circuit.x(0)
        circuit.measure(0, 0)
        with circuit.if_test((circuit.clbits[0], True)), circuit.box():
            circuit.x(1)
        circuit.measure(1, 1)
        program = QuantumProgram(shots=5)
        program.append_circuit_item(circuit)
        (result,) = bits(executor, written(program))
        assert result["c"].all()

    def test_a_box_with_a_duration_is_refused(self, executor: AerExecutor) -> None:
        body = QuantumCircuit(1)
        body.x(0)
        circuit = QuantumCircuit(1, 1)
        circuit.append(BoxOp(body, duration=400, unit="dt"), [0])
        circuit.measure(0, 0)
        program = QuantumProgram(shots=5)
        program.append_circuit_item(circuit)
        with pytest.raises(InvalidInputError, match=r"items\[0\]: boxes with a duration"):
            run(executor, written(program))

    def test_what_only_a_samplex_follows_is_refused_without_one(self, executor: AerExecutor) -> None:
        circuit = QuantumCircuit(1, 1)
        with circuit.box([Twirl()]):
            circuit.measure(0, 0)
        program = QuantumProgram(shots=5)
        program.append_circuit_item(circuit)
        with pytest.raises(InvalidInputError, match=r"items\[0\]: a box has the annotation Twirl"):
            run(executor, written(program))

    def test_schedules_hold_boxes_back(self, executor: AerExecutor) -> None:
        circuit = QuantumCircuit(2, 1)
        with circuit.box():
            circuit.x(0)
            circuit.noop(1)
        circuit.measure(1, 0)
        program = QuantumProgram(shots=5)
        program.append_circuit_item(circuit)
        params = written(program, execution={"scheduler_timing": True})
        timing = run(executor, params, backend="fake_manila")[0].metadata.scheduler_timing
        target = load_device(executor.catalog, "fake_manila", ideal_qubits=5).target
        lengths = [target[name][(qubit,)].duration for name, qubit in (("x", 0), ("measure", 1))]
        assert timing.circuit_duration == pytest.approx(sum(lengths) / target.dt, abs=2)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"execution": {"init_qubits": False}}, "init_qubits"),
        ({"execution": {"rep_delay": 1e-4}}, "rep_delay"),
        ({"experimental": {"turbo": 1}}, r"experimental\.turbo"),
    ],
)
def test_an_option_that_is_not_honoured_is_refused_by_name(
    executor: AerExecutor, options: dict[str, Any], words: str
) -> None:
    with pytest.raises(UnsupportedOptionError, match=words):
        run(executor, written(program(), **options))


class TestMetadata:
    def test_the_timing_of_circuits_comes_with_their_results(self, executor: AerExecutor) -> None:
        params = written(program(), execution={"scheduler_timing": True, "stretch_values": True})
        result = run(executor, params, backend="fake_manila")
        target = load_device(executor.catalog, "fake_manila", ideal_qubits=5).target
        lengths = [target[name][(qubit,)].duration for name, qubit in (("x", 0), ("measure", 0))]
        timing = result[0].metadata.scheduler_timing
        assert timing.circuit_duration == pytest.approx(sum(lengths) / target.dt, abs=2)
        assert timing.timing.startswith("main,x,Qubit 0,0,")
        assert all(item.metadata.scheduler_timing.circuit_duration > 0 for item in result)

    @pytest.mark.parametrize("option", ["scheduler_timing", "stretch_values"])
    def test_the_first_schema_has_no_place_for_it(self, executor: AerExecutor, option: str) -> None:
        params = written(program(), "v0.1")
        params["options"][option] = True
        with pytest.raises(UnsupportedOptionError, match=f"{option} is not supported in schema v0.1"):
            run(executor, params)

    def test_a_device_without_a_time_step_has_no_timing(self, executor: AerExecutor) -> None:
        single = QuantumProgram(shots=5)
        single.append_circuit_item(QuantumCircuit(1, 1))
        params = written(single, execution={"scheduler_timing": True})
        with pytest.raises(UnsupportedOptionError, match="scheduler_timing is not supported: fake_rochester has no"):
            run(executor, params, backend="fake_rochester")

    def test_results_have_none_unless_asked(self, executor: AerExecutor) -> None:
        assert all(item.metadata.scheduler_timing is None for item in run(executor, written(program())))


class TestMeasurementLevels:
    def test_points_lie_on_the_side_of_their_bits(self, executor: AerExecutor) -> None:
        both = bits(executor, written(program(meas_level="both")), backend="fake_manila")
        for item in both:
            for name in [name for name in item if name + "_iq" in item]:
                points = item[name + "_iq"]
                assert points.dtype == np.complex128
                np.testing.assert_array_equal(points.real > 0, item[name])
        assert both[0]["left_iq"].shape == (50, 2)
        assert both[3]["meas_iq"].shape == (5, 2, 50, 2)

    def test_points_scatter_around_two_centres(self, executor: AerExecutor) -> None:
        (flat, *_) = bits(executor, written(program(shots=4000, meas_level="kerneled")))
        assert set(flat) == {"left_iq", "right_iq"}
        # Five standard deviations of the mean of 4,000 points.
        assert flat["left_iq"].mean(axis=0) == pytest.approx([1, -1], abs=5 * kerneled.SPREAD * np.sqrt(2 / 4000))
        assert flat["right_iq"].imag.std() == pytest.approx(kerneled.SPREAD, rel=0.1)

    def test_averages_have_no_axis_of_shots(self, executor: AerExecutor) -> None:
        flat, table, *_ = bits(executor, written(program(shots=4000, meas_level="avg_kerneled")))
        assert flat["left_avg_iq"] == pytest.approx(np.array([1, -1]), abs=5 * kerneled.SPREAD * np.sqrt(2 / 4000))
        assert table["c_avg_iq"].shape == (3, 2, 2)

    def test_all_versions_carry_points(self, executor: AerExecutor) -> None:
        for version in VERSIONS[1:]:
            (flat, *_) = bits(executor, written(program(meas_level="kerneled"), version))
            assert flat["right_iq"].shape == (50, 1)

    def test_points_of_too_many_shots_are_refused(self, executor: AerExecutor) -> None:
        large = QuantumProgram(shots=100_000, meas_level="kerneled")
        large.append_circuit_item(rotation(), circuit_arguments=np.zeros((100, 2)))
        with pytest.raises(TooManyShotsError, match="305 MiB"):
            run(executor, written(large))

    def test_registers_whose_results_would_have_the_same_name_are_refused(self, executor: AerExecutor) -> None:
        circuit = QuantumCircuit(QuantumRegister(1), ClassicalRegister(1, "c"), ClassicalRegister(1, "c_iq"))
        circuit.measure([0, 0], [0, 1])
        clash = QuantumProgram(shots=5, meas_level="both")
        clash.append_circuit_item(circuit)
        with pytest.raises(InvalidInputError, match="two parts called 'c_iq'"):
            run(executor, written(clash))


def test_a_twirled_circuit_with_nothing_to_draw_runs(executor: AerExecutor) -> None:
    circuit = QuantumCircuit(2)
    circuit.x(0)
    circuit.measure_all()
    template, samplex = build(circuit)
    empty = QuantumProgram(shots=5)
    empty.append_samplex_item(template, samplex, shape=(4,))
    assert bits(executor, written(empty))[0]["meas"].shape == (4, 5, 2)


def test_a_layer_noise_model_is_refused_by_name(executor: AerExecutor) -> None:
    data = {"post_processor": {"options": {"simulator": {"layer_noise_model": ["something"]}}}}
    with pytest.raises(UnsupportedOptionError, match="layer_noise_model"):
        run(executor, written(program(passthrough_data=data)))


def test_a_repetition_delay_in_the_range_of_the_device_is_accepted(executor: AerExecutor) -> None:
    small = QuantumProgram(shots=5)
    small.append_circuit_item(flips())
    params = written(small, execution={"rep_delay": 2e-4})
    assert bits(executor, params, backend="fake_sherbrooke")[0]["right"].shape == (5, 1)
    params = written(small, execution={"rep_delay": 2.0})
    with pytest.raises(InvalidInputError, match="rep_delay"):
        run(executor, params, backend="fake_sherbrooke")


def test_circuits_and_shots_are_checked_against_the_device(executor: AerExecutor) -> None:
    hadamard = QuantumCircuit(2)
    hadamard.h(0)
    hadamard.measure_all()
    small = QuantumProgram(shots=5)
    small.append_circuit_item(hadamard)
    with pytest.raises(NotIsaError, match=r"items\[0\]: h on qubit 0"):
        run(executor, written(small), backend="fake_manila")
    with pytest.raises(TooManyShotsError, match=r"quantum_program\.shots"):
        run(executor, written(program(shots=10**9)))


def test_a_result_that_is_too_large_is_refused_before_it_is_simulated(
    executor: AerExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(executor_program, "MAX_RESULT_BYTES", 100_000)
    assert len(bits(executor, written(program()))) == 4
    with pytest.raises(TooManyShotsError, match="MiB are allowed"):
        run(executor, written(program(shots=100_000)))


def test_a_sweep_without_elements_gives_empty_tensors(executor: AerExecutor) -> None:
    template, samplex = build(twirled())
    empty = QuantumProgram(shots=5)
    empty.append_circuit_item(rotation(), circuit_arguments=np.zeros((0, 2)))
    empty.append_samplex_item(template, samplex, samplex_arguments={"parameter_values": np.zeros((0, 1))})
    circuit, randomized = bits(executor, written(empty))
    assert circuit["c"].shape == (0, 5, 2)
    assert randomized["meas"].shape == (0, 5, 2)
    assert randomized["measurement_flips.meas"].shape == (0, 1, 2)


def test_a_circuit_without_measurements_has_no_results(executor: AerExecutor) -> None:
    small = QuantumProgram(shots=5)
    small.append_circuit_item(QuantumCircuit(1))
    assert bits(executor, written(small)) == [{}]


def test_a_register_without_bits_gives_an_empty_tensor(executor: AerExecutor) -> None:
    quantum_program = QuantumProgram(shots=5)
    quantum_program.append_circuit_item(QuantumCircuit(QuantumRegister(1), ClassicalRegister(0, "none")))
    (item,) = bits(executor, written(quantum_program))
    assert item["none"].shape == (5, 0)


def test_an_item_can_ask_for_replications(executor: AerExecutor) -> None:
    params = written(program())
    params["quantum_program"]["items"][0]["shape"] = [2, 3]
    assert bits(executor, params)[0]["left"].shape == (2, 3, 50, 2)


@given(st.lists(st.lists(st.booleans(), max_size=40), max_size=6))
def test_bits_are_packed_across_the_ends_of_what_is_written(pieces: list[list[bool]]) -> None:
    writer = _BitWriter(())
    for piece in pieces:
        writer.write(np.array(piece, dtype=bool), np.empty(0, dtype=np.uint64))
    whole = np.array([bit for piece in pieces for bit in piece], dtype=bool)
    assert writer.packed() == np.packbits(whole, bitorder="little").tobytes()
