"""What is released: the files of a commit, all of which speak of one version."""

import io
import re
import subprocess
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from release.commands import run
from release.errors import ReleaseError

# Where the version stands, and how; the last group of each pattern is what follows it.
PLACES: Final[Mapping[str, str]] = {
    "pyproject.toml": r'(?m)^(version = ")([^"]+)(")$',
    "CITATION.cff": r"(?m)^(version: )(\S+)()$",
    "charts/qiskit-runtime-operator/Chart.yaml": r"(?m)^((?:version|appVersion): )(\S+)()$",
    "docs/how-to/run-in-a-container.md": r"(qiskit-runtime-server(?:-api|-executor)?:)(\d+\.\d+\.\d+\w*)()",
    "examples/compose/compose.yaml": r"(qiskit-runtime-server-(?:api|executor):)(\d+\.\d+\.\d+\w*)()",
    "docs/tutorial/kubernetes.md": r"((?:-\$target|-operator):)(\d+\.\d+\.\d+\w*)()",
    "examples/executor-plugin/Dockerfile": r"(qiskit-runtime-server-executor:)(\d+\.\d+\.\d+\w*)()",
    "examples/kubernetes/clustered.yaml": r"(qiskit-runtime-server-(?:api|executor):)(\d+\.\d+\.\d+\w*)()",
}
# What PEP 440 and SemVer write alike: Python's packages and the chart have the same one.
VERSION: Final = re.compile(r"(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """The files of a commit.

    Attributes:
        folder: Where they lie, without anything that is not committed.
        commit: The commit's SHA-1.
        epoch: When it was committed, in seconds since 1970: the time that all that is made of it bears.
    """

    folder: Path
    commit: str
    epoch: int

    @property
    def variables(self) -> dict[str, str]:
        """What tells build tools the time (https://reproducible-builds.org/specs/source-date-epoch/)."""
        return {"SOURCE_DATE_EPOCH": str(self.epoch), "PYTHONHASHSEED": "0", "TZ": "UTC"}


def exported(repository: Path, folder: Path, revision: str = "HEAD") -> Source:
    """Write the files of a revision into a folder, which is made.

    Raises:
        ReleaseError: If git does not know the revision.
    """
    commit = run(["git", "rev-parse", "--verify", f"{revision}^{{commit}}"], cwd=repository).strip()
    epoch = int(run(["git", "show", "--no-patch", "--format=%ct", commit], cwd=repository))
    archive = subprocess.run(["git", "archive", commit], cwd=repository, capture_output=True, check=True)
    with tarfile.open(fileobj=io.BytesIO(archive.stdout)) as files:
        files.extractall(folder, filter="data")
    return Source(folder=folder, commit=commit, epoch=epoch)


def versions(folder: Path) -> dict[str, set[str]]:
    """Return which versions each place speaks of."""
    found = {}
    for place, pattern in PLACES.items():
        found[place] = {match[2] for match in re.finditer(pattern, (folder / place).read_text())}
    return found


def check_version(folder: Path, version: str) -> None:
    """See to it that the version is well-formed and that every place speaks of it.

    Raises:
        ReleaseError: If not; it names the places.
    """
    if not VERSION.fullmatch(version):
        raise ReleaseError(f"{version} is no version: three numbers, as in 0.2.0")
    others = {place: said for place, said in versions(folder).items() if said != {version}}
    if others:
        listed = "; ".join(f"{place} says {', '.join(sorted(said)) or 'none'}" for place, said in others.items())
        raise ReleaseError(f"the commit is not {version}: {listed}. `make version VERSION={version}` writes it")


def write_version(folder: Path, version: str) -> list[str]:
    """Write the version into every place; return the places that changed.

    Raises:
        ReleaseError: If it is not well-formed.
    """
    if not VERSION.fullmatch(version):
        raise ReleaseError(f"{version} is no version: three numbers, as in 0.2.0")
    changed = []
    for place, pattern in PLACES.items():
        path = folder / place
        text = path.read_text()
        written = re.sub(pattern, rf"\g<1>{version}\g<3>", text)
        if written != text:
            path.write_text(written)
            changed.append(place)
    return changed


def check_tag(repository: Path, version: str) -> None:
    """See to it that the commit is the one that the version's tag names.

    Raises:
        ReleaseError: If there is no such tag, or it names another commit.
    """
    tagged = run(["git", "rev-parse", "--verify", f"v{version}^{{commit}}"], cwd=repository).strip()
    head = run(["git", "rev-parse", "HEAD"], cwd=repository).strip()
    if tagged != head:
        raise ReleaseError(f"the tag v{version} is at {tagged}, and the commit is {head}")


def base_images(dockerfile: str) -> list[tuple[str, str]]:
    """Return the bases of a Dockerfile, each with its digest in hexadecimal digits."""
    return re.findall(r"^ARG \w*BASE=(\S+)@sha256:([0-9a-f]{64})$", dockerfile, re.MULTILINE)
