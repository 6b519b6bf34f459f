"""The examples are taken by a real API server, with no field that it does not know, and are rendered."""

from pathlib import Path

import pytest
import yaml

from kit.kubernetes.client import KubernetesClient
from kit.kubernetes.runtime_servers import render_context
from qiskit_runtime_operator.render import render
from qiskit_runtime_operator.resource.model import RuntimeServer

EXAMPLES = Path(__file__).parents[2] / "examples" / "kubernetes"


@pytest.mark.usefixtures("definition")
@pytest.mark.parametrize("name", sorted(path.name for path in EXAMPLES.glob("*.yaml")))
def test_an_example_is_taken_and_rendered(kubernetes: KubernetesClient, name: str) -> None:
    for manifest in yaml.safe_load_all((EXAMPLES / name).read_text()):
        if manifest["kind"] == "RuntimeServer":
            path = f"/apis/runtimeserver.dev/v1alpha1/namespaces/{kubernetes.namespace}/runtimeservers"
            stored = kubernetes.call("POST", f"{path}?fieldValidation=Strict", manifest)
            assert render(RuntimeServer.from_object(stored), render_context())
        else:
            kubernetes.create(manifest)
