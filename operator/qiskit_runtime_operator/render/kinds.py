"""The kinds that are rendered: what is watched, pruned, and what the operator needs permissions for."""

from dataclasses import dataclass
from typing import Final

from qiskit_runtime_operator.render.context import OptionalApi


@dataclass(frozen=True, slots=True, kw_only=True)
class ResourceKind:
    """A kind, and how its objects are addressed.

    Attributes:
        optional: The API that a cluster may lack, and with it the kind.
    """

    api_version: str
    kind: str
    plural: str
    optional: OptionalApi | None = None


KINDS: Final = (
    ResourceKind(api_version="v1", kind="ServiceAccount", plural="serviceaccounts"),
    ResourceKind(api_version="networking.k8s.io/v1", kind="NetworkPolicy", plural="networkpolicies"),
    ResourceKind(api_version="v1", kind="ConfigMap", plural="configmaps"),
    ResourceKind(api_version="v1", kind="Service", plural="services"),
    ResourceKind(api_version="apps/v1", kind="Deployment", plural="deployments"),
    ResourceKind(api_version="policy/v1", kind="PodDisruptionBudget", plural="poddisruptionbudgets"),
    ResourceKind(api_version="networking.k8s.io/v1", kind="Ingress", plural="ingresses"),
    ResourceKind(
        api_version="gateway.networking.k8s.io/v1",
        kind="HTTPRoute",
        plural="httproutes",
        optional=OptionalApi.HTTP_ROUTE,
    ),
    ResourceKind(
        api_version="monitoring.coreos.com/v1",
        kind="ServiceMonitor",
        plural="servicemonitors",
        optional=OptionalApi.SERVICE_MONITOR,
    ),
)
