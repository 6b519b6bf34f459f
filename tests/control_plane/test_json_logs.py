"""An operator with `QRO_LOG_FORMAT=json`: every line that it writes is one JSON object."""

import json
from pathlib import Path

from kit.faults.api_server_proxy import ApiServerProxy, Fault
from kit.kubernetes.client import KubernetesClient, eventually
from kit.kubernetes.lab import Lab
from kit.kubernetes.operator_process import StartOperator

JSON = {"QRO_LOG_FORMAT": "json"}


def test_all_that_an_operator_says_is_json(
    kubernetes: KubernetesClient, proxy: ApiServerProxy, start_command: StartOperator
) -> None:
    operator = start_command(KUBECONFIG=str(proxy.kubeconfig), **JSON)
    operator.wait_until_leading()
    lab = Lab(kubernetes=kubernetes, operator=operator)
    proxy.inject(Fault(method="PATCH", path="/services/", status=403, reason="Forbidden"))
    lab.apply()
    lab.settled()
    assert lab.part("ConfigMap", "api")["data"]["QRS_LOG_FORMAT"] == "json"
    eventually(lambda: lab.find("Service", "api"))
    assert operator.stop() == 0
    said = [json.loads(line) for line in operator.log.read_text().splitlines()]
    assert all({"time", "level", "logger", "message"} <= line.keys() for line in said)
    (refused,) = [line for line in said if "Forbidden" in line["message"]]
    assert (refused["namespace"], refused["runtimeserver"]) == (kubernetes.namespace, lab.name)
    assert refused["level"] == "warning"


def test_an_error_that_an_administrator_can_mend_is_the_last_line(start_command: StartOperator, tmp_path: Path) -> None:
    operator = start_command(KUBECONFIG=str(tmp_path / "none"), **JSON)
    assert operator.process.wait(60) == 1
    *_, line = map(json.loads, operator.log.read_text().splitlines())
    assert line["level"] == "critical"
    assert line["message"].startswith("no credentials for the API server")
