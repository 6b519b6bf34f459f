"""A real operator process, outside of the cluster that it works in."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

import httpx
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from kit import trusted
from kit.kubernetes.client import KubernetesClient, eventually
from kit.kubernetes.operator_template import Fork
from kit.ports import held_port

_STOP_SECONDS = 60
_ANSWER_SECONDS = 30

StartProcess = Callable[[Mapping[str, str], Path], "subprocess.Popen[bytes] | Fork"]
"""Starts an operator with these environment variables, which writes its log to the end of a file."""


def run_command(variables: Mapping[str, str], log: Path) -> "subprocess.Popen[bytes]":
    """Start an operator by its command, as its container does."""
    command = [sys.executable, "-m", "qiskit_runtime_operator", "run"]
    with log.open("ab") as output:
        return subprocess.Popen(command, env=variables, stdout=output, stderr=subprocess.STDOUT)


class OperatorProcess:
    """A running `qiskit-runtime-operator run`.

    Attributes:
        name: What it calls itself.
        process: Its process.
        log: The file with what it said.
        health: The URL of its probes.
        metrics: The URL of its metrics.
    """

    def __init__(
        self,
        name: str,
        ports: tuple[int, int],
        environment: Mapping[str, str],
        log: Path,
        start: StartProcess = run_command,
    ) -> None:
        health, metrics = ports
        self.name = name
        self.log = log
        self.health = f"http://127.0.0.1:{health}"
        self.metrics = f"http://127.0.0.1:{metrics}/metrics"
        own = {"QRO_HEALTH_PORT": str(health), "QRO_METRICS_PORT": str(metrics), "QRO_POD_NAME": name}
        self.process = start({**os.environ, **own, **environment}, log)

    def wait_until_leading(self, seconds: float = 60) -> None:
        """Return when it holds the Lease."""
        eventually(lambda: self._answers() and self.metric("qro_leader") == 1, seconds)

    def wait_until_ready(self) -> None:
        """Return when its probes say so; it may be a standby."""
        eventually(lambda: self._answers() and self.probe("readyz") == 200)

    def probe(self, name: str) -> int:
        """Return the status of a probe."""
        return _get(f"{self.health}/{name}").status_code

    def metric(self, name: str, **labels: str) -> float:
        """Return the sum of the samples that have these labels; 0 if there are none."""
        return sum(sample.value for sample in self.samples(name) if labels.items() <= sample.labels.items())

    def samples(self, name: str) -> list[Sample]:
        """Return the samples of a name, of one scrape."""
        families = text_string_to_metric_families(_get(self.metrics).text)
        return [sample for family in families for sample in family.samples if sample.name == name]

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Send a signal and return the exit code."""
        self.process.send_signal(number)
        return self.process.wait(_STOP_SECONDS)

    def _answers(self) -> bool:
        if self.process.poll() is not None:
            raise RuntimeError(f"{self.name} ended with {self.process.returncode}:\n{self.log.read_text()}")
        try:
            # Where it listens last.
            return _get(self.metrics).is_success
        except httpx.TransportError:
            return False


class StartOperator(Protocol):
    """Starts an operator for the test's namespace; it is killed after the test."""

    def __call__(self, name: str = "operator-0", **environment: str) -> OperatorProcess: ...


@contextmanager
def running_operator(
    kubernetes: KubernetesClient,
    log: Path,
    name: str = "operator-0",
    start: StartProcess = run_command,
    **environment: str,
) -> Iterator[OperatorProcess]:
    """Start an operator that looks after the client's namespace, unless `environment` says otherwise."""
    images = {f"QRO_{image}_IMAGE": f"registry.test/{image.lower()}:1" for image in ("API", "EXECUTOR", "EXECUTOR_GPU")}
    where = {"QRO_NAMESPACE": kubernetes.namespace, "QRO_NAMESPACES": kubernetes.namespace}
    cluster = {"KUBECONFIG": str(kubernetes.kubeconfig)}
    with held_port() as health, held_port() as metrics:
        operator = OperatorProcess(name, (health, metrics), {**images, **where, **cluster, **environment}, log, start)
        try:
            yield operator
        finally:
            operator.process.kill()
            operator.process.wait()


def _get(url: str) -> httpx.Response:
    return httpx.get(url, timeout=_ANSWER_SECONDS, verify=trusted(url))
