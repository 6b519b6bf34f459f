"""Where a RuntimeServer is reached."""

from qiskit_runtime_operator.resource.model import RuntimeServer
from qiskit_runtime_operator.resource.names import Key, api_name
from qiskit_runtime_operator.resource.ports import API_PORT


def public_url(server: RuntimeServer) -> str:
    """Return where clients reach the server: from outside if that is asked for, else within the cluster."""
    ingress, gateway = server.spec.ingress, server.spec.gateway
    if ingress is not None:
        return f"http{'s' * bool(ingress.tls_secret_name)}://{ingress.host}"
    if gateway is not None and gateway.hostnames:
        return f"{gateway.scheme}://{gateway.hostnames[0]}"
    return f"http://{_host(Key(server.namespace, server.name))}:{API_PORT}"


def _host(key: Key) -> str:
    return f"{api_name(key.name)}.{key.namespace}.svc"
