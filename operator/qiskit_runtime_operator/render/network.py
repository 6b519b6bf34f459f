"""NetworkPolicies: who may talk to whom."""

from collections.abc import Iterator, Mapping
from typing import Final

from qiskit_runtime_operator.render.context import RenderContext
from qiskit_runtime_operator.render.metadata import api_selector, executors_selector, metadata
from qiskit_runtime_operator.resource.model import Manifest, RuntimeServer
from qiskit_runtime_operator.resource.names import api_name, executors_name
from qiskit_runtime_operator.resource.ports import API_PORT, EXECUTOR_PORT, INTERNAL_PORT

# Most policies are enforced behind the Service, where OpenShift's name server listens on a port of its own.
_DNS_PORTS: Final = (53, 5353)


def manifests(server: RuntimeServer, context: RenderContext) -> Iterator[Manifest]:
    """Yield the policies of the api and of the executors."""
    yield _policy(server, api_name(server.name), api_selector(server), _api_rules(server, context))
    yield _policy(server, executors_name(server.name), executors_selector(server), _executor_rules(server, context))


def _api_rules(server: RuntimeServer, context: RenderContext) -> Manifest:
    ingress = [{"ports": [_tcp(API_PORT)]}, *_internal(context.operator_namespace, *context.monitoring_namespaces)]
    if server.spec.database.postgresql or server.spec.auth.asks_others:
        # Where the database is only its URL says, which is in a Secret, and those who vouch for users may be anywhere:
        # what goes out stays open.
        return {"policyTypes": ["Ingress"], "ingress": ingress}
    to_executors = {
        "to": [{"podSelector": {"matchLabels": executors_selector(server)}}],
        "ports": [_tcp(EXECUTOR_PORT)],
    }
    to_dns = {"ports": [{"protocol": protocol, "port": port} for port in _DNS_PORTS for protocol in ("UDP", "TCP")]}
    return {"policyTypes": ["Ingress", "Egress"], "ingress": ingress, "egress": [to_dns, to_executors]}


def _executor_rules(server: RuntimeServer, context: RenderContext) -> Manifest:
    """Return the rules of pods that run what users send: they answer the api, and reach nothing."""
    from_api = {"from": [{"podSelector": {"matchLabels": api_selector(server)}}], "ports": [_tcp(EXECUTOR_PORT)]}
    return {"policyTypes": ["Ingress", "Egress"], "ingress": [from_api, *_internal(*context.monitoring_namespaces)]}


def _internal(*namespaces: str) -> list[Manifest]:
    labels = [{"kubernetes.io/metadata.name": name} for name in sorted(set(namespaces))]
    selectors = [{"namespaceSelector": {"matchLabels": name}} for name in labels]
    return [{"from": selectors, "ports": [_tcp(INTERNAL_PORT)]}] if selectors else []


def _tcp(port: int) -> Manifest:
    return {"protocol": "TCP", "port": port}


def _policy(server: RuntimeServer, name: str, selector: Mapping[str, str], rules: Manifest) -> Manifest:
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": metadata(server, name, selector),
        "spec": {"podSelector": {"matchLabels": dict(selector)}, **rules},
    }
