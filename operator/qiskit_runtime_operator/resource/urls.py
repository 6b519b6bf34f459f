"""Where a RuntimeServer is reached."""

from qiskit_runtime_operator.resource.model import RuntimeServer, Scheme
from qiskit_runtime_operator.resource.names import Key, api_name
from qiskit_runtime_operator.resource.ports import API_PORT


def public_url(server: RuntimeServer) -> str:
    """Return where clients reach the server: from outside if that is asked for, else within the cluster."""
    ingress, gateway = server.spec.ingress, server.spec.gateway
    if ingress is not None:
        by_default = Scheme.HTTPS if ingress.tls_secret_name else Scheme.HTTP
        return f"{ingress.scheme or by_default}://{ingress.host}"
    hosts = [host for host in gateway.hostnames if not is_wildcard(host)] if gateway else []
    if gateway is not None and hosts:
        return f"{gateway.scheme}://{hosts[0]}"
    return f"{_scheme(tls=server.spec.tls.secret_name is not None)}://{_host(server.key)}:{API_PORT}"


def is_wildcard(host: str) -> bool:
    """Tell whether a host stands for all names in a domain."""
    return host.startswith("*.")


def readiness_url(address: str, *, tls: bool = False) -> str:
    """Return where the pod of an api with this IP address says whether it is ready, as its probe asks it."""
    host = f"[{address}]" if ":" in address else address
    return f"{_scheme(tls=tls)}://{host}:{API_PORT}/health/ready"


def _scheme(*, tls: bool) -> Scheme:
    return Scheme.HTTPS if tls else Scheme.HTTP


def _host(key: Key) -> str:
    return f"{api_name(key.name)}.{key.namespace}.svc"
