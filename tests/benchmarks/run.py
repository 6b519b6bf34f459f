"""Measures the server, prints a table and writes it to docs/reference/benchmarks.md.

The peer is the same client's local testing mode on the same fake device, in this process. Times are medians, with the
range in brackets. `--quick` takes fewer samples and writes nothing; `--only` runs some of the subjects and leaves the
sections of the others as they are.
"""

import argparse
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks.clients import client_rows
from benchmarks.clusters import cluster_rows
from benchmarks.programs import program_rows
from benchmarks.stores import store_rows
from benchmarks.table import Row, machine
from benchmarks.traces import trace_rows
from benchmarks.wide import wide_rows

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "benchmarks.md"
SUBJECTS: dict[str, tuple[str, Callable[..., Iterator[Row]]]] = {
    "clients": ("What a user sees", client_rows),
    "programs": ("Twirling and mitigation", program_rows),
    "wide": ("Circuits of 127 qubits", wide_rows),
    "clusters": ("Apis, PostgreSQL and executor services", cluster_rows),
    "traces": ("Traces", trace_rows),
    "stores": ("Stores with 100,000 queued jobs of 1,000 accounts", store_rows),
}


def page(results: dict[str, list[Row]], before: str) -> str:
    """Return the page with new sections for `results`; those of other subjects stay as they were `before`."""
    kept = dict(section.split("\n", 1) for section in before.split("\n## ")[1:])
    new = {SUBJECTS[subject][0]: section(rows) for subject, rows in results.items()}
    sections = {title: {**kept, **new}.get(title) for title, _ in SUBJECTS.values()}
    head = [
        "# Benchmarks",
        "",
        "Made by `make bench`. The peer is the same client's local testing mode on the same fake device, in the same",
        "run, unless a row says otherwise. Times are medians, with the range in brackets.",
    ]
    bodies = [f"\n## {title}\n{body.rstrip()}" for title, body in sections.items() if body]
    return "\n".join([*head, *bodies]) + "\n"


def section(rows: list[Row]) -> str:
    lines = [f"| {row.what} | {row.ours} | {row.peer} | {row.ratio} | {row.goal} |" for row in rows]
    return "\n".join(
        ["", f"Machine: {machine()}.", "", "| what | server | peer | ratio | goal |", "|---|---|---|---|---|", *lines]
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--only", nargs="*", choices=SUBJECTS, default=SUBJECTS)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    console = Console(width=180)
    results: dict[str, list[Row]] = {}
    for subject in options.only:
        rows = results.setdefault(subject, [])
        for row in SUBJECTS[subject][1](quick=options.quick):
            rows.append(row)
            console.print(f"{row.what}: {row.ours}  {row.peer}  {row.ratio}", highlight=False)
    table = Table("what", "server", "peer", "ratio", "goal", title=machine())
    for row in (row for rows in results.values() for row in rows):
        table.add_row(row.what, row.ours, row.peer, row.ratio, row.goal)
    console.print(table)
    if not options.quick:
        PAGE.write_text(page(results, PAGE.read_text()))


if __name__ == "__main__":
    main()
