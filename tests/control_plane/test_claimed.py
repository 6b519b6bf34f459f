"""Executors that claim their GPUs by Dynamic Resource Allocation, on a real API server with a real scheduler.

There is no driver and no kubelet: a test says which devices a node has, and Kubernetes allocates them.
"""

import secrets
from collections.abc import Iterator

import pytest

from kit.faults.api_server_proxy import ApiServerProxy, Fault
from kit.kubernetes.client import KubernetesClient, Manifest, eventually
from kit.kubernetes.lab import AER, Lab
from kit.kubernetes.operator_process import StartOperator

DRIVER = "gpu.example.com"
API = "/apis/resource.k8s.io/v1"
TAINT = {"key": "example.com/devices", "effect": "NoSchedule"}


@pytest.fixture
def devices(kubernetes: KubernetesClient) -> Iterator[str]:
    """A node with two devices, one of which is large, and the name of their DeviceClass."""
    name = f"devices-{secrets.token_hex(4)}"
    if not any(found["groupVersion"] == "resource.k8s.io/v1" for found in _versions(kubernetes)):
        pytest.skip("this Kubernetes does not serve resource.k8s.io/v1")
    kubernetes.create({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}, "spec": {"taints": [TAINT]}})
    room = {"cpu": "8", "memory": "8Gi", "pods": "10"}
    ready = {"conditions": [{"type": "Ready", "status": "True"}], "capacity": room, "allocatable": room}
    kubernetes.merge("Node", name, {"status": ready}, "status")
    class_ = {"selectors": [{"cel": {"expression": f'device.driver == "{DRIVER}"'}}]}
    slice_ = {
        "driver": DRIVER,
        "nodeName": name,
        "pool": {"name": name, "generation": 1, "resourceSliceCount": 1},
        "devices": [{"name": size, "attributes": {"large": {"bool": size == "large"}}} for size in ("large", "small")],
    }
    for kind, spec in (("DeviceClass", class_), ("ResourceSlice", slice_)):
        head = {"apiVersion": "resource.k8s.io/v1", "kind": kind, "metadata": {"name": name}}
        kubernetes.create({**head, "spec": spec})
    yield name
    for kind in ("ResourceSlice", "DeviceClass", "Node"):
        kubernetes.delete(kind, name)


def _versions(kubernetes: KubernetesClient) -> list[Manifest]:
    groups = kubernetes.call("GET", "/apis")["groups"]
    return [version for group in groups for version in group["versions"]]


def executor(claims: Manifest, **more: object) -> Manifest:
    return {"name": "gpu", "type": "own", "gpu": {"claims": claims}, "tolerations": [TAINT], **more}


def message(lab: Lab) -> str:
    return str(lab.settled()["executors"][0].get("message", ""))


def scheduled(lab: Lab) -> list[Manifest]:
    found = lab.kubernetes.list("Pod", selector="runtimeserver.dev/executor=gpu")
    return [pod for pod in found if pod["spec"].get("nodeName") and "deletionTimestamp" not in pod["metadata"]]


def allocated(lab: Lab) -> list[list[str]]:
    """Return the devices of each claim that has been allocated."""
    claims = [claim.get("status", {}).get("allocation") for claim in lab.kubernetes.list("ResourceClaim")]
    return sorted(sorted(one["device"] for one in claim["devices"]["results"]) for claim in claims if claim)


