"""Mitigation brings values closer to the truth, by no more and no less than it should."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from qiskit.circuit import ClassicalRegister, Clbit, Parameter, QuantumCircuit, QuantumRegister, Qubit
from qiskit.primitives import DataBin, PrimitiveResult
from qiskit.primitives.containers.estimator_pub import EstimatorPub
from qiskit.primitives.containers.sampler_pub import SamplerPub
from qiskit.quantum_info import Operator, Pauli
from qiskit_aer.noise import NoiseModel, QuantumError, ReadoutError, coherent_unitary_error, pauli_error
from scipy.stats import chi2_contingency

from kit.quantum.pauli_noise import known_layer, pauli_device, symmetric
from kit.quantum.plain_executor import Run
from qiskit_runtime_server.errors import TooManyShotsError, UnsupportedOptionError
from qiskit_runtime_server.executors.aer import AerExecutor
from qiskit_runtime_server.programs.device.device import Device
from qiskit_runtime_server.programs.device.shots import SimulatedShots
from qiskit_runtime_server.programs.mitigation.decoupling import decoupled
from qiskit_runtime_server.programs.options.mitigation import Decoupling
from qiskit_runtime_server.programs.options.options import Options
from qiskit_runtime_server.programs.prepared import PreparedDevice
from qiskit_runtime_server.simulation.noise import DelayNoisePass, DeviceNoise, Use
from qiskit_runtime_server.simulation.seeds import SeedPath

MISREAD = (0.02, 0.08)
"""Chances to read 1 for 0, and 0 for 1."""


def misreading(num_qubits: int = 5) -> NoiseModel:
    model = NoiseModel()
    zero, one = MISREAD
    for qubit in range(num_qubits):
        model.add_readout_error(ReadoutError([[1 - zero, zero], [one, 1 - one]]), [qubit])
    return model


@pytest.fixture
def mitigate() -> Run:
    """Runs estimator pubs on the fast executor."""

    def run(
        pubs: Sequence[Any],
        *,
        backend: str = "fake_manila",
        seed: int = 1,
        noise: NoiseModel | None = None,
        **options: Any,
    ) -> PrimitiveResult[Any]:
        simulator = {"seed_simulator": seed, "noise_model": noise}
        coerced = [EstimatorPub.coerce(pub) for pub in pubs]
        return AerExecutor().execute_estimator(coerced, {**options, "simulator": simulator}, backend)

    return run


@pytest.mark.parametrize("names", [["p"], ["a", "b"], []])
def test_circuits_are_decoupled_whatever_registers_their_qubits_are_in(names: list[str]) -> None:
    device = PreparedDevice.of(SimulatedShots(AerExecutor()), Options(), "fake_manila").device
    gates = ones(2)
    gates.cx(0, 1)
    gates.delay(100_000, 0, unit="dt")
    gates.cx(0, 1)
    registers = [QuantumRegister(2 // len(names), name) for name in names]
    circuit = QuantumCircuit(*registers) if registers else QuantumCircuit([Qubit(), Qubit()])
    circuit.compose(gates, inplace=True)
    pulses = [decoupled(one, device, Decoupling(enable=True), "pub").count_ops() for one in (gates, circuit)]
    assert pulses[0] == pulses[1]
    assert pulses[0]["x"] > 2


@pytest.mark.parametrize("order", [[2, 1, 0], [2], []])
def test_decoupled_circuits_keep_their_classical_bits(order: list[int]) -> None:
    """Whatever registers these are in: Qiskit's passes order bits by registers, and lose those in none."""
    device = PreparedDevice.of(SimulatedShots(AerExecutor()), Options(), "fake_manila").device
    bits = [Clbit() for _ in range(3)]
    circuit = QuantumCircuit(QuantumRegister(3, "q"), bits, metadata={"kept": True})
    for place in order:
        circuit.add_register(ClassicalRegister(name=f"r{place}", bits=[bits[place]]))
    circuit.x(0)
    circuit.measure([0, 1, 2], bits)
    scheduled = decoupled(circuit, device, Decoupling(enable=True), "pub")
    assert (scheduled.clbits, scheduled.cregs, scheduled.metadata) == (bits, circuit.cregs, {"kept": True})
    measured = [(scheduled.find_bit(p.qubits[0]).index, p.clbits[0]) for p in scheduled.data if p.name == "measure"]
    assert sorted(measured) == [(0, bits[0]), (1, bits[1]), (2, bits[2])]


