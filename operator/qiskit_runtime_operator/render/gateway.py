"""The HTTPRoute, where the cluster has the Gateway API."""

from collections.abc import Iterator

from qiskit_runtime_operator.render.context import RenderContext
from qiskit_runtime_operator.render.metadata import api_selector, metadata
from qiskit_runtime_operator.resource.kinds import OptionalApi
from qiskit_runtime_operator.resource.model import Gateway, Manifest, RuntimeServer
from qiskit_runtime_operator.resource.names import api_name
from qiskit_runtime_operator.resource.ports import API_PORT


def manifests(server: RuntimeServer, context: RenderContext) -> Iterator[Manifest]:
    """Yield the route, if one is asked for and can be made."""
    if server.spec.gateway is not None and OptionalApi.HTTP_ROUTE in context.apis:
        yield _route(server, server.spec.gateway)


def _route(server: RuntimeServer, gateway: Gateway) -> Manifest:
    # What the API server would add is spelled out, so that what is asked for equals what is there.
    parent = {"group": "gateway.networking.k8s.io", "kind": "Gateway"}
    match = {"path": {"type": "PathPrefix", "value": "/"}}
    backend = {"kind": "Service", "name": api_name(server.name), "port": API_PORT, "weight": 1}
    hostnames = {"hostnames": list(gateway.hostnames)} if gateway.hostnames else {}
    return {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "HTTPRoute",
        "metadata": metadata(server, api_name(server.name), api_selector(server)),
        "spec": {
            "parentRefs": [{**parent, **reference} for reference in gateway.parent_refs],
            **hostnames,
            "rules": [{"matches": [match], "backendRefs": [backend]}],
        },
    }
