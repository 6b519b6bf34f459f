"""Estimates spread as far as their errors say, whatever was done against noise.

Chances are binomial: how likely so few (or so many) repetitions within their errors would be if the share due were at
the lower (or upper) limit of `repeated_estimates.WITHIN`. 1,000 repetitions of each method are in
docs/reference/error-bars.md, made by `make error-bars`.
"""

from functools import cache
from typing import Any

import numpy as np
import pytest
from qiskit.circuit import QuantumCircuit
from qiskit.primitives import DataBin
from qiskit.primitives.containers.estimator_pub import EstimatorPub
from qiskit.primitives.containers.observables_array import ObservablesArrayLike
from qiskit_aer.noise import NoiseModel, pauli_error
from qiskit_mitigation.zne.extrapolation import _process_extrapolated_expectation_values

from kit.quantum.circuits import bell
from kit.quantum.pauli_noise import known_layer, misreading, pauli_device, symmetric
from kit.quantum.repeated_estimates import CASES, Coverage, fields, fitted, repeated
from qiskit_runtime_server.executors.aer import AerExecutor
from qiskit_runtime_server.programs.mitigation import error_bars, rewritten
from qiskit_runtime_server.programs.mitigation.error_bars import Calibration, Errors
from qiskit_runtime_server.programs.mitigation.extrapolation import Means, Model
from qiskit_runtime_server.programs.mitigation.measurement_twirling import flip_rates

CHANCE = 1e-3
"""Seeds are fixed, so a test that passes goes on to pass; a new seed may fail in one of 1,000 comparisons."""


def run(
    circuit: QuantumCircuit,
    observables: ObservablesArrayLike,
    *,
    count: int = 1,
    noise: NoiseModel | None = None,
    seed: int = 6,
    **options: Any,
) -> list[DataBin]:
    """Return the data of `count` equal pubs."""
    simulator = {"seed_simulator": seed, "noise_model": noise or NoiseModel()}
    pubs = [EstimatorPub.coerce((circuit, observables))] * count
    result = AerExecutor().execute_estimator(pubs, {**options, "simulator": simulator}, "fake_manila")
    return [pub.data for pub in result]


@cache
def estimated(name: str, count: int) -> list[DataBin]:
    fewer = {"twirling": {"strategy": "active", "num_randomizations": 64}} if name == "PEA" else {}
    return repeated(CASES[name], count, seed=11, **fewer)


