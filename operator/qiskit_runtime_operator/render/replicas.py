"""How many replicas a Deployment gets, and whose business that is.

Whoever scales a Deployment through its `scale` subresource (an autoscaler, `kubectl scale`) takes its number of
replicas over, until the RuntimeServer asks for another number than before, or is suspended. An edit of the Deployment
itself takes nothing over: it is undone.
"""

from collections.abc import Iterable, Mapping

from qiskit_runtime_operator.render.context import RenderContext
from qiskit_runtime_operator.resource.model import Manifest, RuntimeServer, Workload
from qiskit_runtime_operator.resource.names import MANAGER, REPLICAS_ASKED


def scaled_elsewhere(deployments: Iterable[Manifest]) -> Mapping[str, str]:
    """Return the Deployments that somebody else has scaled, and what the RuntimeServer then asked for.

    Args:
        deployments: As they are now, `managedFields` included.
    """
    return {
        deployment["metadata"]["name"]: asked
        for deployment in deployments
        if any(map(_scales, deployment["metadata"].get("managedFields", [])))
        and (asked := deployment["metadata"].get("annotations", {}).get(REPLICAS_ASKED))
    }


def is_scaled_elsewhere(name: str, workload: Workload, context: RenderContext) -> bool:
    """Tell whether the number of pods of the Deployment `name` is somebody else's."""
    return context.scaled_elsewhere.get(name) == workload.asked


def with_replicas(deployment: Manifest, workload: Workload, server: RuntimeServer, context: RenderContext) -> Manifest:
    """Return the Deployment with its number of replicas, or without one if that is somebody else's."""
    metadata, spec = deployment["metadata"], deployment["spec"]
    asked = {**metadata, "annotations": {**metadata.get("annotations", {}), REPLICAS_ASKED: workload.asked}}
    if server.spec.suspend:
        return {**deployment, "metadata": asked, "spec": {"replicas": 0, **spec}}
    if is_scaled_elsewhere(metadata["name"], workload, context):
        return {**deployment, "metadata": asked}
    replicas = context.decided.get(metadata["name"], workload.first_replicas)
    return {**deployment, "metadata": asked, "spec": {"replicas": replicas, **spec}}


def _scales(entry: Mapping[str, object]) -> bool:
    """Tell whether an entry of `managedFields` is that of somebody else who scaled."""
    fields = entry.get("fieldsV1", {})
    return (
        entry.get("subresource") == "scale"
        and entry.get("manager") != MANAGER
        and isinstance(fields, Mapping)
        and "f:replicas" in fields.get("f:spec", {})
    )
