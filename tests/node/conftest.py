"""The node, the operator on it, and RuntimeServers: for tests that run.py has brought into namespaces of their own."""

import json
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from kit.kubernetes.binaries import KubernetesBinaries
from kit.kubernetes.client import KubernetesClient
from node.figures import Figures
from node.node import Node
from node.server_on_node import Lab

_FOLDER = os.environ.get("E2E_FOLDER")
_NAMESPACE = "research"


def pytest_configure(config: pytest.Config) -> None:
    """Let scripts be as users have them: the classes that most of these import are deprecated."""
    config.addinivalue_line("filterwarnings", "ignore:The (Sampler|Estimator)V2 class is deprecated:DeprecationWarning")


@pytest.fixture(scope="session")
def setup() -> dict[str, Any]:
    """What run.py has built."""
    assert _FOLDER
    document: dict[str, Any] = json.loads((Path(_FOLDER) / "setup.json").read_text())
    return document


@pytest.fixture(scope="session")
def figures(setup: dict[str, Any], request: pytest.FixtureRequest) -> Iterator[Figures]:
    """What the tests measure, printed at the end, and written to a page if all went well."""
    measured = Figures(image_sizes=setup["sizes"])
    yield measured
    measured.report(to=None if request.session.testsfailed else os.environ.get("E2E_REPORT"))


@pytest.fixture(scope="session")
def node(setup: dict[str, Any]) -> Iterator[Node]:
    """A node that is ready."""
    assert _FOLDER
    archives = {name: Path(path) for name, path in setup["archives"].items()}
    running = Node(
        Path(_FOLDER),
        archives,
        pause=setup["pause"],
        envoy=Path(setup["envoy"]),
        contour_crds=Path(setup["contour_crds"]),
    )
    running.start()
    yield running
    running.stop()


@pytest.fixture(scope="session")
def kubernetes(node: Node) -> Iterator[KubernetesClient]:
    """An administrator's client."""
    client = KubernetesClient(node.kubeconfig, namespace=_NAMESPACE)
    client.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": _NAMESPACE}})
    yield client
    client.close()


@pytest.fixture(scope="session")
def helm(node: Node) -> Callable[..., str]:
    """Run the real helm."""
    program = KubernetesBinaries().path("helm")

    def run(*arguments: str) -> str:
        environment = {**os.environ, "KUBECONFIG": str(node.kubeconfig)}
        done = subprocess.run([program, *arguments], env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


@pytest.fixture(scope="session")
def reaches(node: Node, kubernetes: KubernetesClient) -> Callable[..., bool]:
    """Return whether a pod of the server gets a connection to an address, tried from within."""
    program = KubernetesBinaries().path("kubectl")

    def ask(pod: str, host: str, port: int) -> bool:
        script = f"import socket; socket.create_connection(({host!r}, {port}), timeout=3)"
        done = subprocess.run(
            [
                program, f"--kubeconfig={node.kubeconfig}", f"--namespace={kubernetes.namespace}",
                "exec", pod, "--", "python3", "-c", script,
            ],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0 or "TimeoutError" in done.stderr or "ConnectionRefusedError" in done.stderr, done
        return done.returncode == 0

    return ask


@pytest.fixture
def operator(helm: Callable[..., str], setup: dict[str, Any], kubernetes: KubernetesClient) -> Callable[[], None]:
    """The chart, installed and running whatever the test before did; call it to install again."""

    def install() -> None:
        values = {"images.registry": "localhost", "images.tag": setup["tag"]}
        settings = [word for key, value in values.items() for word in ("--set-string", f"{key}={value}")]
        chart = "charts/qiskit-runtime-operator"
        helm(
            "upgrade", "--install", "qiskit-runtime-operator", chart, "--namespace", "qiskit-system",
            "--create-namespace", "--wait", "--timeout", "5m", *settings,
        )  # fmt: skip

    running = kubernetes.find("Deployment", "qiskit-runtime-operator", "qiskit-system")
    if running is None or not running.get("status", {}).get("readyReplicas"):
        install()
    return install


@pytest.fixture(scope="session")
def other_tag(setup: dict[str, Any], node: Node) -> str:
    """Another tag of the same images."""
    tag = f"{setup['tag']}-again"
    for image in setup["archives"]:
        if image.endswith(f":{setup['tag']}"):
            node.tag_image(image, f"{image}-again")
    return tag


@pytest.fixture(scope="session")
def laboratory(kubernetes: KubernetesClient, node: Node) -> Lab:
    """A place for a RuntimeServer, with volumes that it can claim."""
    return Lab(kubernetes, node)


@pytest.fixture
def lab(laboratory: Lab, operator: Callable[[], None], figures: Figures) -> Lab:  # noqa: ARG001 - it must be there
    """The RuntimeServer of the tutorial as it is there, available through the ingress."""
    took = laboratory.bring("tutorial.yaml")
    if took is not None:
        figures.add("kubectl apply to Available, images present", took, "s")
    return laboratory


@pytest.fixture
def clustered(laboratory: Lab, operator: Callable[[], None]) -> Lab:  # noqa: ARG001 - it must be there
    """The RuntimeServer on PostgreSQL instead of that of the tutorial."""
    laboratory.bring("postgresql.yaml")
    return laboratory