@pytest.mark.slow
class TestCoverage:
    @pytest.mark.parametrize(
        ("name", "count"),
        [
            ("level 0", 200),
            ("TREX (level 1)", 200),
            ("gate twirling, TREX", 40),
            ("ZNE, gate_folding (level 2)", 24),
            ("PEA", 24),
            ("PEC", 30),
        ],
    )
    def test_errors_cover_whatever_is_done_against_noise(self, name: str, count: int) -> None:
        data = estimated(name, count)
        found = {field.what: field.coverage(data) for field in fields(CASES[name])}
        assert {what: cover.within for what, cover in found.items() if min(cover.chances()) < CHANCE} == {}

    def test_errors_of_an_extrapolated_value_do_not_follow_the_residuals_of_the_fit(self) -> None:
        data = estimated("ZNE, gate_folding (level 2)", 24)
        errors, residuals = (np.array([found[name][0] for found in data]) for name in ("stds", "fit_stds"))
        spread = np.std([found.evs[0] for found in data], ddof=1)
        assert residuals.min() < spread / 5
        assert errors.min() > spread / 2

    @pytest.mark.parametrize("name", ["linear", "exponential", "fallback", "polynomial_degree_2"])
    def test_each_extrapolator_moves_with_its_means_as_its_slopes_say(self, name: str) -> None:
        assert min(fitted(name, 200, seed=5).chances()) > CHANCE

    def test_two_exponentials_move_with_their_means_as_their_slopes_say(self) -> None:
        assert min(fitted("double_exponential", 40, seed=5).chances()) > CHANCE

    def test_a_term_that_is_zero_has_an_error_that_is_not_too_small(self) -> None:
        """An exponential through noise has no normal distribution: more than due are within one error."""
        few, _, few_of_two, _ = fitted("exponential", 200, seed=5, means=[0.0, 0.0, 0.0]).chances()
        assert min(few, few_of_two) > CHANCE

    @pytest.mark.parametrize(
        ("circuit", "observable"),
        [
            # Both terms are scaled by the calibration of qubit 0.
            (QuantumCircuit(5), {"IIIIZ": 1.0, "IIIZZ": 0.5}),
            # Two bases share it; in each other's shots nothing is known of them.
            (bell(), {"IIIZZ": 1.0, "IIIXX": -2.0, "IIIYY": 0.3}),
            # What the terms have in common cancels.
            (bell(), {"IIIIZ": 1.0, "IIIZI": -1.0}),
        ],
    )
    @pytest.mark.parametrize(("count", "options"), [(200, {}), (25, {"twirling": {"enable_gates": True}})])
    def test_terms_that_share_shots_or_a_calibration_are_correlated(
        self, circuit: QuantumCircuit, observable: dict[str, float], count: int, options: dict[str, Any]
    ) -> None:
        data = run(circuit, observable, count=count, noise=misreading(0.02, 0.05), **options)
        values, errors = (np.array([float(found[name]) for found in data]) for name in ("evs", "stds"))
        assert min(Coverage.of(values, errors).chances()) > CHANCE

    def test_values_close_to_their_limit_spread_as_their_errors_say_if_something_is_seen_of_them(self) -> None:
        # Of 4,096 shots, ten are flipped.
        noise = NoiseModel()
        noise.add_all_qubit_quantum_error(pauli_error([("X", 10 / 4096), ("I", 1 - 10 / 4096)]), "measure")
        data = run(QuantumCircuit(5), "IIIIZ", count=200, noise=noise, resilience_level=0)
        values, errors = (np.array([float(found[name]) for found in data]) for name in ("evs", "stds"))
        # Counts of ten have few values; their spread is known to 5 %.
        assert np.sqrt(np.mean(errors**2)) == pytest.approx(values.std(ddof=1), rel=0.2)


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> list[Errors]:
    """What is found of pubs whose circuits are rewritten."""
    found: list[Errors] = []

    def errors_of(*arguments: Any) -> Errors:
        found.append(error_bars.errors_of(*arguments))
        return found[-1]

    monkeypatch.setattr(rewritten, "errors_of", errors_of)
    return found


class TestValues:
    """The library's values, made once more of the means whose errors are taken: so they are the right means."""

    OBSERVABLES = (
        {"IIIZI": 0.7, "IIIIZ": -1.6, "IIIXX": 0.3, "IIIII": 2.0},
        {"IIZYI": 1.0, "IIIZZ": 1.0},
        {"IIIXI": 0.5},
    )

    @pytest.mark.parametrize(
        "name", ["gate twirling, TREX", "ZNE, gate_folding (level 2)", "ZNE, gate_folding_back", "PEA", "PEC"]
    )
    def test_they_are_those_of_the_library(self, seen: list[Errors], name: str) -> None:
        case = CASES[name]
        noise = pauli_device({(0, 1): symmetric({"XI": 0.04, "IZ": 0.02})}, misread=0.03)
        (data,) = run(bell(), list(self.OBSERVABLES), noise=noise, **{**case.options, "default_shots": 1024})
        (errors,) = seen
        np.testing.assert_allclose(errors.values[:, 0], data.evs, rtol=1e-6)
        if case.extrapolators:
            both = np.concatenate([data.evs_extrapolated.reshape(3, -1), data.evs_noise_factors], axis=1)
            usable = np.isfinite(both)
            np.testing.assert_allclose(errors.values[:, 1:][usable], both[usable], rtol=1e-6, atol=1e-9)

    def test_projectors_are_read_from_the_same_bits(self, seen: list[Errors]) -> None:
        observables = [{"IIII0": 1.0, "III1Z": 0.5}, {"IIIr+": 1.0}, {"III-l": 2.0}]
        options: dict[str, Any] = {"resilience_level": 0, "twirling": {"enable_gates": True}, "default_shots": 1024}
        (data,) = run(bell(), observables, noise=misreading(0.02, 0.05), **options)
        np.testing.assert_allclose(seen[0].values[:, 0], data.evs)
        assert (data.stds > 0).all()

    @pytest.mark.parametrize("name", ["linear", "exponential", "fallback", "polynomial_degree_3", "double_exponential"])
    def test_extrapolators_are_those_of_the_library(self, name: str) -> None:
        """Also holds the one function of the library without a public name that values are compared with."""
        factors, points = [1, 1.5, 2, 3, 4], [0.0, 1.0, 2.5]
        rng = np.random.default_rng(1)
        for _ in range(3):
            drawn = 0.6 * np.exp(-0.05 * np.array(factors)) + 0.3 * np.exp(-0.9 * np.array(factors))
            drawn += rng.normal(0, 0.005, 5)
            spreads = np.sqrt(1 - drawn**2)
            _, _, _, values, _ = _process_extrapolated_expectation_values(drawn, spreads, "Z", factors, [name], points)
            means = Means(values=drawn, squares=np.ones(5), errors=0.01 * spreads)
            found, slopes = Model(factors=factors, extrapolators=[name], points=points).estimates("Z", means, name)
            np.testing.assert_allclose(found[1:4], values[0], rtol=1e-6)
            for place in range(5):
                moved = [means.moved(place, way) for way in (1.0, -1.0)]
                above, below = (
                    _process_extrapolated_expectation_values(
                        case.values, case.deviations(), "Z", factors, [name], points
                    )[3][0]
                    for case in moved
                )
                secant = (above - below) / (2 * means.errors[place])
                if name != "double_exponential":  # whose fits end here and there
                    np.testing.assert_allclose(slopes[place, 1:4], secant, rtol=1e-3, atol=1e-3)


