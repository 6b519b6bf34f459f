"""Releases of the chart on a real control plane: what the operator may do, upgrades, and what is left."""

import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import yaml

from kit.kubernetes.audit import granted, refused, used
from kit.kubernetes.charts import CHART, rendered, run_helm, with_values
from kit.kubernetes.client import KubernetesClient, Manifest, eventually
from kit.kubernetes.local_pod import container_environment, run_container
from kit.kubernetes.operator_process import OperatorProcess
from kit.kubernetes.played_api import PlayedApi, live_pods, played_api, start_pods
from kit.kubernetes.ready_pods import ready_pods
from kit.kubernetes.runtime_servers import AER
from kit.ports import held_port
from qiskit_runtime_operator.render.credentials.keys_secret import keys_checksum

DEFINITION = "runtimeservers.runtimeserver.dev"
NAME = "rel-qiskit-runtime-operator"
# Kinds that the operator renders always, so that it prunes one only if another version made it.
KEPT = ("ConfigMap", "NetworkPolicy", "ServiceAccount", "ServiceMonitor")
API_VERSIONS = {
    "ConfigMap": "v1",
    "ServiceAccount": "v1",
    "NetworkPolicy": "networking.k8s.io/v1",
    "ServiceMonitor": "monitoring.coreos.com/v1",
}