@pytest.mark.parametrize("turned", [False, True])
def test_parameters_of_a_global_phase_alone_take_their_values(mitigate: Run, *, turned: bool) -> None:
    """As transpilers leave them; samplexes do not know them."""
    circuit = QuantumCircuit(1, global_phase=Parameter("a"))
    if turned:
        circuit.sx(0)
        circuit.rz(Parameter("b") - np.pi, 0)
        circuit.sx(0)
    values = np.array([[1.0, 0.0], [2.0, np.pi], [3.0, 0.0]])[:, : circuit.num_parameters]
    wanted = [1, -1, 1] if turned else [1, 1, 1]
    options = {"resilience_level": 2, "resilience": {"zne": {"extrapolator": "linear"}}}
    data = mitigate([(circuit, "Z", values)], noise=NoiseModel(), backend="fake_quantum_sim", **options)[0].data
    assert data.evs == pytest.approx(wanted)
    measured = circuit.copy()
    measured.measure_all()
    (sampled,) = AerExecutor().execute_sampler(
        [SamplerPub.coerce((measured, values, 64))], {"twirling": {"enable_gates": True}}, "fake_quantum_sim"
    )
    assert [sampled.data.meas[row].get_counts().keys() for row in range(3)] == [{"01"[one < 0]} for one in wanted]


def ones(num_qubits: int) -> QuantumCircuit:
    circuit = QuantumCircuit(num_qubits)
    circuit.x(range(num_qubits))
    return circuit


