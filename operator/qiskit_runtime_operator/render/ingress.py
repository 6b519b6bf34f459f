"""The Ingress, with what its controller needs to know of large requests and slow answers."""

from collections.abc import Iterator, Mapping
from typing import Final

from qiskit_runtime_operator.render.context import RenderContext
from qiskit_runtime_operator.render.metadata import api_selector, metadata
from qiskit_runtime_operator.resource.model import Ingress, Manifest, RuntimeServer
from qiskit_runtime_operator.resource.names import api_name
from qiskit_runtime_operator.resource.ports import HTTP

# Just above the server's own limit (100 MiB), which refuses with a message that the client understands.
_BODY: Final = "101m"
_SECONDS: Final = 300

# By the names that the controllers' own charts give their classes; several controllers share some of them.
_BY_CLASS: Final[Mapping[str, Mapping[str, str]]] = {
    "nginx": {
        "nginx.ingress.kubernetes.io/proxy-body-size": _BODY,
        "nginx.ingress.kubernetes.io/proxy-read-timeout": str(_SECONDS),
        "nginx.org/client-max-body-size": _BODY,
        "nginx.org/proxy-read-timeout": f"{_SECONDS}s",
    },
    "haproxy": {
        "haproxy.org/timeout-server": f"{_SECONDS}s",
        "haproxy-ingress.github.io/proxy-body-size": _BODY,
        "haproxy-ingress.github.io/timeout-server": f"{_SECONDS}s",
    },
    "contour": {"projectcontour.io/response-timeout": f"{_SECONDS}s"},
    "openshift-default": {"haproxy.router.openshift.io/timeout": f"{_SECONDS}s"},
}

# By which they speak TLS with the api; what else a controller may want for that is of its own kind.
_OVER_TLS: Final[Mapping[str, Mapping[str, str]]] = {
    "nginx": {
        "nginx.ingress.kubernetes.io/backend-protocol": "HTTPS",
        "nginx.org/ssl-services": "{service}",
    },
    "haproxy": {
        "haproxy.org/server-ssl": "true",
        "haproxy-ingress.github.io/backend-protocol": "h1-ssl",
    },
    "openshift-default": {"route.openshift.io/termination": "reencrypt"},
}


def manifests(server: RuntimeServer, _context: RenderContext) -> Iterator[Manifest]:
    """Yield the Ingress, if one is asked for."""
    if server.spec.ingress is not None:
        yield _manifest(server, server.spec.ingress)


def _manifest(server: RuntimeServer, ingress: Ingress) -> Manifest:
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "Ingress",
        "metadata": {**metadata(server, api_name(server.name), api_selector(server)), **_annotations(server, ingress)},
        "spec": {**_class(ingress), **_tls(ingress), "rules": [_rule(server, ingress.host)]},
    }


def _annotations(server: RuntimeServer, ingress: Ingress) -> Manifest:
    name = ingress.class_name or ""
    over_tls = _OVER_TLS.get(name, {}) if server.spec.tls.secret_name else {}
    # Those of a controller that name the Service.
    over_tls = {key: value.format(service=api_name(server.name)) for key, value in over_tls.items()}
    annotations = {**_BY_CLASS.get(name, {}), **over_tls, **ingress.annotations}
    return {"annotations": annotations} if annotations else {}


def _class(ingress: Ingress) -> Manifest:
    return {"ingressClassName": ingress.class_name} if ingress.class_name else {}


def _tls(ingress: Ingress) -> Manifest:
    return (
        {"tls": [{"hosts": [ingress.host], "secretName": ingress.tls_secret_name}]} if ingress.tls_secret_name else {}
    )


def _rule(server: RuntimeServer, host: str) -> Manifest:
    backend = {"service": {"name": api_name(server.name), "port": {"name": HTTP}}}
    return {"host": host, "http": {"paths": [{"path": "/", "pathType": "Prefix", "backend": backend}]}}
