"""Deployments: what those of the api and of the executors share."""

import hashlib
import json
from dataclasses import replace
from typing import Final

from qiskit_runtime_operator.render.context import RenderContext
from qiskit_runtime_operator.render.metadata import metadata
from qiskit_runtime_operator.render.pods import Pods, pod_template
from qiskit_runtime_operator.render.replicas import with_replicas
from qiskit_runtime_operator.resource.model import Manifest, RuntimeServer
from qiskit_runtime_operator.resource.names import KEYS_CHECKSUM, TEMPLATE_CHECKSUM

RECREATE: Final[Manifest] = {"type": "Recreate"}
ROLL_WITH_ONE_MORE: Final[Manifest] = {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}
ROLL_WITH_ONE_LESS: Final[Manifest] = {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 0, "maxUnavailable": 1}}

_OLD_VERSIONS_KEPT: Final = 3


def _with_keys(pods: Pods, context: RenderContext) -> Pods:
    """Return pods that roll when the keys are made anew, which they read only when they start."""
    if not context.keys_checksum:
        return pods
    return replace(pods, annotations={**pods.annotations, KEYS_CHECKSUM: context.keys_checksum})


def _checksum(template: Manifest) -> str:
    """Return what changes when the pods do, so that a roll-out can be told from a repair after a restart."""
    return hashlib.sha256(json.dumps(template, sort_keys=True).encode()).hexdigest()


def deployment(server: RuntimeServer, context: RenderContext, pods: Pods, strategy: Manifest) -> Manifest:
    """Return the Deployment of `pods`."""
    checksum = _checksum(pod_template(server, pods))
    about = metadata(server, pods.name, pods.selector)
    manifest = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {
            **about,
            "labels": {**about["labels"], **pods.queue_labels},
            "annotations": {TEMPLATE_CHECKSUM: checksum},
        },
        "spec": {
            "selector": {"matchLabels": dict(pods.selector)},
            "strategy": strategy,
            "revisionHistoryLimit": _OLD_VERSIONS_KEPT,
            "progressDeadlineSeconds": int(pods.patience.total_seconds()),
            "template": pod_template(server, _with_keys(pods, context)),
        },
    }
    return with_replicas(manifest, pods.workload, server, context)
