"""Collections that the API server stops listing and watching: a right was withheld, a namespace deleted."""

from dataclasses import replace

import pytest

from kit.faults.api_server_proxy import ApiServerProxy, Fault
from kit.kubernetes.client import KubernetesClient, eventually
from kit.kubernetes.lab import Lab
from kit.kubernetes.operator_process import StartOperator

FAST = {"QRO_RESYNC": "600", "QRO_WATCH_SILENCE": "3", "QRO_WATCH_RENEWAL": "9"}


def withheld(path: str, status: int = 403) -> tuple[Fault, Fault]:
    """Refuse to list and to watch what is at a path that fits a regular expression."""
    listing = Fault(method="GET", path=path, times=None, status=status, reason="Forbidden")
    return listing, replace(listing, method="WATCH")


def test_a_right_that_is_withheld_is_told_and_the_rest_goes_on(
    kubernetes: KubernetesClient, proxy: ApiServerProxy, start_operator: StartOperator
) -> None:
    operator = start_operator(KUBECONFIG=str(proxy.kubeconfig), **FAST)
    operator.wait_until_leading()
    lab = Lab(kubernetes=kubernetes, operator=operator)
    lab.apply()
    lab.settled()
    proxy.inject(*withheld(r"/services$"))
    degraded = eventually(lambda: (c := lab.condition("Degraded")) and c["reason"] == "WatchRefused" and c)
    assert "Service objects: cannot be watched" in degraded["message"]
    assert "injected: Forbidden" in degraded["message"]
    path = f"/api/v1/namespaces/{kubernetes.namespace}/services"
    assert operator.metric("qro_watch_refused", path=path) == 1
    assert operator.metric("qro_watch_refused") == 1
    lab.delete("ConfigMap", "api")
    eventually(lambda: lab.find("ConfigMap", "api"), seconds=10)
    # Longer than a watch may be silent.
    eventually(lambda: operator.metric("qro_watch_age_seconds", path=path) > 15)
    assert operator.probe("healthz") == 200
    lab.delete("Service", "api")
    proxy.inject()
    eventually(lambda: lab.find("Service", "api"))
    eventually(lambda: lab.condition("Degraded")["reason"] != "WatchRefused")
    assert operator.metric("qro_watch_refused") == 0


@pytest.mark.parametrize("status", [403, 404])
def test_a_namespace_that_is_gone_leaves_the_others_alone(
    kubernetes: KubernetesClient, proxy: ApiServerProxy, start_operator: StartOperator, status: int
) -> None:
    namespaces = f"{kubernetes.namespace},gone"
    operator = start_operator(KUBECONFIG=str(proxy.kubeconfig), QRO_NAMESPACES=namespaces, **FAST)
    operator.wait_until_leading()
    lab = Lab(kubernetes=kubernetes, operator=operator)
    lab.apply()
    lab.settled()
    proxy.inject(*withheld(r"/namespaces/gone/", status))
    eventually(lambda: operator.metric("qro_watch_refused") >= 9)
    assert lab.condition("Degraded")["reason"] != "WatchRefused"
    lab.delete("Service", "api")
    eventually(lambda: lab.find("Service", "api"), seconds=10)
    assert operator.probe("healthz") == 200


def test_an_operator_starts_without_the_right_to_one_of_its_namespaces(
    kubernetes: KubernetesClient, proxy: ApiServerProxy, start_operator: StartOperator
) -> None:
    proxy.inject(*withheld(r"/namespaces/gone/"))
    namespaces = f"gone,{kubernetes.namespace}"
    operator = start_operator(KUBECONFIG=str(proxy.kubeconfig), QRO_NAMESPACES=namespaces, **FAST)
    operator.wait_until_leading()
    lab = Lab(kubernetes=kubernetes, operator=operator)
    lab.apply()
    lab.settled()
    lab.delete("Service", "api")
    eventually(lambda: lab.find("Service", "api"), seconds=10)


def test_an_operator_that_may_list_nothing_says_so_and_ends(
    proxy: ApiServerProxy, start_operator: StartOperator
) -> None:
    proxy.inject(*withheld(r"/namespaces/[^/]*/[a-z]*$"))
    operator = start_operator(KUBECONFIG=str(proxy.kubeconfig), **FAST)
    assert operator.process.wait(60) == 1
    assert "injected: Forbidden" in operator.log.read_text()
