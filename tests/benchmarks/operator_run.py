"""Measures the operator on a control plane of its own, prints a table, writes docs/reference/operator-benchmarks.md.

`--servers` says how many RuntimeServers are applied at once, one measurement for each number; `--quick` waits less and
writes nothing.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path

import yaml
from rich.console import Console
from rich.table import Table

from benchmarks.table import machine
from kit.kubernetes.binaries import KubernetesBinaries
from kit.kubernetes.client import KubernetesClient, Manifest
from kit.kubernetes.control_plane import running_control_plane
from kit.kubernetes.operator_process import OperatorProcess, running_operator

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "reference" / "operator-benchmarks.md"
EXECUTORS = [{"name": "aer"}, {"name": "second", "type": "aer"}]
# What a RuntimeServer with two executors and an embedded database consists of, by kind.
PARTS = {
    "ConfigMap": 1,
    "Deployment": 3,
    "NetworkPolicy": 2,
    "PersistentVolumeClaim": 1,
    "PodDisruptionBudget": 3,
    "Secret": 1,
    "Service": 3,
    "ServiceAccount": 2,
}
REPAIRS = 21  # each of another one: repairs of one object are not made faster than at a certain rate
Rows = Iterator[tuple[str, str, str]]


@contextmanager
def bench() -> Iterator[tuple[KubernetesClient, OperatorProcess]]:
    """A control plane with an operator that looks after one namespace."""
    KubernetesBinaries().ensure()
    with (
        running_control_plane(rate=20) as kubeconfig,
        closing(KubernetesClient(kubeconfig, namespace="bench")) as kubernetes,
        tempfile.TemporaryDirectory() as folder,
    ):
        kubernetes.apply(yaml.safe_load((ROOT / "crds" / "runtimeservers.yaml").read_text()))
        kubernetes.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": kubernetes.namespace}})
        with running_operator(kubernetes, Path(folder) / "log") as operator:
            operator.wait_until_leading()
            yield kubernetes, operator


def server(name: str) -> Manifest:
    return {
        "apiVersion": "runtimeserver.dev/v1alpha1",
        "kind": "RuntimeServer",
        "metadata": {"name": name},
        "spec": {"executors": EXECUTORS},
    }


def objects(operator: OperatorProcess) -> float:
    """Return how many parts of RuntimeServers the operator has written so far."""
    written = operator.samples("qro_objects_written_total")
    parts = (sample for sample in written if sample.labels["kind"] in PARTS)
    return sum(sample.value for sample in parts if sample.labels["how"] in {"apply", "create"})


def seconds_until_all_exist(kubernetes: KubernetesClient, operator: OperatorProcess, count: int) -> float:
    wanted = count * sum(PARTS.values())
    began = time.monotonic()
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(kubernetes.apply, (server(f"lab-{number}") for number in range(count))))
    deadline = began + 900
    while objects(operator) < wanted:
        assert time.monotonic() < deadline, "not all objects were written"
        time.sleep(0.25)  # More often, the answers cost the operator a tenth of what it has.
    took = time.monotonic() - began
    for kind, number in PARTS.items():
        found = kubernetes.list(kind, selector="app.kubernetes.io/managed-by=qiskit-runtime-operator")
        assert len(found) == count * number, f"{len(found)} of kind {kind}"
    return took


def wait_until_quiet(operator: OperatorProcess, quiet_seconds: float) -> None:
    """Wait until nothing has been written for a while: controllers are still making pods."""
    written, since = operator.metric("qro_objects_written_total"), time.monotonic()
    while time.monotonic() - since < quiet_seconds:
        time.sleep(1)
        now = operator.metric("qro_objects_written_total")
        if now != written:
            written, since = now, time.monotonic()


def repair_seconds(kubernetes: KubernetesClient, name: str) -> float:
    """Delete a Deployment and return how long it was not there."""
    gone = kubernetes.get("Deployment", name)["metadata"]["uid"]
    began = time.monotonic()
    kubernetes.delete("Deployment", name)
    while (there := kubernetes.find("Deployment", name)) is None or there["metadata"]["uid"] == gone:
        time.sleep(0.005)
    return time.monotonic() - began


def measure(count: int, *, quick: bool) -> Rows:
    with bench() as (kubernetes, operator):
        idle = operator.metric("process_resident_memory_bytes")
        took = seconds_until_all_exist(kubernetes, operator, count)
        parts = count * sum(PARTS.values())
        what = f"{count:,} RuntimeServers of 2 executors at once: until all {parts:,} objects exist"
        yield what, f"{took:.1f} s", "10 s" if count == 100 else ""
        wait_until_quiet(operator, 10 if quick else 30)
        pause = 10 if quick else 60
        before = operator.metric("qro_objects_written_total")
        time.sleep(pause)
        writes = operator.metric("qro_objects_written_total") - before
        yield f"... then, writes in {pause} s, the Lease left out", f"{writes:.0f}", "0"
        memory = operator.metric("process_resident_memory_bytes")
        goal = "200 MB" if count == 100 else ""
        yield "... resident memory of the operator, and before", f"{memory / 1e6:.0f} MB, {idle / 1e6:.0f} MB", goal
        times = [repair_seconds(kubernetes, f"lab-{number}-api") for number in range(REPAIRS)]
        found = f"{statistics.median(times):.2f} s [{min(times):.2f}, {max(times):.2f}]"
        yield "... repair of a deleted Deployment, median and range", found, "1 s" if count == 100 else ""


def page(rows: list[tuple[str, str, str]]) -> str:
    lines = [
        "# Benchmarks of the operator",
        "",
        "Made by `make bench-operator`: the operator beside a control plane of etcd, kube-apiserver,",
        "kube-controller-manager and kube-scheduler, all on this machine. There are no nodes, so no pod runs.",
        "",
        f"Machine: {machine()}; Kubernetes {KubernetesBinaries().version}.",
        "",
        "| what | operator | goal |",
        "|---|---|---|",
    ]
    return "\n".join([*lines, *(f"| {what} | {found} | {goal} |" for what, found, goal in rows)]) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--servers", nargs="*", type=int, default=[100, 1000])
    parser.add_argument("--quick", action="store_true")
    options = parser.parse_args()
    console = Console(width=150)
    rows = []
    for count in options.servers:
        for row in measure(count, quick=options.quick):
            rows.append(row)
            console.print(f"{row[0]}: {row[1]}", highlight=False)
    table = Table("what", "operator", "goal", title=machine())
    for row in rows:
        table.add_row(*row)
    console.print(table)
    if not options.quick:
        PAGE.write_text(page(rows))


if __name__ == "__main__":
    main()
