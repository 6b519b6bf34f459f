"""An executor that follows its queue: from zero and back, with the operator and the api killed in between."""

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime

import pytest
from qiskit_ibm_runtime import RuntimeJobV2, SamplerV2

from kit.kubernetes.client import KubernetesClient, Manifest, eventually
from kit.quantum.circuits import isa_bell
from kit.server.scraped import scraped
from node.figures import Figures
from node.node import Node
from node.server_on_node import Lab, correct, internal, jobs_in_flight

BACKEND = "fake_manila@aer"
JOBS = 300
IDLE_SECONDS = 20


@contextmanager
def scaled_by_jobs(lab: Lab) -> Iterator[Lab]:
    before = lab.kubernetes.get("RuntimeServer", "lab")["spec"]["executors"]
    autoscale = {"maxReplicas": 3, "idleSeconds": IDLE_SECONDS}
    lab.change({"executors": lab.executors({"name": "aer", "replicas": 1, "autoscale": autoscale})})
    at_zero(lab)
    yield lab
    lab.change({"executors": before})
    lab.wait_for_rollout()


@pytest.fixture
def scaled(lab: Lab) -> Iterator[Lab]:
    """The RuntimeServer with an executor of 0 to 3 pods, at zero."""
    with scaled_by_jobs(lab):
        yield lab


def at_zero(lab: Lab) -> None:
    eventually(lambda: not lab.pods("executor-aer") and reason(lab) == "AtZero", 120)
    # What is about to end has ended.
    eventually(
        lambda: "lab-executor-aer" not in str([pod["metadata"]["name"] for pod in lab.kubernetes.list("Pod")]), 120
    )


def reason(lab: Lab) -> str:
    (executor,) = [entry for entry in lab.status()["executors"] if entry["name"] == "aer"]
    return str(executor.get("reason"))


@pytest.mark.smoke
def test_the_first_job_starts_a_pod_and_nothing_is_unavailable_meanwhile(scaled: Lab, figures: Figures) -> None:
    available = scaled.condition("Available")
    assert (available["status"], available["reason"]) == ("True", "ScaledToZero")
    backend = scaled.service().backend(BACKEND)
    assert backend.status().operational
    isa = isa_bell(backend)
    began = time.monotonic()
    job = SamplerV2(mode=backend).run([isa], shots=1024)
    eventually(lambda: scaled.pods("executor-aer"), 5)
    figures.add("from the first job to a pod of an executor at zero", time.monotonic() - began, "s", "1 s")
    start = ColdStart(scaled)
    assert correct(job)
    figures.add("from the first job to its result, executor at zero, image present", time.monotonic() - began, "s")
    start.report(job, figures)
    assert scaled.condition("Available")["status"] == "True"
    at_zero(scaled)


class ColdStart:
    """When the first pod of an executor was seen to come to each state, in seconds since 1970: watched from now on."""

    def __init__(self, lab: Lab) -> None:
        self._moments: dict[str, float] = {}
        eventually(lambda: self._look(lab), 60)

    def _look(self, lab: Lab) -> bool:
        for pod in lab.pods("executor-aer"):
            self._pod = pod
            states = {
                "scheduled": "nodeName" in pod["spec"],
                "running": any("running" in found["state"] for found in pod["status"].get("containerStatuses", ())),
                "ready": is_ready(pod),
            }
            for state in (state for state, reached in states.items() if reached):
                self._moments.setdefault(state, time.time())
        return "ready" in self._moments

    def report(self, job: RuntimeJobV2, figures: Figures) -> None:
        """Add what the start took, and what of it, until the job ran."""
        ran = datetime.fromisoformat(job.metrics()["timestamps"]["running"]).timestamp()
        moments, told = self._moments, scraped(internal(self._pod))
        figures.add("from a pod's node to the first job's start, image present", ran - moments["scheduled"], "s", "4 s")
        spent = {
            "its network and its container": moments["running"] - moments["scheduled"],
            "imports, and a fork for each slot": told["qrs_executor_import_seconds"],
            "self-test": told["qrs_executor_self_test_seconds"],
            "Python, the service itself, and the kubelet's look at it": moments["ready"]
            - moments["running"]
            - told["qrs_executor_import_seconds"]
            - told["qrs_executor_self_test_seconds"],
            "until the api has found it and given it the job": ran - moments["ready"],
        }
        for what, seconds in spent.items():
            figures.add(f"... of which: {what}", seconds, "s")


def test_a_storm_from_zero_loses_nothing_while_operator_api_and_executor_are_killed(
    scaled: Lab, node: Node, figures: Figures
) -> None:
    system = KubernetesClient(node.kubeconfig, namespace="qiskit-system")
    most = 0
    with jobs_in_flight(scaled.service(), BACKEND, JOBS) as submitted:
        eventually(lambda: submitted() > 0.2, 60)
        for pod in system.list("Pod"):
            os.kill(node.processes(pod["metadata"]["name"])[0], signal.SIGKILL)
        eventually(lambda: submitted() > 0.4, 60)
        os.kill(node.processes(scaled.pods("api")[0]["metadata"]["name"])[0], signal.SIGKILL)
        eventually(lambda: submitted() > 0.6, 120)
        eventually(lambda: scaled.pods("executor-aer"), 60)
        scaled.kubernetes.delete("Pod", scaled.pods("executor-aer")[0]["metadata"]["name"])
        while submitted() < 1:
            most = max(most, len(scaled.pods("executor-aer")))
            time.sleep(0.5)
    system.close()
    assert 1 <= most <= 3
    began = time.monotonic()
    at_zero(scaled)
    figures.add(
        f"from the last of {JOBS} jobs to zero pods, idleSeconds: {IDLE_SECONDS}", time.monotonic() - began, "s"
    )


def is_ready(pod: Manifest) -> bool:
    conditions = pod["status"].get("conditions") or []
    return any((found["type"], found["status"]) == ("Ready", "True") for found in conditions)
