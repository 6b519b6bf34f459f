"""A RuntimeServer under test: applies it, waits for it, and talks to it as users do."""

import os
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import yaml
from qiskit import QuantumCircuit
from qiskit_ibm_runtime import QiskitRuntimeService, RuntimeJobV2, SamplerV2

from kit.kubernetes.client import KubernetesClient, Manifest, eventually
from kit.quantum.circuits import isa_bell
from kit.server.scraped import scraped
from node.inside import HOST
from node.node import Node
from qiskit_runtime_server.client import connect

URL = f"http://{HOST}"
TOKEN = "token-of-alice"  # noqa: S105 - of examples/kubernetes/tutorial.yaml
_EXAMPLES = Path(__file__).parents[2] / "examples" / "kubernetes"
# By example: what the volume that it claims is called, and who writes to it.
_VOLUMES: Mapping[str, Mapping[str, Any]] = {
    "tutorial.yaml": {"name": "lab", "user": 10001},
    "postgresql.yaml": {"name": "database", "user": 999},
}
# How long pods may take to end by themselves.
_PATIENCE = 60


class Lab:
    """The RuntimeServer `lab`.

    Attributes:
        kubernetes: An administrator's client in its namespace.
    """

    def __init__(self, kubernetes: KubernetesClient, node: Node) -> None:
        self.kubernetes = kubernetes
        self._node = node
        self._specs: dict[str, Manifest] = {}

    def bring(self, example: str) -> float | None:
        """Bring the RuntimeServer of an example, as it is there, whatever a test has made of it or of another one.

        Returns:
            The seconds from its first apply until it was Available; None if it was applied before.
        """
        first = example not in self._specs
        if first:
            self._make_volume(**_VOLUMES[example])
        took = None
        found = self.kubernetes.find("RuntimeServer", "lab")
        if found is None or "deletionTimestamp" in found["metadata"] or found["spec"] != self._specs.get(example):
            self._clear()
            began = time.monotonic()
            self.apply_example(example)
            self._specs[example] = self.kubernetes.get("RuntimeServer", "lab")["spec"]
            self.wait_for("Available")
            took = time.monotonic() - began if first else None
        self.wait_for_rollout()
        self.service()
        return took

    def _clear(self) -> None:
        """Delete what the examples have made, but not its volumes, and see the pods go, those that hang by force."""
        for kind, name in (("RuntimeServer", "lab"), ("StatefulSet", "lab-postgresql")):
            if self.kubernetes.find(kind, name):
                self.kubernetes.delete(kind, name)
        began = time.monotonic()

        def gone() -> bool:
            pods = self.kubernetes.list("Pod")
            if time.monotonic() - began > _PATIENCE:
                for pod in pods:
                    self.kubernetes.delete("Pod", pod["metadata"]["name"], at_once=True)
            return not pods

        eventually(gone, _PATIENCE + 60)

    def _make_volume(self, name: str, user: int) -> None:
        """Make a volume of a user's that a claim can have; nothing here makes them by itself."""
        folder = self._node.folder / "volumes" / name
        folder.mkdir(parents=True)
        os.chown(folder, user, user)
        spec = {
            "capacity": {"storage": "10Gi"},
            "accessModes": ["ReadWriteOnce"],
            "persistentVolumeReclaimPolicy": "Retain",
            "hostPath": {"path": str(folder)},
        }
        self.kubernetes.create(
            {"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": name}, "spec": spec}
        )

    def apply_example(self, name: str) -> None:
        """Apply a file of examples/kubernetes as it is."""
        for manifest in yaml.safe_load_all((_EXAMPLES / name).read_text()):
            self.kubernetes.apply(manifest)

    def change(self, spec: Manifest) -> None:
        """Merge into the RuntimeServer's spec."""
        self.kubernetes.merge("RuntimeServer", "lab", {"spec": spec})

    def executors(self, *changes: Manifest) -> list[Manifest]:
        """Return the executors of the example, with one change for each that is given, and new ones behind."""
        known: list[Manifest] = self.kubernetes.get("RuntimeServer", "lab")["spec"]["executors"]
        merged = {executor["name"]: executor for executor in known}
        for change in changes:
            merged[change["name"]] = {**merged.get(change["name"], {}), **change}
        return list(merged.values())

    def status(self) -> Manifest:
        """Return its status."""
        status: Manifest = self.kubernetes.get("RuntimeServer", "lab").get("status", {})
        return status

    def condition(self, kind: str) -> Manifest:
        """Return a condition of the status; empty if there is none."""
        return next((found for found in self.status().get("conditions", []) if found["type"] == kind), {})

    def wait_for(self, kind: str, status: str = "True", seconds: float = 240) -> None:
        """Wait until a condition has a status, for the spec as it is now."""
        eventually(lambda: self._settled() and self.condition(kind).get("status") == status, seconds)

    def wait_for_rollout(self, seconds: float = 300) -> None:
        """Wait until everything is as the spec wants it, and serves."""
        eventually(lambda: self._settled() and self.condition("Progressing").get("status") == "False", seconds)
        # Kubernetes calls a Deployment complete whose only pod has been replaced and is not ready yet.
        self.wait_for("Available", seconds=seconds)

    def pods(self, role: str) -> list[Manifest]:
        """Return the running pods of the Deployment `lab-<role>`."""
        found = self.kubernetes.list("Pod")
        return [
            pod
            for pod in found
            if pod["metadata"]["name"].startswith(f"lab-{role}-") and "deletionTimestamp" not in pod["metadata"]
        ]

    def runs(self, role: str) -> float:
        """Return how many runs the pods of an executor have begun."""
        return sum(scraped(internal(pod))["qrs_executor_runs_started_total"] for pod in self.pods(role))

    def service(self, token: str = TOKEN, seconds: float = 60) -> QiskitRuntimeService:
        """Connect the real client through the ingress, once that has heard of the Ingress."""
        eventually(_reachable, seconds)
        return connect(URL, token)

    def _settled(self) -> bool:
        found = self.kubernetes.get("RuntimeServer", "lab")
        return bool(found.get("status", {}).get("observedGeneration") == found["metadata"]["generation"])


