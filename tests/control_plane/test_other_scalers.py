"""Other autoscalers than the operator's own, by the manifests in examples/kubernetes/autoscalers: they win."""

import subprocess
from base64 import b64decode
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import yaml

from kit import ROOT
from kit.faults.api_server_proxy import ApiServerProxy, Fault
from kit.kubernetes.binaries import BinariesUnavailableError, KubernetesBinaries
from kit.kubernetes.client import KubernetesClient, Manifest, RefusedError, eventually, unchanged
from kit.kubernetes.lab import AER, Lab
from kit.kubernetes.operator_process import StartOperator
from kit.kubernetes.played_api import live_pods, played_api, start_pods
from kit.kubernetes.played_metrics import played_metric

EXAMPLES = ROOT / "examples" / "kubernetes" / "autoscalers"
KEDA = "github.com/kedacore/keda/v2"
KINDS = ("scaledobjects", "triggerauthentications")


def documents(name: str) -> list[Manifest]:
    return list(yaml.safe_load_all((EXAMPLES / name).read_text()))


def replicas(lab: Lab) -> int:
    return int(lab.part("Deployment", "executor-aer")["spec"]["replicas"])


def is_left_alone(lab: Lab, number: int) -> bool:
    """Tell whether the executor has a number of pods, and keeps it when the operator looks again."""
    eventually(lambda: replicas(lab) == number)
    lab.apply(executors=[AER], api={"settings": {"QRS_LOG_LEVEL": "debug" if number % 2 else "info"}})
    eventually(lambda: lab.settled()["executors"][0]["desired"] == number)
    told = [reason for reason, _ in lab.events() if reason in ("TakenBack", "Contested")]
    return unchanged(lambda: replicas(lab), seconds=2) == number and not told


def test_kubernetes_own_autoscaler_scales_an_executor_by_its_jobs(own_lab: Lab, tmp_path: Path) -> None:
    lab = own_lab
    lab.apply(executors=[AER])
    eventually(lambda: lab.find("Deployment", "executor-aer"))
    (autoscaler,) = documents("hpa.yaml")
    with played_metric(lab.kubernetes, tmp_path) as jobs:
        jobs.value = 4
        lab.kubernetes.create(autoscaler)
        eventually(lambda: replicas(lab) == 4, seconds=120)
        assert is_left_alone(lab, 4)
        namespace = lab.kubernetes.namespace
        asked = {path.rpartition(f"/namespaces/{namespace}/")[2] for path in jobs.asked}
        assert asked == {"any", "qrs_unfinished_jobs"}
        lab.kubernetes.delete("HorizontalPodAutoscaler", autoscaler["metadata"]["name"])


@pytest.fixture(scope="module")
def keda_definitions() -> list[Manifest]:
    """KEDA's own CustomResourceDefinitions."""
    try:
        shipped = [KubernetesBinaries("keda").shipped(KEDA, f"config/crd/bases/keda.sh_{kind}.yaml") for kind in KINDS]
    except BinariesUnavailableError as error:
        pytest.skip(str(error))
    return [yaml.safe_load(path.read_text()) for path in shipped]


def test_keda_takes_our_manifest_whose_names_are_those_of_the_operator(
    own_lab: Lab, keda_definitions: list[Manifest]
) -> None:
    lab = own_lab
    lab.apply(executors=[AER])
    eventually(lambda: lab.find("Deployment", "executor-aer") and lab.find("Secret", "keys"))
    authentication, scaled = documents("keda.yaml")
    for manifest, definition in ((authentication, keda_definitions[1]), (scaled, keda_definitions[0])):
        lab.kubernetes.apply(definition)
        names = definition["spec"]["names"]
        assert names["kind"] == manifest["kind"]
        path = f"/apis/keda.sh/v1alpha1/namespaces/{lab.kubernetes.namespace}/{names['plural']}?fieldValidation=Strict"
        eventually(partial(_is_served, lab, path))
        lab.kubernetes.call("POST", path, manifest)
    assert lab.kubernetes.get("Deployment", scaled["spec"]["scaleTargetRef"]["name"])
    (token,) = authentication["spec"]["secretTargetRef"]
    assert b64decode(lab.kubernetes.get("Secret", token["name"])["data"][token["key"]])
    for trigger in scaled["spec"]["triggers"]:
        assert trigger["authenticationRef"]["name"] == authentication["metadata"]["name"]
        url = urlsplit(trigger["metadata"]["url"])
        service, _, namespace = (url.hostname or "").partition(".")
        assert (namespace, url.path) == ("research", "/internal/load")
        assert url.port in [port["port"] for port in lab.kubernetes.get("Service", service)["spec"]["ports"]]
    # KEDA sets the number as Kubernetes' autoscaler does, and from and to zero by itself.
    for number in (3, 0, 2):
        scale = {"spec": {"replicas": number}}
        lab.kubernetes.merge("Deployment", f"{lab.name}-executor-aer", scale, "scale", manager="keda")
        assert is_left_alone(lab, number)


