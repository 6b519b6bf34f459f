"""Unmodified clients of several versions, each in an environment of its own, over HTTP."""

import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from kit.server.client_environments import (
    EnvironmentUnavailableError,
    installed_version,
    python_with,
    run_script,
    without_environment,
)
from kit.server.cloud_takeover import cloud_takeover
from kit.server.server_process import ServerProcess
from qiskit_runtime_server.client import environment

SCRIPT = Path(__file__).with_name("client_script.py")
EXECUTOR_SCRIPT = Path(__file__).with_name("executor_0_46_script.py")


def runs_well(client: str, script: Path, variables: Mapping[str, str]) -> None:
    """Run a script with a client in an environment that says nothing else of a platform."""
    try:
        python = Path(sys.executable) if client == "0.51" else python_with(f"client-{client}")
    except EnvironmentUnavailableError as error:
        without_environment(error)
    assert installed_version(python, "qiskit-ibm-runtime").startswith(client)
    assert run_script(python, script, variables).endswith("all well\n")


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
