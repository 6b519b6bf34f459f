"""Whatever somebody makes of a RuntimeServer and its parts, a few passes lead back, and one more writes nothing."""

import asyncio
import secrets
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry

from kit.kubernetes.client import KubernetesClient, Manifest, RefusedError
from kit.kubernetes.convergence import differences
from kit.kubernetes.runtime_servers import AER, GPU, IMAGES, specs
from qiskit_runtime_operator.cluster.api_server import Cluster, collection_path
from qiskit_runtime_operator.cluster.connection import Kubeconfig, connected
from qiskit_runtime_operator.errors import ClusterError
from qiskit_runtime_operator.metrics import ScalingMetrics, WriteMetrics
from qiskit_runtime_operator.render import RenderContext, render
from qiskit_runtime_operator.render.replicas import scaled_elsewhere
from qiskit_runtime_operator.resource.kinds import watched_kinds
from qiskit_runtime_operator.resource.model import RuntimeServer
from qiskit_runtime_operator.resource.names import Key
from qiskit_runtime_operator.run.reconcile import Reconciler
from qiskit_runtime_operator.run.turns import Turns
from qiskit_runtime_operator.scaling.autoscaler import Autoscaler
from qiskit_runtime_operator.watch.inventory import Inventory

PASSES = 3
KINDS = watched_kinds(frozenset())
CONTEXT = RenderContext(images=IMAGES, operator_namespace="system", monitoring_namespaces=("monitoring",))

Vandal = Callable[[KubernetesClient, Manifest], object]
"""Does something to a part of a RuntimeServer."""


def patch(body: Mapping[str, Any], subresource: str = "") -> Vandal:
    """Return who changes fields, as `kubectl edit` does."""
    return lambda kubernetes, part: kubernetes.merge(
        part["kind"], part["metadata"]["name"], dict(body), subresource, manager="vandal"
    )


def delete(kubernetes: KubernetesClient, part: Manifest) -> None:
    # Data go only when no pod uses them any more, which is not up to the operator.
    if part["kind"] != "PersistentVolumeClaim":
        kubernetes.delete(part["kind"], part["metadata"]["name"])


def change_container(kubernetes: KubernetesClient, part: Manifest) -> None:
    if part["kind"] == "Deployment":
        (container,) = part["spec"]["template"]["spec"]["containers"]
        changed = {"name": container["name"], "image": "vandal.test/x", "env": [{"name": "QRS_HOST", "value": "::"}]}
        template = {"spec": {"containers": [changed]}}
        head = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": part["metadata"]["name"]}}
        kubernetes.apply({**head, "spec": {"template": template}}, "vandal", force=True)


VANDALS: Mapping[str, Vandal] = {
    "delete": delete,
    "change a container": change_container,
    "remove labels": patch({"metadata": {"labels": None}}),
    "change a label": patch({"metadata": {"labels": {"app.kubernetes.io/managed-by": "somebody"}}}),
    "add an annotation": patch({"metadata": {"annotations": {"somebody.test/note": "kept"}}}),
    "remove annotations": patch({"metadata": {"annotations": None}}),
    "remove the owner": patch({"metadata": {"ownerReferences": None}}),
    "forget who set what": patch({"metadata": {"managedFields": [{}]}}),
    "edit the replicas": patch({"spec": {"replicas": 7}}),
    "scale": patch({"spec": {"replicas": 5}}, "scale"),
    "change the selector": patch({"spec": {"selector": {"a": "b"}}}),
    "change a port": patch({"spec": {"ports": [{"name": "http", "port": 81}]}}),
    "open the network": patch({"spec": {"ingress": [{}], "egress": [{}]}}),
    "close the network": patch({"spec": {"ingress": [], "egress": []}}),
    "allow disruption": patch({"spec": {"maxUnavailable": 3}}),
    "change the strategy": patch({"spec": {"strategy": {"type": "Recreate", "rollingUpdate": None}}}),
    "hurry pods": patch({"spec": {"template": {"spec": {"terminationGracePeriodSeconds": 1}}}}),
    "move pods": patch({"spec": {"template": {"spec": {"nodeSelector": {"a": "b"}}}}}),
    "change data": patch({"data": {"config": "changed"}}),
    "give a token": patch({"automountServiceAccountToken": True}),
}
actions = st.lists(st.one_of(specs, st.tuples(st.sampled_from(sorted(VANDALS)), st.integers(0, 40))), max_size=5)


