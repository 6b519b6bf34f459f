"""`qiskit-runtime-operator crds apply` on a cluster with an older CRD, or none."""

import subprocess
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path

import pytest
import yaml

from kit.kubernetes.client import KubernetesClient, Manifest
from kit.kubernetes.operator_template import OperatorTemplate

ROOT = Path(__file__).parents[2]
Apply = Callable[[Path], "subprocess.CompletedProcess[str]"]


@pytest.fixture
def apply(control_plane: Path, template: OperatorTemplate) -> Apply:
    """Runs the command for a file."""
    return lambda file: template.run("crds", "apply", file, f"--kubeconfig={control_plane}")


def properties(manifest: Manifest) -> dict[str, object]:
    version, *_ = manifest["spec"]["versions"]
    found: dict[str, object] = version["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]
    return found


def test_fields_come_and_go_with_the_crd(
    kubernetes: KubernetesClient, definition: Manifest, apply: Apply, tmp_path: Path
) -> None:
    name = definition["metadata"]["name"]
    older = deepcopy(definition)
    properties(older)["gone"] = {"type": "string"}
    del properties(older)["suspend"]
    file = tmp_path / "older.yaml"
    file.write_text(yaml.safe_dump(older))
    assert apply(file).returncode == 0
    found = properties(kubernetes.get("CustomResourceDefinition", name))
    assert "gone" in found
    assert "suspend" not in found
    done = apply(ROOT / "crds" / "runtimeservers.yaml")
    assert (done.returncode, done.stdout.strip()) == (0, f"{name} is up to date")
    found = properties(kubernetes.get("CustomResourceDefinition", name))
    assert "gone" not in found
    assert "suspend" in found


def test_a_crd_that_is_not_there_is_for_an_administrator_to_make(
    definition: Manifest, apply: Apply, tmp_path: Path
) -> None:
    other = deepcopy(definition)
    other["metadata"]["name"] = "others.runtimeserver.dev"
    file = tmp_path / "other.yaml"
    file.write_text(yaml.safe_dump(other))
    done = apply(file)
    assert done.returncode == 1
    assert done.stderr.startswith("qiskit-runtime-operator: the CRD others.runtimeserver.dev is not installed")
    assert len(done.stderr.strip().splitlines()) == 1


def test_a_crd_that_makes_no_sense_is_refused_and_the_old_one_stays(
    kubernetes: KubernetesClient, definition: Manifest, apply: Apply, tmp_path: Path
) -> None:
    broken = deepcopy(definition)
    broken["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["type"] = "nonsense"
    file = tmp_path / "broken.yaml"
    file.write_text(yaml.safe_dump(broken))
    done = apply(file)
    assert done.returncode == 1
    assert "nonsense" in done.stderr
    found = kubernetes.get("CustomResourceDefinition", definition["metadata"]["name"])
    assert found["spec"]["versions"][0]["schema"] == definition["spec"]["versions"][0]["schema"]
