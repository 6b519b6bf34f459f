"""Server and operator write the same JSON lines, and the operator reads what a server says last."""

import json
import logging
import sys

from kit.kubernetes.runtime_servers import render_context, runtime_server, server_container
from qiskit_runtime_operator import log_lines
from qiskit_runtime_operator.render import render
from qiskit_runtime_operator.status.rollout import Pool
from qiskit_runtime_server import Settings
from qiskit_runtime_server.log import lines


def record(*, failed: bool = False) -> logging.LogRecord:
    try:
        1 / 0  # noqa: B018 - for its traceback
    except ZeroDivisionError:
        error = sys.exc_info() if failed else None
    extra = {"job": "j1", "seconds": 0.5}
    return logging.getLogger("a.b").makeRecord(
        "a.b", logging.ERROR, __file__, 1, "It %s.", ("went",), error, extra=extra
    )


def test_both_write_the_same_line() -> None:
    for of_both in (record(), record(failed=True)):
        line = lines.JsonFormatter().format(of_both)
        assert line == log_lines.JsonFormatter().format(of_both)
        assert {"time", "level", "logger", "message", "job", "seconds"} <= json.loads(line).keys()


def test_what_kopf_knows_of_an_object_is_one_field() -> None:
    about = {"kind": "Pod", "name": "lab-api-1", "namespace": "lab"}
    of_kopf = record()
    vars(of_kopf).update(k8s_ref=about, k8s_skip=True, settings=object())
    line = json.loads(log_lines.JsonFormatter().format(of_kopf))
    assert line["object"] == about
    assert not {"k8s_ref", "k8s_skip", "settings"} & line.keys()


def test_the_status_has_the_message_of_the_last_line() -> None:
    said = f"Some other line\n{lines.JsonFormatter().format(record())}\n"
    ended = {"terminated": {"exitCode": 1, "reason": "Error", "message": said}}
    pod = {"metadata": {"uid": "u1"}, "status": {"containerStatuses": [{"name": "server", "state": ended}]}}
    deployment = {"metadata": {}, "spec": {"replicas": 1}}
    assert Pool.of("lab-api", deployment, [pod], wanted=1).message == "Error (exit code 1): It went."


def test_pods_log_as_the_operator_does_unless_their_settings_say_otherwise() -> None:
    server = runtime_server({"api": {"settings": {"QRS_LOG_FORMAT": "text"}}})
    manifests = render(server, render_context(json_logs=True))
    (config,) = [manifest for manifest in manifests if manifest["kind"] == "ConfigMap"]
    assert config["data"]["QRS_LOG_FORMAT"] == "text"
    (executor,) = [
        found for found in manifests if found["metadata"]["name"] == "lab-executor-aer" and "template" in found["spec"]
    ]
    variables = {
        item["name"]: item.get("value") for item in server_container(executor["spec"]["template"]["spec"])["env"]
    }
    assert variables["QRS_LOG_FORMAT"] == "json"
    assert Settings(log_format="json").log_format == "json"
    assert "QRS_LOG_FORMAT" not in str(render(runtime_server(), render_context()))
