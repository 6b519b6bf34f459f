"""The chart, and what the real helm makes of it."""

import subprocess
from pathlib import Path
from typing import Any

import yaml

from kit import ROOT
from kit.kubernetes.client import Manifest

# Without a cluster, helm assumes the version that it was built with, which is none if that was not said.
KUBE_VERSION = "--kube-version=1.33.0"
CHART = ROOT / "charts" / "qiskit-runtime-operator"


def run_helm(helm: Path, *arguments: str | Path, kubeconfig: Path | None = None) -> "subprocess.CompletedProcess[str]":
    """Run helm; it has 100 s."""
    cluster = [f"--kubeconfig={kubeconfig}"] if kubeconfig else []
    return subprocess.run([helm, *cluster, *arguments], capture_output=True, text=True, check=False, timeout=100)


def with_values(values: Manifest, folder: Path) -> str:
    """Return the option that passes the values."""
    path = folder / "values.yaml"
    path.write_text(yaml.safe_dump(values))
    return f"--values={path}"


def rendered(helm: Path, folder: Path, values: Manifest | None = None, *options: str) -> list[Manifest]:
    """Return the manifests that the chart makes, hooks included."""
    command: list[str | Path] = [
        "template",
        "rel",
        CHART,
        "--namespace=qiskit-system",
        KUBE_VERSION,
        with_values(values or {}, folder),
        *options,
    ]
    done = run_helm(helm, *command)
    assert done.returncode == 0, done.stderr
    return [manifest for manifest in yaml.safe_load_all(done.stdout) if manifest]


def pod_of(manifest: Manifest) -> Manifest | None:
    """Return the specification of the pods that an object makes or is."""
    spec: Any = manifest.get("spec", {})
    if manifest["kind"] == "Pod":
        return dict(spec)
    return dict(spec["template"]["spec"]) if "template" in spec else None
