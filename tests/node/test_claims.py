"""An executor that claims devices by Dynamic Resource Allocation, from Kubernetes' own test driver on the node."""

import pytest
from qiskit_ibm_runtime import SamplerV2

from kit.kubernetes.client import KubernetesClient, Manifest, eventually
from kit.quantum.circuits import isa_bell
from node.node import DRIVER, Node
from node.server_on_node import Lab, correct

pytestmark = pytest.mark.smoke


@pytest.fixture
def device(node: Node, kubernetes: KubernetesClient) -> str:
    """The name of a DeviceClass of which the node has one device."""
    node.offer_devices(1)
    head = {"apiVersion": "resource.k8s.io/v1", "kind": "DeviceClass", "metadata": {"name": DRIVER}}
    selector = {"cel": {"expression": f'device.driver == "{DRIVER}"'}}
    kubernetes.create({**head, "spec": {"selectors": [selector]}})
    eventually(lambda: kubernetes.list("ResourceSlice"), 60)
    return DRIVER


def test_a_pod_has_the_device_that_it_claims_and_the_status_says_what_the_other_waits_for(
    lab: Lab, node: Node, device: str
) -> None:
    (aer,) = [executor for executor in lab.executors() if executor["name"] == "aer"]
    image = lab.pods("executor-aer")[0]["spec"]["containers"][0]["image"]
    claims = {"gpu": {"claims": {"deviceClassName": device}}}
    claiming = {"name": "claiming", "type": "own", "image": image, "podTemplate": own_type(lab), **claims}
    lab.change({"executors": [aer, {**claiming, "replicas": 2}]})
    (first,) = eventually(lambda: len(placed := on_node(lab)) == 1 and placed, 120)
    lab.wait_for("Degraded", seconds=120)
    eventually(lambda: "cannot allocate all claims" in message(lab), 60)
    assert f"(each pod claims 1 of DeviceClass {device})" in message(lab)
    eventually(lambda: "cannot allocate all claims" in lab.condition("Degraded")["message"], 60)
    assert allocated(lab) == ["device-00"]
    eventually(lambda: any(backend.name == "fake_manila@claiming" for backend in lab.service().backends()), 120)
    backend = lab.service().backend("fake_manila@claiming")
    assert correct(SamplerV2(mode=backend).run([isa_bell(backend)], shots=1024))
    # The driver has told the kubelet, and that containerd, what the container gets.
    (given,) = [name for name in node.environment(node.processes(first)[0]) if name.startswith("claim_")]
    assert given.endswith("_gpu")
    # What the pod leaves goes to one that waits for it.
    lab.kubernetes.delete("Pod", first)
    eventually(lambda: len(placed := on_node(lab)) == 1 and first not in placed, 120)
    assert allocated(lab) == ["device-00"]
    assert correct(SamplerV2(mode=backend).run([isa_bell(backend)], shots=1024))
    lab.change({"executors": [aer, claiming]})
    lab.wait_for_rollout()
    lab.change({"executors": [aer]})
    lab.wait_for_rollout()
    eventually(lambda: not lab.kubernetes.list("ResourceClaim"), 60)


def own_type(lab: Lab) -> Manifest:
    """Return what adds the type `own` to pods, as a distribution of somebody's own does: Aer, which uses no device."""
    entry = "own = qiskit_runtime_server.executors.aer:AerExecutor"
    files = {
        "METADATA": "Metadata-Version: 2.1\nName: own\nVersion: 1\n",
        "entry_points.txt": f"[qiskit_runtime_server.executors]\n{entry}\n",
    }
    head = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "own-type"}}
    lab.kubernetes.create({**head, "data": files})
    items = [{"key": name, "path": f"own-1.dist-info/{name}"} for name in files]
    return {
        "env": [{"name": "PYTHONPATH", "value": "/own"}],
        "volumes": [{"name": "own", "configMap": {"name": "own-type", "items": items}}],
        "volumeMounts": [{"name": "own", "mountPath": "/own"}],
    }


def on_node(lab: Lab) -> list[str]:
    return [pod["metadata"]["name"] for pod in lab.pods("executor-claiming") if "nodeName" in pod["spec"]]


def allocated(lab: Lab) -> list[str]:
    """Return the devices that claims have been given."""
    claims = [claim.get("status", {}).get("allocation") for claim in lab.kubernetes.list("ResourceClaim")]
    return sorted(one["device"] for claim in claims if claim for one in claim["devices"]["results"])


def message(lab: Lab) -> str:
    found: list[Manifest] = [entry for entry in lab.status().get("executors", []) if entry["name"] == "claiming"]
    return str(found[0].get("message", "")) if found else ""