class TestReadoutMitigation:
    def test_it_recovers_values_under_a_known_readout_error(self, mitigate: Run) -> None:
        pubs: list[tuple[Any, ...]] = [(ones(3), ["IIZ", "IZZ", "ZZZ"], [], 0.005)]
        shrunk = mitigate(pubs, noise=misreading(), resilience_level=0)[0].data.evs
        # <Z> of a 1 that is read as 0 in 8 of 100 cases; to five standard errors.
        assert shrunk == pytest.approx([-0.84, 0.84**2, -(0.84**3)], abs=0.025)
        options = {
            "twirling": {"num_randomizations": 1000},
            "resilience": {"measure_mitigation": True, "measure_noise_learning": {"num_randomizations": 1000}},
        }
        data = mitigate(pubs, noise=misreading(), resilience_level=1, **options)[0].data
        # Twirled flips shrink values by 0.9 for each qubit; to five standard errors, those of calibration included.
        assert np.abs(data.evs - [-1, 1, -1]) == pytest.approx(0, abs=0.03)

    @pytest.mark.parametrize("gates", [False, True])
    def test_errors_cover_where_randomizations_have_few_shots(self, mitigate: Run, *, gates: bool) -> None:
        """Of 1,000 randomizations with a shot each, the calibration has as many shots, not 16."""
        options = {
            "twirling": {"enable_gates": gates, "num_randomizations": 1000, "shots_per_randomization": 1},
            "resilience": {"measure_noise_learning": {"num_randomizations": 16}},
        }
        pubs = [(ones(1), "Z", None, None)] * 40
        found = mitigate(pubs, noise=misreading(), resilience_level=1, **options)
        off = np.array([abs(pub.data.evs + 1) / pub.data.stds for pub in found])
        # 37 are due, and fewer than 30 come in one of 3,000 cases.
        assert (off < 2).sum() >= 30

    def test_values_are_unbiased_over_seeds(self, mitigate: Run) -> None:
        results = mitigate([(ones(2), "ZZ")] * 400, noise=misreading())
        evs, errors = (np.array([float(result.data[name]) for result in results]) for name in ("evs", "stds"))
        # Five standard errors of the mean; 1 / (1 - 2p) itself is 0.001 too large on average, for the spread of p.
        assert evs.mean() == pytest.approx(1.001, abs=5 * evs.std(ddof=1) / np.sqrt(400))
        # The spread of 400 values is known to 3.5 %, the mean of their errors much better.
        assert evs.std(ddof=1) == pytest.approx(errors.mean(), rel=0.16)

    def test_a_twirled_measurement_misreads_both_values_alike(self, mitigate: Run) -> None:
        options = {"resilience": {"measure_mitigation": False}, "twirling": {"num_randomizations": 500}}
        for circuit, sign in ((ones(1), -1), (QuantumCircuit(1), 1)):
            (result,) = mitigate([(circuit, "Z", [], 0.005)], noise=misreading(), resilience_level=1, **options)
            assert float(result.data.evs) == pytest.approx(sign * 0.9, abs=0.025)

    def test_measurements_with_errors_of_their_own_are_mitigated_by_a_samplex(self, mitigate: Run) -> None:
        noise = misreading()
        noise.add_all_qubit_quantum_error(pauli_error([("X", 0.1), ("I", 0.9)]), "measure")
        options = {"twirling": {"num_randomizations": 512}}
        (result,) = mitigate([(ones(2), ["IZ", "ZI"])], noise=noise, resilience_level=1, **options)
        assert result.data.evs == pytest.approx([-1, -1], abs=0.1)
        (raw,) = mitigate([(ones(2), ["IZ", "ZI"])], noise=noise, resilience_level=0)
        # A share of 0.1 is flipped; then 0 is read as 1 in 2 of 100 cases, and 1 as 0 in 8 of 100.
        assert raw.data.evs == pytest.approx([-0.652, -0.652], abs=0.06)

    def test_errors_of_reading_several_bits_at_once_are_refused(self, mitigate: Run) -> None:
        noise = NoiseModel()
        noise.add_readout_error(ReadoutError(np.eye(4) * 0.9 + np.eye(4)[::-1] * 0.1), [0, 1])
        with pytest.raises(UnsupportedOptionError, match=r"simulator\.noise_model: readout errors of several qubits"):
            mitigate([(ones(2), "ZZ")], noise=noise)

    def test_measurements_and_resets_in_the_middle_are_no_obstacle(self, mitigate: Run) -> None:
        circuit = QuantumCircuit(2, 1)
        circuit.x(0)
        circuit.measure(0, 0)
        circuit.reset(0)
        circuit.x(1)
        options = {"twirling": {"num_randomizations": 512}}
        (result,) = mitigate([(circuit, ["IZ", "ZI"])], noise=misreading(), resilience_level=1, **options)
        assert result.data.evs == pytest.approx([1, -1], abs=0.07)
        with pytest.raises(UnsupportedOptionError, match=r"zne_mitigation.* reset or measurements in their middle"):
            mitigate([(circuit, "IZ")], resilience_level=2)


def test_more_randomizations_than_fit_into_memory_are_refused(mitigate: Run) -> None:
    many = {"num_randomizations": 100_000, "shots_per_randomization": 100_000}
    with pytest.raises(TooManyShotsError):
        mitigate([(ones(2), "ZZ")], twirling=many)
    known = [known_layer((1, 2), {"XI": 1.0, "ZZ": 1.0})]
    endless = {"pec_mitigation": True, "pec": {"max_overhead": None}, "layer_noise_model": known}
    with pytest.raises(TooManyShotsError, match="PEC takes more for stronger noise"):
        mitigate([(twice(), VALUE)], resilience=endless, twirling={"strategy": "active"})


RATES = symmetric({"XI": 0.04, "IX": 0.01, "IZ": 0.02, "YI": 0.005})
VALUE = "IIZII"
"""The observable: Z of the target, which starts and ends as 1."""


def shrunk(rates: Mapping[str, float], gates: int) -> float:
    """Return what errors leave of the observable. Rates that a cx makes equal do as much before it as after it."""
    return float(
        np.exp(-2 * gates * sum(rate for label, rate in rates.items() if Pauli(label).anticommutes(Pauli("ZI"))))
    )


