"""A RuntimeServer, in a namespace with an operator at work, as tests treat it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from kit.kubernetes.client import KubernetesClient, Manifest, eventually
from kit.kubernetes.operator_process import OperatorProcess

AER: Mapping[str, Any] = {"name": "aer"}
KINDS = (
    "ConfigMap",
    "Deployment",
    "Ingress",
    "NetworkPolicy",
    "PersistentVolumeClaim",
    "PodDisruptionBudget",
    "Secret",
    "Service",
    "ServiceAccount",
)
"""What the operator makes for a RuntimeServer, ServiceMonitors and HTTPRoutes left out."""


MADE: Mapping[str, set[str]] = {
    "ConfigMap": {"api"},
    "Deployment": {"api", "executor-aer"},
    "NetworkPolicy": {"api", "executor"},
    "PersistentVolumeClaim": {"data"},
    "PodDisruptionBudget": {"api", "executor-aer"},
    "Secret": {"keys"},
    "Service": {"api", "executor-aer"},
    "ServiceAccount": {"api", "executor"},
}
"""The parts of a RuntimeServer with nothing but an executor called aer."""

DRIFT: Mapping[tuple[str, str], Manifest] = {
    ("Deployment", "executor-aer"): {"spec": {"template": {"spec": {"serviceAccountName": "default"}}}},
    ("Deployment", "api"): {"spec": {"replicas": 3}},
    ("Service", "api"): {"spec": {"selector": {"app.kubernetes.io/instance": "other"}}},
    ("ConfigMap", "api"): {"metadata": {"labels": {"app.kubernetes.io/managed-by": "me"}}},
    ("NetworkPolicy", "executor"): {"spec": {"ingress": [{}]}},
    ("PodDisruptionBudget", "api"): {"spec": {"maxUnavailable": "100%"}},
    ("ServiceAccount", "api"): {"automountServiceAccountToken": True},
    ("Service", "executor-aer"): {"metadata": {"ownerReferences": None}},
    ("ServiceAccount", "executor"): {"metadata": {"labels": None}},
}
"""What somebody may do to what is the operator's own, by kind and name: a merge patch."""


def changed(live: Manifest, patch: Manifest) -> bool:
    """Tell whether an object is as `patch` made it."""
    return all(
        changed(live.get(key) or {}, value) if isinstance(value, dict) else live.get(key) == value
        for key, value in patch.items()
    )


@dataclass(frozen=True, kw_only=True)
class Lab:
    """What tests do to a RuntimeServer and to what belongs to it.

    Parts are objects whose name is the RuntimeServer's and, after a hyphen, theirs.
    """

    kubernetes: KubernetesClient
    operator: OperatorProcess
    name: str = "lab"

    def manifest(self, **spec: Any) -> Manifest:
        """Return the RuntimeServer as a user writes it."""
        return {
            "apiVersion": "runtimeserver.dev/v1alpha1",
            "kind": "RuntimeServer",
            "metadata": {"name": self.name},
            "spec": {"executors": [AER], **spec},
        }

    def apply(self, **spec: Any) -> Manifest:
        """Apply the RuntimeServer as a user does, and return it."""
        return self.kubernetes.apply(self.manifest(**spec), force=True)

    def settled(self) -> Mapping[str, Any]:
        """Wait until the operator has looked at the newest version, and return the status."""

        def status() -> Mapping[str, Any]:
            server = self.kubernetes.get("RuntimeServer", self.name)
            found: Mapping[str, Any] = server.get("status", {})
            assert found.get("observedGeneration") == server["metadata"]["generation"], found
            return found

        return eventually(status)

    def condition(self, kind: str) -> Mapping[str, Any]:
        """Return a condition as it is now."""
        conditions = self.kubernetes.get("RuntimeServer", self.name).get("status", {}).get("conditions", [])
        return next((condition for condition in conditions if condition["type"] == kind), {})

    def is_at_rest(self) -> bool:
        """Tell whether the status has the last word of controllers and scheduler, in a cluster without nodes."""
        status = self.settled()
        pools = (status["api"], *status["executors"])
        return self.condition("Progressing")["reason"] == "RolledOut" or all(
            "no nodes available" in pool.get("message", "") for pool in pools
        )

    def belongings(self) -> dict[tuple[str, str], tuple[str, object, object]]:
        """Return all parts, and of each what is the operator's to say: whose it is, and how it should be."""
        return {
            (kind, name): (part["metadata"]["uid"], part["metadata"].get("ownerReferences"), part.get("spec"))
            for kind in KINDS
            for name, part in self.parts(kind).items()
        }

    def part(self, kind: str, name: str) -> Manifest:
        """Return a part as it is now."""
        return self.kubernetes.get(kind, f"{self.name}-{name}")

    def find(self, kind: str, name: str) -> Manifest | None:
        """Return a part, or None if it is not there."""
        return self.kubernetes.find(kind, f"{self.name}-{name}")

    def merge(self, kind: str, name: str, patch: Manifest, manager: str = "tests") -> Manifest:
        """Change a part."""
        return self.kubernetes.merge(kind, f"{self.name}-{name}", patch, manager=manager)

    def delete(self, kind: str, name: str) -> None:
        """Delete a part."""
        self.kubernetes.delete(kind, f"{self.name}-{name}")

    def parts(self, kind: str) -> dict[str, Manifest]:
        """Return all parts of a kind, by name."""
        found = self.kubernetes.list(kind, selector=f"app.kubernetes.io/instance={self.name}")
        return {item["metadata"]["name"].removeprefix(f"{self.name}-"): item for item in found}

    def made(self) -> dict[str, set[str]]:
        """Return the names of all parts, by kind."""
        return {kind: set(parts) for kind in KINDS if (parts := self.parts(kind))}

    def versions(self) -> dict[tuple[str, str], str]:
        """Return the resource versions of the RuntimeServer, its parts, and its Events."""
        found = {(kind, name): part for kind in KINDS for name, part in self.parts(kind).items()}
        found["RuntimeServer", ""] = self.kubernetes.get("RuntimeServer", self.name)
        found |= {("Event", event["metadata"]["name"]): event for event in self._events()}
        return {key: item["metadata"]["resourceVersion"] for key, item in found.items()}

    def events(self) -> list[tuple[str, str]]:
        """Return the reasons and messages of the RuntimeServer's Events."""
        return [(event["reason"], event["message"]) for event in self._events()]

    def _events(self) -> list[Manifest]:
        about = [(event, event["involvedObject"]) for event in self.kubernetes.list("Event")]
        return [event for event, what in about if (what["kind"], what["name"]) == ("RuntimeServer", self.name)]
