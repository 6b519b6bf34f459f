"""ServiceAccounts: names for the pods, without any right or token."""

from collections.abc import Iterator, Mapping

from qiskit_runtime_operator.render.context import RenderContext
from qiskit_runtime_operator.render.metadata import api_selector, executors_selector, metadata
from qiskit_runtime_operator.resource.model import Manifest, RuntimeServer
from qiskit_runtime_operator.resource.names import api_name, executors_name


def manifests(server: RuntimeServer, _context: RenderContext) -> Iterator[Manifest]:
    """Yield the ServiceAccounts of the api and of the executors."""
    yield _service_account(server, api_name(server.name), api_selector(server))
    yield _service_account(server, executors_name(server.name), executors_selector(server))


def _service_account(server: RuntimeServer, name: str, selector: Mapping[str, str]) -> Manifest:
    return {
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": metadata(server, name, selector),
        "automountServiceAccountToken": False,
    }
