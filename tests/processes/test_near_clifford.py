"""Near-Clifford circuits where clifft can be installed: with a newer Python than the other tests', if need be."""

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from kit import ROOT
from kit.server.client_environments import EnvironmentUnavailableError, python_with, without_environment

TESTS = ("tests/unit/server/simulation/test_near_clifford.py", "tests/processes/client/test_near_clifford.py")


def newer_python() -> Path | None:
    """Return an interpreter of Python 3.12 or 3.13, if there is one."""
    if sys.version_info >= (3, 12):
        return Path(sys.executable)
    for version in ("3.12", "3.13"):
        # By pyenv's programs of that name only those run that it is told of.
        variables = {**os.environ, "PYENV_VERSION": version}
        command = [f"python{version}", "-c", "import sys; print(sys.executable)"]
        try:
            found = subprocess.run(command, env=variables, capture_output=True, text=True, check=False)
        except FileNotFoundError:
            continue
        if found.returncode == 0:
            return Path(found.stdout.strip())
    return None


def test_the_package_is_pinned_in_what_the_extra_asks_for() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    (needed,) = map(Requirement, extras["near-clifford"])
    pinned = (ROOT / "requirements" / "near-clifford.txt").read_text().partition(" ")[0]
    assert pinned.partition("==")[0] == needed.name
    assert pinned.partition("==")[2] in needed.specifier
    assert needed.marker is not None
    assert [needed.marker.evaluate({"python_version": version}) for version in ("3.11", "3.12", "3.13")] == [
        False, True, True
    ]  # fmt: skip


@pytest.mark.thorough
@pytest.mark.timeout(1800)
def test_near_clifford_circuits_pass_their_tests_on_a_newer_python() -> None:
    base = newer_python()
    if base is None:
        pytest.skip("there is no Python 3.12 or 3.13 beside the tests' own")
    try:
        python = python_with("near-clifford", beside=["dev"], base=base)
    except EnvironmentUnavailableError as error:
        without_environment(error)
    # The executors are found by their entry points.
    pip: list[str | Path] = [sys.executable, "-m", "pip", "--python", python, "install", "--quiet", "--no-deps"]
    subprocess.run([*pip, "--no-build-isolation", "--editable", ROOT], check=True)
    done = subprocess.run(
        [python, "-m", "pytest", "-q", "-p", "no:cacheprovider", *TESTS],
        cwd=ROOT,
        env={name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 skipped" in done.stdout, done.stdout
