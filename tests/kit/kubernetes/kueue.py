"""Kueue at work on a control plane: what its own chart installs, and its manager as a process on loopback."""

import subprocess
from base64 import b64decode
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Final

import httpx
import yaml

from kit.kubernetes.binaries import KubernetesBinaries
from kit.kubernetes.charts import run_helm
from kit.kubernetes.client import KubernetesClient, Manifest, eventually
from kit.ports import held_port

PROGRAM: Final = "kueue"
_MODULE: Final = "sigs.k8s.io/kueue"
_NAMESPACE: Final = "kueue-system"
_CERTIFICATE: Final = f"/api/v1/namespaces/{_NAMESPACE}/secrets/kueue-webhook-server-cert"
_SERVICE: Final = "kueue-webhook-service"
# The rest of the chart is for its pod.
_INSTALLED: Final = {
    "Secret": f"/api/v1/namespaces/{_NAMESPACE}/secrets",
    "CustomResourceDefinition": "/apis/apiextensions.k8s.io/v1/customresourcedefinitions",
    "MutatingWebhookConfiguration": "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations",
    "ValidatingWebhookConfiguration": "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations",
}
_API: Final = "kueue.x-k8s.io/v1beta2"
_FLAVOR: Final = "any"
_START_SECONDS: Final = 120


@contextmanager
def running_kueue(kueue: Path, kubeconfig: Path, helm: Path, folder: Path, frameworks: Sequence[str]) -> Iterator[None]:
    """Install Kueue, which lasts as long as the cluster, and run it until the context ends.

    Args:
        kueue: The program.
        kubeconfig: An administrator's.
        helm: The program that renders its chart.
        folder: Where its files are.
        frameworks: What it manages: `integrations.frameworks` of its configuration.
    """
    shipped = KubernetesBinaries(PROGRAM).shipped(_MODULE, "charts/kueue")
    chart = run_helm(helm, "template", PROGRAM, shipped, f"--namespace={_NAMESPACE}")
    assert chart.returncode == 0, chart.stderr
    manifests = [manifest for manifest in yaml.safe_load_all(chart.stdout) if manifest]
    with held_port() as health, held_port() as webhook, closing(KubernetesClient(kubeconfig)) as kubernetes:
        configuration = _configuration(manifests, folder, frameworks, health, webhook)
        _install(kubernetes, manifests, webhook)
        with (folder / "kueue.log").open("ab") as log:
            arguments = (f"--config={configuration}", f"--kubeconfig={kubeconfig}")
            # The API server would need a Service with its address to show what is pending.
            features = "--feature-gates=VisibilityOnDemand=false"
            process = subprocess.Popen([kueue, *arguments, features], stdout=log, stderr=log)
        try:
            _mount_certificate(kubernetes, folder)
            eventually(lambda: _is_ready(process, health, folder), _START_SECONDS)
            kubernetes.call("POST", f"/apis/{_API}/resourceflavors", _object("ResourceFlavor", _FLAVOR, {}))
            yield
        finally:
            process.terminate()
            process.wait()


def offer(kubernetes: KubernetesClient, name: str, *, pods: int) -> None:
    """Make a LocalQueue in the client's namespace, with a ClusterQueue of its own that has a quota of pods."""
    quota = [{"name": _FLAVOR, "resources": [{"name": "pods", "nominalQuota": pods}]}]
    spec = {"namespaceSelector": {}, "resourceGroups": [{"coveredResources": ["pods"], "flavors": quota}]}
    whole = f"{kubernetes.namespace}-{name}"
    kubernetes.call("POST", f"/apis/{_API}/clusterqueues", _object("ClusterQueue", whole, spec))
    path = f"/apis/{_API}/namespaces/{kubernetes.namespace}/localqueues"
    kubernetes.call("POST", path, _object("LocalQueue", name, {"clusterQueue": whole}))


def set_quota(kubernetes: KubernetesClient, name: str, *, pods: int) -> None:
    """Give a queue another quota."""
    quota = "/spec/resourceGroups/0/flavors/0/resources/0/nominalQuota"
    path = f"/apis/{_API}/clusterqueues/{kubernetes.namespace}-{name}"
    kubernetes.call("PATCH", path, [{"op": "replace", "path": quota, "value": pods}], "application/json-patch+json")


def _object(kind: str, name: str, spec: Mapping[str, Any]) -> Manifest:
    return {"apiVersion": _API, "kind": kind, "metadata": {"name": name}, "spec": spec}


def _configuration(
    manifests: Sequence[Manifest], folder: Path, frameworks: Sequence[str], health: int, webhook: int
) -> Path:
    """Write the chart's configuration, but for where it listens and what it manages."""
    (given,) = (manifest["data"] for manifest in manifests if manifest["kind"] == "ConfigMap")
    (text,) = given.values()
    configuration = yaml.safe_load(text) | {
        "namespace": _NAMESPACE,
        "health": {"healthProbeBindAddress": f"127.0.0.1:{health}"},
        "metrics": {"bindAddress": "0"},
        "webhook": {"host": "127.0.0.1", "port": webhook, "certDir": str(folder / "certificate")},
        "leaderElection": {"leaderElect": False},
        "integrations": {"frameworks": list(frameworks)},
    }
    path = folder / "kueue.yaml"
    path.write_text(yaml.safe_dump(configuration))
    return path


def _install(kubernetes: KubernetesClient, manifests: Sequence[Manifest], webhook: int) -> None:
    kubernetes.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": _NAMESPACE}})
    # Without a network for Services, the API server gets to a process by this name.
    service = {"type": "ExternalName", "externalName": "localhost"}
    head = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": _SERVICE, "namespace": _NAMESPACE}}
    kubernetes.create({**head, "spec": service})
    for manifest in manifests:
        if path := _INSTALLED.get(manifest["kind"]):
            kubernetes.call("POST", path, _at_port(manifest, webhook))


def _at_port(part: Any, port: int) -> Any:  # noqa: ANN401 - any part of a manifest
    """Return a part of a manifest in which all references to the Service name a port."""
    if isinstance(part, list):
        return [_at_port(item, port) for item in part]
    if not isinstance(part, dict):
        return part
    asked = {"port": port} if part.get("name") == _SERVICE else {}
    return {key: _at_port(value, port) for key, value in part.items()} | asked


def _mount_certificate(kubernetes: KubernetesClient, folder: Path) -> None:
    """Do what a kubelet would: write the certificate, which Kueue makes, where Kueue looks for it."""
    data = eventually(lambda: kubernetes.call("GET", _CERTIFICATE).get("data"), _START_SECONDS)
    (folder / "certificate").mkdir()
    for name, value in data.items():
        (folder / "certificate" / name).write_bytes(b64decode(value))


def _is_ready(process: "subprocess.Popen[bytes]", port: int, folder: Path) -> bool:
    if process.poll() is not None:
        raise RuntimeError(f"Kueue ended with {process.returncode}:\n{(folder / 'kueue.log').read_text()}")
    try:
        return httpx.get(f"http://127.0.0.1:{port}/readyz").is_success
    except httpx.TransportError:
        return False
