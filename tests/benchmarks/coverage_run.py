"""Repeats estimates with other seeds, and writes how many are within their errors to docs/reference/error-bars.md.

`--count` says how many repetitions there are, `--processes` how many run at once; `--only` runs some methods and leaves
the rows of the others as they are.
"""

import argparse
import math
import warnings
from concurrent.futures import ProcessPoolExecutor
from importlib.metadata import version
from pathlib import Path

from qiskit.primitives import DataBin

from kit.quantum.repeated_estimates import CASES, FITS, WITHIN, Coverage, fields, fitted, repeated

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "error-bars.md"
PUBS = 50
"""Of one job."""
ALONE = "extrapolators alone"


HEAD = """\
# How well error bars cover

Made by `make error-bars`. Each estimate is repeated with other seeds. Shown are the standard deviation of the values,
the median of the errors that the result gives for them, and how many values are within one and two of their own errors
of the mean of all. {due}; a share of 1,000 repetitions is itself uncertain by 1.5 and 0.7 percentage points.

Two qubits of `fake_manila` with four `cx`, 4,096 shots; for PEA and PEC a known Pauli Lindblad channel after each `cx`
and 3 % of bits misread. Z is one term; four terms are 0.7 ZI - 1.6 IZ + 0.4 ZZ + 0.3 YY, of which three are read from
the same shots. Each repetition has a calibration of its own. `extrapolators alone` are fits to means of binomial shots
of the sum of two decays (4,096 shots; 250,000 for double_exponential and polynomials from degree 3 on).

{packages}.

| method | estimate | repetitions | spread | median error | within 1 | within 2 |
|---|---|---|---|---|---|---|
"""


def part(name: str, seed: int) -> list[DataBin]:
    warnings.simplefilter("ignore")
    return repeated(CASES[name], PUBS, seed=seed)


def alone(name: str, count: int) -> Coverage:
    warnings.simplefilter("ignore")
    return fitted(name, count, seed=1)


def row(method: str, what: str, found: Coverage) -> str:
    shares = [f"{100 * within / found.count:.1f} %" for within in found.within]
    return (
        f"| {method} | {what} | {found.count:,} | {found.spread:.4f} | {found.error:.4f} | {shares[0]} | {shares[1]} |"
    )


def page(rows: list[str]) -> str:
    (low, high), (low_2, high_2) = WITHIN
    packages = ", ".join(
        f"{name} {version(name)}" for name in ("qiskit-aer", "qiskit-ibm-runtime", "qiskit-mitigation")
    )
    due = f"Due are {low:.0%} to {high:.0%} and {low_2:.0%} to {high_2:.0%}"
    return HEAD.format(due=due, packages=packages) + "\n".join(rows) + "\n"


def rows_of(text: str) -> dict[str, list[str]]:
    """Return the rows of a page by their methods."""
    found: dict[str, list[str]] = {}
    for line in text.splitlines():
        method = line.split("|")[1].strip() if line.startswith("| ") else "method"
        if method != "method":
            found.setdefault(method, []).append(line)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--only", nargs="*", choices=[*CASES, ALONE], default=[*CASES, ALONE])
    options = parser.parse_args()
    rows = rows_of(PAGE.read_text()) if PAGE.exists() else {}
    with ProcessPoolExecutor(options.processes) as pool:
        waiting = {
            name: [pool.submit(part, name, seed) for seed in range(math.ceil(options.count / PUBS))]
            for name in options.only
            if name != ALONE
        }
        fits = {name: pool.submit(alone, name, options.count) for name in FITS if ALONE in options.only}
        for name, parts in waiting.items():
            data = [bins for done in parts for bins in done.result()]
            rows[name] = [row(name, field.what, field.coverage(data)) for field in fields(CASES[name])]
            report(rows, name)
        if fits:
            rows[ALONE] = [row(ALONE, name, fit.result()) for name, fit in fits.items()]
            report(rows, ALONE)


def report(rows: dict[str, list[str]], name: str) -> None:
    """Print the rows of a method, and write the page with what there is."""
    print(*rows[name], sep="\n", flush=True)
    PAGE.write_text(page([line for method in (*CASES, ALONE) for line in rows.get(method, ())]))


if __name__ == "__main__":
    main()
