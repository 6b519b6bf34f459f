"""The estimator's values agree with exact ones, its errors with repetition, and it takes no needless shots."""

import json
import math
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from qiskit.circuit import Parameter, ParameterVector, QuantumCircuit
from qiskit.primitives.containers.estimator_pub import EstimatorPub
from qiskit.primitives.containers.observables_array import ObservablesArray, ObservablesArrayLike
from qiskit.quantum_info import SparseObservable, SparsePauliOp, Statevector
from qiskit_aer.noise import NoiseModel, ReadoutError
from qiskit_ibm_runtime.decoders.result_decoder import ResultDecoder

from kit.quantum.circuits import bell
from kit.quantum.plain_executor import PlainExecutor, Run
from qiskit_runtime_server.errors import InvalidInputError, NotIsaError, TooManyShotsError
from qiskit_runtime_server.executors.aer import AerExecutor
from qiskit_runtime_server.programs.estimator import num_configurations
from qiskit_runtime_server.programs.wire.results import encode_result

OBSERVABLES = [
    SparseObservable.from_list([("ZZZZ", 1.0), ("XXXX", 0.5), ("YIYI", -0.3), ("IIII", 2.0)]),
    SparseObservable.from_list([("0+rI", 1.5), ("IIZX", 0.7)]),
    SparseObservable.from_list([("1-lZ", 1.0)]),
    SparseObservable.from_list([("XYZI", 1.0), ("IYZX", 1.0), ("ZIII", 0.1)]),
]


def ansatz() -> QuantumCircuit:
    """Four entangled qubits in a state without symmetry."""
    circuit = QuantumCircuit(4)
    angles = iter(ParameterVector("a", 16))
    for _ in range(2):
        for qubit in range(4):
            circuit.rx(next(angles), qubit)
            circuit.rz(next(angles), qubit)
        for qubit in range(3):
            circuit.cx(qubit, qubit + 1)
    return circuit


def exact(circuit: QuantumCircuit, values: NDArray[np.float64], observable: SparseObservable) -> float:
    operator = SparsePauliOp.from_sparse_observable(observable.as_paulis())
    value: complex = Statevector(circuit.assign_parameters(values)).expectation_value(operator)
    return value.real


@pytest.mark.parametrize("level", [0, 1, 2])
def test_a_pub_without_parameter_sets_has_no_values(level: int) -> None:
    circuit = QuantumCircuit(5)
    circuit.rz(Parameter("angle"), 0)
    circuit.cx(0, 1)
    pub = EstimatorPub.coerce((circuit, "IIIIZ", np.empty((0, 1))))
    (result,) = AerExecutor(threads=1).execute_estimator([pub], {"resilience_level": level}, "fake_manila")
    assert result.data.evs.shape == result.data.stds.shape == (0,)


