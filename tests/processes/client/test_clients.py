"""Unmodified clients of several versions, each in an environment of its own, over HTTP.

`make test` runs the newest here, and the oldest by way of the cloud's names in test_conformance.py.
"""

import os
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
from kit.server.http_jobs import signed_in
from kit.server.server_process import ServerProcess
from qiskit_runtime_server.client import environment

SCRIPT = Path(__file__).with_name("client_script.py")
OLD_SCRIPT = Path(__file__).with_name("old_client_script.py")
QRMI_SCRIPT = Path(__file__).with_name("qrmi_script.py")
EXECUTOR_SCRIPT = Path(__file__).with_name("executor_0_46_script.py")


def runs_well(client: str, script: Path, variables: Mapping[str, str]) -> None:
    """Run a script with a client in an environment that says nothing else of a platform."""
    try:
        python = Path(sys.executable) if client == "0.51" else python_with(f"client-{client}")
    except EnvironmentUnavailableError as error:
        without_environment(error)
    package, version = ("qrmi", "0.26.") if client == "qrmi" else ("qiskit-ibm-runtime", client)
    assert installed_version(python, package).startswith(version)
    assert run_script(python, script, variables).endswith("all well\n")


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("client", ["0.51", pytest.param("0.49", marks=pytest.mark.thorough)])
def test_a_client_works_unmodified(server: ServerProcess, client: str) -> None:
    runs_well(client, SCRIPT, environment(server.url, f"client-{client}"))


@pytest.mark.slow
@pytest.mark.thorough
@pytest.mark.timeout(900)
@pytest.mark.parametrize("script", [SCRIPT, EXECUTOR_SCRIPT])
def test_client_0_46_works_where_the_names_of_the_cloud_lead_here(
    server: ServerProcess, script: Path, tmp_path: Path
) -> None:
    with cloud_takeover(server.url, tmp_path) as variables:
        runs_well("0.46", script, {"QISKIT_IBM_TOKEN": f"client-{script.stem}", **variables})


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.skipif(os.environ.get("ALL_CLIENTS") != "true", reason="make conformance runs the clients of 2025")
@pytest.mark.parametrize("channel", ["ibm_quantum_platform", "ibm_cloud"])
@pytest.mark.parametrize("client", ["0.40", "0.43"])
def test_clients_of_2025_work_on_both_of_their_channels(
    server: ServerProcess, client: str, channel: str, tmp_path: Path
) -> None:
    account = f"client-{client}-{channel}"
    with signed_in(server.url, account) as api:
        instance = api.get("/instances/usage").raise_for_status().json()["instance_id"]
    said = {"QISKIT_IBM_TOKEN": account, "QISKIT_IBM_CHANNEL": channel, "QISKIT_IBM_INSTANCE": instance}
    with cloud_takeover(server.url, tmp_path) as variables:
        runs_well(client, OLD_SCRIPT, said | variables)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    ("kind", "prefix"), [("ibm-quantum-compute-service", "QCS"), ("qiskit-runtime-service", "QRS")]
)
def test_qrmi_works_unmodified(server: ServerProcess, kind: str, prefix: str) -> None:
    account = f"qrmi-{prefix}"
    with signed_in(server.url, account) as client:
        instance = client.get("/instances/usage").raise_for_status().json()["instance_id"]
    variables = {
        "ENDPOINT": f"{server.url}/api/v1",
        "IAM_ENDPOINT": server.url,
        "IAM_APIKEY": account,
        "SERVICE_CRN": instance,
    }
    named = {f"fake_manila@aer_QRMI_IBM_{prefix}_{name}": value for name, value in variables.items()}
    job = {"QRMI_JOB_QPU_RESOURCES": "fake_manila@aer", "QRMI_JOB_QPU_TYPES": kind}
    runs_well("qrmi", QRMI_SCRIPT, named | job)
