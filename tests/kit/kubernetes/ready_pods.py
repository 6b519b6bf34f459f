"""Pods that become ready, as a kubelet makes them, so that the Deployment controller gets on with a roll-out."""

import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager

from kit.kubernetes.client import KubernetesClient, RefusedError

_LOOK_SECONDS = 0.2
_READY = {"status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}}


@contextmanager
def ready_pods(kubernetes: KubernetesClient, selector: str = "") -> Iterator[None]:
    """Make all pods of the client's namespace ready that have the labels, for as long as the context lasts."""
    over = threading.Event()

    def work() -> None:
        with closing(KubernetesClient(kubernetes.kubeconfig, kubernetes.namespace)) as client:
            while not over.wait(_LOOK_SECONDS):
                for pod in client.list("Pod", selector=selector):
                    if pod["status"].get("phase") != "Running":
                        _make_ready(client, pod["metadata"]["name"])

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def _make_ready(client: KubernetesClient, name: str) -> None:
    try:
        client.merge("Pod", name, _READY, "status")
    except RefusedError:
        # It has just been deleted.
        if client.find("Pod", name):
            raise