def twice() -> QuantumCircuit:
    """Two gates that undo each other."""
    circuit = QuantumCircuit(5)
    circuit.cx(1, 2)
    circuit.barrier()
    circuit.cx(1, 2)
    return circuit


PEC: dict[str, Any] = {"pec_mitigation": True, "pec": {"max_overhead": None}}
MANY = {"num_randomizations": 600, "shots_per_randomization": 16, "strategy": "active"}


class TestErrorCancellation:
    def test_without_it_errors_shrink_values(self, mitigate: Run) -> None:
        pubs: list[tuple[Any, ...]] = [(twice(), VALUE, [], 0.005)]
        (result,) = mitigate(pubs, noise=pauli_device({(1, 2): RATES}), resilience_level=0)
        # Five standard errors.
        assert float(result.data.evs) == pytest.approx(shrunk(RATES, 2), abs=0.025)

    @pytest.mark.parametrize("order", [(1, 2), (2, 1)])
    def test_values_are_unbiased_within_their_errors_in_whatever_order_the_qubits_are_given(
        self, mitigate: Run, order: tuple[int, int]
    ) -> None:
        known = [known_layer((1, 2), RATES, order=order)]
        data = self._cancelled(mitigate, {**PEC, "layer_noise_model": known})
        assert float(data.evs) == pytest.approx(1, abs=4 * float(data.stds))
        # Without cancelling it would be this far away, and farther with the wrong sign.
        assert 1 - shrunk(RATES, 2) > 6 * float(data.stds)

    def test_errors_on_the_wrong_qubits_are_not_cancelled(self, mitigate: Run) -> None:
        mirrored = {label[::-1]: rate for label, rate in RATES.items()}
        data = self._cancelled(mitigate, {**PEC, "layer_noise_model": [known_layer((1, 2), mirrored)]})
        left = shrunk(RATES, 2) / shrunk(mirrored, 2)
        assert float(data.evs) == pytest.approx(left, abs=4 * float(data.stds))
        assert 1 - left > 5 * float(data.stds)

    def test_learned_errors_do_as_well_as_known_ones(self, mitigate: Run) -> None:
        learning = {"num_randomizations": 16, "layer_pair_depths": [0, 2, 8, 24]}
        data = self._cancelled(mitigate, {**PEC, "layer_noise_learning": learning})
        # The learned rates add an error of about 0.003 for each gate.
        assert float(data.evs) == pytest.approx(1, abs=4 * float(data.stds) + 0.02)

    def test_the_identity_is_1_whatever_signs_are_drawn(self, mitigate: Run) -> None:
        observables = [{"IIIII": -7.0}, {"IIIII": -7.0, VALUE: 1.0}, {VALUE: 1.0}]
        options = {"resilience": {**PEC, "layer_noise_model": [known_layer((1, 2), RATES)]}, "twirling": MANY}
        (result,) = mitigate([(twice(), observables)], noise=pauli_device({(1, 2): RATES}), **options)
        alone, both, value = zip(result.data.evs, result.data.stds, result.data.ensemble_standard_error, strict=True)
        assert alone == (-7, 0, 0)
        assert both == pytest.approx(np.add(value, alone))

    def test_delays_are_no_obstacle(self, mitigate: Run) -> None:
        circuit = twice()
        circuit.delay(1600, 3, "dt")
        known = [known_layer((1, 2), RATES)]
        (result,) = mitigate([(circuit, VALUE)], noise=NoiseModel(), resilience={**PEC, "layer_noise_model": known})
        gamma = np.exp(4 * sum(RATES.values()))
        assert result.metadata["resilience"]["layer_noise"]["noise_overhead"] == pytest.approx(gamma)

    def _cancelled(self, mitigate: Run, resilience: dict[str, Any]) -> DataBin:
        noise = pauli_device({(1, 2): RATES})
        (result,) = mitigate([(twice(), VALUE)], noise=noise, resilience=resilience, twirling=MANY)
        assert result.metadata["num_randomizations"] >= 600
        return result.data