class TestLimits:
    @pytest.mark.parametrize("options", [{"resilience_level": 1}, {"resilience_level": 2}])
    def test_what_has_no_error_has_none(self, options: dict[str, Any]) -> None:
        observables = [{"IIIII": 3.0}, {"IIIZZ": 1.0, "IIIII": -1.0}, {"IIIXX": 1.0, "IIIYY": 1.0}]
        (data,) = run(bell(), observables, **options)
        np.testing.assert_allclose(data.evs, [3, 0, 0], atol=1e-9)
        np.testing.assert_allclose(data.stds, 0, atol=1e-9)

    def test_a_term_without_errors_leaves_those_of_the_others(self) -> None:
        both = [{"IIIIX": 1.0}, {"IIIIX": 1.0, "IIIZZ": 1.0}]
        options: dict[str, Any] = {"resilience_level": 2, "resilience": {"zne": {"extrapolator": "linear"}}}
        (data,) = run(bell(), both, **options)
        assert data.stds[0] == pytest.approx(data.stds[1])
        # Of a line through 1, 3 and 5, weights 13, 4 and -5 over 12.
        assert data.stds[0] == pytest.approx(np.sqrt(13**2 + 4**2 + 5**2) / 12 / 64, rel=0.25)

    @pytest.mark.parametrize("gates", [False, True])
    def test_of_a_single_randomization_the_shots_are_compared(self, *, gates: bool) -> None:
        twirling = {"enable_gates": gates, "num_randomizations": 1, "shots_per_randomization": 1000}
        options: dict[str, Any] = {"twirling": twirling, "resilience": {"measure_mitigation": False}}
        (data,) = run(bell(), [{"IIIIZ": 1.0, "IIIXX": 0.5}], noise=misreading(0.05, 0.05), **options)
        np.testing.assert_allclose(data.stds, data.ensemble_standard_error)
        np.testing.assert_allclose(data.twirl_stds, data.stds)
        # Two independent bases; of XX, 0.81 is left.
        wanted = np.sqrt(1 + 0.25 * (1 - 0.81**2)) / np.sqrt(1000)
        assert data.stds[0] == pytest.approx(wanted, rel=0.05)

    def test_large_pubs_are_looked_at_in_parts(self, monkeypatch: pytest.MonkeyPatch) -> None:
        case = CASES["ZNE, gate_folding (level 2)"]
        (whole,) = repeated(case, 1, seed=1, default_shots=640)
        for shots in (100, 7):
            monkeypatch.setattr(error_bars, "BLOCK_SHOTS", shots)
            (parts,) = repeated(case, 1, seed=1, default_shots=640)
            for name in ("stds", "stds_extrapolated", "stds_noise_factors", "ensemble_stds_noise_factors"):
                np.testing.assert_allclose(parts[name], whole[name])

    def test_what_cannot_be_fitted_has_no_finite_error(self) -> None:
        # Means that the library's exponential runs away from.
        means = Means(values=np.array([0.003, -0.003, 0.013]), squares=np.ones(3), errors=np.full(3, 0.02))
        model = Model(factors=[1, 3, 5], extrapolators=["exponential", "linear"], points=[0.0])
        values, slopes = model.estimates("Z", means, "linear")
        assert np.isnan(values[1])
        assert np.isnan(slopes[:, 1]).all()
        assert np.isfinite(values[[0, 2]]).all()
        assert np.isfinite(slopes[:, [0, 2]]).all()

    def test_errors_as_ibm_defines_them_keep_names_of_their_own(self) -> None:
        (trex,) = run(bell(), "IIIZZ", noise=misreading(0.02, 0.05), resilience_level=1)
        assert trex.twirl_stds < trex.stds
        known = {"layer_noise_model": [known_layer((0, 1), {"XI": 0.01})]}
        (pec,) = run(bell(), "IIIIX", resilience={**known, "pec_mitigation": True})
        assert pec.twirl_stds <= pec.stds
        (zne,) = run(bell(), "IIIIX", resilience_level=2)
        assert zne.fit_stds.shape == ()
        assert zne.fit_stds_extrapolated.shape == zne.stds_extrapolated.shape
        (plain,) = run(bell(), "IIIIX", resilience_level=0)
        assert "twirl_stds" not in plain

    def test_a_fit_through_all_points_says_nothing_of_its_error_and_stds_does(self) -> None:
        zne = {"noise_factors": [1, 3], "extrapolator": "exponential"}
        (found,) = run(bell(), "IIIZZ", noise=misreading(0.02, 0.05), resilience_level=2, resilience={"zne": zne})
        assert np.isinf(found.fit_stds)
        assert 0 < found.stds < 1


