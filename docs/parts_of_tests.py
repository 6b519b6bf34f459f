"""The parts of the tests: what each proves, how many tests it has and how long they took, for CONTRIBUTING.md.

`python docs/parts_of_tests.py FOLDER` reads the JUnit reports that `make test` left in a folder, those of `make
test-fast` in its subfolder `fast` and those of `make test-thorough` in `thorough`, and writes the table.
"""

import os
import re
import sys
from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final
from xml.etree import ElementTree

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "CONTRIBUTING.md"
BEGIN, END = "<!-- made by `make test-parts` -->", "<!-- end -->"
# The first that fits a test's path counts.
PARTS: Mapping[str, str] = {
    "tests/unit/kit": "the exact reference of simulations, against closed forms and Qiskit's own states",
    "tests/unit/operator": "what the operator makes of a RuntimeServer, of events and of statuses, without a cluster",
    "tests/unit/server/executors": "what executors sample is the exact distribution, within their memory, seeded",
    "tests/unit/server/programs": "options, results, error bars, mitigation, and damaged input of each program",
    "tests/unit/server/simulation": "noise, density evolution and components against closed forms and Aer",
    "tests/unit/server/store": "one suite on every store, with PostgreSQL's own faults",
    "tests/unit/server": "settings, accounts, devices, the dispatcher, slots and their workers",
    "tests/contract": "server and operator agree; docs, decisions and tables say what the code does",
    "tests/processes/workflows": "packages of Qiskit's ecosystem run unchanged and get exact values",
    "tests/processes/client": "real clients over HTTP, old and new, and every option that they send",
    "tests/processes/cluster": "apis and executor services that are killed, cut off, replaced and overloaded",
    "tests/processes": "other servers in processes of their own",
    "tests/attacks": "clients that hold, damage or flood: what others get meanwhile, and what it costs the server; "
    "`make attack` has the large ones",
    "tests/control_plane": "the operator on a real kube-apiserver, through crashes and faults of the network",
    "tests/chart": "the chart, installed and upgraded by the real helm",
    "tests/release": "what `make release` makes is reproducible, signed and installs; upgrades lose no job",
    "tests/chaos": "a small storm of faults on a cluster of processes; `make chaos` has the large one",
}
THOROUGH: Final = "the same at full size: storms, crowds, all clients, long walks through documented commands"


def counted(reports: Iterable[Path]) -> dict[str, tuple[int, float]]:
    """Return the tests and seconds of each part. A part that was not run is not there."""
    tests: dict[str, int] = defaultdict(int)
    seconds: dict[str, float] = defaultdict(float)
    for report in reports:
        for case in ElementTree.parse(report).iter("testcase"):  # noqa: S314 - our own file
            path = case.get("classname", "").replace(".", "/")
            part = next((part for part in PARTS if f"{path}/".startswith(f"{part}/")), None)
            if part is None:
                message = f"{path} belongs to no part of {Path(__file__).name}."
                raise ValueError(message)
            tests[part] += 1
            seconds[part] += float(case.get("time", "0"))
    return {part: (tests[part], seconds[part]) for part in PARTS if part in tests}


def minutes(reports: Iterable[Path]) -> float:
    """Return how long all runs together took, from the first test's setup to the last one's teardown."""
    suites = (suite for report in reports for suite in ElementTree.parse(report).iter("testsuite"))  # noqa: S314
    return sum(float(suite.get("time", "0")) for suite in suites) / 60


def table(found: Mapping[str, tuple[int, float]], thorough: Mapping[str, tuple[int, float]]) -> str:
    """Return the table; minutes are those of the tests, many of which run side by side.

    Args:
        found: The parts of `make test`.
        thorough: Those of `make test-thorough`, which are one row.
    """
    rows = [
        f"| `{part}` | {PARTS[part]} | {tests:,} | {seconds / 60:.1f} | `make test ARGS={part}` |"
        for part, (tests, seconds) in found.items()
    ]
    rows.append(f"| all | | {_sums(found)} | `make test` |")
    if thorough:
        rows.append(f"| marked `thorough` | {THOROUGH} | {_sums(thorough)} | `make test-thorough` |")
    return "\n".join(["| part | what it proves | tests | minutes | command |", "|---|---|---|---|---|", *rows])


def _sums(found: Mapping[str, tuple[int, float]]) -> str:
    tests, seconds = (sum(column) for column in zip(*found.values(), strict=True))
    return f"{tests:,} | {seconds / 60:.1f}"


def main(folder: Path) -> None:
    """Write the table into the page."""
    text = PAGE.read_text()
    places = {"make test": folder, "make test-fast": folder / "fast", "make test-thorough": folder / "thorough"}
    reports = {command: sorted(place.glob("*.xml")) for command, place in places.items()}
    took = [f"`{command}` took {minutes(found):.1f} minutes" for command, found in reports.items() if found]
    parts = table(counted(reports["make test"]), counted(reports["make test-thorough"]))
    shown = f"{BEGIN}\n\n{parts}\n\nOn {os.cpu_count()} cores {', '.join(took)}.\n\n{END}"
    PAGE.write_text(re.sub(f"{re.escape(BEGIN)}.*{re.escape(END)}", lambda _: shown, text, flags=re.DOTALL))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
