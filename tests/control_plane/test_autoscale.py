"""Executors that are scaled, on a real API server: what becomes of a decision, and which pods go."""

import asyncio
import secrets
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from kit.kubernetes.client import KubernetesClient, Manifest, eventually
from kit.kubernetes.lab import Lab
from kit.kubernetes.operator_process import StartOperator
from kit.kubernetes.played_api import live_pods, played_api, start_pods
from kit.kubernetes.runtime_servers import AER, IMAGES
from qiskit_runtime_operator.cluster.api_server import Cluster
from qiskit_runtime_operator.cluster.connection import Kubeconfig, connected
from qiskit_runtime_operator.errors import StaleError
from qiskit_runtime_operator.metrics import ScalingMetrics, WriteMetrics
from qiskit_runtime_operator.render import RenderContext
from qiskit_runtime_operator.resource.kinds import watched_kinds
from qiskit_runtime_operator.resource.names import Key
from qiskit_runtime_operator.run.reconcile import Reconciler
from qiskit_runtime_operator.run.turns import Turns
from qiskit_runtime_operator.scaling.autoscaler import Autoscaler
from qiskit_runtime_operator.scaling.load import ExecutorLoad, Load
from qiskit_runtime_operator.watch.inventory import Inventory

pytestmark = pytest.mark.usefixtures("definition")

EXECUTOR = "lab-executor-aer"
KINDS = watched_kinds(frozenset())


class Scaled:
    """A RuntimeServer whose executor is scaled, reconciled by hand and with a clock of its own."""

    def __init__(self, kubernetes: KubernetesClient, cluster: Cluster) -> None:
        self.kubernetes = kubernetes
        self.now = datetime.now(UTC)
        self._cluster = cluster
        self._inventory = Inventory()
        self._key = Key(kubernetes.namespace, "lab")
        self._reconciler = Reconciler(
            cluster=cluster,
            inventory=self._inventory,
            context=RenderContext(images=IMAGES, operator_namespace="system"),
            loads={},
            autoscaler=Autoscaler(metrics=ScalingMetrics(CollectorRegistry())),
            random=secrets.token_urlsafe,
            now=lambda: self.now,
            turns=Turns(self._inventory),
        )

    async def begin(self, **autoscale: Any) -> None:
        # Nobody places the pods, so that only the test says what becomes of them.
        executor = {**AER, "autoscale": autoscale, "podTemplate": {"schedulerName": "nobody"}}
        head = {"apiVersion": "runtimeserver.dev/v1alpha1", "kind": "RuntimeServer", "metadata": {"name": "lab"}}
        self.kubernetes.apply({**head, "spec": {"executors": [executor]}}, force=True)
        await self.step()

    async def step(self) -> None:
        for kind in KINDS:
            self._inventory.begin_listing()
            listing = await self._cluster.list(kind, self._key.namespace, kind.selector)
            self._inventory.see_all(kind, self._key.namespace, listing.objects, listing.version)
        try:
            await self._reconciler.reconcile(self._key)
        except StaleError:
            # A controller was faster, and the operator would look again, too.
            await self.step()

    async def hear(self, *, queued: int = 0, running: int = 0, pods: Mapping[str, int] | None = None) -> None:
        """Let the api say how busy the executor is, and make a pass."""
        await self.step()
        load = Load(executors={"aer": ExecutorLoad(queued=queued, running=running, pods=pods or {})})
        self._reconciler.rescale(self._key, load)
        await self.step()

    @property
    def replicas(self) -> int:
        replicas: int = self.kubernetes.get("Deployment", EXECUTOR)["spec"]["replicas"]
        return replicas

    @property
    def status(self) -> Manifest:
        (executor,) = self.kubernetes.get("RuntimeServer", "lab")["status"]["executors"]
        return dict(executor)


@asynccontextmanager
async def scaled(kubeconfig: Path) -> AsyncIterator[Scaled]:
    with closing(KubernetesClient(kubeconfig, namespace=f"scale-{secrets.token_hex(4)}")) as kubernetes:
        kubernetes.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": kubernetes.namespace}})
        async with connected(Kubeconfig(files=str(kubeconfig))) as connection:
            writes = WriteMetrics(CollectorRegistry())
            yield Scaled(kubernetes, Cluster(connection, time_to_write=lambda: timedelta(seconds=30), metrics=writes))


def test_pods_come_with_jobs_and_those_without_a_job_go_first(control_plane: Path) -> None:
    async def tell() -> None:
        async with scaled(control_plane) as lab:
            await lab.begin(maxReplicas=3, idleSeconds=60)
            assert lab.replicas == 0
            await lab.hear(queued=5)
            assert lab.replicas == 3
            assert lab.status["reason"] == "AtMaximum"
            busy = {"10.9.0.1": 0, "10.9.0.2": 1, "10.9.0.3": 0}
            pods = start_pods(lab.kubernetes, "executor", *busy)
            lab.now += timedelta(seconds=30)
            await lab.hear(running=1, pods=busy)
            assert (lab.replicas, lab.status["reason"], lab.status["busy"]) == (3, "Idle", 1)
            lab.now += timedelta(seconds=31)
            await lab.hear(running=1, pods=busy)
            assert lab.replicas == 1
            kept = lab.kubernetes.get("Pod", pods[1])["metadata"]["annotations"]
            assert kept["controller.kubernetes.io/pod-deletion-cost"] == "1"
            assert eventually(lambda: live_pods(lab.kubernetes, "executor") == [pods[1]])
            lab.now += timedelta(seconds=61)
            await lab.hear()
            assert lab.replicas == 0
            events = [event for event in lab.kubernetes.list("Event") if event["reason"] == "Scaled"]
            assert {event["message"] for event in events} == {
                "Executor aer: 0 to 3 pods, with 5 jobs queued and 0 running."
            }

    asyncio.run(tell())


