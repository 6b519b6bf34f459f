"""From whatever somebody makes of a RuntimeServer and its parts, a few passes lead back, and one more writes nothing."""

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from kubernetes_client import KubernetesClient, Manifest, RefusedError
from prometheus_client import CollectorRegistry
from runtime_servers import IMAGES, specs

from qiskit_runtime_operator.cluster import Cluster
from qiskit_runtime_operator.connection import Connection
from qiskit_runtime_operator.errors import ClusterError
from qiskit_runtime_operator.handlers import selector_of, watched_kinds
from qiskit_runtime_operator.inventory import Inventory, Key
from qiskit_runtime_operator.measures import WriteMeasures
from qiskit_runtime_operator.model import RuntimeServer
from qiskit_runtime_operator.reconcile import Reconciler
from qiskit_runtime_operator.render import RenderContext, render

PASSES = 3
KINDS = watched_kinds(frozenset())
CONTEXT = RenderContext(images=IMAGES, operator_namespace="system", monitoring_namespace="monitoring")

Vandal = Callable[[KubernetesClient, Manifest], None]
"""Does something to an object of a RuntimeServer's; the API server may refuse it."""


@dataclass(frozen=True)
class Patch:
    """A merge patch by somebody."""

    body: Mapping[str, Any]
    subresource: str = ""

    def __call__(self, kubernetes: KubernetesClient, part: Manifest) -> None:
        name = part["metadata"]["name"]
        kubernetes.merge(part["kind"], name, dict(self.body), self.subresource, manager="vandal")


def delete(kubernetes: KubernetesClient, part: Manifest) -> None:
    """Delete an object."""
    kubernetes.delete(part["kind"], part["metadata"]["name"])


def clear_managers(kubernetes: KubernetesClient, part: Manifest) -> None:
    """Make the API server forget who has set what."""
    kubernetes.merge(part["kind"], part["metadata"]["name"], {"metadata": {"managedFields": [{}]}})


def _container(**fields: Any) -> Mapping[str, Any]:
    return {"spec": {"template": {"spec": {"containers": [{"name": "main", "image": "evil.test/x", **fields}]}}}}


vandals = st.sampled_from(
    [
        delete,
        clear_managers,
        Patch({"metadata": {"labels": None}}),
        Patch({"metadata": {"labels": {"app.kubernetes.io/managed-by": "somebody"}}}),
        Patch({"metadata": {"annotations": {"somebody.test/note": "kept"}}}),
        Patch({"metadata": {"annotations": None}}),
        Patch({"metadata": {"ownerReferences": None}}),
        Patch({"spec": {"replicas": 7}}),
        Patch({"spec": {"replicas": 5}}, subresource="scale"),
        Patch({"spec": {"selector": {"a": "b"}, "type": "NodePort"}}),
        Patch({"spec": {"ports": [{"name": "http", "port": 81}]}}),
        Patch({"spec": {"ingress": [], "egress": [{}], "policyTypes": ["Egress"]}}),
        Patch({"spec": {"maxUnavailable": 3}}),
        Patch({"spec": {"strategy": {"type": "Recreate", "rollingUpdate": None}}}),
        Patch({"spec": {"template": {"spec": {"terminationGracePeriodSeconds": 1, "nodeSelector": {"a": "b"}}}}}),
        Patch(_container(env=[{"name": "QRS_HOST", "value": "evil"}])),
        Patch({"data": {"config": "evil"}, "automountServiceAccountToken": True}),
    ]
)


@dataclass(frozen=True, kw_only=True)
class Bench:
    """One RuntimeServer, reconciled by hand: a pass begins with a look at everything."""

    kubernetes: KubernetesClient
    cluster: Cluster
    inventory: Inventory
    reconciler: Reconciler

    @property
    def key(self) -> Key:
        return Key(self.kubernetes.namespace, "lab")

    async def step(self) -> None:
        """Make one pass; what has to be repeated is repeated by the next one."""
        self.inventory.begin_listing()
        for kind in KINDS:
            listed = await self.cluster.list(kind, self.key.namespace, selector_of(kind))
            self.inventory.see_all(kind, self.key.namespace, listed)
        try:
            await self.reconciler.reconcile(self.key)
        except ClusterError as error:
            print(f"a pass is to be repeated: {error}")

    def apply(self, spec: Mapping[str, Any]) -> None:
        """Apply the RuntimeServer."""
        head = {"apiVersion": "runtimeserver.dev/v1alpha1", "kind": "RuntimeServer", "metadata": {"name": "lab"}}
        self.kubernetes.apply({**head, "spec": dict(spec)}, force=True)

    def rendered(self) -> tuple[Manifest, ...]:
        """Return what should be there; how many replicas is a matter of its own, see test_render.py."""
        server = RuntimeServer.from_object(self.kubernetes.get("RuntimeServer", "lab"))
        return render(server, CONTEXT)

    def parts(self) -> list[Manifest]:
        """Return all that is there, in an order of its own."""
        found = [
            {"kind": kind.kind, **item}
            for kind in KINDS
            if kind.kind not in ("Pod", "RuntimeServer")
            for item in self.kubernetes.list(kind.kind)
        ]
        return [part for part in found if part["metadata"]["name"].startswith("lab-")]

    def versions(self) -> dict[str, str]:
        """Return all resource versions, the RuntimeServer's included; what others write is left out."""
        everything = [*self.parts(), {"kind": "RuntimeServer", **self.kubernetes.get("RuntimeServer", "lab")}]
        return {f"{part['kind']} {part['metadata']['name']}": written_by_us(part) for part in everything}