@dataclass(frozen=True, kw_only=True)
class Bench:
    """A RuntimeServer that is reconciled by hand."""

    kubernetes: KubernetesClient
    cluster: Cluster
    inventory: Inventory
    reconciler: Reconciler

    async def step(self) -> None:
        """Look at everything and make a pass; what has to be repeated is up to the next step."""
        namespace = self.kubernetes.namespace
        for kind in KINDS:
            self.inventory.begin_listing()
            listing = await self.cluster.list(kind, namespace, kind.selector)
            self.inventory.see_all(kind, namespace, listing.objects, listing.version)
        try:
            await self.reconciler.reconcile(Key(namespace, "lab"))
        except ClusterError as error:
            print(f"again: {error}")

    def act(self, action: Mapping[str, Any] | tuple[str, int]) -> None:
        """Apply a spec, or do something to a part; the API server refuses what makes no sense."""
        try:
            if isinstance(action, tuple):
                parts, (what, number) = self.parts(), action
                VANDALS[what](self.kubernetes, parts[number % len(parts)])
            else:
                head = {"apiVersion": "runtimeserver.dev/v1alpha1", "kind": "RuntimeServer"}
                self.kubernetes.apply({**head, "metadata": {"name": "lab"}, "spec": dict(action)}, force=True)
        except RefusedError as refusal:
            print(f"refused: {refusal}")

    def parts(self) -> list[Manifest]:
        """Return what the operator applies, in an order of its own."""
        kinds = [kind for kind in KINDS if kind.kind not in ("Pod", "RuntimeServer")]
        found = [
            {**item, "apiVersion": kind.api_version, "kind": kind.kind}
            for kind in kinds
            for item in self.kubernetes.list(kind.kind)
        ]
        return [part for part in found if part["metadata"]["name"].startswith("lab-")]

    def differences(self) -> list[str]:
        """Return the rendered fields that are not as rendered."""
        server = RuntimeServer.from_object(self.kubernetes.get("RuntimeServer", "lab"))
        live = {(part["kind"], part["metadata"]["name"]): part for part in self.parts()}
        scaled = scaled_elsewhere(part for (kind, _), part in live.items() if kind == "Deployment")
        wanted = render(server, replace(CONTEXT, scaled_elsewhere=scaled))
        found = {(item["kind"], item["metadata"]["name"]): item for item in wanted if self.is_possible(item)}
        names = {(item["kind"], item["metadata"]["name"]) for item in wanted}
        left_over = [f"{key} is left over" for key in live if key not in names and key[0] != "PersistentVolumeClaim"]
        return left_over + [line for key in found for line in differences(found[key], live.get(key), str(key))]

    def is_possible(self, wanted: Manifest) -> bool:
        """Tell whether the API server would take an object, if nobody had spoilt it; users can ask for nonsense."""
        metadata = {"generateName": "dry-run-", "namespace": wanted["metadata"]["namespace"]}
        path = collection_path(next(kind for kind in KINDS if kind.kind == wanted["kind"]), metadata["namespace"])
        try:
            self.kubernetes.call("POST", f"{path}?dryRun=All", {**wanted, "metadata": metadata})
        except RefusedError:
            return False
        return True

    def versions(self) -> dict[str, str]:
        """Return the resource versions of all that nobody else writes to, as controllers do to Deployments."""
        return {
            f"{part['kind']} {part['metadata']['name']}": part["metadata"]["resourceVersion"]
            for part in self.parts()
            if part["kind"] not in ("Deployment", "PodDisruptionBudget", "PersistentVolumeClaim")
        }


