"""All that the operator knows of kinds, in one table.

For each kind: how its objects are addressed, whether they are watched, applied and pruned, to which RuntimeServer one
belongs, and which of its fields are kept in memory. Watches, inventory and pruning follow from it.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from qiskit_runtime_operator.resource.model import Manifest
from qiskit_runtime_operator.resource.names import (
    API_VERSION,
    CLAIM,
    DATA_OF_LABEL,
    DELETION_COST,
    INSTANCE_LABEL,
    KEYS_CHECKSUM,
    KIND,
    OWNED_SELECTOR,
    PLURAL,
    RECONCILE,
    ROTATE_KEYS,
)


class OptionalApi(StrEnum):
    """APIs that a cluster may have, by their resource and its group: as a CRD is called, if it is one."""

    HTTP_ROUTE = "httproutes.gateway.networking.k8s.io"
    SERVICE_MONITOR = "servicemonitors.monitoring.coreos.com"
    RESOURCE_CLAIM_TEMPLATE = "resourceclaimtemplates.resource.k8s.io"
    CERTIFICATE = "certificates.cert-manager.io"


def controller_of(body: Manifest) -> Mapping[str, Any] | None:
    """Return the owner reference of an object's controller."""
    return next((owner for owner in body["metadata"].get("ownerReferences", ()) if owner.get("controller")), None)


def _of_controller(body: Manifest) -> str | None:
    owner = controller_of(body)
    return owner["name"] if owner and owner["kind"] == KIND else None


def _of_itself(body: Manifest) -> str | None:
    name: str = body["metadata"]["name"]
    return name


def _of_label(label: str) -> Callable[[Manifest], str | None]:
    return lambda body: body["metadata"].get("labels", {}).get(label)


def _metadata(body: Manifest, *names: str) -> Manifest:
    return {name: body["metadata"][name] for name in names if name in body["metadata"]}


def _annotations(body: Manifest, *names: str) -> Manifest:
    annotations = body["metadata"].get("annotations", {})
    found = {name: annotations[name] for name in names if name in annotations}
    return {"annotations": found} if found else {}


def _nothing(_: Manifest) -> Manifest:
    return {}


def _server(body: Manifest) -> Manifest:
    kept = _metadata(body, "name", "namespace", "uid", "generation", "deletionTimestamp")
    kept |= _annotations(body, RECONCILE, ROTATE_KEYS)
    status = body.get("status", {})
    # Unlike the rest of the status it is not this operator's alone.
    claim = {name: status[name] for name in CLAIM if name in status}
    return {"metadata": kept, "spec": body["spec"], "status": status, "claim": claim}


def _deployment(body: Manifest) -> Manifest:
    """Keep what the state of a Deployment follows from, and who scales it."""
    names = ("name", "namespace", "uid", "generation", "labels", "annotations", "deletionTimestamp")
    kept = _metadata(body, *names)
    entries = [_about_replicas(entry) for entry in body["metadata"].get("managedFields", ())]
    spec = {name: body["spec"].get(name) for name in ("replicas", "paused")}
    return {"metadata": {**kept, "managedFields": entries}, "spec": spec, "status": body.get("status", {})}


def _about_replicas(entry: Mapping[str, Any]) -> Manifest:
    """Return who an entry of `managedFields` is about, and of its fields only the number of replicas."""
    owns = "f:replicas" in entry.get("fieldsV1", {}).get("f:spec", {})
    kept = {name: entry[name] for name in ("manager", "operation", "subresource") if name in entry}
    return {**kept, "fieldsV1": {"f:spec": {"f:replicas": {}}}} if owns else kept


def _way_in(body: Manifest) -> Manifest:
    status, name = body.get("status", {}), body.get("spec", {}).get("ingressClassName")
    spec = {"spec": {"ingressClassName": name}} if name else {}
    return {**spec, "status": {name: status[name] for name in ("loadBalancer", "parents") if status.get(name)}}


def _pod(body: Manifest) -> Manifest:
    names = ("name", "namespace", "uid", "labels", "creationTimestamp", "deletionTimestamp")
    kept = _metadata(body, *names) | _annotations(body, DELETION_COST, KEYS_CHECKSUM)
    # What may keep it from getting a node.
    spec = {
        name: body["spec"][name] for name in ("schedulingGates", "resourceClaims") if body.get("spec", {}).get(name)
    }
    return {"metadata": kept, "status": body.get("status", {}), **({"spec": spec} if spec else {})}


def _claim(body: Manifest) -> Manifest:
    capacity = {"capacity": body.get("status", {}).get("capacity", {})}
    return {"metadata": _metadata(body, "name", "namespace", "uid", "labels"), "spec": body["spec"], "status": capacity}


