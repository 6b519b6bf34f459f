"""Names, labels and owners of what is rendered."""

from collections.abc import Mapping
from typing import Final

from qiskit_runtime_operator.resource.model import Executor, Manifest, RuntimeServer
from qiskit_runtime_operator.resource.names import (
    API,
    APP_LABEL,
    COMPONENT_LABEL,
    EXECUTOR,
    EXECUTOR_LABEL,
    INSTANCE_LABEL,
    MANAGED_BY_LABEL,
    MANAGER,
)

_APP: Final = "qiskit-runtime-server"


def instance_selector(server: RuntimeServer) -> dict[str, str]:
    """Return the labels that all objects of one RuntimeServer share."""
    return {APP_LABEL: _APP, INSTANCE_LABEL: server.name}


def api_selector(server: RuntimeServer) -> dict[str, str]:
    """Return the labels that make a pod one of the api's; they cannot change."""
    return {**instance_selector(server), COMPONENT_LABEL: API}


def executors_selector(server: RuntimeServer) -> dict[str, str]:
    """Return the labels that make a pod an executor's, whichever."""
    return {**instance_selector(server), COMPONENT_LABEL: EXECUTOR}


def executor_selector(server: RuntimeServer, executor: Executor) -> dict[str, str]:
    """Return the labels that make a pod one of this executor's; they cannot change."""
    return {**executors_selector(server), EXECUTOR_LABEL: executor.name}


def labels(selector: Mapping[str, str]) -> dict[str, str]:
    """Return the labels of an object that belongs to what `selector` finds."""
    return {**selector, MANAGED_BY_LABEL: MANAGER}


def metadata(server: RuntimeServer, name: str, selector: Mapping[str, str]) -> Manifest:
    """Return the metadata of an object that the RuntimeServer owns."""
    return {
        "name": name,
        "namespace": server.namespace,
        "labels": labels(selector),
        "ownerReferences": [server.owner],
    }