class TestValues:
    def test_they_agree_with_the_exact_ones_for_every_kind_of_term(self, estimate: Run) -> None:
        values = np.random.default_rng(5).uniform(-np.pi, np.pi, (3, 16))
        observables = ObservablesArray([[observable] for observable in OBSERVABLES])
        (result,) = estimate([(ansatz(), observables, values, 0.01)])
        wanted = [[exact(ansatz(), row, observable) for row in values] for observable in OBSERVABLES]
        assert result.data.shape == (4, 3)
        # Five standard errors for each of twelve values.
        assert (np.abs(result.data.evs - wanted) < 5 * result.data.stds).all()
        assert (result.data.stds < 0.05).all()

    @pytest.mark.parametrize(
        ("gates", "one"),
        [((), "Z0"), (("x",), "1"), (("h",), "X+"), (("x", "h"), "-"), (("h", "s"), "Yr"), (("h", "sdg"), "l")],
    )
    @pytest.mark.parametrize("backend", ["fake_quantum_sim", "fake_manila"])
    def test_eigenstates_give_their_eigenvalues_exactly(
        self, estimate: Run, gates: tuple[str, ...], one: str, backend: str
    ) -> None:
        quarter = math.pi / 2
        angles: dict[str, list[float | None]] = {
            "h": [quarter, None, quarter],
            "x": [None, None],
            "s": [quarter],
            "sdg": [-quarter],
        }
        circuit = QuantumCircuit(1 if backend == "fake_quantum_sim" else 5)
        for angle in (angle for gate in gates for angle in angles[gate]):
            circuit.sx(0) if angle is None else circuit.rz(angle, 0)
        idle = "I" * (circuit.num_qubits - 1)
        observables = [idle + letter for letter in one]
        (result,) = estimate(
            [(circuit, observables, None, 0.1)], backend=backend, simulator={"noise_model": NoiseModel()}
        )
        np.testing.assert_array_equal(result.data.evs, 1.0)
        np.testing.assert_array_equal(result.data.stds, 0.0)

    def test_identities_are_exact_and_take_no_shots(self, estimate: Run, executor: PlainExecutor) -> None:
        (result,) = estimate([(bell(2), {"II": -1.25}, None, None)])
        assert result.data.evs == -1.25
        assert result.data.stds == 0
        assert executor.tasks == []

    @pytest.mark.parametrize(
        ("observables", "values", "shape"),
        [
            ((), (), ()),
            ((3,), (), (3,)),
            ((), (4,), (4,)),
            ((3, 1), (4,), (3, 4)),
            ((2, 3), (2, 1), (2, 3)),
            ((2,), (0, 1), (0, 2)),
        ],
    )
    def test_observables_and_parameter_values_are_broadcast(
        self, estimate: Run, observables: tuple[int, ...], values: tuple[int, ...], shape: tuple[int, ...]
    ) -> None:
        circuit = QuantumCircuit(1)
        circuit.rx(Parameter("a"), 0)
        angles = np.pi * (np.arange(math.prod(values)) % 2).reshape(values)
        coefficients = 1.0 + np.arange(math.prod(observables)).reshape(observables)
        terms = np.empty(observables, dtype=object)
        for place, coefficient in np.ndenumerate(coefficients):
            terms[place] = SparseObservable.from_list([("Z", coefficient)])
        (result,) = estimate([(circuit, ObservablesArray(terms), angles[..., None], 0.3)])
        assert result.data.evs.shape == result.data.stds.shape == result.data.shape == shape
        np.testing.assert_array_equal(result.data.evs, coefficients * np.where(angles == 0, 1, -1))

    def test_observables_far_apart_on_a_wide_device_are_read_from_the_right_qubits(self, estimate: Run) -> None:
        circuit = QuantumCircuit(5)
        circuit.x(4)
        circuit.x(1)
        observables = ["ZIIII", "IZIII", "IIIZI", "ZIIZI", "1III0", "1I010", "10011"]
        (result,) = estimate([(circuit, observables)], backend="fake_manila", simulator={"noise_model": NoiseModel()})
        np.testing.assert_array_equal(result.data.evs, [-1, 1, -1, 1, 1, 1, 0])

    def test_observables_may_cover_a_whole_large_device(self, estimate: Run) -> None:
        circuit = QuantumCircuit(127)
        circuit.x(range(70))
        circuit.x(100)
        observables = ["Z" * 127, "Z" * 126 + "I", "I" * 26 + "1" + "0" * 30 + "1" * 70, "I" * 56 + "Z" * 70 + "0"]
        options = {"default_precision": 0.2, "simulator": {"noise_model": NoiseModel()}}
        (result,) = estimate([(circuit, observables)], backend="fake_sherbrooke", **options)
        np.testing.assert_array_equal(result.data.evs, [-1, 1, 1, 0])

    def test_circuits_may_measure_and_decide_by_themselves(self, estimate: Run) -> None:
        circuit = QuantumCircuit(5, 1)
        circuit.x(0)
        circuit.measure(0, 0)
        with circuit.if_test((0, 1)):
            circuit.x(1)
        (result,) = estimate([(circuit, "IIIZI")], backend="fake_manila", simulator={"noise_model": NoiseModel()})
        assert result.data.evs == -1

    def test_readout_errors_shrink_values_as_they_should(self, estimate: Run) -> None:
        model = NoiseModel()
        model.add_all_qubit_readout_error(ReadoutError([[0.9, 0.1], [0.1, 0.9]]))
        observables = ["IIIIZ", "IIIZZ"]
        (result,) = estimate(
            [(QuantumCircuit(5), observables, None, 0.01)], "fake_manila", simulator={"noise_model": model}
        )
        assert (np.abs(result.data.evs - [0.8, 0.64]) < 5 * result.data.stds).all()


