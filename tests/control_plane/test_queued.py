"""Executors whose pods Kueue holds back, on a real API server with the real Kueue."""

import secrets
from collections.abc import Iterator
from contextlib import closing
from functools import partial
from pathlib import Path

import pytest
import yaml

from kit import ROOT
from kit.kubernetes.binaries import KubernetesBinaries
from kit.kubernetes.client import KubernetesClient, Manifest, eventually, unchanged
from kit.kubernetes.control_plane import running_control_plane
from kit.kubernetes.kueue import offer, running_kueue, set_quota
from kit.kubernetes.lab import AER, Lab
from kit.kubernetes.operator_process import running_operator

GATE = "kueue.x-k8s.io/admission"
QUEUE = "kueue.x-k8s.io/queue-name"
WAITS = "waits for Kueue to admit it to the queue research"


@pytest.fixture(scope="module", params=[("pod",), ("pod", "deployment")], ids="-".join)
def queued_cluster(
    request: pytest.FixtureRequest,
    kubernetes_binaries: KubernetesBinaries,
    helm: Path,
    kueue: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Path]:
    """The administrator's kubeconfig of a cluster with RuntimeServers and Kueue, which manages these frameworks."""
    folder = tmp_path_factory.mktemp("kueue")
    with running_control_plane(kubernetes_binaries.release) as kubeconfig:
        with closing(KubernetesClient(kubeconfig)) as client:
            client.apply(yaml.safe_load((ROOT / "crds" / "runtimeservers.yaml").read_text()))
            eventually(lambda: client.serves("RuntimeServer"))
        with running_kueue(kueue, kubeconfig, helm, folder, request.param):
            yield kubeconfig
        print((folder / "kueue.log").read_text())


@pytest.fixture
def queued_lab(queued_cluster: Path, tmp_path: Path) -> Iterator[Lab]:
    with closing(KubernetesClient(queued_cluster, namespace=f"test-{secrets.token_hex(4)}")) as client:
        client.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": client.namespace}})
        with running_operator(client, tmp_path / "operator.log") as operator:
            operator.wait_until_leading()
            yield Lab(kubernetes=client, operator=operator)
        print((tmp_path / "operator.log").read_text())
        client.delete("Namespace", client.namespace)


def pods(lab: Lab, executor: str) -> list[Manifest]:
    """Return the pods of an executor that nobody has deleted."""
    found = lab.kubernetes.list("Pod", selector=f"runtimeserver.dev/executor={executor}")
    return [pod for pod in found if "deletionTimestamp" not in pod["metadata"]]


def message(lab: Lab, executor: str) -> str:
    (status,) = (status for status in lab.settled()["executors"] if status["name"] == executor)
    return str(status.get("message", ""))


def is_admitted(lab: Lab, executor: str, queue: str | None) -> bool:
    """Tell whether an executor's Deployment belongs to a queue, and the scheduler knows the only pod that does."""
    deployment = lab.find("Deployment", f"executor-{executor}")
    found = pods_in(lab, executor, queue)
    if deployment is None or deployment["metadata"]["labels"].get(QUEUE) != queue or len(found) != 1:
        return False
    return "Unschedulable" in [condition.get("reason") for condition in found[0]["status"].get("conditions", ())]


def pods_in(lab: Lab, executor: str, queue: str | None) -> list[Manifest]:
    return [pod for pod in pods(lab, executor) if pod["metadata"]["labels"].get(QUEUE) == queue]


def become_ready(lab: Lab, executor: str, queue: str | None) -> None:
    """Do what a kubelet would to the only pod of an executor in a queue, and wait until its Deployment knows."""
    (pod,) = pods_in(lab, executor, queue)
    status = {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}
    lab.kubernetes.merge("Pod", pod["metadata"]["name"], {"status": status}, "status")

    def known() -> bool:
        counts = lab.part("Deployment", f"executor-{executor}")["status"]
        return bool(counts.get("readyReplicas") == counts.get("updatedReplicas") == counts.get("replicas") == 1)

    eventually(known)


def test_the_queue_is_named_at_the_deployment_and_its_pods(own_lab: Lab) -> None:
    for queue in ("research", "teaching", None):
        own_lab.apply(executors=[{**AER, "queueName": queue} if queue else AER])
        eventually(partial(pods_in, own_lab, "aer", queue))
        deployment = own_lab.part("Deployment", "executor-aer")
        labels = deployment["metadata"]["labels"], deployment["spec"]["template"]["metadata"]["labels"]
        assert [found.get(QUEUE) for found in labels] == [queue, queue]


@pytest.mark.thorough
def test_pods_wait_for_their_queue_and_the_status_says_so(queued_lab: Lab) -> None:
    lab = queued_lab
    offer(lab.kubernetes, "research", pods=1)
    lab.apply(executors=[{**AER, "queueName": "research"}])
    # The queue has room for one pod: its gate is taken away, and the scheduler has its say.
    eventually(lambda: "no nodes available" in message(lab, "aer"))
    lab.apply(executors=[{**AER, "queueName": "research"}, {"name": "other", "type": "aer", "queueName": "research"}])
    eventually(lambda: message(lab, "other") == WAITS)
    (pod,) = pods(lab, "other")
    assert GATE in [gate["name"] for gate in pod["spec"]["schedulingGates"]]
    assert f"{lab.name}-executor-other: 0 of 1 ready ({WAITS})" in lab.condition("Degraded")["message"]
    set_quota(lab.kubernetes, "research", pods=2)
    eventually(lambda: "no nodes available" in message(lab, "other"))
    assert WAITS not in lab.condition("Degraded")["message"]
    # What Kueue adds to Deployments and pods is none of the operator's business.
    assert unchanged(lambda: lab.part("Deployment", "executor-aer")["metadata"]["generation"], seconds=2)
    assert not [reason for reason, _ in lab.events() if reason in ("TakenBack", "Replaced", "Contested")]


@pytest.mark.thorough
def test_an_executor_enters_changes_and_leaves_a_queue_whatever_kueue_fixes(queued_lab: Lab) -> None:
    lab = queued_lab
    for name in ("research", "teaching"):
        offer(lab.kubernetes, name, pods=2)
    for queue in (None, "research", "teaching", None):
        lab.apply(executors=[{**AER, "queueName": queue} if queue else AER])
        eventually(partial(is_admitted, lab, "aer", queue), seconds=90)
        become_ready(lab, "aer", queue)
    lab.settled()
    assert lab.condition("Degraded")["reason"] not in ("WriteRefused", "Contested")
