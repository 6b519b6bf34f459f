"""From a RuntimeServer to the manifests of all that it owns: pure, one file per concern."""

from collections.abc import Iterator
from typing import Final

from qiskit_runtime_operator.render import (
    api,
    disruption,
    executor,
    gateway,
    ingress,
    monitoring,
    network,
    service_account,
)
from qiskit_runtime_operator.render.context import DefaultImages, RenderContext
from qiskit_runtime_operator.render.credentials import certificates
from qiskit_runtime_operator.resource.model import Manifest, RuntimeServer

__all__ = ["DefaultImages", "RenderContext", "render"]

_CONCERNS: Final = (service_account, network, certificates, api, executor, disruption, ingress, gateway, monitoring)


def render(server: RuntimeServer, context: RenderContext) -> tuple[Manifest, ...]:
    """Return the manifests of all that is applied for `server`, and pruned when it is not among them any more.

    Equal inputs give equal outputs, in the same order: what others need comes first.
    """
    return tuple(_manifests(server, context))


def _manifests(server: RuntimeServer, context: RenderContext) -> Iterator[Manifest]:
    for concern in _CONCERNS:
        yield from concern.manifests(server, context)
