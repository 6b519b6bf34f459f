"""Operators on a control plane that all modules of a process share."""

import secrets
from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from kit import ROOT
from kit.faults.api_server_proxy import ApiServerProxy, running_proxy
from kit.kubernetes.binaries import KubernetesBinaries
from kit.kubernetes.client import KubernetesClient, Manifest, eventually
from kit.kubernetes.control_plane import running_control_plane
from kit.kubernetes.lab import Lab
from kit.kubernetes.operator_process import OperatorProcess, StartOperator, StartProcess, run_command, running_operator
from kit.kubernetes.operator_template import OperatorTemplate

DEFINITION = ROOT / "crds" / "runtimeservers.yaml"


@pytest.fixture(scope="package")
def control_plane(kubernetes_binaries: KubernetesBinaries) -> Iterator[Path]:
    """The administrator's kubeconfig."""
    with running_control_plane(kubernetes_binaries.release, definitions=[DEFINITION]) as kubeconfig:
        yield kubeconfig


@pytest.fixture(scope="package")
def definition(control_plane: Path) -> Manifest:
    """The CustomResourceDefinition of RuntimeServers, in force."""
    manifest: Manifest = yaml.safe_load(DEFINITION.read_text())
    with closing(KubernetesClient(control_plane)) as client:
        eventually(lambda: client.serves("RuntimeServer"))
    return manifest


@pytest.fixture(scope="package")
def template() -> Iterator[OperatorTemplate]:
    with OperatorTemplate() as template:
        yield template


@pytest.fixture
def start_operator(
    kubernetes: KubernetesClient,
    definition: Manifest,  # noqa: ARG001 - it has to be there
    template: OperatorTemplate,
    tmp_path: Path,
) -> Iterator[StartOperator]:
    """Starts operators as forks of a template."""
    yield from _starting(kubernetes, tmp_path, template.start)


@pytest.fixture
def start_command(
    kubernetes: KubernetesClient,
    definition: Manifest,  # noqa: ARG001 - it has to be there
    tmp_path: Path,
) -> Iterator[StartOperator]:
    """Starts operators by their command, for tests of what that does."""
    yield from _starting(kubernetes, tmp_path, run_command)


def _starting(kubernetes: KubernetesClient, folder: Path, how: StartProcess) -> Iterator[StartOperator]:
    with ExitStack() as stack:

        def start(name: str = "operator-0", **environment: str) -> OperatorProcess:
            log = folder / f"{name}.log"
            return stack.enter_context(running_operator(kubernetes, log, name, how, **environment))

        yield start
    for log in sorted(folder.glob("*.log")):
        print(f"== {log.name}\n{log.read_text()}")


@pytest.fixture
def own_lab(kubernetes: KubernetesClient, start_operator: StartOperator) -> Lab:
    """A RuntimeServer in a namespace with an operator of its own."""
    operator = start_operator()
    operator.wait_until_leading()
    return Lab(kubernetes=kubernetes, operator=operator)


@pytest.fixture(scope="package")
def shared_lab(
    control_plane: Path,
    definition: Manifest,  # noqa: ARG001 - it has to be there
    template: OperatorTemplate,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Lab]:
    log = tmp_path_factory.mktemp("shared") / "operator.log"
    with closing(KubernetesClient(control_plane, namespace="labs")) as client:
        client.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": client.namespace}})
        with running_operator(client, log, start=template.start) as operator:
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