class TestExtrapolation:
    @pytest.mark.parametrize("amplifier", ["gate_folding", "pea"])
    def test_it_lowers_the_error_of_a_known_value_over_several_seeds(self, mitigate: Run, amplifier: str) -> None:
        circuit = QuantumCircuit(5)
        for _ in range(4):
            circuit.cx(1, 2)
            circuit.barrier()
        noise = pauli_device({(1, 2): RATES})
        known = [known_layer((1, 2), RATES)]
        zne = {"amplifier": amplifier, "noise_factors": [1, 3, 5], "extrapolator": "exponential"}
        options = {"resilience": {"zne_mitigation": True, "zne": zne, "layer_noise_model": known}}
        errors = []
        for seed in range(5):
            pub: tuple[Any, ...] = (circuit, VALUE, [], 0.01)
            raw = mitigate([pub], noise=noise, seed=seed, resilience_level=0)[0].data.evs
            # Errors are drawn anew for each randomization only.
            many = {**ACTIVE, "num_randomizations": 1000 if amplifier == "pea" else 32}
            mitigated = mitigate([pub], noise=noise, seed=seed, resilience_level=1, twirling=many, **options)[0].data
            errors.append((abs(float(raw) - 1), abs(float(mitigated.evs) - 1)))
        raw_error, error = np.mean(errors, axis=0)
        # Four gates leave 0.67; an exponential fit of three points, the last of which is 0.14, is 0.05 uncertain.
        assert raw_error == pytest.approx(1 - shrunk(RATES, 4), abs=0.03)
        assert error < 0.3 * raw_error

    @pytest.mark.parametrize("amplifier", ["gate_folding", "gate_folding_front", "gate_folding_back"])
    def test_what_cannot_be_amplified_is_refused(self, mitigate: Run, amplifier: str) -> None:
        circuit = QuantumCircuit(2)
        circuit.sx([0, 1])
        circuit.rzz(0.4, 0, 1)
        options = {"zne_mitigation": True, "zne": {"amplifier": amplifier}}
        with pytest.raises(UnsupportedOptionError, match=r"pubs\[0\].*zne_mitigation.*rzz"):
            mitigate([(circuit, "ZZ")], backend="fake_fractional", resilience=options)

    def test_a_fit_through_all_points_that_runs_away_gives_way_to_the_next(self, mitigate: Run) -> None:
        """An exponential through two points around 0 says anything, or nothing."""
        options: dict[str, Any] = {"resilience": {"zne_mitigation": True, "zne": {"noise_factors": [1, 3]}}}
        zeros = {"IIXII": 1.0, "IXIII": 1.0, "IYXII": 1.0, "IYIII": 1.0}
        results = mitigate([(twice(), {"IIIII": 1.0, **zeros})] * 4, noise=pauli_device({(1, 2): RATES}), **options)
        # Four terms, each known to about 0.03, and to 0.2 if its exponential is one that can be fitted.
        assert np.array([pub.data.evs for pub in results]) == pytest.approx(1, abs=1)
        assert {pub.metadata["resilience"]["zne"]["extrapolator"] for pub in results} <= {"multiple", "linear"}

    def test_the_first_extrapolator_is_taken_though_it_goes_through_all_points(self, mitigate: Run) -> None:
        zne = {"noise_factors": [1, 3, 5], "extrapolator": ["polynomial_degree_2", "linear", "fallback"]}
        options: dict[str, Any] = {"resilience": {"zne_mitigation": True, "zne": zne}}
        (result,) = mitigate([(twice(), VALUE)], noise=pauli_device({(1, 2): RATES}), **options)
        assert result.metadata["resilience"]["zne"]["extrapolator"] == "polynomial_degree_2"
        assert np.isinf(result.data.fit_stds)
        assert np.isfinite(result.data.stds)

    def test_values_are_extrapolated_from_the_factors_that_gates_are_folded_by(self, mitigate: Run) -> None:
        """A single gate occurs once or three times."""
        circuit = QuantumCircuit(5)
        circuit.x(2)
        circuit.cx(1, 2)
        zne = {"noise_factors": [1, 1.5, 2], "extrapolator": "exponential"}
        options: dict[str, Any] = {"resilience": {"zne_mitigation": True, "zne": zne}, "default_precision": 0.005}
        (result,) = mitigate([(circuit, VALUE)], noise=pauli_device({(1, 2): RATES}), **options)
        assert result.metadata["resilience"]["zne"]["noise_factors"] == [1, 3, 3]
        wanted = -np.array([shrunk(RATES, number) for number in (1, 3, 3)])
        assert result.data.evs_noise_factors == pytest.approx(wanted, abs=0.025)
        # Taken for the factors of the options, the means say -1.13.
        assert float(result.data.evs) == pytest.approx(-1, abs=5 * float(result.data.stds))
        assert result.data.stds < 0.01

    def test_a_model_with_fewer_different_points_than_it_needs_is_no_fit(self, mitigate: Run) -> None:
        circuit = QuantumCircuit(5)
        circuit.cx(1, 2)
        zne = {"noise_factors": [1, 1.5, 2], "extrapolated_noise_factors": [0]}
        models = ["polynomial_degree_2", "linear"]
        options = {"resilience": {"zne_mitigation": True, "zne": {**zne, "extrapolator": models}}}
        (result,) = mitigate([(circuit, VALUE)], noise=pauli_device({(1, 2): RATES}), **options)
        assert result.metadata["resilience"]["zne"]["extrapolator"] == "linear"
        assert np.isnan(result.data.evs_extrapolated[0, 0])
        assert result.data.evs == result.data.evs_extrapolated[1, 0]
        alone = {"resilience": {"zne_mitigation": True, "zne": {**zne, "extrapolator": models[0]}}}
        with pytest.raises(UnsupportedOptionError, match=r"pubs\[0\].* come out as 1, 3, 3, as the circuit has 1"):
            mitigate([(circuit, VALUE)], **alone)
        # Where nothing is folded, values are equal at all factors.
        (result,) = mitigate([(ones(5), VALUE)], noise=NoiseModel(), **alone)
        assert float(result.data.evs) == pytest.approx(-1)

    def test_gates_that_stay_as_they_are_beside_others_are_named(self, mitigate: Run) -> None:
        circuit = QuantumCircuit(3)
        circuit.sx([0, 1])
        circuit.rzz(0.4, 0, 1)
        circuit.cx(1, 2)
        (result,) = mitigate([(circuit, "ZZZ")], backend="fake_fractional", resilience={"zne_mitigation": True})
        assert result.metadata["resilience"]["zne"]["gates_not_folded"] == ["rzz"]


