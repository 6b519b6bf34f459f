"""The ports that the server's roles listen on."""

from typing import Final

from qiskit_runtime_operator.resource.model import Manifest

API_PORT: Final = 8000
EXECUTOR_PORT: Final = 8080
# Metrics and, for the operator, the load; never routed from outside.
INTERNAL_PORT: Final = 9090

HTTP: Final = "http"
INTERNAL: Final = "internal"


def container_ports(port: int) -> list[Manifest]:
    """Return the ports of a pod that serves HTTP at `port`."""
    numbers = {HTTP: port, INTERNAL: INTERNAL_PORT}
    return [{"name": name, "containerPort": number, "protocol": "TCP"} for name, number in numbers.items()]


def service_ports(port: int, *, tls: bool = False) -> list[Manifest]:
    """Return the ports of the Service in front of such pods.

    Args:
        port: Of the pods.
        tls: Whether they speak TLS there, which meshes and some ways in have to be told.
    """
    numbers = {HTTP: port, INTERNAL: INTERNAL_PORT}
    protocols = {HTTP: {"appProtocol": "https"}} if tls else {}
    return [
        {"name": name, "port": number, "targetPort": name, "protocol": "TCP", **protocols.get(name, {})}
        for name, number in numbers.items()
    ]
