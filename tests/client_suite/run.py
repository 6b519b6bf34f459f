"""Runs the client library's own integration tests against a server, and writes docs/reference/client-suite.md.

The tests come with the library's source distribution, which is fetched by its hash and kept outside of the checkout.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path
from xml.etree import ElementTree as ET

import httpx

from client_suite.reasons import BY_NAMES, CANNOT_PASS
from kit import ROOT
from kit.server.client_environments import python_with
from kit.server.cloud_takeover import cloud_takeover
from kit.server.http_jobs import end_of, signed_in, when
from kit.server.server_process import ServerProcess, running_server
from qiskit_runtime_server.client import environment

PAGE = ROOT / "docs" / "reference" / "client-suite.md"
CLIENT = "qiskit-ibm-runtime==0.51.0"
SDIST = "sha256:8873224137d4eb0e2187813252bc5e84ce73dfce7f17c954d25d51c74a6b4827"
# Of servers that end with the tests.
TOKEN = "client-suite"  # noqa: S105
NEIGHBOUR = "neighbour"
ACCOUNTS = """
[[accounts.suite.instances]]
name = "internal"
plan = "internal"
seconds_per_day = 86400

[[accounts.suite.instances]]
name = "other"
plan = "open"
seconds_per_day = 86400
"""
CRN = "crn:v1:bluemix:public:quantum-computing:us-east:a/suite:internal::"
# Some tests want a device with ECR gates that lead from qubit 0 to 1 and from 1 to 2.
QPU = "ibm_kyiv"
FLIP = 'OPENQASM 3.0; include "stdgates.inc"; bit[1] c; x $0; c[0] = measure $0;'

# Names that the tests look for, and whose documents of the client library's they have here.
DEVICES = {
    "alt_fez": "fractional",
    "eagle": "brisbane",
    "ibm_fez": "fez",
    "ibm_kyiv": "kyiv",
    "ibm_miami": "fractional",
    "ibm_sherbrooke": "sherbrooke",
}
SETTINGS = {
    "QRS_BACKENDS": " ".join(DEVICES),
    "QRS_DEFAULT_EXECUTOR": "aer",
    # Tests of states, waiting and cancelling take a device whose name begins with `test_eagle`.
    "QRS_CHAOS": "eagle",
    "QRS_CHAOS_PREFIX": "test_",
    "QRS_CHAOS_FAULTS": "queue=2 run=2",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How a test ended.

    Attributes:
        name: `module::Class::test[parameters]`.
        kind: `passed`, `failed` or `skipped`.
        message: Why, unless it passed.
    """

    name: str
    kind: str
    message: str = ""

    @property
    def reason(self) -> str | None:
        """Why it cannot pass here; None if it can."""
        return CANNOT_PASS.get(self.name.partition("[")[0])


def fetch(folder: Path) -> Path:
    """Return the folder with the library's tests."""
    wanted = folder / "sdist.txt"
    wanted.write_text(f"{CLIENT} --hash={SDIST}\n")
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--require-hashes"]
    only_source = ["--no-binary", CLIENT.partition("==")[0]]
    subprocess.run([*pip, *only_source, "--requirement", wanted, "--dest", folder], check=True)
    (archive,) = folder.glob("*.tar.gz")
    with tarfile.open(archive) as packed:
        packed.extractall(folder, filter="data")
    (source,) = [path for path in folder.iterdir() if path.is_dir() and (path / "test" / "integration").is_dir()]
    # Beside the tests lies the library itself, which must not stand for the one that is installed.
    tests = folder / "tests"
    tests.mkdir()
    shutil.move(source / "test", tests / "test")
    shutil.move(source / "pyproject.toml", tests / "pyproject.toml")
    return tests


def write_devices(folder: Path) -> None:
    """Write the devices as snapshots."""
    spec = find_spec("qiskit_ibm_runtime")
    assert spec is not None
    assert spec.origin is not None
    known = Path(spec.origin).parent / "fake_provider" / "backends"
    for name, device in DEVICES.items():
        (folder / name).mkdir(parents=True)
        shutil.copy(known / device / f"conf_{device}.json", folder / name / "configuration.json")
        shutil.copy(known / device / f"props_{device}.json", folder / name / "properties.json")


@contextmanager
def suite_server(folder: Path, **settings: str) -> Iterator[ServerProcess]:
    """Run a server that has what the tests look for, with its data in a folder of its own."""
    write_devices(folder / "snapshots")
    (folder / "tokens").mkdir()
    (folder / "tokens" / "suite").write_text(TOKEN)
    (folder / "tokens" / NEIGHBOUR).write_text(NEIGHBOUR)
    (folder / "tokens" / "accounts.toml").write_text(ACCOUNTS)
    given = {"QRS_SNAPSHOTS": str(folder / "snapshots"), "QRS_TOKENS": str(folder / "tokens"), **SETTINGS, **settings}
    with running_server(folder / "data", **given) as server:
        yield server


def submit(client: httpx.Client, backend: str, *tags: str) -> str:
    """Send a job of one gate and return its id."""
    job = {"program_id": "sampler", "backend": backend, "params": {"pubs": [[FLIP]]}, "tags": tags}
    return str(client.post("/jobs", json=job).raise_for_status().json()["id"])


def run_by_variables(suite: "Suite", folder: Path, arguments: Sequence[str]) -> list[Outcome]:
    """Return how tests end that find the server by variables, in an account that has run a job before."""
    with suite_server(folder) as server:
        with signed_in(server.url, TOKEN) as client:
            end_of(client, submit(client, QPU))
        return suite.run(folder, environment(server.url, TOKEN, CRN), arguments)