def test_pods_claim_devices_of_a_class_and_those_that_get_none_say_so(own_lab: Lab, devices: str) -> None:
    lab = own_lab
    large = {"deviceClassName": devices, "selectors": [f'device.attributes["{DRIVER}"].large']}
    lab.apply(executors=[executor(large, replicas=2)])
    eventually(lambda: len(scheduled(lab)) == 1)
    assert allocated(lab) == [["large"]]
    eventually(lambda: "cannot allocate all claims" in message(lab))
    assert f"(each pod claims 1 of DeviceClass {devices})" in message(lab)
    assert message(lab) in lab.condition("Degraded")["message"]
    (pod,) = scheduled(lab)
    assert pod["spec"]["containers"][0]["resources"] == {"claims": [{"name": "gpu"}]}
    # Without the selector there is one for each; the pods are replaced, for the name of their template stays.
    lab.apply(executors=[executor({"deviceClassName": devices}, replicas=2)])
    eventually(lambda: allocated(lab) == [["large"], ["small"]] and "claim" not in message(lab), seconds=120)


def test_the_template_is_made_repaired_and_pruned(own_lab: Lab, devices: str) -> None:
    lab = own_lab
    lab.apply(executors=[executor({"deviceClassName": devices})])
    made = eventually(lambda: lab.find("ResourceClaimTemplate", "executor-gpu"))
    lab.delete("ResourceClaimTemplate", "executor-gpu")
    again = eventually(
        lambda: (
            (found := lab.find("ResourceClaimTemplate", "executor-gpu"))
            and found["metadata"]["uid"] != made["metadata"]["uid"]
            and found
        )
    )
    assert again["spec"] == made["spec"]
    lab.apply(executors=[{"name": "gpu", "type": "own", "gpu": {}}])
    eventually(lambda: lab.find("ResourceClaimTemplate", "executor-gpu") is None)
    (container,) = lab.part("Deployment", "executor-gpu")["spec"]["template"]["spec"]["containers"]
    assert container["resources"]["limits"] == {"nvidia.com/gpu": "1"}


def test_pods_claim_by_a_template_of_the_user_which_may_be_missing(own_lab: Lab, devices: str) -> None:
    lab = own_lab
    lab.apply(executors=[executor({}, gpu={"count": 2, "claims": {"templateName": "both"}})])
    eventually(lambda: message(lab) == "waits for a ResourceClaim of ResourceClaimTemplate both")
    assert message(lab) in lab.condition("Degraded")["message"]
    request = {"name": "all", "exactly": {"deviceClassName": devices, "count": 2}}
    head = {"apiVersion": "resource.k8s.io/v1", "kind": "ResourceClaimTemplate", "metadata": {"name": "both"}}
    lab.kubernetes.create({**head, "spec": {"spec": {"devices": {"requests": [request]}}}})
    eventually(lambda: allocated(lab) == [["large", "small"]] and not message(lab), seconds=120)
    assert not lab.parts("ResourceClaimTemplate")


def test_without_the_api_such_an_executor_has_no_pods_the_others_do_and_the_status_says_why(
    kubernetes: KubernetesClient, proxy: ApiServerProxy, start_operator: StartOperator
) -> None:
    # As Kubernetes answers before 1.34, which the oldest one that we support is.
    path = "^/apis/resource.k8s.io/v1$"
    proxy.inject(Fault(method="GET", path=path, times=None, status=404, reason="NotFound"))
    operator = start_operator(KUBECONFIG=str(proxy.kubeconfig))
    operator.wait_until_leading()
    lab = Lab(kubernetes=kubernetes, operator=operator)
    lab.apply(executors=[AER, executor({"deviceClassName": DRIVER})])
    degraded = eventually(lambda: (c := lab.condition("Degraded")) and c["reason"] == "ClaimApiMissing" and c)
    assert degraded["status"] == "True"
    assert "this cluster does not serve resource.k8s.io/v1" in degraded["message"]
    assert lab.condition("Progressing")["status"] == "False"
    eventually(lambda: set(lab.parts("Deployment")) == {"api", "executor-aer"})
    lab.apply(executors=[AER, {"name": "gpu", "type": "own", "gpu": {}}])
    eventually(lambda: set(lab.parts("Deployment")) == {"api", "executor-aer", "executor-gpu"})
    eventually(lambda: lab.condition("Degraded").get("reason") != "ClaimApiMissing")
