"""Unmodified clients of several versions, each in an environment of its own, over HTTP."""

import os
import subprocess
import sys
import venv
from pathlib import Path

import pytest
from server_process import ServerProcess

from qiskit_runtime_server.client import environment

ROOT = Path(__file__).parents[3]
SCRIPT = Path(__file__).with_name("client_script.py")


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


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("client", ["0.51", "0.49"])
def test_a_client_works_unmodified(server: ServerProcess, client: str) -> None:
    python = Path(sys.executable) if client == "0.51" else python_with(client)
    token = environment(server.url, f"client-{client}")
    env = {name: value for name, value in os.environ.items() if not name.startswith("QISKIT_")} | token
    version = "from importlib.metadata import version; print(version('qiskit-ibm-runtime'))"
    found = subprocess.run([python, "-c", version], check=True, capture_output=True, text=True)
    assert found.stdout.startswith(client)
    done = subprocess.run([python, SCRIPT], env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.endswith("all well\n")
