"""How many replicas a Deployment gets, and whose business that is.

Whoever scales a Deployment through its `scale` subresource (an autoscaler, `kubectl scale`) takes its number of
replicas over, until the RuntimeServer asks for another number than before, or is suspended. An edit of the Deployment
itself takes nothing over: it is undone. The number of apis on one SQLite file is always ours.

Kubernetes says in `managedFields` who has scaled, but for who has scaled to zero, and for who scales after that: a
Scale leaves out a zero, so that the number is nobody's then. It is never nobody's otherwise, as it is applied with the
rest when a Deployment is made.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from qiskit_runtime_operator.render.context import RenderContext
from qiskit_runtime_operator.resource.identity import is_an_operators
from qiskit_runtime_operator.resource.model import Manifest, RuntimeServer, Workload
from qiskit_runtime_operator.resource.names import MANAGER, REPLICAS_ASKED, api_name


def scaled_elsewhere(deployments: Iterable[Manifest]) -> Mapping[str, str]:
    """Return the Deployments that somebody else has scaled, and what the RuntimeServer then asked for.

    Args:
        deployments: As they are now, `managedFields` included.
    """
    return {
        deployment["metadata"]["name"]: asked
        for deployment in deployments
        if _is_scaled(deployment["metadata"].get("managedFields", []))
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
    if _may_be_scaled(metadata["name"], server) and is_scaled_elsewhere(metadata["name"], workload, context):
        return {**deployment, "metadata": asked}
    replicas = context.decided.get(metadata["name"], workload.first_replicas)
    return {**deployment, "metadata": asked, "spec": {"replicas": replicas, **spec}}


def with_live_replicas(manifest: Manifest, live: Manifest) -> Manifest:
    """Return what takes the place of an object: a Deployment whose number is somebody else's goes on with that."""
    if manifest["kind"] != "Deployment" or "replicas" in manifest["spec"]:
        return manifest
    return {**manifest, "spec": {**manifest["spec"], "replicas": live["spec"]["replicas"]}}


def may_undo_scale(manifest: Manifest, server: RuntimeServer) -> bool:
    """Tell whether to apply a manifest would set back what somebody may have scaled since it was rendered."""
    if manifest["kind"] != "Deployment" or "replicas" not in manifest["spec"]:
        return False
    return not server.spec.suspend and _may_be_scaled(manifest["metadata"]["name"], server)


def undoes_scale(manifest: Manifest, live: Manifest) -> bool:
    """Tell whether it would, for the Deployment is somebody else's to scale and the same number is asked for as before.

    Args:
        manifest: One that may undo it.
        live: What is there, `managedFields` included.
    """
    metadata = manifest["metadata"]
    asked: str = metadata["annotations"][REPLICAS_ASKED]
    return scaled_elsewhere([live]).get(metadata["name"]) == asked


def _may_be_scaled(name: str, server: RuntimeServer) -> bool:
    """Tell whether others may scale a Deployment: two processes must never have the same SQLite file open."""
    return name != api_name(server.name) or server.spec.database.postgresql is not None


def _is_scaled(entries: Sequence[Mapping[str, Any]]) -> bool:
    """Tell whether `managedFields` say that somebody else has scaled."""
    owners = [entry for entry in entries if "f:replicas" in entry.get("fieldsV1", {}).get("f:spec", {})]
    if any(map(_is_applied, owners)):
        return False  # also where it is the number that somebody else had set before
    if owners:
        return any(owner.get("subresource") == "scale" and owner.get("manager") != MANAGER for owner in owners)
    return any(map(_is_applied, entries))


def _is_applied(entry: Mapping[str, Any]) -> bool:
    """Tell whether an entry of `managedFields` is of what an operator of ours has applied."""
    return entry.get("operation") == "Apply" and is_an_operators(entry.get("manager", ""))
