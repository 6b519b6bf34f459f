"""The sampler returns every register's bits in the client's form, reproducibly, and runs only what fits the device."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest
from qiskit.circuit import ClassicalRegister, Clbit, Parameter, QuantumCircuit, QuantumRegister
from qiskit.primitives import BitArray, SamplerPubResult
from qiskit.primitives.containers.bindings_array import BindingsArray
from qiskit.primitives.containers.sampler_pub import SamplerPub
from qiskit_aer.noise import NoiseModel, ReadoutError, depolarizing_error, pauli_error
from qiskit_ibm_runtime.decoders.result_decoder import ResultDecoder
from qiskit_ibm_runtime.execution_span import ExecutionSpans, TwirledSliceSpanV2
from qiskit_ibm_runtime.json import RuntimeDecoder

from kit.quantum.plain_executor import PlainExecutor, Run
from qiskit_runtime_server.errors import InvalidInputError, NotIsaError, TooManyShotsError, UnsupportedOptionError
from qiskit_runtime_server.programs.wire.results import encode_result

IDEAL = {"noise_model": NoiseModel()}


def bell() -> QuantumCircuit:
    circuit = QuantumCircuit(5, 2, metadata={"name": "bell"})
    circuit.rz(np.pi / 2, 0)
    circuit.sx(0)
    circuit.rz(np.pi / 2, 0)
    circuit.cx(0, 1)
    circuit.measure([0, 1], [0, 1])
    return circuit


def flip(angle: Parameter | float) -> QuantumCircuit:
    """A circuit whose bit is 0 for an angle of 0 and 1 for pi."""
    circuit = QuantumCircuit(5, 1)
    circuit.sx(0)
    circuit.rz(np.pi - angle, 0)
    circuit.sx(0)
    circuit.measure(0, 0)
    return circuit


def writing(pattern: str, *registers: ClassicalRegister) -> QuantumCircuit:
    """A circuit that writes `pattern`, bit 0 last, into its registers, the first of which has the lowest bits."""
    circuit = QuantumCircuit(QuantumRegister(5), *registers)
    for place, bit in enumerate(reversed(pattern)):
        circuit.reset(0)
        if bit == "1":
            circuit.x(0)
        circuit.measure(0, place)
    return circuit


def unordered(*, loose: bool) -> QuantumCircuit:
    """Registers in another order than their bits, with 1 in r2 only, that of qubit 1; the last bit may be in none."""
    bits = [Clbit() for _ in range(4)]
    circuit = QuantumCircuit(QuantumRegister(5), bits)
    for place in (2, 1, 0):
        circuit.add_register(ClassicalRegister(name=f"r{place}", bits=[bits[place]]))
    circuit.x(1)
    circuit.measure([2, 0, 1], [0, 1, 2])
    if loose:
        circuit.measure(3, 3)
    return circuit


WAYS: dict[str, dict[str, Any]] = {
    "plain": {},
    "decoupled": {"dynamical_decoupling": {"enable": True}},
    "twirled measurements": {"twirling": {"enable_measure": True}},
    "both": {"dynamical_decoupling": {"enable": True}, "twirling": {"enable_measure": True}},
    "twirled gates": {"twirling": {"enable_gates": True}},
    "all": {"dynamical_decoupling": {"enable": True}, "twirling": {"enable_gates": True, "enable_measure": True}},
}


@pytest.mark.parametrize("loose", [False, True])
@pytest.mark.parametrize("way", WAYS)
def test_bits_and_their_errors_are_those_of_their_qubits(sample: Run, way: str, *, loose: bool) -> None:
    """Qubit 2 is always misread, so r0 has 1 too."""
    noise = NoiseModel()
    noise.add_readout_error(ReadoutError([[0, 1], [1, 0]]), [2])
    data = sample([(unordered(loose=loose), None, 64)], simulator={"noise_model": noise}, **WAYS[way])[0].data
    assert {name: set(bits.get_counts()) for name, bits in data.items()} == {"r2": {"1"}, "r1": {"0"}, "r0": {"1"}}


@pytest.mark.parametrize("shape", [(3,), (2, 2), (0,), (1,)])
@pytest.mark.parametrize("way", WAYS)
def test_circuits_without_parameters_may_have_a_shape(sample: Run, way: str, shape: tuple[int, ...]) -> None:
    pub = SamplerPub(unordered(loose=False), BindingsArray(shape=shape), 64)
    (result,) = sample([pub], simulator=IDEAL, **WAYS[way])
    assert {name: bits.shape for name, bits in result.data.items()} == dict.fromkeys(("r2", "r1", "r0"), shape)
    assert result.data.r2.array.all()
    assert not result.data.r0.array.any()


class TestResults:
    def test_a_bell_pair_gives_equal_bits_and_a_little_noise(self, sample: Run) -> None:
        counts = sample([bell()])[0].data.c.get_counts()
        assert sum(counts.values()) == 4096
        equal = (counts["00"] + counts["11"]) / 4096
        # The readout errors of fake_manila's two qubits come to some 5 %; the bounds are far beyond chance.
        assert 0.85 < equal < 0.99
        assert 0.4 < counts["00"] / 4096 < 0.6

    def test_without_noise_a_bell_pair_gives_equal_bits_only(self, sample: Run) -> None:
        counts = sample([bell()], simulator=IDEAL)[0].data.c.get_counts()
        assert set(counts) == {"00", "11"}
        # Five standard deviations of a fair coin thrown 4096 times.
        assert abs(counts["00"] - 2048) < 5 * 32

    def test_every_register_gets_its_own_bits_in_order(self, sample: Run) -> None:
        registers = ClassicalRegister(3, "low"), ClassicalRegister(10, "high")
        (result,) = sample([(writing("1100000001" + "011", *registers), None, 20)], simulator=IDEAL)
        assert result.data.low.get_counts() == {"011": 20}
        assert result.data.high.get_counts() == {"1100000001": 20}
        assert result.data.high.array.shape == (20, 2)

    def test_registers_that_share_bits_both_show_them(self, sample: Run) -> None:
        first = ClassicalRegister(2, "first")
        second = ClassicalRegister(bits=[first[1], first[0]], name="second")
        (result,) = sample([(writing("01", first, second), None, 5)], simulator=IDEAL)
        assert result.data.first.get_counts() == {"01": 5}
        assert result.data.second.get_counts() == {"10": 5}

    def test_bits_follow_the_shape_of_the_parameter_values(self, sample: Run) -> None:
        angles = np.array([[0, np.pi, 0], [np.pi, np.pi, 0]])
        (result,) = sample([(flip(Parameter("a")), angles[..., None], 10)], simulator=IDEAL)
        assert result.data.shape == (2, 3)
        np.testing.assert_array_equal(result.data.c.array[..., 0], (angles > 0)[..., None] * np.ones(10))

    def test_parameters_given_by_name_reach_the_right_gate(self, sample: Run) -> None:
        circuit = QuantumCircuit(5, 2)
        for qubit, name in enumerate("za"):
            circuit.sx(qubit)
            circuit.rz(np.pi - Parameter(name), qubit)
            circuit.sx(qubit)
            circuit.measure(qubit, qubit)
        (result,) = sample([(circuit, {"z": np.pi, "a": 0.0}, 10)], simulator=IDEAL)
        assert result.data.c.get_counts() == {"01": 10}

    def test_classical_control_is_obeyed(self, sample: Run) -> None:
        circuit = QuantumCircuit(5, 2)
        circuit.x(0)
        circuit.measure(0, 0)
        with circuit.if_test((0, 1)):
            circuit.x(1)
        circuit.measure(1, 1)
        assert sample([(circuit, None, 10)], simulator=IDEAL)[0].data.c.get_counts() == {"11": 10}

    def test_a_circuit_without_registers_gives_an_empty_result(self, sample: Run, executor: PlainExecutor) -> None:
        (result,) = sample([(QuantumCircuit(5), np.empty((3, 0)), 10)])
        assert list(result.data) == []
        assert result.data.shape == (3,)
        assert executor.tasks == []

    def test_no_parameter_sets_give_no_bits(self, sample: Run) -> None:
        (result,) = sample([(flip(Parameter("a")), np.empty((0, 1)), 10)])
        assert result.data.c.array.shape == (0, 10, 1)

    def test_a_circuit_narrower_than_the_device_uses_its_first_qubits(self, sample: Run) -> None:
        circuit = QuantumCircuit(1, 1)
        circuit.x(0)
        circuit.measure(0, 0)
        assert sample([(circuit, None, 10)], simulator=IDEAL)[0].data.c.get_counts() == {"1": 10}

    def test_shots_come_from_the_pub_or_the_options_or_the_default(self, sample: Run) -> None:
        results = sample([(bell(), None, 30), bell()], default_shots=40)
        assert [result.data.c.num_shots for result in results] == [30, 40]
        assert [result.metadata["shots"] for result in results] == [30, 40]
        assert sample([bell()])[0].data.c.num_shots == 4096

    def test_the_client_decodes_all_of_it(self, sample: Run) -> None:
        before = datetime.now(UTC)
        result = sample([(flip(Parameter("a")), [[0.0], [np.pi]], 10), (bell(), None, 20)])
        got = ResultDecoder.decode(encode_result(result).decode())
        assert all(isinstance(pub_result, SamplerPubResult) for pub_result in got)
        assert isinstance(got[0].data.c, BitArray)
        assert got[0].data.c == result[0].data.c
        way = {"qubits": [0, 1], "method": "statevector", "noise": "device", "truncation_error": 0.0}
        assert got[1].metadata == {"shots": 20, "circuit_metadata": {"name": "bell"}, "simulation": [way]}
        assert got.metadata["version"] == 2
        spans = got.metadata["execution"]["execution_spans"]
        assert isinstance(spans, ExecutionSpans)
        assert spans.pub_idxs == [0, 1]
        assert [span.size for span in spans] == [20, 20]
        assert spans[0].mask(0).shape == (2, 10)
        assert before <= spans.start <= spans.stop <= datetime.now(UTC)
        assert spans.start.utcoffset() == timedelta(0)


class TestSeeds:
    def test_the_same_seed_gives_the_same_bits(self, sample: Run) -> None:
        first, second = (sample([bell()], simulator={"seed_simulator": 1})[0].data.c for _ in range(2))
        assert first == second

    def test_another_seed_gives_other_bits(self, sample: Run) -> None:
        first, second = (sample([bell()], simulator={"seed_simulator": seed})[0].data.c for seed in (1, 2))
        assert first != second

    def test_pubs_and_parameter_sets_differ_from_each_other(self, sample: Run) -> None:
        first, second = sample([(bell(), np.empty((2, 0))), bell()])
        arrays = [first.data.c[0].array, first.data.c[1].array, second.data.c.array]
        assert len({array.tobytes() for array in arrays}) == 3

    def test_a_pub_has_the_same_bits_whatever_follows_it(self, sample: Run) -> None:
        assert sample([bell()])[0].data.c == sample([bell(), bell()])[0].data.c

    def test_large_jobs_are_run_in_parts_that_change_no_bit(self, sample: Run, monkeypatch: pytest.MonkeyPatch) -> None:
        circuit = bell()
        circuit.measure(0, circuit.clbits[0])
        pubs = [(bell(), np.empty((5, 0)), 100), (circuit, np.empty((5, 0)), 100)]
        whole = [result.data.c for result in sample(pubs)]
        monkeypatch.setattr("qiskit_runtime_server.programs.prepared.BATCH_BITS", 2 * 100 * 2)
        assert [result.data.c for result in sample(pubs)] == whole
        assert whole[0].array.shape == (5, 100, 1)
        assert len({row.tobytes() for row in whole[0].array}) == 5


class TestOptions:
    def test_a_noise_model_takes_the_place_of_the_devices_noise(self, sample: Run) -> None:
        model = NoiseModel()
        model.add_all_qubit_quantum_error(pauli_error([("X", 1.0)]), ["x"])
        circuit = QuantumCircuit(5, 1)
        circuit.x(0)
        circuit.measure(0, 0)
        for chosen in (model, model.to_dict()):
            counts = sample([(circuit, None, 50)], simulator={"noise_model": chosen})[0].data.c.get_counts()
            assert counts == {"0": 50}

    def test_readout_errors_of_a_noise_model_count(self, sample: Run) -> None:
        model = NoiseModel()
        model.add_readout_error(ReadoutError([[0, 1], [1, 0]]), [1])
        circuit = QuantumCircuit(5, 2)
        circuit.measure([0, 1], [0, 1])
        counts = sample([(circuit, None, 50)], simulator={"noise_model": model})[0].data.c.get_counts()
        assert counts == {"10": 50}

    def test_a_depolarized_bell_pair_has_the_expected_share_of_errors(self, sample: Run) -> None:
        model = NoiseModel()
        model.add_all_qubit_quantum_error(depolarizing_error(0.4, 2), ["cx"])
        counts = sample([(bell(), None, 8000)], simulator={"noise_model": model})[0].data.c.get_counts()
        unequal = (counts.get("01", 0) + counts.get("10", 0)) / 8000
        # A completely depolarized pair is unequal half of the time; five standard deviations.
        assert abs(unequal - 0.2) < 5 * (0.2 * 0.8 / 8000) ** 0.5

    def test_basis_gates_restrict_what_circuits_may_use(self, sample: Run) -> None:
        sample([(bell(), None, 10)], simulator={"basis_gates": ["cx", "sx", "rz"]})
        with pytest.raises(NotIsaError, match=r"cx on qubits 0, 1 is not in the option simulator.basis_gates"):
            sample([(bell(), None, 10)], simulator={"basis_gates": ["rz", "sx", "x"]})

    def test_a_coupling_map_restricts_what_circuits_may_use(self, sample: Run) -> None:
        sample([(bell(), None, 10)], simulator={"coupling_map": [[0, 1]]})
        with pytest.raises(NotIsaError, match=r"cx on qubits 0, 1 is not in the option simulator.coupling_map"):
            sample([(bell(), None, 10)], simulator={"coupling_map": [[1, 0], [1, 2]]})

    def test_a_repetition_delay_within_the_devices_range_is_accepted(self, sample: Run) -> None:
        sample([(bell(), None, 10)], execution={"rep_delay": 0.00025, "init_qubits": True, "meas_type": "classified"})
        with pytest.raises(InvalidInputError, match=r"execution.rep_delay.*out of the range of fake_manila"):
            sample([(bell(), None, 10)], execution={"rep_delay": 1.0})
        with pytest.raises(UnsupportedOptionError, match=r"execution.rep_delay.*fixed"):
            sample([(bell(), None, 10)], backend="fake_quantum_sim", execution={"rep_delay": 0.00025})


def with_h() -> QuantumCircuit:
    circuit = QuantumCircuit(5, 1)
    circuit.h(3)
    return circuit


def unconnected() -> QuantumCircuit:
    circuit = QuantumCircuit(5, 1)
    circuit.cx(0, 3)
    return circuit


def unconnected_inside() -> QuantumCircuit:
    circuit = QuantumCircuit(5, 1)
    with circuit.if_test((0, 1)):
        circuit.cx(4, 2)
    return circuit


def registered(name: str, size: int = 1) -> Callable[[], QuantumCircuit]:
    return lambda: QuantumCircuit(QuantumRegister(5), ClassicalRegister(size, name))


class TestChecks:
    @pytest.mark.parametrize(
        ("circuit", "reason"),
        [
            (with_h, r"pubs\[0\]: h on qubit 3 is not supported: fake_manila\S* has no h, only .*sx.*Transpile"),
            (unconnected, r"cx on qubits 0, 3 is not supported: \S+ does not connect these qubits.*Transpile"),
            (unconnected_inside, "cx on qubits 4, 2 is not supported"),
            (lambda: QuantumCircuit(6, 1), r"6 qubits, fake_manila\S* has 5.*Transpile"),
        ],
    )
    def test_what_the_device_cannot_do_is_refused_by_gate_and_qubits(
        self, sample: Run, circuit: Callable[[], QuantumCircuit], reason: str
    ) -> None:
        with pytest.raises(NotIsaError, match=reason):
            sample([circuit()])

    @pytest.mark.parametrize(
        "circuit", [registered("for"), registered("a b"), registered("shape"), registered("items"), registered("e", 0)]
    )
    def test_registers_that_cannot_be_fields_are_refused(
        self, sample: Run, circuit: Callable[[], QuantumCircuit]
    ) -> None:
        with pytest.raises(InvalidInputError, match="classical register"):
            sample([circuit()])

    @pytest.mark.parametrize("shots", [100_001, 10**9])
    def test_more_shots_than_the_device_allows_are_refused(self, sample: Run, shots: int) -> None:
        with pytest.raises(TooManyShotsError, match=rf"pubs\[0\]: {shots} shots; fake_manila\S* allows at most 100000"):
            sample([(bell(), None, shots)])
        with pytest.raises(TooManyShotsError, match=str(shots)):
            sample([bell()], default_shots=shots)

    def test_a_result_that_would_not_fit_is_refused(self, sample: Run) -> None:
        with pytest.raises(TooManyShotsError, match="MiB"):
            sample([(bell(), np.empty((10_000, 0)), 100_000)])

    def test_an_ideal_device_connects_everything(self, sample: Run) -> None:
        circuit = QuantumCircuit(5, 2)
        circuit.x(4)
        circuit.cx(4, 0)
        circuit.measure([0, 4], [0, 1])
        counts = sample([(circuit, None, 10)], backend="fake_quantum_sim")[0].data.c.get_counts()
        assert counts == {"11": 10}

    def test_nothing_runs_when_one_pub_is_refused(self, sample: Run, executor: PlainExecutor) -> None:
        with pytest.raises(NotIsaError, match=r"pubs\[1\]"):
            sample([bell(), with_h()])
        assert executor.tasks == []


def rzz(angle: Any) -> QuantumCircuit:  # noqa: ANN401 - a number, a parameter or an expression
    circuit = QuantumCircuit(5, 1)
    circuit.rzz(angle, 0, 1)
    circuit.measure(0, 0)
    return circuit


class TestRzz:
    @pytest.mark.parametrize("angle", [-0.1, 1.6])
    def test_an_angle_out_of_range_is_refused(self, sample: Run, angle: float) -> None:
        with pytest.raises(NotIsaError, match=f"rzz on qubits 0, 1 has the angle {angle}"):
            sample([rzz(angle)], backend="fake_fractional")

    @pytest.mark.parametrize("value", [-0.1, 1.6])
    def test_a_value_that_leads_out_of_range_is_refused(self, sample: Run, value: float) -> None:
        for angle, scale in ((Parameter("a"), 1), (2 * Parameter("a"), 2)):
            with pytest.raises(NotIsaError, match=f"a={value / scale} makes it"):
                sample([(rzz(angle), [[0.1], [value / scale]])], backend="fake_fractional")

    def test_angles_within_the_range_run(self, sample: Run) -> None:
        (result,) = sample([(rzz(Parameter("a")), [[0.0], [np.pi / 2]], 10)], backend="fake_fractional")
        assert result.data.c.array.shape == (2, 10, 1)


@pytest.mark.parametrize(
    ("qpy_version", "kinds"),
    [
        (14, ("ExecutionSpanCollection", "TwirledSliceSpan")),
        (15, ("ExecutionSpans", "TwirledSliceSpanV2")),
        (None, ("ExecutionSpans", "TwirledSliceSpanV2")),
    ],
)
def test_spans_of_twirled_shots_have_the_form_that_the_client_knows(
    qpy_version: int | None, kinds: tuple[str, str]
) -> None:
    now = datetime.now(UTC)
    span = TwirledSliceSpanV2(now, now, {0: ((2, 32, 128), False, slice(0, 64), slice(0, 128), 4000)})
    written = json.loads(encode_result({"spans": ExecutionSpans([span])}, qpy_version))["spans"]
    (one,) = written["__value__"]["spans"]
    assert (written["__type__"], one["__type__"]) == kinds
    (read,) = json.loads(json.dumps(written), cls=RuntimeDecoder)
    assert read.mask(0).shape[0] == 2