@dataclass(frozen=True, slots=True, kw_only=True)
class ResourceKind:
    """A kind.

    Attributes:
        optional: The API that a cluster may lack, and with it the kind.
        watched: Whether its objects are watched; what is not watched is only read and written by name.
        selector: The labels that its objects must have to be watched.
        applied: Whether the operator applies its objects, and therefore notices who changes them.
        pruned: Whether an object that its RuntimeServer owns and no longer asks for is deleted.
        belongs_to: Returns the name of the RuntimeServer, in the same namespace, that an object belongs to.
        kept: Returns the fields of an object that decisions are made from; the inventory holds nothing else of it.
        own_status: Whether the operator writes the status itself, so that a changed status asks for no pass.
    """

    api_version: str
    kind: str
    plural: str
    optional: OptionalApi | None = None
    watched: bool = False
    selector: str = OWNED_SELECTOR
    applied: bool = False
    pruned: bool = False
    belongs_to: Callable[[Manifest], str | None] = _of_controller
    kept: Callable[[Manifest], Manifest] = _nothing
    own_status: bool = False


def _rendered(
    api_version: str,
    kind: str,
    plural: str,
    optional: OptionalApi | None = None,
    kept: Callable[[Manifest], Manifest] = _nothing,
) -> ResourceKind:
    return ResourceKind(
        api_version=api_version,
        kind=kind,
        plural=plural,
        optional=optional,
        watched=True,
        applied=True,
        pruned=True,
        kept=kept,
    )


SERVERS: Final = ResourceKind(
    api_version=API_VERSION,
    kind=KIND,
    plural=PLURAL,
    watched=True,
    selector="",
    belongs_to=_of_itself,
    kept=_server,
    own_status=True,
)
# Outlives its RuntimeServer, and is found again by a label.
CLAIMS: Final = ResourceKind(
    api_version="v1",
    kind="PersistentVolumeClaim",
    plural="persistentvolumeclaims",
    watched=True,
    applied=True,
    belongs_to=_of_label(DATA_OF_LABEL),
    kept=_claim,
)
# Made by Deployments: their status says why a roll-out does not get on.
PODS: Final = ResourceKind(
    api_version="v1", kind="Pod", plural="pods", watched=True, belongs_to=_of_label(INSTANCE_LABEL), kept=_pod
)
SECRETS: Final = ResourceKind(api_version="v1", kind="Secret", plural="secrets")
EVENTS: Final = ResourceKind(api_version="v1", kind="Event", plural="events")
LEASES: Final = ResourceKind(api_version="coordination.k8s.io/v1", kind="Lease", plural="leases")
INGRESS_CLASSES: Final = ResourceKind(api_version="networking.k8s.io/v1", kind="IngressClass", plural="ingressclasses")
CRDS: Final = ResourceKind(
    api_version="apiextensions.k8s.io/v1", kind="CustomResourceDefinition", plural="customresourcedefinitions"
)

RENDERED: Final = (
    _rendered("v1", "ServiceAccount", "serviceaccounts"),
    _rendered("networking.k8s.io/v1", "NetworkPolicy", "networkpolicies"),
    _rendered("v1", "ConfigMap", "configmaps"),
    _rendered("v1", "Service", "services"),
    _rendered(
        "resource.k8s.io/v1",
        "ResourceClaimTemplate",
        "resourceclaimtemplates",
        OptionalApi.RESOURCE_CLAIM_TEMPLATE,
    ),
    _rendered("cert-manager.io/v1", "Certificate", "certificates", OptionalApi.CERTIFICATE),
    _rendered("apps/v1", "Deployment", "deployments", kept=_deployment),
    _rendered("policy/v1", "PodDisruptionBudget", "poddisruptionbudgets"),
    _rendered("networking.k8s.io/v1", "Ingress", "ingresses", kept=_way_in),
    _rendered("gateway.networking.k8s.io/v1", "HTTPRoute", "httproutes", OptionalApi.HTTP_ROUTE, kept=_way_in),
    _rendered("monitoring.coreos.com/v1", "ServiceMonitor", "servicemonitors", OptionalApi.SERVICE_MONITOR),
)
"""What `render` makes."""

KINDS: Final[Mapping[str, ResourceKind]] = {
    kind.kind: kind for kind in (SERVERS, *RENDERED, CLAIMS, PODS, SECRETS, EVENTS, LEASES, INGRESS_CLASSES, CRDS)
}
"""All kinds that the operator reads or writes, by name."""


def watched_kinds(apis: frozenset[OptionalApi]) -> tuple[ResourceKind, ...]:
    """Return the kinds to watch in a cluster that has these optional APIs."""
    return tuple(kind for kind in KINDS.values() if kind.watched and (kind.optional is None or kind.optional in apis))
