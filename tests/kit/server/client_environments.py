"""Environments of their own for clients: each made from its hashed requirements, once, and kept in the checkout.

The requirements of `client-0.49` are requirements/client-0.49.txt, and its environment is .venv-client-0.49.
"""

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

import pytest

from kit import ROOT, locked
from kit.server.cloud_takeover import cloud_takeover
from kit.server.http_jobs import signed_in

# Oldest first; the last one is the server's own.
CLIENTS = ("0.40", "0.43", "0.46", "0.47", "0.48", "0.49", "0.50", "0.51")
# From here on variables say where tokens are traded; before, names and TLS have to lead to the server.
FIRST_BY_VARIABLES = "0.49"


class EnvironmentUnavailableError(Exception):
    """An environment could not be made; the message has pip's words."""


def python_with(name: str, beside: Sequence[str] = (), base: Path = Path(sys.executable)) -> Path:
    """Return the interpreter of an environment, which is made anew if its requirements are no longer what they were.

    Of several processes one makes it, and the others wait.

    Args:
        name: Of its requirements.
        beside: Names of further ones.
        base: The interpreter that it is made with.

    Raises:
        EnvironmentUnavailableError: If the packages cannot be installed, as without a network.
    """
    requirements = [ROOT / "requirements" / f"{each}.txt" for each in (*beside, name)]
    wanted = "".join(each.read_text() for each in requirements)
    folder = ROOT / f".venv-{name}"
    python, stamp = folder / "bin" / "python", folder / ".installed"
    with locked(ROOT / f"{folder.name}.lock"):
        if not stamp.exists() or stamp.read_text() != wanted:
            _install(requirements, folder, base)
            stamp.write_text(wanted)
    return python


def _install(requirements: Sequence[Path], folder: Path, base: Path) -> None:
    names = " and ".join(f"requirements/{each.name}" for each in requirements)
    print(f"Installing {names} into {folder.name}", flush=True)
    # The tests' own pip installs into it, and Python compiles what is imported: a tenth of all modules.
    subprocess.run([base, "-m", "venv", "--without-pip", "--clear", folder], check=True)
    pip: list[str | Path] = [sys.executable, "-m", "pip", "--python", folder / "bin" / "python"]
    files = [part for each in requirements for part in ("--requirement", each)]
    command = [*pip, "install", "--quiet", "--no-compile", "--require-hashes", *files]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if done.returncode != 0:
        message = f"{names} cannot be installed: {done.stdout.strip()[-2000:]}"
        raise EnvironmentUnavailableError(message)


def python_of(client: str) -> Path:
    """Return the interpreter of a client's environment; errors as of `python_with`."""
    return Path(sys.executable) if client == CLIENTS[-1] else python_with(f"client-{client}")


@contextmanager
def asked_by(client: str, url: str, account: str, folder: Path) -> Iterator[tuple[list[str | Path], dict[str, str]]]:
    """Yield the command that asks the server with a client whether it conforms, and the command's environment."""
    module = ["-m", "qiskit_runtime_server.conformance.command"]
    command: list[str | Path] = [
        python_of(client),
        *module,
        f"--url={url}",
        f"--token={account}",
        "--backend=fake_manila@aer",
    ]
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("QISKIT_")}
    inherited["PYTHONPATH"] = str(ROOT / "server")
    if client >= FIRST_BY_VARIABLES:
        yield command, inherited
        return
    with signed_in(url, account) as api:
        instance = api.get("/instances/usage").raise_for_status().json()["instance_id"]
    said = {
        "QISKIT_IBM_TOKEN": account,
        "QISKIT_IBM_CHANNEL": "ibm_quantum_platform",
        "QISKIT_IBM_INSTANCE": instance,
    }
    with cloud_takeover(url, folder) as variables:
        yield [*command, "--as-configured"], {**inherited, **said, **variables}


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