ACTIVE = {"strategy": "active", "enable_gates": True}


class TestTwirling:
    @pytest.mark.parametrize("twirling", [{"enable_measure": True}, {"enable_gates": True, "enable_measure": True}])
    def test_it_changes_nothing_on_an_ideal_device(self, twirling: dict[str, bool]) -> None:
        circuit = QuantumCircuit(3)
        for layer in range(3):
            for qubit in range(3):
                circuit.rz(0.4 + 0.5 * qubit - 0.3 * layer, qubit)
                circuit.sx(qubit)
            circuit.cx(layer % 2, layer % 2 + 1)
        circuit.measure_all()
        shots = 20_000
        results = [
            AerExecutor()
            .execute_sampler(
                [SamplerPub.coerce((circuit, [], shots))],
                {"simulator": {"seed_simulator": 4}, "twirling": options},
                "fake_quantum_sim",
            )[0]
            .data.meas.get_int_counts()
            for options in ({}, twirling)
        ]
        table = np.array([[counts.get(outcome, 0) for outcome in range(8)] for counts in results])
        # Once in 10,000 by chance.
        assert chi2_contingency(table).pvalue > 1e-4

    def test_it_makes_coherent_errors_random(self, mitigate: Run) -> None:
        # Each gate turns too far about Z. Eight times the angle adds up, but its square eight times over much less.
        angle = 0.2
        turn = Operator(np.diag(np.exp([-0.5j * angle, 0.5j * angle, -0.5j * angle, 0.5j * angle])))
        noise = NoiseModel()
        noise.add_quantum_error(coherent_unitary_error(turn), "cx", [1, 2])
        circuit = QuantumCircuit(5)
        circuit.rz(np.pi / 2, 1)
        circuit.sx(1)
        circuit.rz(np.pi / 2, 1)
        for _ in range(8):
            circuit.cx(1, 2)
            circuit.barrier()
        pub: list[tuple[Any, ...]] = [(circuit, "IIIXI", [], 0.01)]
        plain, twirled = (
            float(mitigate(pub, noise=noise, resilience_level=0, twirling=options)[0].data.evs)
            for options in ({}, {**ACTIVE, "num_randomizations": 400})
        )
        assert plain == pytest.approx(np.cos(8 * angle), abs=0.06)
        # Five standard errors of 400 randomizations, each of which is +-1 at most.
        assert twirled == pytest.approx(np.cos(angle) ** 8, abs=0.12)


