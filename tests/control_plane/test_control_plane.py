"""The control plane that the other tests rely on works as a cluster does, and ends with those who started it."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from kit import environment
from kit.kubernetes.binaries import KubernetesBinaries
from kit.kubernetes.client import KubernetesClient, RefusedError, eventually
from kit.kubernetes.control_plane import running_control_plane

STARTER = """
import sys, time
from kit.kubernetes.control_plane import running_control_plane
with running_control_plane(sys.argv[1]) as kubeconfig:
    print(kubeconfig, flush=True)
    time.sleep(600)
"""


def deployment(name: str, replicas: int = 1) -> dict[str, object]:
    labels = {"app": name}
    container = {"name": "main", "image": "none.invalid/none"}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [container]}}
    spec = {"replicas": replicas, "selector": {"matchLabels": labels}, "template": template}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name}, "spec": spec}


def test_it_reports_the_version_that_was_asked_for(
    kubernetes: KubernetesClient, kubernetes_binaries: KubernetesBinaries
) -> None:
    if "KUBEBUILDER_ASSETS" in os.environ:
        pytest.skip("KUBEBUILDER_ASSETS says which version it is")
    assert kubernetes.call("GET", "/version")["gitVersion"] == f"v{kubernetes_binaries.version}"


def test_a_deployment_gets_pods_that_wait_for_a_node(kubernetes: KubernetesClient) -> None:
    kubernetes.apply(deployment("lab", replicas=2))
    pods = eventually(lambda: len(found := kubernetes.list("Pod", selector="app=lab")) == 2 and found)
    assert pods

    def reasons() -> bool:
        conditions = [pod["status"].get("conditions", []) for pod in kubernetes.list("Pod", selector="app=lab")]
        return all(any(c.get("reason") == "Unschedulable" for c in each) for each in conditions)

    eventually(reasons)


def test_what_is_owned_goes_with_its_owner(kubernetes: KubernetesClient) -> None:
    kubernetes.apply(deployment("lab"))
    eventually(lambda: kubernetes.list("ReplicaSet"))
    kubernetes.delete("Deployment", "lab")
    eventually(lambda: not kubernetes.list("ReplicaSet") and not kubernetes.list("Pod"))


def test_a_field_of_another_manager_is_not_taken_without_force(kubernetes: KubernetesClient) -> None:
    kubernetes.apply(deployment("lab", replicas=1), "first")
    with pytest.raises(RefusedError, match='conflict with "first"') as refused:
        kubernetes.apply(deployment("lab", replicas=2), "second")
    assert refused.value.code == 409
    kubernetes.apply(deployment("lab", replicas=2), "second", force=True)


def test_it_ends_with_tests_that_are_killed(kubernetes_binaries: KubernetesBinaries) -> None:
    starter = subprocess.Popen(
        [sys.executable, "-c", STARTER, kubernetes_binaries.release],
        env=environment(),
        stdout=subprocess.PIPE,
        text=True,
    )
    assert starter.stdout
    folder = Path(starter.stdout.readline().strip()).parent
    assert (folder / "etcd").exists()
    starter.send_signal(signal.SIGKILL)
    starter.wait()
    starter.stdout.close()
    # Each of the four processes has ten seconds to end.
    eventually(lambda: not folder.exists(), 60)
    assert str(folder) not in commands()


def test_nothing_is_left_when_it_does_not_start(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "etcd").write_text("#!/bin/sh\necho no disk; exit 3\n")
    (tmp_path / "etcd").chmod(0o755)
    for name in ("kube-apiserver", "kube-controller-manager", "kube-scheduler"):
        (tmp_path / name).symlink_to("/bin/true")
    monkeypatch.setenv("KUBEBUILDER_ASSETS", str(tmp_path))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    began = time.monotonic()
    with pytest.raises(RuntimeError, match="did not start"), running_control_plane():
        pass
    assert time.monotonic() - began < 60
    assert not list(tmp_path.glob("control-plane-*"))


def commands() -> str:
    """Return the command lines of all processes."""
    return subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout
