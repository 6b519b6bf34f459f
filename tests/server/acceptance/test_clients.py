"""Unmodified clients of several versions, each in an environment of its own, over HTTP."""

import os
import subprocess
import sys
import venv
from collections.abc import Mapping
from pathlib import Path

import pytest
from cloud_takeover import cloud_takeover
from server_process import ServerProcess

from qiskit_runtime_server.client import environment

ROOT = Path(__file__).parents[3]
SCRIPT = Path(__file__).with_name("client_script.py")
EXECUTOR_SCRIPT = Path(__file__).with_name("executor_0_46_script.py")


def python_with(client: str) -> Path:
    """Return the interpreter of an environment with that client; made from hashed requirements when they are new."""
    requirements = ROOT / "requirements" / f"client-{client}.txt"
    folder = ROOT / f".venv-client-{client}"
    python, stamp = folder / "bin" / "python", folder / ".installed"
    if not stamp.exists() or stamp.read_text() != requirements.read_text():
        print(f"Installing qiskit-ibm-runtime {client} into {folder.name}")
        venv.create(folder, with_pip=True, clear=True)
        pip = [python, "-m", "pip", "install", "--quiet", "--require-hashes", "--requirement", requirements]
        subprocess.run(pip, check=True)
        stamp.write_text(requirements.read_text())
    return python


def runs_well(client: str, script: Path, variables: Mapping[str, str]) -> None:
    """Run a script with a client in an environment that says nothing else of a platform."""
    python = Path(sys.executable) if client == "0.51" else python_with(client)
    env = {name: value for name, value in os.environ.items() if not name.startswith("QISKIT_")} | variables
    version = "from importlib.metadata import version; print(version('qiskit-ibm-runtime'))"
    found = subprocess.run([python, "-c", version], check=True, capture_output=True, text=True)
    assert found.stdout.startswith(client)
    done = subprocess.run([python, script], env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.endswith("all well\n")


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("client", ["0.51", "0.49"])
def test_a_client_works_unmodified(server: ServerProcess, client: str) -> None:
    runs_well(client, SCRIPT, environment(server.url, f"client-{client}"))


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("script", [SCRIPT, EXECUTOR_SCRIPT])
def test_client_0_46_works_where_the_names_of_the_cloud_lead_here(
    server: ServerProcess, script: Path, tmp_path: Path
) -> None:
    with cloud_takeover(server.url, tmp_path) as variables:
        runs_well("0.46", script, {"QISKIT_IBM_TOKEN": f"client-{script.stem}", **variables})