@pytest.fixture(scope="module", autouse=True)
def optional_apis(control_plane: Path) -> None:
    """Let the cluster have the kinds that it need not have; what they mean does not matter here."""
    client = KubernetesClient(control_plane)
    for group, version, kind in (
        ("gateway.networking.k8s.io", "v1", "HTTPRoute"),
        ("monitoring.coreos.com", "v1", "ServiceMonitor"),
        ("resource.k8s.io", "v1", "ResourceClaimTemplate"),
        ("cert-manager.io", "v1", "Certificate"),
    ):
        if client.serves(kind):
            continue
        plural = f"{kind.lower()}s"
        schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
        versions = [{"name": version, "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}]
        names = {"kind": kind, "plural": plural}
        client.create(
            {
                "apiVersion": "apiextensions.k8s.io/v1",
                "kind": "CustomResourceDefinition",
                "metadata": {
                    "name": f"{plural}.{group}",
                    # The group of the Gateway API is protected.
                    "annotations": {"api-approved.kubernetes.io": "unapproved, for tests"},
                },
                "spec": {"group": group, "scope": "Namespaced", "names": names, "versions": versions},
            }
        )
    client.close()


@pytest.fixture
def other(kubernetes: KubernetesClient) -> Iterator[KubernetesClient]:
    """Return a client in another namespace than that of the release."""
    client = KubernetesClient(kubernetes.kubeconfig, namespace=f"{kubernetes.namespace}-labs")
    client.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": client.namespace}})
    yield client
    client.close()


class Release:
    """The release `rel` in the namespace of the test."""

    def __init__(self, helm: Path, kubernetes: KubernetesClient) -> None:
        self._helm = helm
        self._kubernetes = kubernetes

    def __call__(self, verb: str, *arguments: str | Path) -> str:
        where = f"--namespace={self._kubernetes.namespace}"
        done = run_helm(self._helm, *verb.split(), "rel", *arguments, where, kubeconfig=self._kubernetes.kubeconfig)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


@pytest.fixture
def release(helm: Path, kubernetes: KubernetesClient) -> Iterator[Release]:
    """Return what makes, changes and removes a release; nothing of it stays."""
    release = Release(helm, kubernetes)
    yield release
    release("uninstall", "--ignore-not-found")


def server(spec: Mapping[str, Any], name: str = "lab") -> Manifest:
    return {
        "apiVersion": "runtimeserver.dev/v1alpha1",
        "kind": "RuntimeServer",
        "metadata": {"name": name},
        "spec": {"executors": [dict(AER)], "auth": {"anonymous": True}, **spec},
    }


def stray(owner: Manifest, kind: str) -> Manifest:
    """Return an object of the operator's that it does not want any more."""
    reference = {key: owner[key] for key in ("apiVersion", "kind")}
    reference |= {"name": owner["metadata"]["name"], "uid": owner["metadata"]["uid"], "controller": True}
    labels = {"app.kubernetes.io/managed-by": "qiskit-runtime-operator", "app.kubernetes.io/instance": "lab"}
    manifest = {
        "apiVersion": API_VERSIONS[kind],
        "kind": kind,
        "metadata": {"name": "stray", "labels": labels, "ownerReferences": [reference]},
    }
    return {**manifest, "spec": {"podSelector": {}}} if kind == "NetworkPolicy" else manifest


@pytest.mark.parametrize("cluster_wide", [True, False])
def test_the_operator_uses_each_right_that_it_is_given_and_needs_no_other(
    release: Release, kubernetes: KubernetesClient, other: KubernetesClient, tmp_path: Path, *, cluster_wide: bool
) -> None:
    values = {"monitoringNamespaces": ["monitoring"], "namespaces": [] if cluster_wide else [other.namespace]}
    release("install", CHART, with_values(values, tmp_path))
    (pod, *_) = eventually(lambda: kubernetes.list("Pod"))
    eventually(
        lambda: all(
            other.serves(kind)
            for kind in ("RuntimeServer", "HTTPRoute", "ServiceMonitor", "ResourceClaimTemplate", "Certificate")
        )
    )
    with played_api() as api, held_port() as health, held_port() as metrics:
        environment = container_environment(kubernetes, pod, tmp_path) | {"QRO_LOAD_URL": api.url}
        operator = OperatorProcess(pod["metadata"]["name"], (health, metrics), environment, tmp_path / "log")
        try:
            operator.wait_until_leading()
            assert helm_test(kubernetes, release, operator) == "1 of 1 operators work\n"
            lead_through_everything(other, api)
        finally:
            operator.stop()
    account = f"{kubernetes.namespace}:{NAME}"
    assert refused(kubernetes.kubeconfig, account) == []
    assert used(kubernetes.kubeconfig, account) == granted(kubernetes, NAME)


def helm_test(kubernetes: KubernetesClient, release: Release, operator: OperatorProcess) -> str:
    """Do what the pod of `helm test` does, here in place of the operators' Service, and return what it says."""
    hooks = yaml.safe_load_all(release("get hooks"))
    (pod,) = [hook for hook in hooks if hook["kind"] == "Pod"]
    (container,) = pod["spec"]["containers"]
    script, service = container["args"]
    assert kubernetes.get("Service", service)["spec"]["ports"][0]["port"] == 9090
    script = script.replace("9090", operator.metrics.rpartition(":")[2].removesuffix("/metrics"))
    command = [sys.executable, *container["command"][1:], script, "127.0.0.1"]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def lead_through_everything(cluster: KubernetesClient, api: PlayedApi) -> None:
    """Have a RuntimeServer made, changed, repaired and scaled so that each kind is written and pruned."""
    executors = [dict(AER), {"name": "second", "type": "own", "gpu": {"claims": {"deviceClassName": "gpus"}}}]
    # Nobody places the pods; the test says what becomes of them.
    unplaced = {"podTemplate": {"schedulerName": "nobody"}}
    made = cluster.create(server({"executors": executors, "ingress": {"host": "lab.example.org"}, **unplaced}))
    eventually(lambda: cluster.find("Ingress", "lab-api") and cluster.find("Deployment", "lab-executor-second"))
    eventually(lambda: cluster.get("RuntimeServer", "lab").get("status", {}).get("conditions"))
    claimed = cluster.get("RuntimeServer", "lab")["status"]["operator"]
    gone = {"status": {"operator": f"{cluster.namespace}/gone"}}
    cluster.merge("RuntimeServer", "lab", gone, "status")
    eventually(lambda: cluster.get("RuntimeServer", "lab")["status"]["operator"] == claimed)
    for kind in KEPT:
        cluster.create(stray(made, kind))
    gateway = {"ingress": None, "gateway": {"parentRefs": [{"name": "public"}]}, "executors": [dict(AER)]}
    cluster.merge("RuntimeServer", "lab", {"spec": gateway})
    eventually(lambda: not cluster.find("Ingress", "lab-api") and not cluster.find("Deployment", "lab-executor-second"))
    eventually(lambda: cluster.find("HTTPRoute", "lab-api"))
    cluster.merge("RuntimeServer", "lab", {"spec": {"gateway": None}})
    eventually(lambda: not cluster.find("HTTPRoute", "lab-api"))
    eventually(lambda: not [kind for kind in KEPT if cluster.find(kind, "stray")])
    cluster.merge("RuntimeServer", "lab", {"spec": {"tls": {"executors": {"issuerRef": {"name": "own"}}}}})
    eventually(lambda: cluster.find("Certificate", "lab-api-certificate"))
    cluster.merge("RuntimeServer", "lab", {"spec": {"tls": None}})
    eventually(lambda: not cluster.find("Certificate", "lab-api-certificate"))
    change_keys(cluster)
    scale_down(cluster, api)


def change_keys(cluster: KubernetesClient) -> None:
    """Ask for other keys, and wait until all pods have them."""
    cluster.merge("RuntimeServer", "lab", {"metadata": {"annotations": {"runtimeserver.dev/rotate-keys": "now"}}})
    changed, checksum = "runtimeserver.dev/keys-changed-at", "runtimeserver.dev/keys-checksum"
    with ready_pods(cluster):
        eventually(lambda: changed in cluster.get("Secret", "lab-keys")["metadata"].get("annotations", {}))
        wanted = keys_checksum(cluster.get("Secret", "lab-keys"))
        eventually(lambda: [pod["metadata"]["annotations"][checksum] for pod in cluster.list("Pod")] == [wanted] * 2)


def scale_down(cluster: KubernetesClient, api: PlayedApi) -> None:
    """Have an executor get two pods and lose the one without a job."""
    executor = {**AER, "autoscale": {"minReplicas": 1, "maxReplicas": 2, "idleSeconds": 0}}
    cluster.merge("RuntimeServer", "lab", {"spec": {"executors": [executor]}})
    start_pods(cluster, "api", "10.9.2.1")
    api.play()
    eventually(lambda: len(live_pods(cluster, "executor")) == 1)
    api.play(queued=2)
    _, busy = start_pods(cluster, "executor", "10.9.2.2", "10.9.2.3")
    api.play(running=1, pods={"10.9.2.2": 0, "10.9.2.3": 1})
    eventually(lambda: live_pods(cluster, "executor") == [busy])


@pytest.fixture
def older_chart(tmp_path: Path) -> Path:
    """Return the chart as an older version had it: its RuntimeServers could not be suspended, but painted."""
    chart = tmp_path / "older" / CHART.name
    shutil.copytree(CHART, chart)
    definition = yaml.safe_load((chart / "crds" / "runtimeservers.yaml").read_text())
    spec = definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]
    del spec["suspend"]
    spec["colour"] = {"type": "string"}
    (chart / "crds" / "runtimeservers.yaml").write_text(yaml.safe_dump(definition))
    about = yaml.safe_load((chart / "Chart.yaml").read_text())
    (chart / "Chart.yaml").write_text(yaml.safe_dump({**about, "version": "0.0.1"}))
    return chart


def fields(kubernetes: KubernetesClient) -> set[str]:
    version, *_ = kubernetes.get("CustomResourceDefinition", DEFINITION)["spec"]["versions"]
    return set(version["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"])


def finish_hook(kubernetes: KubernetesClient, folder: Path) -> "subprocess.CompletedProcess[str]":
    """Do what a node would: run the pod of the hook's Job, and say how that went."""

    def pods() -> list[Manifest]:
        return [pod for pod in kubernetes.list("Pod") if pod["spec"]["serviceAccountName"] == f"{NAME}-crds"]

    (pod,) = eventually(pods, 60)
    done = run_container(kubernetes, pod, folder)
    phase = {"status": {"phase": "Failed" if done.returncode else "Succeeded"}}
    kubernetes.merge("Pod", pod["metadata"]["name"], phase, "status")
    return done


def test_an_upgrade_brings_the_definition_up_to_date_and_uninstalling_leaves_all_that_is_the_users(
    release: Release, kubernetes: KubernetesClient, older_chart: Path, tmp_path: Path
) -> None:
    if kubernetes.find("CustomResourceDefinition", DEFINITION):
        kubernetes.delete("CustomResourceDefinition", DEFINITION)
        eventually(lambda: not kubernetes.find("CustomResourceDefinition", DEFINITION))
    release("install", older_chart)
    assert {"colour"} == fields(kubernetes) & {"colour", "suspend"}
    eventually(lambda: kubernetes.serves("RuntimeServer"))
    kubernetes.create(server({}))
    kubernetes.create(claim())
    folder = tmp_path / "hook"
    folder.mkdir()
    with ThreadPoolExecutor(1) as threads:
        upgrade = threads.submit(release, "upgrade", CHART)
        hook = finish_hook(kubernetes, folder)
        upgrade.result()
    assert hook.stdout == f"{DEFINITION} is up to date\n", hook.stderr
    assert {"suspend"} == fields(kubernetes) & {"colour", "suspend"}
    account = f"{kubernetes.namespace}:{NAME}-crds"
    assert refused(kubernetes.kubeconfig, account) == []
    assert {right.verb for right in used(kubernetes.kubeconfig, account)} == {"get", "update"}
    assert not [role for role in kubernetes.list("ClusterRole") if role["metadata"]["name"] == f"{NAME}-crds"]

    release("uninstall")
    assert kubernetes.find("Deployment", NAME) is None
    assert kubernetes.get("RuntimeServer", "lab")["spec"]["suspend"] is False
    assert kubernetes.get("PersistentVolumeClaim", "lab-data")


def claim() -> Manifest:
    spec = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
    metadata = {"name": "lab-data", "labels": {"runtimeserver.dev/data-of": "lab"}}
    return {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": metadata, "spec": spec}


def test_the_hook_has_no_right_to_any_other_definition(helm: Path, tmp_path: Path) -> None:
    (role,) = [
        item
        for item in rendered(helm, tmp_path, None, "--is-upgrade")
        if item["kind"] == "ClusterRole" and item["metadata"]["name"].endswith("-crds")
    ]
    (rule,) = role["rules"]
    assert rule["resourceNames"] == [DEFINITION]


def allowed(kubernetes: KubernetesClient, user: str, verb: str, resource: str) -> bool:
    attributes = {"namespace": kubernetes.namespace, "group": "runtimeserver.dev", "resource": resource, "verb": verb}
    review = {"spec": {"user": user, "resourceAttributes": attributes}}
    answer = kubernetes.call("POST", "/apis/authorization.k8s.io/v1/subjectaccessreviews", review)
    return bool(answer["status"]["allowed"])


def test_who_may_view_a_namespace_sees_its_runtime_servers_and_who_may_edit_it_makes_them(
    release: Release, kubernetes: KubernetesClient
) -> None:
    release("install", CHART)
    for role in ("view", "edit", "admin"):
        kubernetes.create(
            {
                "apiVersion": "rbac.authorization.k8s.io/v1",
                "kind": "RoleBinding",
                "metadata": {"name": role},
                "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role},
                "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": role}],
            }
        )
    for user in ("view", "edit", "admin"):
        eventually(lambda user=user: allowed(kubernetes, user, "list", "runtimeservers"))  # type: ignore[misc]
    for user in ("edit", "admin"):
        eventually(lambda user=user: allowed(kubernetes, user, "create", "runtimeservers"))  # type: ignore[misc]
        assert allowed(kubernetes, user, "update", "runtimeservers/scale")
        assert not allowed(kubernetes, user, "patch", "runtimeservers/status")
    assert not allowed(kubernetes, "view", "create", "runtimeservers")