async def converge(bench: Bench, registry: CollectorRegistry) -> None:
    for _ in range(PASSES):
        await bench.step()
    assert bench.differences() == []
    before, writes = bench.versions(), applied(registry)
    await bench.step()
    assert bench.versions() == before
    assert applied(registry) == writes


def applied(registry: CollectorRegistry) -> float:
    """Return how many objects were written, statuses left out: those follow pods that come and go."""
    samples = [sample for family in registry.collect() for sample in family.samples]
    return sum(s.value for s in samples if s.name == "qro_objects_written_total" and s.labels["how"] != "status")


async def lead_back(
    control_plane: Path, kubernetes: KubernetesClient, spec: Mapping[str, Any], *rounds: list[Any]
) -> None:
    """Reconcile a new RuntimeServer by hand, and once more after what somebody does in each of the rounds."""
    registry = CollectorRegistry()
    metrics = WriteMetrics(registry)
    async with connected(Kubeconfig(files=str(control_plane))) as connection:
        cluster = Cluster(connection, time_to_write=lambda: timedelta(seconds=30), metrics=metrics)
        inventory = Inventory()
        reconciler = Reconciler(
            cluster=cluster,
            inventory=inventory,
            context=CONTEXT,
            loads={},
            autoscaler=Autoscaler(metrics=ScalingMetrics(registry)),
            random=secrets.token_urlsafe,
            now=lambda: datetime.now(UTC),
            turns=Turns(inventory),
        )
        bench = Bench(kubernetes=kubernetes, cluster=cluster, inventory=inventory, reconciler=reconciler)
        bench.act(spec)
        if kubernetes.find("RuntimeServer", "lab") is None:
            return
        await converge(bench, registry)
        for actions in rounds:
            for action in actions:
                bench.act(action)
            await converge(bench, registry)


EXAMPLES = settings(
    deadline=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


@pytest.mark.usefixtures("definition")
@settings(EXAMPLES, max_examples=5)
@given(spec=specs, actions=actions)
@example(
    spec={"executors": [AER]},
    actions=[{"executors": [AER, GPU]}, *((what, number) for number, what in enumerate(sorted(VANDALS)))],
)
def test_passes_bring_back_what_was_done_to_a_runtime_server(
    control_plane: Path, spec: Mapping[str, Any], actions: list[Any]
) -> None:
    with namespaced(control_plane) as kubernetes:
        asyncio.run(lead_back(control_plane, kubernetes, spec, actions))


@pytest.mark.thorough
@pytest.mark.usefixtures("definition")
@settings(EXAMPLES, max_examples=30)
@given(spec=specs, first=actions, second=actions)
@example(
    spec={"executors": [AER]},
    first=[("change a container", number) for number in range(40)],
    second=[{"executors": [GPU]}, *(("change a container", number) for number in range(40))],
)
@example(
    spec={"executors": [AER, GPU]},
    first=[{"executors": [AER]}, *(("remove the owner", number) for number in range(40))],
    second=[{"executors": [GPU]}, *(("remove labels", number) for number in range(40))],
)
def test_three_passes_bring_back_every_field_and_one_more_writes_nothing(
    control_plane: Path,
    spec: Mapping[str, Any],
    first: list[Any],
    second: list[Any],
) -> None:
    with namespaced(control_plane) as kubernetes:
        asyncio.run(lead_back(control_plane, kubernetes, spec, first, second))


@contextmanager
def namespaced(kubeconfig: Path) -> Iterator[KubernetesClient]:
    with closing(KubernetesClient(kubeconfig, namespace=f"converge-{secrets.token_hex(4)}")) as client:
        client.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": client.namespace}})
        yield client
