"""Operators that are killed in the middle of their work, down while things change, or two at a time."""

import time

import pytest

from kit.faults.api_server_proxy import ApiServerProxy, Fault
from kit.kubernetes.client import KubernetesClient, eventually
from kit.kubernetes.lab import AER, DRIFT, MADE, Lab, changed
from kit.kubernetes.operator_process import StartOperator

TWO = [AER, {"name": "two", "type": "aer"}]


@pytest.fixture
def through(proxy: ApiServerProxy) -> dict[str, str]:
    """What makes an operator go through the proxy."""
    return {"KUBECONFIG": str(proxy.kubeconfig)}


def another(lab: Lab, start_operator: StartOperator) -> Lab:
    """Return the lab with a new operator, when that works."""
    operator = start_operator()
    operator.wait_until_leading()
    return Lab(kubernetes=lab.kubernetes, operator=operator)


@pytest.mark.parametrize("writes", [7, *(pytest.param(number, marks=pytest.mark.thorough) for number in (1, 3, 12))])
def test_killed_after_some_writes_it_finishes_what_it_began(
    kubernetes: KubernetesClient,
    proxy: ApiServerProxy,
    through: dict[str, str],
    start_operator: StartOperator,
    writes: int,
) -> None:
    first = start_operator(**through)
    first.wait_until_leading()
    lab = Lab(kubernetes=kubernetes, operator=first)
    proxy.inject(
        Fault(method="PATCH", path="/namespaces/", times=writes),
        Fault(method="PATCH", path="/", call=first.process.kill),
    )
    lab.apply(executors=TWO)
    eventually(lambda: first.process.poll() is not None)
    assert len(proxy.happened) == writes + 1
    lab.apply()
    lab = another(lab, start_operator)
    lab.settled()
    eventually(lambda: lab.made() == MADE)


def test_killed_before_it_prunes_it_prunes_when_it_is_back(
    kubernetes: KubernetesClient, proxy: ApiServerProxy, through: dict[str, str], start_operator: StartOperator
) -> None:
    first = start_operator(**through)
    first.wait_until_leading()
    lab = Lab(kubernetes=kubernetes, operator=first)
    lab.apply(executors=TWO)
    lab.settled()
    proxy.inject(Fault(method="DELETE", path="/", call=first.process.kill, silent=True))
    lab.apply()
    eventually(lambda: first.process.poll() is not None)
    lab = another(lab, start_operator)
    eventually(lambda: lab.made() == MADE)


def test_what_changed_while_it_was_down_is_repaired_when_it_is_back(
    own_lab: Lab, start_operator: StartOperator
) -> None:
    own_lab.apply()
    own_lab.settled()
    own_lab.operator.process.kill()
    own_lab.operator.process.wait()
    # Who an object belonged to is all that a new operator can go by.
    drift = {key: patch for key, patch in DRIFT.items() if "ownerReferences" not in patch.get("metadata", {})}
    for (kind, name), patch in drift.items():
        own_lab.merge(kind, name, patch)
    own_lab.delete("Service", "executor-aer")
    lab = another(own_lab, start_operator)

    def repaired() -> bool:
        return not any(changed(lab.part(kind, name), patch) for (kind, name), patch in drift.items())

    eventually(lambda: repaired() and lab.made() == MADE, seconds=10)


def test_a_second_operator_waits_and_takes_over_within_twenty_seconds(
    own_lab: Lab, start_operator: StartOperator
) -> None:
    second = start_operator("operator-1")
    second.wait_until_ready()
    own_lab.apply()
    own_lab.settled()
    assert second.metric("qro_leader") == 0
    assert second.metric("qro_objects_written_total") == 0
    own_lab.operator.process.kill()
    own_lab.delete("Deployment", "api")
    began = time.monotonic()
    eventually(lambda: own_lab.find("Deployment", "api"), seconds=20)
    print(f"took over after {time.monotonic() - began:.1f} s")
    assert second.metric("qro_leader") == 1


def test_an_operator_that_is_told_to_end_hands_over_at_once(start_operator: StartOperator) -> None:
    first = start_operator(QRO_LEASE_DURATION="60")
    first.wait_until_leading()
    second = start_operator("operator-1", QRO_LEASE_DURATION="60")
    second.wait_until_ready()
    assert first.stop() == 0
    second.wait_until_leading(seconds=30)


def test_an_operator_that_cannot_renew_its_lease_ends_and_writes_nothing_more(
    kubernetes: KubernetesClient, proxy: ApiServerProxy, through: dict[str, str], start_operator: StartOperator
) -> None:
    operator = start_operator(**through, QRO_LEASE_DURATION="4")
    operator.wait_until_leading()
    lab = Lab(kubernetes=kubernetes, operator=operator)
    lab.apply()
    lab.settled()
    proxy.inject(Fault(method="PUT", path="/leases/", times=None, status=503, reason="ServiceUnavailable"))
    assert operator.process.wait(60) == 1
    assert "the Lease qiskit-runtime-operator has run out" in operator.log.read_text()
    lab.delete("Service", "api")
    time.sleep(1)
    assert lab.find("Service", "api") is None


def test_an_operator_whose_lease_is_taken_ends(own_lab: Lab) -> None:
    lease = own_lab.kubernetes.get("Lease", "qiskit-runtime-operator")
    own_lab.kubernetes.merge("Lease", lease["metadata"]["name"], {"spec": {"holderIdentity": "somebody else"}})
    assert own_lab.operator.process.wait(60) == 1
    assert "somebody else" in own_lab.operator.log.read_text()


@pytest.mark.usefixtures("own_lab")
def test_a_standby_that_does_not_see_the_lease_is_not_ready(
    proxy: ApiServerProxy, through: dict[str, str], start_operator: StartOperator
) -> None:
    standby = start_operator("operator-1", **through, QRO_LEASE_DURATION="3")
    standby.wait_until_ready()
    proxy.inject(Fault(method="GET", path="/leases/", times=None, status=503, reason="ServiceUnavailable"))
    eventually(lambda: standby.probe("readyz") == 503)
    assert standby.probe("healthz") == 200
    proxy.inject()
    eventually(lambda: standby.probe("readyz") == 200)