def _is_served(lab: Lab, path: str) -> bool:
    try:
        return "items" in lab.kubernetes.call("GET", path)
    except RefusedError:
        return False


def test_kubectl_scale_wins_until_the_runtime_server_asks_for_another_number(own_lab: Lab, kubectl: Path) -> None:
    lab = own_lab
    lab.apply(executors=[AER])
    lab.settled()
    eventually(lab.is_at_rest)
    where = f"--kubeconfig={lab.kubernetes.kubeconfig}", f"--namespace={lab.kubernetes.namespace}"
    command = (str(kubectl), *where, "scale", "deployment", "lab-executor-aer")
    for number in (3, 0):
        subprocess.run((*command, f"--replicas={number}"), check=True, capture_output=True)
        assert is_left_alone(lab, number)
    lab.apply(executors=[{**AER, "replicas": 2}])
    eventually(lambda: replicas(lab) == 2)


@pytest.mark.parametrize("number", [3, 0])
def test_a_number_that_is_set_while_the_operator_writes_is_kept(
    kubernetes: KubernetesClient, proxy: ApiServerProxy, start_operator: StartOperator, number: int
) -> None:
    operator = start_operator(KUBECONFIG=str(proxy.kubeconfig))
    operator.wait_until_leading()
    lab = Lab(kubernetes=kubernetes, operator=operator)
    lab.apply(executors=[AER])
    lab.settled()
    eventually(lab.is_at_rest)
    before = lab.part("Deployment", "executor-aer")["metadata"]["generation"]

    def scale() -> None:
        kubernetes.merge("Deployment", "lab-executor-aer", {"spec": {"replicas": number}}, "scale", manager="keda")

    proxy.inject(Fault(method="PATCH", path="/deployments/lab-executor-aer$", call=scale))
    lab.apply(executors=[{**AER, "settings": {"QRS_LOG_LEVEL": "debug"}}])
    eventually(lambda: proxy.happened)
    generation = eventually(
        lambda: (
            (found := lab.part("Deployment", "executor-aer"))
            and "QRS_LOG_LEVEL" in str(found["spec"]["template"])
            and found["metadata"]["generation"]
        )
    )
    assert replicas(lab) == number
    # Scaled, and changed: no generation had another number.
    assert generation == before + 2
    assert not [reason for reason, _ in lab.events() if reason == "TakenBack"]


def test_an_executor_says_that_others_have_used_the_quota_up_and_asks_for_no_more(
    kubernetes: KubernetesClient, start_operator: StartOperator
) -> None:
    share = {
        "apiVersion": "v1",
        "kind": "ResourceQuota",
        "metadata": {"name": "share"},
        "spec": {"hard": {"pods": "3"}},
    }
    kubernetes.create(share)
    with played_api() as api:
        operator = start_operator(QRO_LOAD_URL=api.url)
        operator.wait_until_leading()
        lab = Lab(kubernetes=kubernetes, operator=operator)
        executors = [{"name": name, "type": "aer", "autoscale": {"maxReplicas": 4}} for name in ("aer", "other")]
        lab.apply(executors=executors, podTemplate={"schedulerName": "nobody"})
        start_pods(kubernetes, "api", "10.9.3.1")
        busy = {"aer": {"queued": 2, "running": 0}, "other": {"queued": 0, "running": 0}}
        api.executors = busy
        eventually(lambda: len(live_pods(kubernetes, "executor")) == 2)
        api.executors = {**busy, "other": {"queued": 1, "running": 0}}
        used = "exceeded quota: share, requested: pods=1, used: pods=3, limited: pods=3"
        eventually(lambda: used in lab.settled()["executors"][1].get("message", ""))
        api.executors = {**busy, "other": {"queued": 4, "running": 0}}
        other = eventually(lambda: (found := lab.settled()["executors"][1])["reason"] == "PodsPending" and found)
        assert used in other["scaling"]
        assert used in lab.condition("Degraded")["message"]
        assert unchanged(lambda: lab.part("Deployment", "executor-other")["spec"]["replicas"], seconds=2) == 1
        assert lab.part("Deployment", "executor-aer")["spec"]["replicas"] == 2
