"""An executor that follows its queue: from zero and back, with operator and api killed in between, a node drained."""

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

import pytest
from qiskit_ibm_runtime import RuntimeJobV2, SamplerV2

from kit.kubernetes.client import KubernetesClient, Manifest, eventually
from kit.quantum.circuits import isa_bell
from kit.server.scraped import scraped
from node.figures import Figures
from node.node import NAME, Node
from node.server_on_node import Lab, correct, internal, jobs_in_flight

BACKEND = "fake_manila@aer"
JOBS = 300
IDLE_SECONDS = 20
# All that the chart and the operator make. The database of the example has one pod, which nothing would keep.
OURS = "app.kubernetes.io/name in (qiskit-runtime-server, qiskit-runtime-operator)"


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


@pytest.fixture
def clustered_and_scaled(clustered: Lab) -> Iterator[Lab]:
    """The one with two apis, its executor as above."""
    with scaled_by_jobs(clustered):
        yield clustered


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
        imports, tested = told["qrs_executor_import_seconds"], told["qrs_executor_self_test_seconds"]
        figures.add("from a pod's node to the first job's start, image present", ran - moments["scheduled"], "s", "4 s")
        spent = {
            "its network and its container": moments["running"] - moments["scheduled"],
            "imports that are not over when the service is there, and a fork for each slot": imports,
            "self-test": tested,
            "Python, the service itself, and the api, which gives it the job": ran
            - moments["running"]
            - imports
            - tested,
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


def test_a_node_is_drained_in_a_storm_and_no_client_notices(
    clustered_and_scaled: Lab, node: Node, figures: Figures
) -> None:
    """There is one node, so that nothing finds another place before it takes pods again."""
    lab, service = clustered_and_scaled, clustered_and_scaled.service()
    since = datetime.now(UTC)
    with jobs_in_flight(service, BACKEND, JOBS, pause=0.2) as submitted:
        eventually(lambda: any(is_ready(pod) for pod in lab.pods("executor-aer")), 120)
        there = {role: names(lab.pods(role)) for role in ("api", "executor-aer")}
        part = submitted()
        assert part < 0.7, "the drain is to be in the storm"
        with drained(node) as drain:
            # One api goes, and the other one stays: the PodDisruptionBudget says so.
            (waiting,) = eventually(lambda: [pod for pod in lab.pods("api") if "nodeName" not in pod["spec"]], 60)
            assert names([waiting]).isdisjoint(there["api"])
            (left,) = eventually(lambda: len(found := there["api"] & names(lab.pods("api"))) == 1 and found)
            eventually(lambda: "unschedulable" in str(lab.status().get("api", {}).get("message")), 60)
            eventually(lambda: submitted() > part + 0.1, 120)
            assert drain.poll() is None
            assert left in names(lab.pods("api"))
            assert lab.condition("Available")["status"] == "True"
            uncordon(node)
            back = time.monotonic()
            said = drain.communicate(timeout=420)[0]
            figures.add("from a node that takes pods again to the end of its drain", time.monotonic() - back, "s")
        assert drain.returncode == 0, said
        assert "would violate the pod's disruption budget" in said
        for role, before in there.items():
            assert before.isdisjoint(names(lab.pods(role))), f"{role}: {said}"
    listed = service.jobs(limit=2 * JOBS, created_after=since)
    assert [job.status() for job in listed] == ["DONE"] * JOBS
    at_zero(lab)


@contextmanager
def drained(node: Node) -> Iterator["subprocess.Popen[str]"]:
    """Run `kubectl drain`, and let the node take pods again in the end."""
    drain = node.kubectl("drain", NAME, f"--pod-selector={OURS}", "--delete-emptydir-data", "--timeout=400s")
    with drain:
        try:
            yield drain
        finally:
            drain.kill()
            uncordon(node)


def uncordon(node: Node) -> None:
    with node.kubectl("uncordon", NAME) as command:
        assert command.wait(30) == 0


def names(pods: list[Manifest]) -> set[str]:
    return {pod["metadata"]["name"] for pod in pods}


def is_ready(pod: Manifest) -> bool:
    conditions = pod["status"].get("conditions") or []
    return any((found["type"], found["status"]) == ("Ready", "True") for found in conditions)
