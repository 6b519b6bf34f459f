"""The image of a server on one machine, as `docker run` starts it."""

from typing import Any

import httpx
import pytest
from qiskit_ibm_runtime.executor_sampler import Sampler

from kit.kubernetes.client import KubernetesClient, eventually
from kit.quantum.circuits import isa_bell
from node.images import SERVE
from node.server_on_node import correct
from qiskit_runtime_server.client import connect


def test_one_container_is_a_server(kubernetes: KubernetesClient, setup: dict[str, Any]) -> None:
    image = next((name for name in setup["archives"] if f"/{SERVE}:" in name), None)
    if image is None:
        pytest.skip("a run of all tests builds the image; this is a run of some")
    container = {"name": "serve", "image": image, "args": ["serve", "--anonymous", "--executors=aer=1"]}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "serve"}, "spec": {"containers": [container]}}
    kubernetes.create(pod)
    try:
        address = eventually(lambda: kubernetes.get("Pod", "serve")["status"].get("podIP"), 120)
        url = f"http://{address}:8000"
        eventually(lambda: _is_ready(url), 120)
        backend = connect(url, "any token").backend("fake_marrakesh@aer")
        assert correct(Sampler(mode=backend).run([isa_bell(backend)], shots=1024))
    finally:
        kubernetes.delete("Pod", "serve")


def _is_ready(url: str) -> bool:
    try:
        return httpx.get(f"{url}/health").is_success
    except httpx.TransportError:
        return False