class DetunedNoise(DeviceNoise):
    """Every waiting qubit turns about Z, in proportion to the time it waits."""

    def __init__(self, turns_per_dt: float) -> None:
        super().__init__()
        self._turn = 2 * np.pi * turns_per_dt

    def _cut(self, qubits: tuple[int, ...], uses: frozenset[Use] | None) -> NoiseModel:
        model = NoiseModel()
        model._custom_noise_passes.append(DelayNoisePass(self._relaxed, qubits))
        return model

    def _relaxed(self, duration: float, _unit: str, _qubit: int) -> QuantumError:
        half = 0.5j * self._turn * duration
        return coherent_unitary_error(np.diag(np.exp([-half, half])))


def ramsey(device: Device) -> QuantumCircuit:
    """A qubit on the equator that waits, and is turned back: it ends in 0 unless something turned it meanwhile."""
    circuit = QuantumCircuit(device.num_qubits, 1)
    circuit.rz(np.pi / 2, 0)
    circuit.sx(0)
    circuit.rz(np.pi / 2, 0)
    circuit.delay(16_000, 0, "dt")
    circuit.rz(np.pi / 2, 0)
    circuit.sx(0)
    circuit.rz(np.pi / 2, 0)
    circuit.measure(0, 0)
    return circuit


class TestDecoupling:
    @pytest.fixture
    def prepared(self) -> PreparedDevice:
        return PreparedDevice.of(SimulatedShots(AerExecutor()), Options(seeds=SeedPath((3,))), "fake_sherbrooke")

    @pytest.mark.parametrize("sequence", ["XX", "XpXm", "XY4"])
    def test_it_helps_a_waiting_qubit_that_is_detuned(self, prepared: PreparedDevice, sequence: str) -> None:
        # A third of a turn in 16,000 dt.
        detuned = replace(prepared, noise=DetunedNoise(1 / 48_000))
        plain, decoupled_ones = self._ones(detuned, sequence)
        assert plain == pytest.approx(np.sin(np.pi / 3) ** 2, abs=0.04)
        assert decoupled_ones < 0.01

    @pytest.mark.parametrize("sequence", ["XX", "XpXm", "XY4"])
    def test_it_changes_nothing_on_an_ideal_device(self, prepared: PreparedDevice, sequence: str) -> None:
        assert self._ones(replace(prepared, noise=None), sequence) == (0, 0)

    def test_relaxation_is_no_less_with_pulses_than_with_the_same_delays(self, prepared: PreparedDevice) -> None:
        # Pulses cannot undo what has no memory: the same decay of the coherence, and a little for the pulses.
        plain, decoupled_ones = self._ones(prepared, "XX")
        assert plain > 0.01
        assert decoupled_ones == pytest.approx(plain, abs=0.02)

    def _ones(self, prepared: PreparedDevice, sequence: str) -> tuple[float, float]:
        """Return how often 1 is read without and with pulses."""
        pulses = Decoupling(enable=True, sequence_type=sequence)
        circuits = (ramsey(prepared.device), decoupled(ramsey(prepared.device), prepared.device, pulses, "here"))
        shares = []
        for circuit in circuits:
            ((_, bits),) = prepared.sample(circuit, np.empty((1, 0)), 10_000, SeedPath())
            shares.append(float(bits.mean()))
        assert circuits[1].count_ops()["x"] >= len(sequence) // 2
        return shares[0], shares[1]