class TestErrors:
    @pytest.mark.parametrize(
        ("observable", "deviation"),
        [
            # On a Bell pair ZI and IZ are +1 or -1 together: their sum has variance 4, and ZZ adds none.
            ({"ZZ": 1.0, "ZI": 1.0, "IZ": 1.0}, 2.0),
            ({"ZI": 1.0, "IZ": -1.0}, 0.0),
            # Different bases are independent.
            ({"ZI": 1.0, "IX": 2.0}, math.sqrt(5)),
            ({"0I": 1.0}, 0.5),
            ({"11": 3.0}, 1.5),
        ],
    )
    def test_they_are_the_spread_of_repeated_estimates(
        self, estimate: Run, observable: dict[str, float], deviation: float
    ) -> None:
        repetitions = np.empty((300, 0))
        (result,) = estimate([(bell(2), observable, repetitions, 0.1)])
        wanted = deviation / math.sqrt(100)
        # The spread of 300 values is known to 4 %, the mean of 300 standard errors much better.
        assert abs(result.data.evs.std() - wanted) <= 0.2 * wanted
        assert abs(result.data.stds.mean() - wanted) <= 0.05 * wanted

    def test_they_come_without_ensembles_twice(self, estimate: Run) -> None:
        (result,) = estimate([(bell(2), "ZI")])
        assert result.data.ensemble_standard_error == result.data.stds > 0

    def test_many_bits_are_counted_like_few(self, estimate: Run) -> None:
        """Above 12 bits no histogram is made; a GHZ state tells whether signs and projectors still hold."""
        circuit = QuantumCircuit(15)
        circuit.h(0)
        for qubit in range(14):
            circuit.cx(qubit, qubit + 1)
        terms = {"Z" * 15: 1.0, "Z" * 14 + "I": 1.0, "1" * 15: 1.0, "0" * 14 + "1": 1.0}
        observables = [{term: c} for term, c in terms.items()] + [terms]
        (result,) = estimate([(circuit, observables, np.empty((2, 1, 0)), 0.02)])
        wanted = [0, 1, 0.5, 0, 1.5]
        assert (np.abs(result.data.evs - wanted) <= 5 * result.data.stds + 1e-12).all()
        assert result.data.stds[0, 1] == 0
        # Odd parity costs 1, the projector half of it, in step with it or against it.
        np.testing.assert_allclose(result.data.stds[:, 4], 0.02 * 0.5, rtol=0.1)


class TestShots:
    @pytest.mark.parametrize(
        ("precision", "options", "shots", "target"),
        [
            (None, {}, 4096, 0.015625),
            (0.1, {}, 100, 0.1),
            (0.03, {}, 1112, 0.03),
            (None, {"default_precision": 0.05}, 400, 0.05),
            (None, {"default_shots": 1000}, 1000, 1000**-0.5),
            (None, {"default_shots": 1000, "default_precision": 0.05}, 1000, 1000**-0.5),
            (0.1, {"default_shots": 1000}, 100, 0.1),
            (1000**-0.5, {}, 1000, 1000**-0.5),
        ],
    )
    def test_precision_becomes_shots(
        self,
        estimate: Run,
        executor: PlainExecutor,
        precision: float,
        options: dict[str, Any],
        shots: int,
        target: float,
    ) -> None:
        (result,) = estimate([(bell(2), "ZI", None, precision)], **options)
        assert result.metadata["shots"] == shots
        assert result.metadata["target_precision"] == pytest.approx(target)
        assert {task.shots for task in executor.tasks} <= {shots}

    @pytest.mark.parametrize(
        ("observables", "values", "configurations"),
        [
            ("ZZ", (10,), 10),
            ({"ZZ": 1, "ZI": 1, "IZ": 1, "II": 1}, (10,), 10),
            ({"ZZ": 1, "XX": 1, "YY": 1}, (10,), 30),
            ({"XI": 1, "IZ": 1, "XZ": 1}, (), 1),
            ([["ZZ"], ["XX"]], (10,), 20),
            (["ZZ", "XX"], (2,), 2),
            (["ZI", "ZZ", "+0"], (3,), 3),
            (["ZZ"] * 5, (5,), 5),
            ("II", (5,), 0),
        ],
    )
    def test_only_what_is_needed_is_measured(
        self, observables: ObservablesArrayLike, values: tuple[int, ...], configurations: int
    ) -> None:
        pub = EstimatorPub.coerce((bell(2), observables, np.empty((*values, 0))))
        assert num_configurations(pub) == configurations

    @pytest.mark.parametrize("precision", [0.0009, 1e-5, 1e-12, 1e-300])
    def test_a_precision_out_of_reach_is_refused(self, estimate: Run, precision: float) -> None:
        with pytest.raises(TooManyShotsError, match="precision"):
            estimate([(bell(2), "ZZ", None, precision)])
        with pytest.raises(TooManyShotsError, match="precision"):
            estimate([(bell(2), "ZZ")], default_precision=precision)

    def test_a_precision_of_zero_is_refused(self, estimate: Run) -> None:
        with pytest.raises(InvalidInputError, match="precision must be greater than 0"):
            estimate([(bell(2), "ZZ", None, 0.0)])

    def test_a_gate_that_the_device_lacks_is_refused(self, estimate: Run) -> None:
        circuit = QuantumCircuit(5)
        circuit.ry(0.1, 2)
        with pytest.raises(NotIsaError, match="ry on qubit 2"):
            estimate([(circuit, "ZZZZZ")], backend="fake_manila")