def test_who_scales_the_deployment_has_it_until_a_bound_is_changed(control_plane: Path) -> None:
    async def tell() -> None:
        async with scaled(control_plane) as lab:
            await lab.begin(maxReplicas=3)
            lab.kubernetes.merge("Deployment", EXECUTOR, {"spec": {"replicas": 5}}, "scale", manager="keda")
            await lab.hear(queued=2)
            assert (lab.replicas, lab.status["reason"]) == (5, "ScaledElsewhere")
            busy = {f"10.9.0.{number}": 1 for number in range(5)}
            await lab.hear(running=5, pods=busy)
            await lab.begin(maxReplicas=4)
            # What was theirs is above the bound, and has jobs.
            assert (lab.replicas, lab.status["reason"]) == (5, "AsNeeded")
            await lab.hear(queued=9, running=5, pods=busy)
            assert lab.replicas == 5
            await lab.hear(queued=9)
            assert lab.replicas == 4

    asyncio.run(tell())


def test_one_that_is_made_anew_begins_at_zero(control_plane: Path) -> None:
    async def tell() -> None:
        async with scaled(control_plane) as lab:
            await lab.begin(maxReplicas=3)
            await lab.hear(queued=5)
            before = lab.kubernetes.get("Deployment", EXECUTOR)["metadata"]["uid"]
            lab.kubernetes.delete("RuntimeServer", "lab")
            eventually(lambda: not lab.kubernetes.list("RuntimeServer"))
            eventually(lambda: not lab.kubernetes.list("Deployment"))
            await lab.begin(maxReplicas=3)
            assert lab.kubernetes.get("Deployment", EXECUTOR)["metadata"]["uid"] != before
            assert lab.replicas == 0

    asyncio.run(tell())


def test_suspended_and_paused_are_not_scaled(control_plane: Path) -> None:
    async def tell() -> None:
        async with scaled(control_plane) as lab:
            await lab.begin(minReplicas=1, maxReplicas=3)
            paused = {"metadata": {"annotations": {"runtimeserver.dev/reconcile": "paused"}}}
            lab.kubernetes.merge("RuntimeServer", "lab", paused)
            await lab.hear(queued=3)
            assert lab.replicas == 1
            resumed = {"metadata": {"annotations": None}, "spec": {"suspend": True}}
            lab.kubernetes.merge("RuntimeServer", "lab", resumed)
            await lab.hear(queued=3)
            assert lab.replicas == 0
            lab.kubernetes.merge("RuntimeServer", "lab", {"spec": {"suspend": False}})
            await lab.hear(queued=3)
            assert lab.replicas == 3

    asyncio.run(tell())


def reasons(lab: Lab) -> "Counter[str]":
    return Counter(reason for reason, _ in lab.events())


def test_an_operator_starts_a_pod_within_two_seconds_of_a_job(
    kubernetes: KubernetesClient, start_operator: StartOperator
) -> None:
    with played_api() as api:
        operator = start_operator(QRO_LOAD_URL=api.url, QRO_LOAD_INTERVAL="3")
        operator.wait_until_leading()
        lab = Lab(kubernetes=kubernetes, operator=operator)
        lab.apply(executors=[{**AER, "autoscale": {"maxReplicas": 2}}], podTemplate={"schedulerName": "nobody"})
        start_pods(kubernetes, "api", "10.9.1.1")
        eventually(lambda: lab.settled()["executors"][0].get("reason") == "AtZero")
        eventually(lambda: lab.condition("Ready")["status"] == "True")
        told, ready = reasons(lab), lab.condition("Ready")["lastTransitionTime"]
        # It looks twice a second, however slow the machine is: what it has not seen after two seconds it never sees.
        api.play_queued(4)
        eventually(lambda: lab.part("Deployment", "executor-aer")["spec"]["replicas"] == 1)
        start_pods(kubernetes, "executor", "10.9.1.2")
        eventually(lambda: lab.condition("Available")["reason"] == "Ready")
        # Pods that come and go with jobs are no roll-out, and one Event tells of them.
        assert reasons(lab) - told == Counter({"Scaled": 1})
        assert lab.condition("Ready")["lastTransitionTime"] == ready
        api.play(running=1, pods={"10.9.1.2": 1})
        eventually(lambda: lab.settled()["executors"][0].get("busy") == 1, seconds=45)
        api.executors = None
        eventually(lambda: lab.settled()["executors"][0]["reason"] == "LoadUnknown", seconds=45)
        assert lab.part("Deployment", "executor-aer")["spec"]["replicas"] == 1
