"""Scenarios b, e and g: GPUs, settings, and what is left when everything is deleted."""

from collections.abc import Callable
from typing import Any

import httpx
import pytest
from qiskit_ibm_runtime import SamplerV2

from kit.kubernetes.client import KubernetesClient, eventually
from kit.quantum.circuits import isa_bell
from node.node import NAME
from node.server_on_node import URL, Lab, correct, jobs_in_flight

GPU = {"name": "custatevec", "type": "custatevec", "gpu": {"count": 1}}


@pytest.fixture
def gpu(kubernetes: KubernetesClient) -> None:
    """A node that says that it has one."""
    kubernetes.call(
        "PATCH",
        f"/api/v1/nodes/{NAME}/status",
        {"status": {"capacity": {"nvidia.com/gpu": "1"}}},
        "application/merge-patch+json",
    )


@pytest.mark.smoke
@pytest.mark.usefixtures("gpu")
def test_a_gpu_is_given_to_one_pod_and_the_status_says_what_the_other_waits_for(lab: Lab) -> None:
    lab.change({"executors": lab.executors({**GPU, "replicas": 2})})
    phases = ["Pending", "placed"]
    eventually(lambda: sorted(map(_phase, lab.pods("executor-custatevec"))) == phases, 120)
    eventually(lambda: "Insufficient nvidia.com/gpu" in _message(lab, "custatevec"), 60)
    lab.wait_for("Available")
    lab.wait_for("Degraded")
    _remove_executor(lab, "custatevec")


@pytest.mark.usefixtures("gpu")
def test_a_change_of_the_gpu_image_rolls_within_one_gpu(lab: Lab, other_tag: str) -> None:
    lab.change({"executors": lab.executors({**GPU, "replicas": 1})})
    eventually(lambda: [_phase(pod) for pod in lab.pods("executor-custatevec")] == ["placed"], 120)
    image = f"localhost/qiskit-runtime-server-executor-gpu:{other_tag}"
    lab.change({"executors": lab.executors({**GPU, "image": image})})
    eventually(
        lambda: [_image(pod) for pod in lab.pods("executor-custatevec") if _phase(pod) == "placed"] == [image], 180
    )
    # No GPU is behind it: the container says so in its last line, and nothing else suffers.
    eventually(lambda: "GPU" in _message(lab, "custatevec"), 120)
    backend = lab.service().backend("fake_manila@aer")
    assert correct(SamplerV2(mode=backend).run([isa_bell(backend)], shots=1024))
    _remove_executor(lab, "custatevec")


def test_changes_of_tokens_devices_and_slots_drop_no_job(lab: Lab) -> None:
    with jobs_in_flight(lab.service(), "fake_manila@aer", 100) as submitted:
        eventually(lambda: submitted() > 0.2, 60)
        lab.kubernetes.merge("Secret", "lab-tokens", {"stringData": {"bob": "token-of-bob"}})
        lab.change({"backends": {"include": ["fake_manila", "fake_kyiv"]}})
        lab.change({"executors": lab.executors({"name": "aer", "slots": 2})})
    lab.wait_for_rollout()
    # The kubelet hands Secrets on in its own time.
    eventually(lambda: httpx.post(f"{URL}/identity/token", data={"apikey": "token-of-bob"}).is_success, 180)
    assert lab.service("token-of-bob").backends()
    devices = {backend.name.partition("@")[0] for backend in lab.service().backends()}
    assert devices == {"fake_manila", "fake_kyiv"}
    lab.change({"backends": {"include": ["*"]}})
    lab.wait_for_rollout()


def test_a_suspended_server_has_no_pods_and_keeps_its_history(lab: Lab) -> None:
    backend = lab.service().backend("fake_manila@aer")
    job = SamplerV2(mode=backend).run([isa_bell(backend)], shots=1024)
    assert correct(job)
    lab.change({"suspend": True})
    eventually(lambda: not lab.kubernetes.list("Pod"), 120)
    lab.change({"suspend": False})
    lab.wait_for("Available")
    assert correct(lab.service().job(job.job_id()))


def test_jobs_outlive_the_server_and_the_operator_in_the_volume(
    lab: Lab, helm: Callable[..., str], operator: Callable[[], None]
) -> None:
    backend = lab.service().backend("fake_manila@aer")
    job = SamplerV2(mode=backend).run([isa_bell(backend)], shots=1024)
    assert correct(job)
    lab.kubernetes.delete("RuntimeServer", "lab")
    kinds = ("Deployment", "ReplicaSet", "Pod", "Service", "Ingress", "NetworkPolicy", "PodDisruptionBudget")
    eventually(lambda: not [found for kind in kinds for found in lab.kubernetes.list(kind)], 120)
    names = {found["metadata"]["name"] for kind in ("ConfigMap", "Secret") for found in lab.kubernetes.list(kind)}
    assert names == {"kube-root-ca.crt", "lab-tokens"}
    assert [claim["metadata"]["name"] for claim in lab.kubernetes.list("PersistentVolumeClaim")] == ["lab-data"]
    helm("uninstall", "qiskit-runtime-operator", "--namespace", "qiskit-system", "--wait")
    operator()
    lab.apply_example("tutorial.yaml")
    lab.wait_for("Available")
    assert correct(lab.service().job(job.job_id()))


def _phase(pod: dict[str, Any]) -> str:
    return "placed" if pod["spec"].get("nodeName") else "Pending"


def _image(pod: dict[str, Any]) -> str:
    return str(pod["spec"]["containers"][0]["image"])


def _message(lab: Lab, executor: str) -> str:
    found = [entry for entry in lab.status().get("executors", []) if entry["name"] == executor]
    return found[0].get("message", "") if found else ""


def _remove_executor(lab: Lab, name: str) -> None:
    lab.change({"executors": [executor for executor in lab.executors() if executor["name"] != name]})
    lab.wait_for_rollout()
