"""Random circuits on all executors against the exact reference.

`PYTHONPATH=tests python -m kit.quantum.random_search SEED` goes on from there without end.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from functools import cache

import pytest
from qiskit.circuit import QuantumCircuit
from scipy.stats import kstest

from kit.faults.case_process import CaseProcess, Failed
from kit.quantum.case_runs import EXECUTORS, Report, sampled
from kit.quantum.random_circuits import Feature, NoiseKind, random_case

pytestmark = pytest.mark.slow

CASES = range(100)
SHOTS = 3000
SECONDS = 30.0
"""For one case on one executor, the first one's imports included."""

ReportOf = Callable[[int, str], Report | Failed]


@pytest.fixture(scope="module")
def report_of() -> Iterator[ReportOf]:
    """Return a function that runs a case on an executor, once."""
    with CaseProcess(sampled, SECONDS) as process:
        yield cache(lambda seed, name: process.call(seed, name, SHOTS))


@pytest.mark.parametrize("name", EXECUTORS)
@pytest.mark.parametrize("seed", CASES)
def test_a_random_circuit_has_its_exact_distribution(report_of: ReportOf, seed: int, name: str) -> None:
    report = report_of(seed, name)
    assert not isinstance(report, Failed), f"{report.reason}\n{random_case(seed).described()}"
    assert report.wrong is None, f"{report.wrong}\n{random_case(seed).described()}"
    assert report.refused is None, f"{report.refused}\n{random_case(seed).described()}"


@pytest.mark.parametrize("name", EXECUTORS)
def test_p_values_are_uniform(report_of: ReportOf, name: str) -> None:
    """Those of one executor at a time: where two interpret a circuit, they give the same bits."""
    reports = [report_of(seed, name) for seed in CASES]
    p_values = [value for report in reports if isinstance(report, Report) for value in report.p_values]
    assert len(p_values) > 75
    assert kstest(p_values, "uniform").pvalue > 1e-4


def instructions(circuit: QuantumCircuit) -> Counter[str]:
    """Count names, and `label` for each instruction with one, in all blocks."""
    found: Counter[str] = Counter()
    for instruction in circuit.data:
        found[instruction.name] += 1
        found["label"] += instruction.operation.label is not None
        for block in getattr(instruction.operation, "blocks", ()):
            found += instructions(block)
    return found


def test_the_cases_have_everything_often_enough() -> None:
    cases = [random_case(seed) for seed in CASES]
    within = Counter(name for case in cases for name in instructions(case.circuit))
    named = {"delay", "reset", "if_else", "switch_case", "while_loop", "for_loop", "break_loop", "continue_loop", "box"}
    assert {name: within[name] for name in (*named, "store", "label", "barrier") if within[name] < 5} == {}
    features = Counter(feature for case in cases for feature in case.features)
    assert {feature: features[feature] for feature in Feature if features[feature] < 5} == {}
    kinds = Counter(case.kind for case in cases)
    assert {kind: kinds[kind] for kind in NoiseKind if kinds[kind] < 10} == {}
    assert len({case.device for case in cases}) == 8
    assert {len(case.qubits) for case in cases} == {1, 2, 3, 4, 5, 6}


def test_a_seed_fixes_its_case() -> None:
    one, other = random_case(7), random_case(7)
    assert one.described().split("store")[0] == other.described().split("store")[0]
    assert (one.values == other.values).all()