class TestSeeds:
    def test_the_same_seed_gives_the_same_values(self, estimate: Run) -> None:
        pub = (bell(2), {"ZI": 1, "IX": 1})
        options: dict[str, Any] = {"seed_estimator": 3}
        first, second = (estimate([pub], **options)[0].data for _ in range(2))
        assert first.evs == second.evs
        assert estimate([pub], seed_estimator=4)[0].data.evs != first.evs
        assert estimate([pub], seed_estimator=3, simulator={"seed_simulator": 8})[0].data.evs != first.evs

    def test_a_pub_has_the_same_values_whatever_follows_it(self, estimate: Run) -> None:
        pub = (bell(2), "ZI")
        assert estimate([pub])[0].data.evs == estimate([pub, pub])[0].data.evs

    def test_large_jobs_are_run_in_parts(self, estimate: Run, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("qiskit_runtime_server.programs.prepared.BATCH_BITS", 3 * 100 * 2)
        circuit = QuantumCircuit(2)
        circuit.rx(Parameter("a"), 0)
        angles = np.pi * (np.arange(10) % 2)
        (result,) = estimate([(circuit, [["ZZ"], ["ZI"], ["IZ"]], angles[:, None], 0.1)])
        signs = np.where(angles == 0, 1, -1)
        np.testing.assert_array_equal(result.data.evs, [signs, np.ones(10), signs])


class TestMetadata:
    def test_data_say_of_which_type_their_fields_are(self, estimate: Run) -> None:
        document = json.loads(encode_result(estimate([(bell(2), "ZI", None, 0.1), (bell(2), ["ZI", "XX"])])))
        for pub in document["__value__"]["pub_results"]:
            data = pub["__value__"]["data"]["__value__"]
            assert data["field_names"] == list(data["fields"])
            assert data["field_types"] == ["<class 'numpy.ndarray'>"] * len(data["fields"])

    def test_the_client_decodes_all_of_it(self, estimate: Run) -> None:
        circuit = bell(2)
        circuit.metadata = {"name": "bell"}
        got = ResultDecoder.decode(
            encode_result(estimate([(circuit, "ZI", None, 0.1), (circuit, ["ZI", "XX"])])).decode()
        )
        assert got[0].data.evs.shape == got[0].data.stds.shape == ()
        assert got[1].data.evs.shape == (2,)
        assert got[0].metadata == {
            "target_precision": 0.1,
            "shots": 100,
            "circuit_metadata": {"name": "bell"},
            "resilience": {},
            "num_randomizations": 1,
            "simulation": [{"qubits": [0, 1], "method": "statevector", "noise": "none", "truncation_error": 0.0}],
        }
        assert got.metadata["version"] == 2

    @pytest.mark.parametrize("options", [{}, {"resilience_level": 0}])
    def test_it_says_that_nothing_was_mitigated(self, estimate: Run, options: dict[str, Any]) -> None:
        metadata = estimate([(bell(2), "ZI")], **options).metadata
        assert metadata["resilience_level"] == 0
        assert metadata["resilience"] == {"measure_mitigation": False, "zne_mitigation": False, "pec_mitigation": False}
        assert metadata["twirling"] == {"enable_gates": False, "enable_measure": False}
        assert metadata["dynamical_decoupling"] == {"enable": False}
