"""What finds wrong distributions, crashes and endless loops: it must find them."""

import signal

import numpy as np
import pytest
from qiskit import QuantumCircuit
from scipy.stats import kstest

from kit.faults.case_process import CaseProcess, Failed
from kit.faults.faulty_calls import faulty
from kit.quantum.circuit_shrinking import paths, shrunk, smaller
from kit.quantum.goodness_of_fit import impossible, p_value, too_often
from kit.quantum.random_circuits import random_case


def test_a_process_survives_crashes_errors_and_endless_loops() -> None:
    with CaseProcess(faulty, 1.0) as process:
        assert process.call("right") == "right"
        found = {kind: process.call(kind) for kind in ("hang", "abort", "raise")}
        assert all(isinstance(failed, Failed) for failed in found.values())
        assert "no result after 1.0 s" in found["hang"].reason
        assert f"code {-signal.SIGABRT}" in found["abort"].reason
        assert "ValueError: a mistake" in found["raise"].reason
        assert process.call("right") == "right"


def test_p_values_of_true_samples_are_uniform() -> None:
    rng = np.random.default_rng(3)
    found = []
    for _ in range(600):
        chances = rng.dirichlet(np.full(int(rng.integers(2, 20)), 0.7))
        exact = dict(enumerate(chances.tolist()))
        value = p_value(dict(enumerate(rng.multinomial(3000, chances).tolist())), exact)
        if value is not None:
            found.append(value)
    assert len(found) > 500
    assert kstest(found, "uniform").pvalue > 1e-3


@pytest.mark.parametrize(
    ("counts", "exact"),
    [({0: 1700, 1: 1300}, {0: 0.5, 1: 0.5}), ({0: 2880, 1: 60, 2: 60}, {0: 0.92, 1: 0.04, 2: 0.04})],
    ids=["two", "three"],
)
def test_wrong_samples_have_tiny_p_values(counts: dict[int, int], exact: dict[int, float]) -> None:
    value = p_value(counts, exact)
    assert value is not None
    assert value < 1e-6


def test_a_rare_outcome_that_comes_too_often_is_told() -> None:
    exact = {0: 1 - 1.1e-4, 1: 1e-4, 2: 1e-5}
    assert p_value({0: 2990, 1: 10}, exact) is None
    assert too_often({0: 2990, 1: 10}, exact) < 1e-6
    assert too_often({0: 2996, 2: 4}, exact) < 1e-4
    assert too_often({0: 2999, 1: 1}, exact) > 0.1


def test_outcomes_that_cannot_be_are_told() -> None:
    assert impossible({0: 5, 3: 1}, {0: 1.0, 3: 1e-17}) == {3: 1}
    assert impossible({0: 5}, {0: 1.0}) == {}


def test_a_case_is_made_as_small_as_it_fails() -> None:
    case = next(case for case in map(random_case, range(100)) if "while_loop" in case.circuit.count_ops())
    without: list[QuantumCircuit] = []

    def fails(removed: list[tuple[int, ...]]) -> bool:
        smallest = case
        for path in removed:
            smallest = smaller(smallest, path)
        without.append(smallest.circuit)
        return "while_loop" in smallest.circuit.count_ops()

    removed = shrunk(case, fails)
    for path in removed:
        case = smaller(case, path)
    assert [path for path in paths(case.circuit) if len(path) == 1] == [(0,)]
    assert case.circuit.data[0].name == "while_loop"
    assert len(case.values[0]) == len(case.circuit.parameters) == 0
