"""Random observables of random circuits on all executors, without mitigation, against the exact reference."""

import math
from collections.abc import Callable, Iterator
from functools import cache

import numpy as np
import pytest
from numpy.typing import NDArray
from qiskit.circuit import Parameter, QuantumCircuit
from qiskit.circuit.library import RZGate, SXGate
from qiskit.primitives.containers.estimator_pub import EstimatorPub
from qiskit_ibm_runtime.fake_provider import FakeManilaV2
from scipy.stats import binom, chi2

from kit.faults.case_process import CaseProcess, Failed
from kit.quantum.case_runs import EXECUTORS, executor
from kit.quantum.exact_noise import Errors
from kit.quantum.exact_reference import measured_values
from kit.quantum.random_observables import Estimates, described, estimated

pytestmark = pytest.mark.slow

CASES = range(30)
# Aer alone and qsim take shots in other ways than aer does, of whatever circuit: test_random_circuits.py has both.
NAMES = [pytest.param(name, marks=pytest.mark.thorough) if name.endswith("-alone") else name for name in EXECUTORS]
REPETITIONS = 8
SECONDS = 60.0
FALSE_ALARM = 1e-4
"""How likely a test of all cases together would fail by chance, for seeds taken at random; they are fixed."""

EstimatesOf = Callable[[int, str], Estimates | Failed]


@pytest.fixture(scope="module")
def estimates_of() -> Iterator[EstimatesOf]:
    """Return a function that estimates the observable of a seed on an executor, once."""
    with CaseProcess(estimated, SECONDS) as process:
        yield cache(lambda seed, name: process.call(seed, name, REPETITIONS))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("seed", CASES)
def test_a_random_observable_is_near_its_exact_value(estimates_of: EstimatesOf, seed: int, name: str) -> None:
    found = estimates_of(seed, name)
    assert not isinstance(found, Failed), f"{found.reason}\n{described(seed)}"
    assert found.refused is None, f"{found.refused}\n{described(seed)}"
    if found.errors.min() < 1e-9:
        assert found.values == pytest.approx(found.exact, abs=1e-9), described(seed)
    else:
        # A mean of 8 pulls; 5 standard errors of it, and room for what is far from normal.
        assert abs(found.pulls.mean()) < 6 / math.sqrt(REPETITIONS), f"{found}\n{described(seed)}"
        assert np.abs(found.pulls).max() < 6, f"{found}\n{described(seed)}"


def spread(estimates_of: EstimatesOf, name: str) -> list[Estimates]:
    """Return the estimates of all cases that have a spread."""
    found = [estimates_of(seed, name) for seed in CASES]
    return [one for one in found if isinstance(one, Estimates) and not one.refused and one.errors.min() > 1e-9]


@pytest.mark.parametrize("name", NAMES)
def test_estimates_scatter_as_exact_variances_say(estimates_of: EstimatesOf, name: str) -> None:
    cases = [(one, one.exact_error) for one in spread(estimates_of, name) if one.exact_error is not None]
    pulls = np.concatenate([(one.values - one.exact) / exact_error for one, exact_error in cases])
    assert len(pulls) > 100
    assert abs(pulls.mean()) * math.sqrt(len(pulls)) < 4
    low, high = chi2.ppf([FALSE_ALARM / 2, 1 - FALSE_ALARM / 2], len(pulls))
    assert low < (pulls**2).sum() < high
    reported = np.concatenate([(one.errors / exact_error) ** 2 for one, exact_error in cases])
    assert reported.mean() == pytest.approx(1, abs=0.03)


@pytest.mark.parametrize("name", NAMES)
def test_reported_errors_cover(estimates_of: EstimatesOf, name: str) -> None:
    pulls = np.concatenate([one.pulls for one in spread(estimates_of, name)])
    for width, share in ((1, 0.6827), (2, 0.9545)):
        covered = int((np.abs(pulls) < width).sum())
        low, high = binom.ppf([FALSE_ALARM / 2, 1 - FALSE_ALARM / 2], len(pulls), share)
        assert low <= covered <= high, f"{covered} of {len(pulls)} within {width} standard errors"


def static() -> QuantumCircuit:
    circuit = QuantumCircuit(2)
    circuit.sx([0, 1])
    circuit.rz(Parameter("angle"), 0)
    circuit.sx(0)
    circuit.cx(0, 1)
    return circuit


def dynamic() -> QuantumCircuit:
    circuit = QuantumCircuit(2, 1)
    circuit.sx(0)
    circuit.rz(Parameter("angle"), 0)
    circuit.sx(0)
    circuit.measure(0, 0)
    with circuit.if_test((circuit.clbits[0], 1)):
        circuit.sx(1)
    circuit.sx(0)
    return circuit


TERMS = {"ZZ": 1.0, "IX": -0.5, "1I": 0.7, "Z0": 0.3}
"""Two bases: Z of both qubits, and X of the first."""


@pytest.mark.parametrize("name", NAMES)
def test_error_bars_cover_68_and_95_percent(name: str) -> None:
    pulls = pulls_of(static(), name, 2000)
    assert abs(pulls.mean()) * math.sqrt(len(pulls)) < 4
    assert 0.65 < (np.abs(pulls) < 1).mean() < 0.71
    assert 0.93 < (np.abs(pulls) < 2).mean() < 0.97


@pytest.mark.parametrize("name", NAMES)
def test_error_bars_of_dynamic_circuits_cover(name: str) -> None:
    pulls = pulls_of(dynamic(), name, 80)
    assert abs(pulls.mean()) * math.sqrt(len(pulls)) < 4
    low, high = binom.ppf([FALSE_ALARM / 2, 1 - FALSE_ALARM / 2], len(pulls), 0.6827)
    assert low <= (np.abs(pulls) < 1).sum() <= high


def pulls_of(circuit: QuantumCircuit, name: str, rows: int) -> NDArray[np.float64]:
    """Return by how many reported standard errors estimates on fake_manila are off, for `rows` repetitions."""
    wide = QuantumCircuit(5, circuit.num_clbits)
    wide.compose(circuit, [0, 1], range(circuit.num_clbits), inplace=True)
    terms = {"III" + label: c for label, c in TERMS.items()}
    errors = Errors.of_backend(FakeManilaV2(), [0, 1])
    rotations = {"X": (RZGate(math.pi / 2), SXGate()), "Y": (SXGate(),)}
    bound = wide.assign_parameters([0.7])
    exact = sum(measured_values(bound, {label: c}, errors, rotations)[0] for label, c in terms.items())
    evs, stds = estimates(wide, terms, np.full((rows, 1), 0.7), name)
    return (evs - exact) / stds


def estimates(
    circuit: QuantumCircuit, terms: dict[str, float], values: NDArray[np.float64], name: str
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    pub = EstimatorPub.coerce((circuit, terms, values, 1 / math.sqrt(1024)))
    options = {"resilience_level": 0, "simulator": {"seed_simulator": 11}}
    (result,) = executor(name).execute_estimator([pub], options, "fake_manila")
    return result.data.evs, result.data.stds
