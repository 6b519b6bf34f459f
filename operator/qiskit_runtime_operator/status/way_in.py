"""Whether there is a way in from outside, as controllers of Ingresses and of Gateways say. Pure."""

from collections.abc import Iterator, Mapping, Sequence, Set
from typing import Any, Final

from qiskit_runtime_operator.resource.kinds import OptionalApi
from qiskit_runtime_operator.resource.model import Gateway, Ingress, Manifest, RuntimeServer
from qiskit_runtime_operator.resource.urls import is_wildcard, public_url
from qiskit_runtime_operator.status.conditions import Condition, ConditionType, Reason

_STATES: Final[Mapping[Reason, bool | None]] = {
    Reason.IN_CLUSTER_ONLY: True,
    Reason.ROUTED: True,
    Reason.NO_ADDRESS: None,
    Reason.ROUTE_REFUSED: False,
    Reason.INGRESS_CLASS_MISSING: False,
    Reason.GATEWAY_API_MISSING: False,
}
# What named the class before there were IngressClasses; some controllers still go by it.
_OLD_CLASS: Final = "kubernetes.io/ingress.class"


def waits_for_address(server: RuntimeServer, ways_in: Sequence[Manifest]) -> bool:
    """Tell whether it matters which IngressClasses there are."""
    return server.spec.ingress is not None and bool(ways_in) and not _addresses(ways_in[0])


def reachable(
    server: RuntimeServer,
    ways_in: Sequence[Manifest],
    apis: frozenset[OptionalApi],
    classes: Set[str] | None = None,
) -> Condition:
    """Return what is known of the way in.

    Args:
        server: Whose it is.
        ways_in: Its Ingress or HTTPRoute, if it has been made.
        apis: The optional APIs of the cluster.
        classes: The names of its IngressClasses; None if they are not known.
    """
    ingress, gateway = server.spec.ingress, server.spec.gateway
    made = next(iter(ways_in), {})
    if ingress is not None:
        return _by_ingress(ingress, made, classes)
    if gateway is None:
        return _condition(Reason.IN_CLUSTER_ONLY, f"Within the cluster only, at {public_url(server)}.")
    if OptionalApi.HTTP_ROUTE not in apis:
        return _condition(Reason.GATEWAY_API_MISSING, "The cluster does not have the Gateway API.")
    return _by_gateway(server, gateway, made)


def _addresses(made: Manifest) -> list[str]:
    entries = made.get("status", {}).get("loadBalancer", {}).get("ingress", [])
    return sorted(filter(None, (entry.get("hostname") or entry.get("ip") for entry in entries)))


def _by_ingress(ingress: Ingress, made: Manifest, classes: Set[str] | None) -> Condition:
    if addresses := _addresses(made):
        return _condition(Reason.ROUTED, f"The Ingress is at {', '.join(addresses)}: {ingress.host} must lead there.")
    name = made.get("spec", {}).get("ingressClassName")
    if made and classes is not None and name not in classes and _OLD_CLASS not in ingress.annotations:
        missing = f"There is no IngressClass {name}" if name else "The Ingress has no class, and there was no default"
        there = ", ".join(sorted(classes)) or "none"
        return _condition(Reason.INGRESS_CLASS_MISSING, f"{missing}: this cluster has {there}.")
    whose = f"of class {ingress.class_name}" if ingress.class_name else "of the default class"
    return _condition(
        Reason.NO_ADDRESS,
        f"No controller {whose} has given the Ingress an address: there may be none, or it publishes none.",
    )


def _by_gateway(server: RuntimeServer, gateway: Gateway, made: Manifest) -> Condition:
    parents = made.get("status", {}).get("parents", [])
    refused = sorted(word for parent in parents for word in _refusals(parent))
    names = sorted({reference["name"] for reference in gateway.parent_refs})
    if refused:
        return _condition(Reason.ROUTE_REFUSED, "; ".join(refused))
    silent = sorted(set(names) - {parent["parentRef"]["name"] for parent in parents if _answers(parent)})
    if silent:
        message = f"No controller has accepted the route for {', '.join(silent)}: is there such a Gateway?"
        return _condition(Reason.NO_ADDRESS, message)
    if all(map(is_wildcard, gateway.hostnames)):
        hosts = ", ".join(gateway.hostnames) or "whatever the Gateway listens to"
        message = f"Through {', '.join(names)}, at any host of {hosts}; status.url is the address within the cluster."
        return _condition(Reason.ROUTED, message)
    return _condition(Reason.ROUTED, f"Through {', '.join(names)}, at {public_url(server)}.")


def _answers(parent: Mapping[str, Any]) -> bool:
    return any(condition["type"] == "Accepted" for condition in parent.get("conditions", ()))


def _refusals(parent: Mapping[str, Any]) -> Iterator[str]:
    """Yield what the controller of one Gateway says against the route."""
    for condition in parent.get("conditions", ()):
        if condition["type"] in {"Accepted", "ResolvedRefs"} and condition["status"] == "False":
            yield f"{parent['parentRef']['name']}: {condition['reason']}: {condition.get('message', '')}".rstrip(": ")


def _condition(reason: Reason, message: str) -> Condition:
    return Condition(type=ConditionType.REACHABLE, status=_STATES[reason], reason=reason, message=message)
