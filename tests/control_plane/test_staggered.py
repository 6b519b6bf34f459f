"""An upgrade of the operator, which changes the pods of all RuntimeServers, some at a time."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import Any

from kit.faults.api_server_proxy import ApiServerProxy, Fault
from kit.kubernetes.client import KubernetesClient, RefusedError, eventually, unchanged
from kit.kubernetes.lab import Lab
from kit.kubernetes.operator_process import StartOperator

NEXT = {"QRO_API_IMAGE": "registry.test/api:2", "QRO_EXECUTOR_IMAGE": "registry.test/executor:2"}


def make_ready(lab: Lab) -> bool:
    """Do what a kubelet does, and tell whether the newest pods of all Deployments are ready."""
    for pod in lab.parts("Pod").values():
        ready = {"type": "Ready", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"}
        status = {"status": {"phase": "Running", "conditions": [ready]}}
        try:
            if pod.get("status", {}).get("phase") != "Running":
                lab.kubernetes.merge("Pod", pod["metadata"]["name"], status, "status")
            elif "deletionTimestamp" in pod["metadata"]:
                lab.kubernetes.delete("Pod", pod["metadata"]["name"], at_once=True)
        except RefusedError as error:
            # A controller was faster.
            if error.code != HTTPStatus.NOT_FOUND:
                raise
    return lab.condition("Progressing").get("reason") == "RolledOut"


def images(lab: Lab) -> set[str]:
    pods = (part["spec"]["template"]["spec"] for part in lab.parts("Deployment").values())
    return {container["image"] for pod in pods for container in pod["containers"]}


def waiting_condition(lab: Lab) -> Mapping[str, Any]:
    return eventually(lambda: (c := lab.condition("Progressing"))["reason"] == "WaitsForTurn" and c)


def start_of(lab: Lab) -> str:
    return eventually(lambda: str(lab.settled().get("lastRollout", "")))


def upgraded(labs: Sequence[Lab]) -> list[str]:
    """Return the RuntimeServers with Deployments of the next version."""
    return [lab.name for lab in labs if any(image.endswith(":2") for image in images(lab))]


def test_an_upgrade_rolls_one_runtime_server_after_the_other(
    kubernetes: KubernetesClient, start_operator: StartOperator
) -> None:
    operator = start_operator()
    operator.wait_until_leading()
    labs = [Lab(kubernetes=kubernetes, operator=operator, name=f"lab-{letter}") for letter in "abc"]
    for lab in labs:
        lab.apply()
    eventually(lambda: all(make_ready(lab) for lab in labs))
    operator.stop()
    operator = start_operator("next", **NEXT, QRO_ROLLOUTS_AT_ONCE="1")
    operator.wait_until_leading()
    eventually(lambda: upgraded(labs))
    assert eventually(lambda: unchanged(lambda: upgraded(labs), seconds=3))
    (first,) = upgraded(labs)
    waiting = [lab for lab in labs if lab.name != first]
    for lab in waiting:
        progressing = waiting_condition(lab)
        assert progressing["status"] == "False"
        assert "at most 1 at once" in progressing["message"]
        assert lab.condition("Available")["status"] == "True"
    # Who waits is repaired and deleted as ever.
    waiting[0].delete("Service", "api")
    eventually(lambda: waiting[0].find("Service", "api"), seconds=10)
    waiting[0].delete("Deployment", "executor-aer")
    eventually(lambda: waiting[0].find("Deployment", "executor-aer"), seconds=10)
    waiting[0].merge("Deployment", "api", {"spec": {"replicas": 3}})
    eventually(lambda: waiting[0].part("Deployment", "api")["spec"]["replicas"] == 1, seconds=10)
    # Nor does a restart of the operator let anybody roll.
    operator.stop()
    start_operator("again", **NEXT, QRO_ROLLOUTS_AT_ONCE="1").wait_until_leading()
    last = waiting[1]
    assert unchanged(lambda: images(last), seconds=4) == {"registry.test/api:1", "registry.test/executor:1"}
    # What its user changes rolls at once.
    last.apply(api={"settings": {"QRS_LOG_LEVEL": "debug"}})
    eventually(lambda: images(last) == {"registry.test/api:2", "registry.test/executor:2"})
    eventually(lambda: all(make_ready(lab) for lab in labs))
    for lab in labs:
        assert images(lab) == {"registry.test/api:2", "registry.test/executor:2"}


def test_there_is_a_time_between_two_roll_outs(
    kubernetes: KubernetesClient, start_operator: StartOperator, proxy: ApiServerProxy
) -> None:
    operator = start_operator()
    operator.wait_until_leading()
    labs = [Lab(kubernetes=kubernetes, operator=operator, name=f"lab-{letter}") for letter in "abc"]
    for lab in labs:
        lab.apply()
        lab.settled()
        eventually(lab.is_at_rest)
    operator.stop()
    began = datetime.now(UTC)
    bounds = {"QRO_ROLLOUT_INTERVAL": "8"}

    def kill() -> None:
        operator.process.kill()

    # Its end comes at the second Deployment that it writes, which arrives all the same, and before the status.
    proxy.inject(Fault(method="PATCH", path="/deployments/"), Fault(method="PATCH", path="/deployments/", call=kill))
    operator = start_operator("next", **NEXT, **bounds, KUBECONFIG=str(proxy.kubeconfig))
    eventually(lambda: operator.process.poll() is not None)
    eventually(lambda: len(upgraded(labs)) == 1)
    start_operator("again", **NEXT, **bounds).wait_until_leading()
    eventually(lambda: len(upgraded(labs)) == 3)
    assert datetime.now(UTC) - began >= timedelta(seconds=16)
    starts = sorted(start_of(lab) for lab in labs)
    first, second, third = map(datetime.fromisoformat, starts)
    assert min(second - first, third - second) >= timedelta(seconds=7)
    # A status is written after what it tells.
    eventually(lambda: labs[0].condition("Progressing")["reason"] == "RollingOut")
