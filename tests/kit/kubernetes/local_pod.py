"""Containers as processes of this machine, with the rights of their pods' ServiceAccounts: there is no kubelet."""

import json
import os
import subprocess
import sys
from pathlib import Path

from kit.kubernetes.client import KubernetesClient, Manifest


def container_environment(kubernetes: KubernetesClient, pod: Manifest, folder: Path) -> dict[str, str]:
    """Return the variables of the one container of a pod; the kubeconfig of its ServiceAccount is put into `folder`."""
    (container,) = pod["spec"]["containers"]
    kubeconfig = folder / "kubeconfig"
    kubeconfig.write_text(_kubeconfig(kubernetes, pod))
    own = {item["name"]: item.get("value") or _field(pod, item) for item in container.get("env", [])}
    return {**own, "KUBECONFIG": str(kubeconfig)}


def run_container(kubernetes: KubernetesClient, pod: Manifest, folder: Path) -> "subprocess.CompletedProcess[str]":
    """Run the one container of a pod to its end: its command, with its files, but without its image."""
    (container,) = pod["spec"]["containers"]
    arguments = _with_files(kubernetes, pod, folder)
    return subprocess.run(
        [Path(sys.executable).with_name(container["command"][0]), *arguments],
        env={**os.environ, **container_environment(kubernetes, pod, folder)},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def _field(pod: Manifest, variable: Manifest) -> str:
    return str(pod["metadata"][variable["valueFrom"]["fieldRef"]["fieldPath"].removeprefix("metadata.")])


def _with_files(kubernetes: KubernetesClient, pod: Manifest, folder: Path) -> list[str]:
    """Write the ConfigMaps that the pod mounts, and return the arguments with their paths here."""
    (container,) = pod["spec"]["containers"]
    arguments: list[str] = list(container["args"])
    mounts = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
    for volume in pod["spec"]["volumes"]:
        if "configMap" in volume:
            here = folder / volume["name"]
            here.mkdir()
            config = kubernetes.get("ConfigMap", volume["configMap"]["name"], pod["metadata"]["namespace"])
            for name, content in config["data"].items():
                (here / name).write_text(content)
            there = mounts[volume["name"]]
            arguments = [argument.replace(f"{there}/", f"{here}/") for argument in arguments]
    return arguments


def _kubeconfig(kubernetes: KubernetesClient, pod: Manifest) -> str:
    account = f"/api/v1/namespaces/{pod['metadata']['namespace']}/serviceaccounts/{pod['spec']['serviceAccountName']}"
    request = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}}
    document = json.loads(kubernetes.kubeconfig.read_text())
    document["users"][0]["user"] = {"token": kubernetes.call("POST", f"{account}/token", request)["status"]["token"]}
    return json.dumps(document)