def internal(pod: Manifest) -> str:
    """Return where a pod shows its metrics."""
    return f"http://{pod['status']['podIP']}:9090"


def _reachable() -> bool:
    try:
        return httpx.get(f"{URL}/health/ready").is_success
    except httpx.TransportError:
        return False


def long_circuit(layers: int) -> QuantumCircuit:
    """Return a circuit for fake_quantum_sim of 24 qubits that takes almost a second for each layer on two cores."""
    circuit = QuantumCircuit(24)
    for layer in range(layers):
        for qubit in range(24):
            circuit.rz(0.1 * layer, qubit)
            circuit.sx(qubit)
        for qubit in range(layer % 2, 23, 2):
            circuit.cx(qubit, qubit + 1)
    circuit.measure_all()
    return circuit


def correct(job: RuntimeJobV2) -> bool:
    """Return whether a Bell job has counts that a noisy device may give."""
    counts: dict[str, int] = job.result()[0].data.meas.get_counts()
    shots = sum(counts.values())
    # At five standard deviations of 1,024 shots, and 15 % of errors.
    return shots == 1024 and counts.get("00", 0) + counts.get("11", 0) > 0.75 * shots


@contextmanager
def jobs_in_flight(
    service: QiskitRuntimeService, backend_name: str, count: int, pause: float = 0.05
) -> Iterator[Callable[[], float]]:
    """Submit Bell jobs one after the other while the body runs, and then check that every one of them is right.

    Args:
        service: Where.
        backend_name: To what.
        count: How many.
        pause: Seconds between them.

    Yields:
        Returns what part of them has been submitted.
    """
    backend = service.backend(backend_name)
    isa = isa_bell(backend)
    submitted: list[RuntimeJobV2] = []

    def submit() -> None:
        for _ in range(count):
            submitted.append(SamplerV2(mode=backend).run([isa], shots=1024))
            time.sleep(pause)

    with ThreadPoolExecutor(1) as pool:
        done: Future[None] = pool.submit(submit)
        yield lambda: len(submitted) / count
        done.result()
    assert len(submitted) == count
    assert len({job.job_id() for job in submitted}) == count
    wrong = [job.job_id() for job in submitted if not correct(job)]
    assert not wrong
