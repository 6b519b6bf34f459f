"""Looks for known vulnerabilities in what is pinned: `python -m audit [REQUIREMENTS ...]`, by default in all that is.

Two sources say what is known: requirements/advisories.json, a list in the form of OSV
(https://ossf.github.io/osv-schema), and the index of packages, which pip-audit asks. That the index has no advisories,
or cannot be asked, is told and is no failure: not every mirror has them.
"""

import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT: Final = Path(__file__).parents[1]
ADVISORIES: Final = ROOT / "requirements" / "advisories.json"
# Nothing of these is installed by users: tests run them beside a server, as old as they are.
_TESTED_ONLY: Final = ("client-*.txt", "workflows.txt", "jupyterhub.txt", "browser.txt")
_ASK_SECONDS: Final = 300


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Pin:
    """A package in a version that requirements install."""

    name: str
    version: str


def main(arguments: list[str]) -> int:
    """Print what is found; return 1 if that is anything."""
    files = [Path(argument) for argument in arguments] or _requirements()
    pins = {pin for file in files for pin in pinned(file.read_text())}
    stored: list[dict[str, Any]] = json.loads(ADVISORIES.read_text())
    found = {f"{pin.name} {pin.version}: {said}" for pin in pins for said in vulnerabilities(pin, stored)}
    print(f"{len(pins)} packages of {len(files)} files; {len(stored)} stored advisories")
    found.update(_asked(sorted(pins)))
    for line in sorted(found):
        print(line)
    return int(bool(found))


def _requirements() -> list[Path]:
    folder = ROOT / "requirements"
    left_out = {path for pattern in _TESTED_ONLY for path in folder.glob(pattern)}
    return sorted(set(folder.glob("*.txt")) - left_out)


def pinned(text: str) -> Iterator[Pin]:
    """Return what hashed requirements install."""
    for line in re.findall(r"^[A-Za-z0-9][^\\\n]*", text, re.MULTILINE):
        requirement = Requirement(line)
        yield Pin(name=canonicalize_name(requirement.name), version=str(requirement.specifier).removeprefix("=="))


def vulnerabilities(pin: Pin, advisories: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    """Return the advisories that a version falls under, each with its number and what it is about."""
    for advisory in advisories:
        of_it = (
            affected
            for affected in advisory["affected"]
            if affected["package"]["ecosystem"] == "PyPI" and canonicalize_name(affected["package"]["name"]) == pin.name
        )
        if any(_is_affected(pin.version, affected) for affected in of_it):
            numbers = ", ".join([advisory["id"], *advisory.get("aliases", [])])
            yield f"{numbers}: {advisory['summary']}"


def _is_affected(version: str, affected: Mapping[str, Any]) -> bool:
    ranges = [part["events"] for part in affected.get("ranges", []) if part["type"] == "ECOSYSTEM"]
    return version in affected.get("versions", []) or any(_within(Version(version), events) for events in ranges)


def _within(version: Version, events: Iterable[Mapping[str, str]]) -> bool:
    """Return whether the last event at or before the version is its introduction."""
    inside = False
    for event in sorted(events, key=lambda event: Version(next(iter(event.values())))):
        ((kind, said),) = event.items()
        bound = Version(said)
        if kind == "introduced" and version >= bound:
            inside = True
        elif (kind == "fixed" and version >= bound) or (kind == "last_affected" and version > bound):
            inside = False
    return inside


def _asked(pins: list[Pin]) -> Iterator[str]:
    """Ask the index by pip-audit; yield what it knows, and print why if it knows nothing."""
    # One file cannot have two versions of a package, as those for two versions of Python.
    rest = pins
    while rest:
        now = {pin.name: pin for pin in reversed(rest)}
        rest = [pin for pin in rest if now[pin.name] != pin]
        with tempfile.NamedTemporaryFile("w", suffix=".txt") as file:
            file.write("".join(f"{pin.name}=={pin.version}\n" for pin in now.values()))
            file.flush()
            command = [
                sys.executable,
                "-m",
                "pip_audit",
                "--disable-pip",
                "--no-deps",
                "--format=json",
                "-r",
                file.name,
            ]
            done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=_ASK_SECONDS)
        try:
            answered = json.loads(done.stdout)["dependencies"]
        except ValueError:
            print(f"the index was not asked: {(done.stderr.strip().splitlines() or ['no answer'])[-1]}")
            return
        skipped = [package for package in answered if "skip_reason" in package]
        print(f"the index knows {len(answered) - len(skipped)} of {len(answered)} packages")
        for package in answered:
            for known in package.get("vulns", []):
                numbers = ", ".join([known["id"], *known["aliases"]])
                yield f"{package['name']} {package['version']}: {numbers}, fixed in {', '.join(known['fix_versions'])}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
