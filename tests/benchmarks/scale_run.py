"""Measures and computes what is reached at scale, prints it, and writes docs/reference/scale.md.

`--jobs` and `--accounts` say how long the queue is; `--only` runs some of the subjects and leaves the sections of the
others as they are; `--quick` takes small sizes and writes nothing.
"""

import argparse
import os
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from rich.console import Console

from benchmarks.scale_day import day_rows
from benchmarks.scale_endpoints import endpoint_rows
from benchmarks.scale_operator import operator_rows
from benchmarks.stores import queue_rows
from benchmarks.table import Row, machine

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "scale.md"
TITLES = {
    "stores": "A long queue in PostgreSQL",
    "endpoints": "Executor endpoints and apis",
    "operator": "Many RuntimeServers",
    "day": "A day of a class",
}
Rows = Callable[..., Iterator[Row]]


def subjects(jobs: int, accounts: int) -> dict[str, Rows]:
    """Return what makes the rows of each section."""
    return {
        "stores": partial(queue_rows, size=jobs, owners=accounts),
        "endpoints": endpoint_rows,
        "operator": operator_rows,
        "day": day_rows,
    }


def page(results: dict[str, list[Row]], before: str) -> str:
    """Return the page with new sections for `results`; those of other subjects stay as they were `before`."""
    kept = dict(section.split("\n", 1) for section in before.split("\n## ")[1:])
    new = {TITLES[subject]: section(rows) for subject, rows in results.items()}
    bodies = [(title, {**kept, **new}.get(title)) for title in TITLES.values()]
    head = [
        "# Scale",
        "",
        "Made by `make bench-scale`. Each figure is measured on the machine that its section names, or computed: by",
        "the code of the operator on a simulated clock, or by arithmetic from measured figures, as the row says.",
        "[What limits first](../explanation/scale.md) draws the conclusions.",
    ]
    return "\n".join([*head, *(f"\n## {title}\n{body.rstrip()}" for title, body in bodies if body)]) + "\n"


def section(rows: list[Row]) -> str:
    lines = [f"| {row.what} | {row.ours} | {row.peer} |" for row in rows]
    where = f"Machine: {machine()}. {beside()}"
    return "\n".join(["", where, "", "| what | found | how |", "|---|---|---|", *lines])


def beside() -> str:
    """Return a sentence about what else the machine was doing."""
    busy, cores = os.getloadavg()[2], os.cpu_count() or 1
    others = "Other work ran beside it" if busy > 2 * cores else "Little else ran beside it"
    return f"{others}: {busy:.1f} processes wanted to run over the last quarter of an hour, this one's among them."


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=1_000_000)
    parser.add_argument("--accounts", type=int, default=10_000)
    parser.add_argument("--only", nargs="*", choices=TITLES, default=list(TITLES))
    parser.add_argument("--quick", action="store_true")
    options = parser.parse_args()
    console = Console(width=180, highlight=False)
    makers = subjects(options.jobs, options.accounts)
    for subject in options.only:
        rows = []
        for row in makers[subject](quick=options.quick):
            rows.append(row)
            console.print(f"{row.what}: {row.ours} ({row.peer})", markup=False)
        # After each, so that one that fails does not take those before it along.
        if not options.quick:
            PAGE.write_text(page({subject: rows}, PAGE.read_text() if PAGE.exists() else ""))


if __name__ == "__main__":
    main()
