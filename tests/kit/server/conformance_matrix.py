"""Asks a server with every client whether it conforms, and writes docs/reference/conformance.md.

`make conformance` runs it, after the tests of QRMI and plain REST, whose JUnit report it is given.
"""

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from xml.etree import ElementTree

from kit import ROOT
from kit.server.client_environments import CLIENTS, FIRST_BY_VARIABLES, asked_by
from kit.server.cloud_takeover import CALLED_SO
from kit.server.server_process import running_server

PAGE = ROOT / "docs" / "reference" / "conformance.md"
SIGNS = {"passed": "yes", "failed": "**no**", "not offered": "-"}
SIDE_BY_SIDE = 2
OTHERS = {
    "test_clients": "QRMI and the scripts of older clients",
    "test_rest": "Plain REST, the bodies of IBM's guides",
    "test_c_client": "The requests of IBM's C client",
}


def asked(client: str, url: str, folder: Path) -> dict[str, Any]:
    """Return what a client's run of the checks says."""
    own = folder / client
    own.mkdir()
    report = own / "report.json"
    with asked_by(client, url, f"matrix-{client}", own) as (command, environment):
        done = subprocess.run(
            [*command, f"--json={report}"], env=environment, capture_output=True, text=True, check=False
        )
    if not report.exists():
        message = f"The checks did not run with {client}:\n{done.stdout}{done.stderr}"
        raise RuntimeError(message)
    print(client, done.stdout.splitlines()[-1], flush=True)
    found: dict[str, Any] = json.loads(report.read_text())
    return found


def page(reports: Mapping[str, Mapping[str, Any]], others: Mapping[str, str]) -> str:
    """Return the page that shows reports by client, and what tests of other clients say."""
    return "\n".join([*_head(reports, others), *_table(reports), *_reasons(reports)]) + "\n"


def _head(reports: Mapping[str, Mapping[str, Any]], others: Mapping[str, str]) -> Iterator[str]:
    yield "# Conformance"
    yield ""
    yield "Made by `make conformance`: `qiskit-runtime-conformance` run with each client in an environment of its own,"
    yield f"against this server's `fake_manila@aer`. Clients before {FIRST_BY_VARIABLES} reach it by names and TLS."
    yield "Each check asks what `qiskit-runtime-conformance --list` says; a dash is what the client does not send, or"
    yield "the server refuses by name."
    yield ""
    yield "| client | Qiskit | date | passed | failed | not offered |"
    yield "|---|---|---|---|---|---|"
    for report in reports.values():
        counts = Counter(check["verdict"] for check in report["checks"])
        numbers = " | ".join(str(counts[verdict]) for verdict in SIGNS)
        yield f"| {report['qiskit-ibm-runtime']} | {report['qiskit']} | {report['date']} | {numbers} |"
    yield ""
    if others:
        yield "| tests of other clients | |"
        yield "|---|---|"
        yield from (f"| {title} | {said} |" for title, said in others.items())
        yield ""


def _table(reports: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    yield "## Every check"
    yield ""
    yield f"| check | {' | '.join(reports)} |"
    yield "|---" * (len(reports) + 1) + "|"
    verdicts = {
        client: {check["name"]: check["verdict"] for check in report["checks"]} for client, report in reports.items()
    }
    for name in dict.fromkeys(name for found in verdicts.values() for name in found):
        signs = " | ".join(SIGNS[found[name]] for found in verdicts.values())
        yield f"| `{name}` | {signs} |"
    yield ""


def _reasons(reports: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    yield "## What failed"
    yield ""
    failed = [
        f"- {client}, `{check['name']}`: `{' '.join(check['reason'].replace('`', '').split())[:200]}`"
        for client, report in reports.items()
        for check in report["checks"]
        if check["verdict"] == "failed"
    ]
    yield from failed or ["Nothing."]


def said_by_tests(junit: Path) -> tuple[dict[str, str], bool]:
    """Return how the tests of other clients ended, by what they are of, and whether one failed."""
    cases = list(ElementTree.parse(junit).iter("testcase"))  # noqa: S314 - pytest has written it
    found, one_failed = {}, False
    for module, title in OTHERS.items():
        mine = [case for case in cases if module in case.get("classname", "")]
        bad = sum(case.find("failure") is not None or case.find("error") is not None for case in mine)
        skipped = sum(case.find("skipped") is not None for case in mine)
        found[title] = f"{len(mine) - bad - skipped} passed, {bad} failed, {skipped} skipped"
        one_failed |= bad > 0 or not mine
    return found, one_failed


def ask_next() -> None:
    """Ask with the client in .venv-client-next, print what it says, and exit as it does."""
    python = ROOT / ".venv-client-next" / "bin" / "python"
    with (
        TemporaryDirectory() as name,
        running_server(Path(name) / "data", **CALLED_SO) as server,
        asked_by(CLIENTS[-1], server.url, "next", Path(name)) as (command, environment),
    ):
        done = subprocess.run([python, *command[1:]], env=environment, check=False)
    sys.exit(done.returncode)


def main(arguments: list[str]) -> None:
    if arguments == ["--next"]:
        ask_next()
    with TemporaryDirectory() as name, running_server(Path(name) / "data", **CALLED_SO) as server:
        folder = Path(name)
        with ThreadPoolExecutor(SIDE_BY_SIDE) as pool:
            reports = dict(zip(CLIENTS, pool.map(lambda one: asked(one, server.url, folder), CLIENTS), strict=True))
    others, one_failed = said_by_tests(Path(arguments[0])) if arguments else ({}, False)
    PAGE.write_text(page(reports, others))
    one_failed |= any(check["verdict"] == "failed" for report in reports.values() for check in report["checks"])
    sys.exit(one_failed)


if __name__ == "__main__":
    main(sys.argv[1:])