class TestCalibration:
    def test_variances_of_flip_rates_are_those_of_repeated_calibrations(self) -> None:
        matrix = np.array([[0.98, 0.02], [0.08, 0.92]])
        found = np.array([flip_rates({0: matrix}, [0, 1], 32, 128, seed) for seed in range(600)])
        rates, variances = found[:, 0, 0], found[:, 1, 0]
        assert rates.mean() == pytest.approx(0.05, abs=5 * rates.std() / np.sqrt(600))
        # Half of the difference at each flip, and the shots; both sides are known to 6 %.
        wanted = (0.03**2 + (0.02 * 0.98 + 0.08 * 0.92) / 2 / 128) / 32
        assert rates.var() == pytest.approx(wanted, rel=0.25)
        assert variances.mean() == pytest.approx(wanted, rel=0.05)
        assert (found[:, :, 1] == 0).all()

    def test_a_single_randomization_has_the_variance_of_its_shots(self) -> None:
        matrix = np.array([[0.9, 0.1], [0.1, 0.9]])
        (rate,), (variance,) = flip_rates({0: matrix}, [0], 1, 5000, 3)
        assert variance == pytest.approx(0.09 / 5000, rel=0.1)
        misread = np.random.default_rng(1).random((1, 5000, 2)) < 0.1
        covariance = Calibration.of(misread).covariance
        assert np.diag(covariance) == pytest.approx(0.09 / 5000, rel=0.1)
        assert rate == pytest.approx(0.1, abs=0.02)

    def test_bits_that_are_misread_together_are_correlated(self) -> None:
        rng = np.random.default_rng(2)
        one = rng.random((64, 100, 1)) < 0.1
        covariance = Calibration.of(np.concatenate([one, one], axis=2)).covariance
        np.testing.assert_allclose(covariance, covariance[0, 0])
        calibration = Calibration.of(one)
        # A term that acts on the qubit, of value 0.7 after it was scaled: f = 1 / (1 - 2p) has df/f = 2f dp.
        wanted = (0.7 * 2 / (1 - 2 * one.mean())) ** 2 * covariance[0, 0]
        np.testing.assert_allclose(calibration.variances(np.array([[0.7]])), wanted)