def run_by_names(suite: "Suite", folder: Path) -> list[Outcome]:
    """Return how tests end that find the server by IBM Cloud's names and TLS, while another account keeps it busy."""
    with (
        suite_server(folder, QRS_EXECUTORS="aer=1") as server,
        signed_in(server.url, NEIGHBOUR) as neighbour,
        cloud_takeover(server.url, folder) as variables,
    ):
        when(neighbour, submit(neighbour, "test_eagle", "chaos:queue=0", "chaos:run=3600"), {"Running"})
        cloud = {"QISKIT_IBM_URL": "https://cloud.ibm.com", "QISKIT_IBM_TOKEN": TOKEN, "QISKIT_IBM_INSTANCE": CRN}
        return suite.run(folder, variables | cloud, map(path_of, BY_NAMES))


@dataclass(frozen=True, slots=True, kw_only=True)
class Suite:
    """The tests.

    Attributes:
        tests: The folder that they are in.
        python: The interpreter of an environment with the client.
    """

    tests: Path
    python: Path

    def run(self, folder: Path, variables: Mapping[str, str], arguments: Iterable[str]) -> list[Outcome]:
        """Return how the tests end that pytest's arguments choose, with a report and a home in a folder."""
        report = folder / "report.xml"
        inherited = {
            name: value for name, value in os.environ.items() if not name.startswith(("QISKIT_", "PYTHON", "QRS_"))
        }
        given = {
            **inherited,
            **variables,
            "QISKIT_IBM_QPU": QPU,
            "HOME": str(folder),
            "PATH": f"{self.python.parent}:{os.environ['PATH']}",
        }
        command: list[str | Path] = [
            self.python,
            "-m",
            "pytest",
            "-p",
            "no:cacheprovider",
            "-q",
            f"--junitxml={report}",
            *arguments,
        ]
        subprocess.run(command, cwd=self.tests, env=given, check=False)
        return list(map(outcome_of, ET.parse(report).iter("testcase")))  # noqa: S314 - pytest has written it


def run_tests(folder: Path, arguments: Sequence[str]) -> list[Outcome]:
    """Return how the tests end, by name; with arguments for pytest, only those that find the server by variables."""
    suite = Suite(tests=fetch(folder), python=python_with("client-suite"))
    # The first simulate in the client alone, and take half of the time.
    elsewhere = ["test/integration/test_fake_backends.py::TestFakeBackends", *map(path_of, BY_NAMES)]
    chosen = [*(f"--deselect={path}" for path in elsewhere), *(arguments or ["test/integration"])]
    (folder / "variables").mkdir()
    (folder / "names").mkdir()
    outcomes = run_by_variables(suite, folder / "variables", chosen)
    if not arguments:
        outcomes += run_by_names(suite, folder / "names")
    return sorted(outcomes, key=lambda outcome: outcome.name)


def path_of(test: str) -> str:
    """Return what pytest calls `module::Class::test`."""
    module, _, rest = test.partition("::")
    return f"test/integration/{module}.py::{rest}"


def outcome_of(case: ET.Element) -> Outcome:
    """Return how one test of a report ended."""
    module, _, cls = case.get("classname", "").removeprefix("test.integration.").partition(".")
    name = "::".join(filter(None, (module, cls, case.get("name"))))
    for tag, kind in (("failure", "failed"), ("error", "failed"), ("skipped", "skipped")):
        if (found := case.find(tag)) is not None:
            return Outcome(name=name, kind=kind, message=" ".join((found.get("message") or "").split())[:300])
    return Outcome(name=name, kind="passed")


def problems(outcomes: Sequence[Outcome]) -> list[str]:
    """Return what is not as it should be: what can pass and does not, and what passes that is said not to."""
    found = [
        f"{outcome.name} {outcome.kind}: {outcome.message}"
        for outcome in outcomes
        if outcome.kind != "passed" and outcome.reason is None
    ]
    passed = {name for outcome in outcomes if outcome.kind == "passed" for name in [outcome.name.partition("[")[0]]}
    others = {outcome.name.partition("[")[0] for outcome in outcomes if outcome.kind != "passed"}
    return [*found, *(f"{name} passes: remove its reason" for name in sorted((passed - others) & CANNOT_PASS.keys()))]


def page(outcomes: Sequence[Outcome]) -> str:
    """Return the page."""
    passed = sum(outcome.kind == "passed" for outcome in outcomes)
    lines = [
        "# The client library's own integration tests",
        "",
        f"Made by `make client-suite`, on {datetime.now(UTC):%Y-%m-%d}: the integration tests in the source",
        f"distribution of `{CLIENT}`, unchanged, against a server that has the devices they look for.",
        "[Devices with faults](../how-to/test-your-library.md) make jobs wait and run for two",
        f"seconds where tests watch them. {len(BY_NAMES)} tests run by IBM Cloud's names and TLS, on a busy server;",
        "the others find the server by variables.",
        "",
        f"**{passed} of {len(outcomes)} pass.** The others, and why they cannot:",
        "",
        "| test | ends | why |",
        "|---|---|---|",
    ]
    lines += [
        f"| `{outcome.name}` | {outcome.kind} | {outcome.reason or '**' + outcome.message + '**'} |"
        for outcome in outcomes
        if outcome.kind != "passed"
    ]
    return "\n".join(lines) + "\n"


def main() -> int:
    """Run the tests, and return whether any ended otherwise than expected."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("arguments", nargs="*", help="for pytest; with any, the page is not written")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        outcomes = run_tests(Path(folder), options.arguments)
    if not options.arguments:
        PAGE.write_text(page(outcomes))
    wrong = problems(outcomes)
    print(*wrong, f"{sum(outcome.kind == 'passed' for outcome in outcomes)} of {len(outcomes)} passed", sep="\n")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
