"""An operator that is told to end while it has much to do."""

import time
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from kit.faults.api_server_proxy import ApiServerProxy, Fault
from kit.kubernetes.client import KubernetesClient, eventually
from kit.kubernetes.lab import Lab
from kit.kubernetes.operator_process import StartOperator

_SERVERS = 100
_ENDS_SECONDS = 2


@pytest.mark.serial
@pytest.mark.parametrize("written", [0, 200])
def test_an_operator_at_work_ends_within_two_seconds(
    kubernetes: KubernetesClient, start_command: StartOperator, written: int
) -> None:
    operator = start_command(QRO_LEASE_DURATION="60")
    operator.wait_until_leading()
    labs = [Lab(kubernetes=kubernetes, operator=operator, name=f"lab-{number}") for number in range(_SERVERS)]
    with ThreadPoolExecutor(4) as threads, httpx.Client() as prometheus:
        # Its connection stays open.
        prometheus.get(operator.metrics)
        threads.map(Lab.apply, labs)
        eventually(lambda: operator.metric("qro_objects_written_total") > written)
        began = time.monotonic()
        assert operator.stop() == 0
        took = time.monotonic() - began
        print(f"ended after {took:.2f} s")
        threads.shutdown(cancel_futures=True)
    # The next one need not wait for the Lease to run out.
    assert not kubernetes.get("Lease", "qiskit-runtime-operator")["spec"]["holderIdentity"]
    assert took < _ENDS_SECONDS


@pytest.mark.serial
def test_an_operator_that_waits_for_the_api_server_ends_within_two_seconds(
    proxy: ApiServerProxy, start_command: StartOperator
) -> None:
    proxy.inject(Fault(method="GET", path="/services$", times=None, silent=True))
    operator = start_command(KUBECONFIG=str(proxy.kubeconfig))
    operator.wait_until_leading()
    eventually(lambda: bool(proxy.happened))
    began = time.monotonic()
    assert operator.stop() == 0
    assert time.monotonic() - began < _ENDS_SECONDS
