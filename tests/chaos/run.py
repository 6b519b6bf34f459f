"""Runs the storm at full size, prints what happened and writes it to docs/reference/chaos.md."""

import argparse
import sys
import tempfile
import warnings
from pathlib import Path

from storm import FAULT_SECONDS, KILL_SECONDS

from chaos import FULL, LONG_SECONDS, TENTH, Report, endure

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "chaos.md"


INTRODUCTION = f"""# Chaos

Made by `make chaos`: two apis behind a proxy, PostgreSQL, two executor services with one slot each, and threads of the
real client that send {FULL.short:,} short jobs and {FULL.long} of {LONG_SECONDS} s. A fault strikes every
{FAULT_SECONDS:g} s; an executor or a worker is killed every {KILL_SECONDS:g} s. Every acknowledged job must have one
end, Completed, and the correct result; no fence may fall, and no worker be left without an executor.
[guarantees.md](../explanation/guarantees.md) says what that means for users.

| what | figure |
|---|---|
"""


def page(report: Report) -> str:
    lines = []
    for name, figure in report.figures.items():
        shown = ", ".join(f"{key}: {count}" for key, count in figure.items()) if isinstance(figure, dict) else figure
        lines.append(f"| {name} | {shown} |")
    lines += ["", *([f"- {problem}" for problem in report.problems] or ["All of that held."])]
    return INTRODUCTION + "\n".join(lines) + "\n"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tenth", action="store_true", help="a tenth of the size, and nothing is written")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory() as folder:
        report = endure(TENTH if options.tenth else FULL, Path(folder), seed=options.seed)
    print(page(report))
    if not options.tenth:
        PAGE.write_text(page(report))
    return len(report.problems)


if __name__ == "__main__":
    sys.exit(main())
