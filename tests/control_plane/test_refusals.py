"""What the API server refuses, and names that somebody else has: when they are tried again."""

import time

import pytest

from kit.faults.api_server_proxy import ApiServerProxy, Fault
from kit.kubernetes.client import KubernetesClient, eventually
from kit.kubernetes.lab import AER, Lab
from kit.kubernetes.operator_process import StartOperator

POKES = 25


@pytest.fixture
def lab(kubernetes: KubernetesClient, proxy: ApiServerProxy, start_operator: StartOperator) -> Lab:
    """A RuntimeServer whose operator's requests can be counted."""
    operator = start_operator(KUBECONFIG=str(proxy.kubeconfig), QRO_RESYNC="600")
    operator.wait_until_leading()
    return Lab(kubernetes=kubernetes, operator=operator)


def poke(lab: Lab, times: int) -> None:
    """Change what asks for a pass over the RuntimeServer, and has nothing to do with its Services."""
    for number in range(times):
        before = lab.operator.metric("qro_reconcile_seconds_count")
        lab.merge("Deployment", "executor-aer", {"metadata": {"annotations": {"example.org/poke": str(number)}}})
        eventually(lambda: lab.operator.metric("qro_reconcile_seconds_count") > before)  # noqa: B023 - used at once


def quota(lab: Lab, services: int) -> None:
    spec = {"hard": {"count/services": str(services)}}
    lab.kubernetes.apply({"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "quota"}, "spec": spec})
    eventually(lambda: lab.kubernetes.get("ResourceQuota", "quota").get("status", {}).get("hard") == spec["hard"])


def test_a_refused_write_is_not_repeated_at_each_event(lab: Lab, proxy: ApiServerProxy) -> None:
    quota(lab, 0)
    lab.apply()
    degraded = eventually(lambda: (c := lab.condition("Degraded")) and c["reason"] == "WriteRefused" and c)
    assert "exceeded quota" in degraded["message"]
    failed = lab.operator.metric("qro_reconcile_errors_total")
    eventually(lambda: lab.operator.metric("qro_reconcile_errors_total") >= failed + 2)
    before, failed = proxy.count("PATCH", "/services/"), lab.operator.metric("qro_reconcile_errors_total")
    poke(lab, POKES)
    tried = lab.operator.metric("qro_reconcile_errors_total") - failed
    # Two Services, at the times of the back-off and no others.
    assert proxy.count("PATCH", "/services/") - before <= 2 * tried
    assert tried <= 5
    assert lab.condition("Degraded")["reason"] == "WriteRefused"
    # It goes on by itself, or as soon as its user changes something.
    quota(lab, 9)
    lab.apply(api={"settings": {"QRS_LOG_LEVEL": "debug"}})
    eventually(lambda: set(lab.parts("Service")) == {"api", "executor-aer"}, seconds=5)
    eventually(lambda: lab.condition("Degraded")["reason"] != "WriteRefused")


def test_what_was_refused_is_tried_again_by_itself(lab: Lab) -> None:
    quota(lab, 0)
    lab.apply()
    eventually(lambda: lab.condition("Degraded").get("reason") == "WriteRefused")
    poke(lab, 3)
    quota(lab, 9)
    eventually(lambda: set(lab.parts("Service")) == {"api", "executor-aer"}, seconds=60)


def test_a_deletion_that_is_refused_is_told_and_tried_again(lab: Lab, proxy: ApiServerProxy) -> None:
    lab.apply(executors=[AER, {"name": "two", "type": "aer"}])
    lab.settled()
    proxy.inject(Fault(method="DELETE", path="/services/", times=None, status=403, reason="a policy"))
    lab.apply()
    degraded = eventually(lambda: (c := lab.condition("Degraded")) and c["reason"] == "WriteRefused" and c)
    assert "Service lab-executor-two: injected: a policy" in degraded["message"]
    # The other parts of the executor are gone all the same.
    eventually(lambda: "executor-two" not in lab.parts("Deployment"))
    proxy.inject()
    eventually(lambda: "executor-two" not in lab.parts("Service"))
    eventually(lambda: lab.condition("Degraded")["reason"] != "WriteRefused")


@pytest.mark.parametrize("owner", [pytest.param("a stranger", marks=pytest.mark.thorough), "another RuntimeServer"])
def test_a_name_that_becomes_free_is_noticed(lab: Lab, owner: str) -> None:
    name = f"{lab.name}-api"
    labels = {} if owner == "a stranger" else {"app.kubernetes.io/managed-by": "qiskit-runtime-operator"}
    metadata = {"name": name, "labels": labels}
    lab.kubernetes.apply(
        {"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": {"ports": [{"name": "x", "port": 1}]}}
    )
    lab.apply()
    eventually(lambda: lab.condition("Degraded").get("reason") == "NameTaken")
    # By now, the next try by itself would be in 8 to 16 s.
    eventually(lambda: lab.operator.metric("qro_reconcile_errors_total") >= 6, seconds=60)
    lab.delete("Service", "api")
    gone = time.monotonic()
    eventually(lambda: "api" in lab.parts("Service") and lab.condition("Degraded")["reason"] != "NameTaken")
    assert time.monotonic() - gone < 7
