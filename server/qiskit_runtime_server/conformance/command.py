"""The command `qiskit-runtime-conformance`; argparse, as a client's environment has no more."""

import argparse
import sys
import time
import warnings
from collections.abc import Sequence
from datetime import UTC, datetime
from fnmatch import fnmatch
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from qiskit_runtime_server.conformance.check import CHECKS, Check, NotOfferedError, Outcome, Verdict
from qiskit_runtime_server.conformance.reports import line, summary, write_json, write_junit

if TYPE_CHECKING:
    from qiskit_runtime_server.conformance.target import Target


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="qiskit-runtime-conformance", description=__doc__)
    parser.description = (
        "Ask a server whether it does what clients of Qiskit Runtime expect. Exits with 1 if it does not."
    )
    parser.add_argument("--url", help="where the server is, as in http://localhost:8000")
    parser.add_argument("--token", default="anonymous", help="the account's token (default: %(default)s)")
    parser.add_argument("--backend", help="the device to use (default: the smallest with three qubits or more)")
    parser.add_argument(
        "--as-configured",
        action="store_true",
        help="the client library finds the server by variables that are set already, as clients up to 0.48 have to",
    )
    parser.add_argument(
        "--only", action="append", metavar="NAME", help="checks of that name or group, or a pattern; may be repeated"
    )
    parser.add_argument("--list", action="store_true", help="print what the checks ask, and run none")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write JSON there")
    parser.add_argument("--junit", type=Path, metavar="FILE", help="write JUnit's XML there")
    return parser


def chosen(only: Sequence[str] | None) -> list[Check]:
    """Return the checks of the given names, groups or patterns, or all of them."""
    from qiskit_runtime_server.conformance import jobs, options, programs, rest  # noqa: F401, PLC0415 - they register

    found = [one for one in CHECKS if only is None or any(_is_meant(one.name, name) for name in only)]
    return sorted(found, key=lambda one: one.name.startswith("options."))


def _is_meant(name: str, said: str) -> bool:
    return name == said or name.startswith(f"{said}.") or fnmatch(name, said)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line, and exit with 0 if no check failed, 1 if one did, 2 if nothing was asked."""
    parser = _parser()
    said = parser.parse_args(arguments)
    try:
        checks = chosen(said.only)
    except ImportError as error:
        parser.error(f'{error}; pip install "qiskit-runtime-server[conformance]"')
    if not checks:
        parser.error("no check is called so; --list names them")
    if said.list:
        print(*(f"{one.name}: {one.asks}" for one in checks), sep="\n")  # noqa: T201 - what was asked for
        return
    if said.url is None:
        parser.error("--url is needed")
    from qiskit_runtime_server.conformance.target import Target  # noqa: PLC0415 - `--help` needs no client library

    warnings.simplefilter("ignore")
    target = Target(said.url, said.token, said.backend, as_configured=said.as_configured)
    outcomes = []
    for one in checks:
        outcomes.append(_asked(one, target))
        print(line(outcomes[-1]), flush=True)  # noqa: T201 - as above
    print(summary(outcomes))  # noqa: T201 - as above
    about = {"url": said.url, "date": datetime.now(UTC).date().isoformat()}
    about |= {name: version(name) for name in ("qiskit-ibm-runtime", "qiskit")}
    if said.json:
        write_json(said.json, outcomes, about)
    if said.junit:
        write_junit(said.junit, outcomes)
    sys.exit(any(outcome.verdict is Verdict.FAILED for outcome in outcomes))


def _asked(one: Check, target: "Target") -> Outcome:
    begin = time.monotonic()
    verdict, reason = Verdict.PASSED, ""
    try:
        one.run(target)
    except NotOfferedError as error:
        verdict, reason = Verdict.NOT_OFFERED, str(error)
    except Exception as error:  # noqa: BLE001 - whatever a check meets is its answer
        verdict, reason = Verdict.FAILED, f"{type(error).__name__}: {error}"
    return Outcome(one, verdict, reason, time.monotonic() - begin)


if __name__ == "__main__":
    main()
