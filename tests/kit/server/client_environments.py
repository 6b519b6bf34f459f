"""Environments of their own for clients: each made from its hashed requirements, once, and kept in the checkout.

The requirements of `client-0.49` are requirements/client-0.49.txt, and its environment is .venv-client-0.49.
"""

import os
import subprocess
import sys
import venv
from collections.abc import Mapping
from pathlib import Path
from typing import NoReturn

import pytest

from kit import ROOT, locked


class EnvironmentUnavailableError(Exception):
    """An environment could not be made; the message has pip's words."""


def python_with(name: str) -> Path:
    """Return the interpreter of an environment, which is made anew if its requirements are no longer what they were.

    Of several processes one makes it, and the others wait.

    Raises:
        EnvironmentUnavailableError: If the packages cannot be installed, as without a network.
    """
    requirements = ROOT / "requirements" / f"{name}.txt"
    folder = ROOT / f".venv-{name}"
    python, stamp = folder / "bin" / "python", folder / ".installed"
    with locked(ROOT / f"{folder.name}.lock"):
        if not stamp.exists() or stamp.read_text() != requirements.read_text():
            _install(requirements, folder)
            stamp.write_text(requirements.read_text())
    return python


def _install(requirements: Path, folder: Path) -> None:
    print(f"Installing requirements/{requirements.name} into {folder.name}", flush=True)
    # The tests' own pip installs into it, and Python compiles what is imported: a tenth of all modules.
    venv.create(folder, with_pip=False, clear=True)
    pip: list[str | Path] = [sys.executable, "-m", "pip", "--python", folder / "bin" / "python"]
    command = [*pip, "install", "--quiet", "--no-compile", "--require-hashes", "--requirement", requirements]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if done.returncode != 0:
        message = f"requirements/{requirements.name} cannot be installed: {done.stdout.strip()[-2000:]}"
        raise EnvironmentUnavailableError(message)


def without_environment(error: EnvironmentUnavailableError) -> NoReturn:
    """Skip the test that needs the environment, or fail it in CI."""
    if os.environ.get("CI") == "true":
        pytest.fail(str(error))
    pytest.skip(str(error))


def run_script(python: Path, script: Path, variables: Mapping[str, str]) -> str:
    """Run a script in an environment that says nothing else of a platform, and return what it printed.

    Fails the test if the script fails.
    """
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("QISKIT_")}
    done = subprocess.run([python, script], env={**inherited, **variables}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def installed_version(python: Path, package: str) -> str:
    """Return the version of a package in an environment."""
    code = f"from importlib.metadata import version; print(version({package!r}))"
    return subprocess.run([python, "-c", code], check=True, capture_output=True, text=True).stdout.strip()
