"""PodDisruptionBudgets: a node that is emptied takes one pod of each Deployment at a time."""

from collections.abc import Iterator, Mapping

from qiskit_runtime_operator.render.context import RenderContext
from qiskit_runtime_operator.render.metadata import api_selector, executor_selector, metadata
from qiskit_runtime_operator.resource.model import Manifest, RuntimeServer
from qiskit_runtime_operator.resource.names import api_name, executor_name


def manifests(server: RuntimeServer, _context: RenderContext) -> Iterator[Manifest]:
    """Yield the budgets of the api and of each executor."""
    yield _budget(server, api_name(server.name), api_selector(server))
    for executor in server.spec.executors:
        yield _budget(server, executor_name(server.name, executor.name), executor_selector(server, executor))


def _budget(server: RuntimeServer, name: str, selector: Mapping[str, str]) -> Manifest:
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": metadata(server, name, selector),
        "spec": {
            "maxUnavailable": 1,
            # A pod that does not work anyway must not keep a node from being emptied.
            "unhealthyPodEvictionPolicy": "AlwaysAllow",
            "selector": {"matchLabels": dict(selector)},
        },
    }
