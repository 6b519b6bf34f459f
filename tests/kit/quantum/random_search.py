"""Runs random circuits on all executors until it is stopped, and tells of each that is wrong.

The one argument is the first seed. Each failure is printed with its seed and with the smallest circuit that still fails
in the same way.
"""

import itertools
import sys
import warnings

from scipy.stats import kstest

from kit.faults.case_process import CaseProcess, Failed
from kit.quantum.case_runs import EXECUTORS, Report, sampled
from kit.quantum.circuit_shrinking import Path, shrunk, smaller
from kit.quantum.random_circuits import random_case

_SHOTS = 4000
_SECONDS = 60.0
_TOLD_EVERY = 100


def failure(report: Report | Failed) -> str | None:
    """Return what kind of failure a report tells of, None if the case is right or refused."""
    if isinstance(report, Failed):
        last = report.reason.strip().splitlines()[-1]
        return last[:80]
    return None if report.wrong is None else "wrong"


def search(first: int) -> None:
    """Try all seeds from `first` on."""
    # Of each executor alone: where two interpret a circuit, they give the same bits.
    p_values: dict[str, list[float]] = {name: [] for name in EXECUTORS}
    refused = 0
    with CaseProcess(sampled, _SECONDS) as process:
        for seed in itertools.count(first):
            for name in EXECUTORS:
                report = process.call(seed, name, _SHOTS)
                kind = failure(report)
                if kind is not None:
                    # Making it small takes a minute where every attempt costs a process.
                    print(f"\n=== seed {seed} on {name}: {kind}", flush=True)
                    print(_smallest(process, seed, name, kind), flush=True)
                elif report.refused:
                    refused += 1
                    print(f"seed {seed} on {name}, refused: {report.refused}", flush=True)
                else:
                    p_values[name] += report.p_values
            if seed % _TOLD_EVERY == 0 and all(p_values.values()):
                uniform = {name: f"{kstest(found, 'uniform').pvalue:.3g}" for name, found in p_values.items()}
                numbers = sum(map(len, p_values.values()))
                print(f"seed {seed}: {numbers} p-values, uniform with p = {uniform}; {refused} refused", flush=True)


def _smallest(process: CaseProcess, seed: int, name: str, kind: str) -> str:
    def fails(removed: list[Path]) -> bool:
        return failure(process.call(seed, name, _SHOTS, removed)) == kind

    case = random_case(seed)
    removed = shrunk(case, fails)
    for path in removed:
        case = smaller(case, path)
    report = process.call(seed, name, _SHOTS, removed)
    said = report.reason if isinstance(report, Failed) else report.wrong
    return f"{case.described()}\nwithout {removed}\n{said}"


if __name__ == "__main__":
    # A device says that its figures are not typical.
    warnings.simplefilter("ignore", UserWarning)
    search(int(sys.argv[1]) if len(sys.argv) > 1 else 0)
