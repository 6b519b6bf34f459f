"""Runs the storm at full size, prints what happened and writes it to docs/reference/chaos.md."""

import argparse
import os
import sys
import tempfile
import warnings
from pathlib import Path

from kit.faults.chaos import FULL, LONG_SECONDS, TENTH, Report, Size, endure
from kit.faults.storm import FAULT_SECONDS, KILL_SECONDS

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "chaos.md"


INTRODUCTION = """# Chaos

Made by `make chaos`, on {cores} cores: two apis behind a proxy, PostgreSQL, two executor services with one slot each,
and threads of the real client that send {size.short:,} short jobs (more, until there have been {size.faults} faults)
and {size.long} of {seconds} s, every second of them to `@auto`. A fault strikes every {fault:g} s;
an executor or a worker is killed every {kill:g} s.
Every acknowledged job must have one end, Completed,
and the correct result; no fence may fall, and no worker be left without an executor. One thing the storm spares:
a job's worker is not killed a third time, as a job whose worker died three times fails by design.
[guarantees.md](../explanation/guarantees.md) says what that means for users.

| what | figure |
|---|---|
"""


def page(report: Report, size: Size) -> str:
    introduction = INTRODUCTION.format(
        cores=os.cpu_count(), size=size, seconds=LONG_SECONDS, fault=FAULT_SECONDS, kill=KILL_SECONDS
    )
    lines = []
    for name, figure in report.figures.items():
        shown = ", ".join(f"{key}: {count}" for key, count in figure.items()) if isinstance(figure, dict) else figure
        lines.append(f"| {name} | {shown} |")
    lines += ["", *([f"- {problem}" for problem in report.problems] or ["All of that held."])]
    return introduction + "\n".join(lines) + "\n"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tenth", action="store_true", help="a tenth of the size, and nothing is written")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    size = TENTH if options.tenth else FULL
    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory() as folder:
        report = endure(size, Path(folder), seed=options.seed)
    print(page(report, size))
    if not options.tenth:
        PAGE.write_text(page(report, size))
    return len(report.problems)


if __name__ == "__main__":
    sys.exit(main())
