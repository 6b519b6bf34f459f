"""Deployments: what those of the api and of the executors share."""

from typing import Final

from qiskit_runtime_operator.render.context import RenderContext
from qiskit_runtime_operator.render.metadata import metadata
from qiskit_runtime_operator.render.pods import Pods, pod_template
from qiskit_runtime_operator.render.replicas import with_replicas
from qiskit_runtime_operator.resource.model import Manifest, RuntimeServer

RECREATE: Final[Manifest] = {"type": "Recreate"}
ROLL_WITH_ONE_MORE: Final[Manifest] = {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}
ROLL_WITH_ONE_LESS: Final[Manifest] = {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 0, "maxUnavailable": 1}}

_OLD_VERSIONS_KEPT: Final = 3


def deployment(server: RuntimeServer, context: RenderContext, pods: Pods, strategy: Manifest) -> Manifest:
    """Return the Deployment of `pods`."""
    manifest = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": metadata(server, pods.name, pods.selector),
        "spec": {
            "selector": {"matchLabels": dict(pods.selector)},
            "strategy": strategy,
            "revisionHistoryLimit": _OLD_VERSIONS_KEPT,
            "progressDeadlineSeconds": int(pods.patience.total_seconds()),
            "template": pod_template(server, pods),
        },
    }
    return with_replicas(manifest, pods.workload.replicas, server, context)
