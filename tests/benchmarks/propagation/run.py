"""Follows an observable with this server's Pauli propagation and with other packages; `make propagation` runs it.

Each package runs in a process of its own, with one thread, from the largest cut to the smallest, as far as it comes
within its time. The page is docs/reference/propagation.md.
"""

import json
import math
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Final

from qiskit_ibm_runtime.fake_provider import FakeProviderForBackendV2

from benchmarks.propagation.packages import MOST_TERMS, PACKAGES, TOO_MANY_TERMS
from benchmarks.table import machine
from benchmarks.wide import DEVICE, MAGNETIZED, couplers
from kit import environment

ROOT: Final = Path(__file__).parents[3]
PAGE: Final = ROOT / "docs" / "reference" / "propagation.md"
PYTHON: Final = ROOT / ".venv-propagation" / "bin" / "python"
POINTS: Final = ((0.3, 5), (0.3, 20), (0.8, 5))
CUTS: Final = (1e-3, 1e-4, 1e-5, 1e-6)
ERROR: Final = 0.01
LIMIT_SECONDS: Final = 25
"""Of a package at a point."""

_TIMED_OUT: Final = 124
"""The exit code of timeout."""

HEAD = """# Pauli propagation beside other packages

Made by `make propagation` on {machine}; {packages}; one thread.

The [kicked Ising circuits of 127 qubits](https://doi.org/10.1038/s41586-023-06096-3), with the couplers of {device},
and after each rzz a depolarising error that takes {error:.0%} off. All packages follow <Z> of qubit {qubit} to the
circuit's start, and leave out terms whose coefficients are below a cut. Seconds are those from the circuit in the
package's own form to the value, once. *Off by* is the distance from the value of the row that has none: of those with
the smallest cut that came within {limit} s for all cuts of a package, the first. Terms are those that are left in the
end; this server and pauli-prop are allowed {most:,}. This server joins gates of one qubit with those of two, so it cuts
less often than the others, and other terms. Reading the circuit is part of the time: of pauli-prop's, most of it in the
small cases.

| theta | steps | package | cut | s | terms | value | off by |
|---|---|---|---|---|---|---|---|
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What a package has found with a cut."""

    package: str
    cut: float
    seconds: float
    value: float
    terms: int


def found_by(package: str, gates: list[tuple[str, list[int], float]], qubits: int) -> Iterator[Found]:
    """Yield what a package finds within its time."""
    request = {
        "package": package,
        "qubits": qubits,
        "gates": gates,
        "error": ERROR,
        "observable": [MAGNETIZED],
        "cuts": CUTS,
    }
    own = package == "this server"
    variables = environment(ROOT / "server") if own else {**os.environ, "PYTHONPATH": ""}
    command = [
        "timeout",
        str(LIMIT_SECONDS),
        sys.executable if own else PYTHON,
        Path(__file__).with_name("packages.py"),
    ]
    done = subprocess.run(
        command,
        input=json.dumps(request),
        stdout=subprocess.PIPE,
        text=True,
        env={**variables, "OMP_NUM_THREADS": "1", "RAYON_NUM_THREADS": "1"},
        check=False,
    )
    if done.returncode not in {0, _TIMED_OUT, TOO_MANY_TERMS}:
        raise RuntimeError(f"{package} ended with {done.returncode}")
    for line in done.stdout.splitlines():
        cut, seconds, value, terms = json.loads(line)
        yield Found(package=package, cut=cut, seconds=seconds, value=value, terms=terms)


def rows(theta: float, steps: int) -> Iterator[str]:
    """Yield the rows of a point."""
    backend = FakeProviderForBackendV2().backend(DEVICE)
    gates: list[tuple[str, list[int], float]] = []
    for _ in range(steps):
        gates += [("rx", [qubit], theta) for qubit in range(backend.num_qubits)]
        gates += [("rzz", list(pair), -math.pi / 2) for pair in couplers(backend)]
    results = [each for package in PACKAGES for each in found_by(package, gates, backend.num_qubits)]
    reference = min(results, key=lambda each: each.cut)
    for each in results:
        off = "" if each is reference else f"{abs(each.value - reference.value):.1e}"
        yield (
            f"| {theta} | {steps} | {each.package} | {each.cut:.0e} | {each.seconds:.3g} | {each.terms:,} |"
            f" {each.value:.6f} | {off} |"
        )


def main() -> None:
    """Measure, and write the page."""
    listed = subprocess.run(
        [PYTHON, "-c", "from importlib.metadata import version as v; print(v('pauli-prop'), v('bloqade-ppvm'))"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    text = HEAD.format(
        machine=machine(),
        packages=f"NumPy {version('numpy')}, pauli-prop {listed[0]}, bloqade-ppvm {listed[1]}",
        device=DEVICE,
        error=ERROR,
        qubit=MAGNETIZED,
        limit=LIMIT_SECONDS,
        most=MOST_TERMS,
    )
    for theta, steps in POINTS:
        for row in rows(theta, steps):
            text += f"{row}\n"
            print(row, flush=True)
    PAGE.write_text(text)


if __name__ == "__main__":
    main()
