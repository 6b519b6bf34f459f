"""Every example runs as its reader would run it."""

import json
import os
import subprocess
from pathlib import Path

import pytest

from kit.server.server_process import ServerProcess
from qiskit_runtime_server.client import environment

EXAMPLES = Path(__file__).parents[3] / "examples"
# Run by tests of their own.
NOT_SCRIPTS = {"demo.py", "test_a_library.py", "utility_scale.py"}


@pytest.mark.parametrize("name", sorted(path.name for path in EXAMPLES.glob("*.py") if path.name not in NOT_SCRIPTS))
def test_an_example_runs(python: str, server: ServerProcess, name: str) -> None:
    env = {**os.environ, **environment(server.url, "reader")}
    done = subprocess.run([python, EXAMPLES / name], env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout


def test_a_job_needs_no_more_than_curl(server: ServerProcess) -> None:
    env = {**os.environ, **environment(server.url, "curl")}
    done = subprocess.run([EXAMPLES / "rest.sh"], env=env, capture_output=True, text=True, check=False, timeout=120)
    state, result = done.stdout.splitlines()
    assert state.endswith(": Completed")
    (pub,) = json.loads(result)["results"]
    assert len(pub["data"]["c"]["samples"]) == 10


def test_the_demo_runs_once_and_leaves_nothing_behind(python: str) -> None:
    command: list[str | Path] = [python, EXAMPLES / "demo.py", "--once"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "QISKIT_IBM_TOKEN" in done.stdout
