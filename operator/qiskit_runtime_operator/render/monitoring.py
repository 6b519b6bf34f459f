"""The ServiceMonitor, where the cluster has the Prometheus operator."""

import re
from collections.abc import Iterator
from typing import Final

from qiskit_runtime_operator.render.context import RenderContext
from qiskit_runtime_operator.render.metadata import instance_selector, metadata
from qiskit_runtime_operator.resource.kinds import OptionalApi
from qiskit_runtime_operator.resource.model import Manifest, RuntimeServer
from qiskit_runtime_operator.resource.names import EXECUTOR_LABEL, INSTANCE_LABEL
from qiskit_runtime_operator.resource.ports import INTERNAL

# Series say which RuntimeServer of the namespace they are of; dashboards and alerts tell them apart by it.
_NAMES_THE_SERVER: Final = {
    "sourceLabels": ["__meta_kubernetes_service_label_" + re.sub(r"\W", "_", INSTANCE_LABEL)],
    "targetLabel": "runtimeserver",
}


def manifests(server: RuntimeServer, context: RenderContext) -> Iterator[Manifest]:
    """Yield what makes Prometheus read the metrics of all pods, if it may reach them."""
    if OptionalApi.SERVICE_MONITOR in context.apis and context.monitoring_namespaces:
        yield {
            "apiVersion": "monitoring.coreos.com/v1",
            "kind": "ServiceMonitor",
            "metadata": metadata(server, server.name, instance_selector(server)),
            "spec": {
                "selector": {"matchLabels": instance_selector(server)},
                "targetLabels": [EXECUTOR_LABEL],
                "endpoints": [{"port": INTERNAL, "path": "/metrics", "relabelings": [_NAMES_THE_SERVER]}],
            },
        }
