"""Operators on the control plane."""

import secrets
from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import replace
from pathlib import Path

import pytest

from kit.faults.api_server_proxy import ApiServerProxy, running_proxy
from kit.kubernetes.client import KubernetesClient, Manifest
from kit.kubernetes.lab import Lab
from kit.kubernetes.operator_process import OperatorProcess, StartOperator, running_operator


@pytest.fixture
def start_operator(
    kubernetes: KubernetesClient,
    definition: Manifest,  # noqa: ARG001 - it has to be there
    tmp_path: Path,
) -> Iterator[StartOperator]:
    with ExitStack() as stack:

        def start(name: str = "operator-0", **environment: str) -> OperatorProcess:
            return stack.enter_context(running_operator(kubernetes, tmp_path / f"{name}.log", name, **environment))

        yield start
    for log in sorted(tmp_path.glob("*.log")):
        print(f"== {log.name}\n{log.read_text()}")


@pytest.fixture
def own_lab(kubernetes: KubernetesClient, start_operator: StartOperator) -> Lab:
    """A RuntimeServer in a namespace with an operator of its own."""
    operator = start_operator()
    operator.wait_until_leading()
    return Lab(kubernetes=kubernetes, operator=operator)


@pytest.fixture(scope="session")
def shared_lab(
    control_plane: Path,
    definition: Manifest,  # noqa: ARG001 - it has to be there
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Lab]:
    log = tmp_path_factory.mktemp("shared") / "operator.log"
    with closing(KubernetesClient(control_plane, namespace="labs")) as client:
        client.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": client.namespace}})
        with running_operator(client, log) as operator:
            operator.wait_until_leading()
            yield Lab(kubernetes=client, operator=operator)


@pytest.fixture
def lab(shared_lab: Lab) -> Iterator[Lab]:
    """A RuntimeServer in a namespace with an operator that other tests use, too."""
    log = shared_lab.operator.log
    before = log.stat().st_size
    lab = replace(shared_lab, name=f"lab-{secrets.token_hex(3)}")
    yield lab
    if lab.kubernetes.find("RuntimeServer", lab.name):
        lab.kubernetes.delete("RuntimeServer", lab.name)
    print(log.read_text()[before:])


@pytest.fixture
def proxy(control_plane: Path, tmp_path: Path) -> Iterator[ApiServerProxy]:
    """A proxy in front of the API server; operators that are given KUBECONFIG=proxy.kubeconfig go through it."""
    with running_proxy(control_plane, tmp_path / "proxy.kubeconfig") as proxy:
        yield proxy
