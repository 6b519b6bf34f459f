"""The internal port of an api, where there is no kubelet that would start one: it says what a test wants it to."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

from kit.kubernetes.client import KubernetesClient, eventually


class PlayedApi:
    """What all apis say, whoever asks and with whatever key.

    Attributes:
        executors: Their load, by name; None while nobody answers.
        url: What an operator is given as QRO_LOAD_URL.
    """

    def __init__(self, port: int) -> None:
        self.executors: Mapping[str, Mapping[str, Any]] | None = {}
        self.url = f"http://127.0.0.1:{port}/internal/load"
        self._queued_for: int | None = None

    def play(self, *, queued: int = 0, running: int = 0, pods: Mapping[str, int] | None = None) -> None:
        """Let the executor `aer` be as busy as this."""
        self.executors = {"aer": {"queued": queued, "running": running, "pods": pods or {}, "slots": len(pods or {})}}
        self._queued_for = None

    def play_queued(self, answers: int) -> None:
        """Let the executor `aer` have a job in its queue for so many answers, and nothing to do from then on."""
        self.play(queued=1)
        self._queued_for = answers

    def say(self) -> Mapping[str, Mapping[str, Any]] | None:
        """Return what the next answer is."""
        if self._queued_for == 0:
            self.play()
        elif self._queued_for is not None:
            self._queued_for -= 1
        return self.executors


@contextmanager
def played_api() -> Iterator[PlayedApi]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            said = api.say()
            body = json.dumps({"backends": 1, "executors": said}).encode()
            self.send_response(503 if said is None else 200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        api = PlayedApi(server.server_port)
        thread = Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        yield api
        server.shutdown()
        thread.join()


def live_pods(kubernetes: KubernetesClient, component: str) -> list[str]:
    """Return the names of the pods of a component that nobody has deleted, sorted."""
    found = kubernetes.list("Pod", selector=f"app.kubernetes.io/component={component}")
    return sorted(pod["metadata"]["name"] for pod in found if "deletionTimestamp" not in pod["metadata"])


def start_pods(kubernetes: KubernetesClient, component: str, *addresses: str) -> list[str]:
    """Do what a kubelet would to the pods of a component: let each run at an address, and return their names."""
    names = eventually(lambda: len(found := live_pods(kubernetes, component)) == len(addresses) and found)
    for name, address in zip(names, addresses, strict=True):
        ready = {"type": "Ready", "status": "True"}
        status = {"phase": "Running", "podIP": address, "podIPs": [{"ip": address}], "conditions": [ready]}
        kubernetes.merge("Pod", name, {"status": status}, "status")
    return names
