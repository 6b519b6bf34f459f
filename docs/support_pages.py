"""The page on what a release works with, made from what tests, chart and code say of it."""

import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import yaml

from qiskit_runtime_server.store.postgresql.database import OLDEST_RELEASE

ROOT = Path(__file__).parents[1]
for folder in ("tests", "tools"):
    sys.path.insert(0, str(ROOT / folder))

from kit.kubernetes.binaries import KubernetesBinaries  # noqa: E402 - it lies where the lines above say
from kit.server.client_environments import CLIENTS, FIRST_BY_VARIABLES  # noqa: E402
from release.chart import PLATFORMS  # noqa: E402


def support_page() -> str:
    """Return the page."""
    lines = [
        "# What a release works with",
        "",
        "Made by `make docs` from what is tested, and from what the code refuses. [How releases follow each",
        "other](../explanation/upgrades.md).",
        "",
        "| what | versions | how that is known |",
        "|---|---|---|",
        *(f"| {what} | {versions} | {known} |" for what, versions, known in _rows()),
        "",
        "## Images",
        "",
        "| image | processors |",
        "|---|---|",
        *_images(),
        "",
        "Images for arm64 are built by the release's workflow, on a machine of that kind. Stim has no wheel for it and",
        "is compiled there.",
    ]
    return "\n".join(lines) + "\n"


def _rows() -> Iterator[tuple[str, str, str]]:
    oldest, newest = KubernetesBinaries("oldest").version, KubernetesBinaries().version
    chart = yaml.safe_load((ROOT / "charts" / "qiskit-runtime-operator" / "Chart.yaml").read_text())
    needed = re.sub(r"\.0-0$", "", chart["kubeVersion"].removeprefix(">="))
    python = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["requires-python"]
    yield "Python", f"`{python}`", "of the packages; pip refuses others"
    yield (
        "clients (`qiskit-ibm-runtime`)",
        f"{CLIENTS[0]} to {CLIENTS[-1]}",
        "`make conformance` runs " + ", ".join(CLIENTS) + "; [what each gets](conformance.md)",
    )
    yield (
        "clients without a patched network",
        f"{FIRST_BY_VARIABLES} to {CLIENTS[-1]}",
        "older ones need names and TLS that lead to the server: [connect a client](../how-to/connect.md)",
    )
    yield "QRMI", _pinned("client-qrmi", "qrmi"), "`tests/processes/client/test_clients.py`"
    yield (
        "Kubernetes",
        f"{needed} to {_minor(newest)}",
        f"the chart refuses older ones; the tests run on {oldest} and {newest}",
    )
    yield "helm", _helm(), "installs, upgrades and removes the chart in `tests/chart`"
    yield "PostgreSQL", f"{OLDEST_RELEASE} or later", "a server refuses older ones at start"
    yield "SQLite", "that of Python", "embedded; for one process on a local disk"


def _pinned(requirements: str, package: str) -> str:
    text = (ROOT / "requirements" / f"{requirements}.txt").read_text()
    return str(re.findall(rf"^{package}(?:\[\w+\])?==(\S+)", text, re.MULTILINE)[0])


def _minor(version: str) -> str:
    return version.rpartition(".")[0]


def _helm() -> str:
    modules = (ROOT / "tests" / "kit" / "kubernetes" / "modules" / "newest" / "go.mod").read_text()
    return str(re.findall(r"helm\.sh/helm/v\d+ v(\d+)\.", modules)[0])


def _images() -> Iterator[str]:
    values = yaml.safe_load((ROOT / "charts" / "qiskit-runtime-operator" / "values.yaml").read_text())
    for key, platforms in PLATFORMS.items():
        yield f"| `{values['images'][key]}` | {', '.join(platforms)} |"
    yield f"| `qiskit-runtime-server` | {', '.join(PLATFORMS['api'])} |"
