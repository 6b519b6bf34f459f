"""Operators of those whose kubeconfig runs a program to log in, and has more than one context."""

import json
from pathlib import Path

from kit.kubernetes.client import KubernetesClient, eventually
from kit.kubernetes.lab import MADE, Lab
from kit.kubernetes.operator_process import StartOperator
from kit.kubernetes.operator_template import OperatorTemplate

ROOT = Path(__file__).parents[2]
KIND = "client.authentication.k8s.io/v1"


def with_a_program(kubeconfig: Path, folder: Path) -> Path:
    """Return a copy whose token is printed by a program, and whose current context leads nowhere."""
    document = json.loads(kubeconfig.read_text())
    (user,) = document["users"]
    credential = {"apiVersion": KIND, "kind": "ExecCredential", "status": {"token": user["user"]["token"]}}
    program = folder / "log-in"
    program.write_text(f"#!/bin/sh\nset -e\ntest $REGION = here\ncat <<END\n{json.dumps(credential)}\nEND\n")
    program.chmod(0o755)
    region = {"name": "REGION", "value": "here"}
    user["user"] = {"exec": {"apiVersion": KIND, "command": str(program), "env": [region], "interactiveMode": "Never"}}
    document["clusters"].append({"name": "elsewhere", "cluster": {"server": "http://127.0.0.1:9"}})
    document["contexts"].append({"name": "elsewhere", "context": {"cluster": "elsewhere", "user": user["name"]}})
    copy = folder / "kubeconfig"
    copy.write_text(json.dumps(document))
    return copy


def test_an_operator_logs_in_by_a_program(
    kubernetes: KubernetesClient, start_command: StartOperator, tmp_path: Path
) -> None:
    operator = start_command(KUBECONFIG=str(with_a_program(kubernetes.kubeconfig, tmp_path)))
    operator.wait_until_leading()
    lab = Lab(kubernetes=kubernetes, operator=operator)
    lab.apply()
    lab.settled()
    assert lab.made() == MADE
    lab.delete("ConfigMap", "api")
    eventually(lambda: lab.find("ConfigMap", "api"))


def test_the_crd_is_updated_in_the_cluster_of_a_context(
    control_plane: Path,
    definition: object,  # noqa: ARG001 - it has to be there
    template: OperatorTemplate,
    tmp_path: Path,
) -> None:
    kubeconfig = with_a_program(control_plane, tmp_path)
    document = json.loads(kubeconfig.read_text())
    document["current-context"] = "elsewhere"
    kubeconfig.write_text(json.dumps(document))
    command = ("crds", "apply", ROOT / "crds" / "runtimeservers.yaml", f"--kubeconfig={kubeconfig}")
    done = template.run(*command, "--context=test")
    assert done.returncode == 0, done.stderr
    assert "is up to date" in done.stdout
    lost = template.run(*command)
    assert lost.returncode == 1
    assert lost.stderr.startswith("qiskit-runtime-operator: GET /apis/apiextensions.k8s.io/")
