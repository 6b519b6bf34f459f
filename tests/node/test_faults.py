"""Scenario d: pods, processes and images come and go during 200 jobs. None may be lost, none may fail."""

import os
import signal
from collections.abc import Callable

import pytest
from qiskit_ibm_runtime import SamplerV2

from kit.kubernetes.client import eventually
from node.node import Node
from node.server_on_node import Lab, jobs_in_flight, long_circuit

BACKEND = "fake_manila@aer"
JOBS = 200


def wait_until_submitted(submitted: Callable[[], float], part: float) -> None:
    eventually(lambda: submitted() > part, 120)


@pytest.mark.smoke
@pytest.mark.parametrize("role", ["executor-aer", "api"])
def test_no_job_is_lost_when_a_pod_is_deleted(lab: Lab, role: str) -> None:
    service = lab.service()
    with jobs_in_flight(service, BACKEND, JOBS) as submitted:
        eventually(lambda: submitted() > 0.2, 60)
        lab.kubernetes.delete("Pod", lab.pods(role)[0]["metadata"]["name"])
    lab.wait_for_rollout()


def test_no_job_is_lost_when_executors_are_scaled_up_and_down(lab: Lab) -> None:
    with jobs_in_flight(lab.service(), BACKEND, JOBS) as submitted:
        for part, replicas in ((0.1, 2), (0.4, 1), (0.7, 2), (0.9, 1)):
            wait_until_submitted(submitted, part)
            lab.change({"executors": lab.executors({"name": "aer", "replicas": replicas})})
    lab.wait_for_rollout()


def test_no_job_is_lost_when_all_images_change(lab: Lab, other_tag: str) -> None:
    with jobs_in_flight(lab.service(), BACKEND, JOBS) as submitted:
        eventually(lambda: submitted() > 0.2, 60)
        images = {role: f"localhost/qiskit-runtime-server-{role}:{other_tag}" for role in ("api", "executor")}
        lab.change({"image": images})
        lab.wait_for_rollout()
    lab.change({"image": dict.fromkeys(images)})
    lab.wait_for_rollout()


@pytest.mark.parametrize("role", ["executor-aer", "api"])
def test_no_job_is_lost_when_a_process_is_killed(lab: Lab, node: Node, role: str) -> None:
    with jobs_in_flight(lab.service(), BACKEND, JOBS) as submitted:
        eventually(lambda: submitted() > 0.2, 60)
        os.kill(node.processes(lab.pods(role)[0]["metadata"]["name"])[0], signal.SIGKILL)
    lab.wait_for_rollout()


@pytest.mark.parametrize("role", ["executor-aer", "api"])
def test_no_job_is_lost_when_the_shim_of_a_container_is_killed(lab: Lab, node: Node, role: str) -> None:
    with jobs_in_flight(lab.service(), BACKEND, JOBS) as submitted:
        eventually(lambda: submitted() > 0.2, 60)
        os.kill(node.shim(node.processes(lab.pods(role)[0]["metadata"]["name"])[0]), signal.SIGKILL)
    lab.wait_for_rollout()


def test_a_job_of_two_minutes_outlives_the_roll_out_of_the_api(lab: Lab, other_tag: str) -> None:
    backend = lab.service().backend("fake_quantum_sim@aer")
    job = SamplerV2(mode=backend).run([long_circuit(layers=130)], shots=100)
    eventually(lambda: job.status() == "RUNNING", 30)
    began = lab.runs("executor-aer")
    lab.change({"image": {"api": f"localhost/qiskit-runtime-server-api:{other_tag}"}})
    lab.wait_for_rollout()
    assert job.status() == "RUNNING"
    result = job.result()
    assert lab.runs("executor-aer") == began
    assert result[0].data.meas.num_shots == 100
    lab.change({"image": {"api": None}})
    lab.wait_for_rollout()
