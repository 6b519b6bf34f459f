"""The api: its Deployment, its Service, and the ConfigMap with its settings."""

import hashlib
import json
from collections.abc import Iterator, Mapping

from qiskit_runtime_operator.render.api_settings import DRAIN, api_volumes, secret_settings, settings, stop_delay
from qiskit_runtime_operator.render.context import RenderContext
from qiskit_runtime_operator.render.deployment import RECREATE, ROLL_WITH_ONE_MORE, deployment
from qiskit_runtime_operator.render.metadata import api_selector, metadata
from qiskit_runtime_operator.render.pods import Pods, Probe
from qiskit_runtime_operator.resource.model import Manifest, RuntimeServer, Scheme
from qiskit_runtime_operator.resource.names import CONFIG_CHECKSUM, api_name, executor_name
from qiskit_runtime_operator.resource.ports import API_PORT, EXECUTOR_PORT, service_ports


def manifests(server: RuntimeServer, context: RenderContext) -> Iterator[Manifest]:
    """Yield the manifests of the api."""
    yield config_map(server, context)
    yield service(server)
    yield api_deployment(server, context)


def config_map(server: RuntimeServer, context: RenderContext) -> Manifest:
    """Return the settings of the api that are no secrets."""
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": metadata(server, api_name(server.name), api_selector(server)),
        "data": settings(server, context),
    }


def service(server: RuntimeServer) -> Manifest:
    """Return the Service that clients, proxies and the operator reach the api by."""
    tls = server.spec.tls.secret_name is not None
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": metadata(server, api_name(server.name), api_selector(server)),
        "spec": {"selector": api_selector(server), "ports": service_ports(API_PORT, tls=tls)},
    }


def api_deployment(server: RuntimeServer, context: RenderContext) -> Manifest:
    """Return the Deployment of the api."""
    pods = Pods(
        name=api_name(server.name),
        selector=api_selector(server),
        workload=server.spec.api,
        image=server.spec.image.api or context.images.api,
        args=_arguments(server),
        port=API_PORT,
        probe=Probe(tls=server.spec.tls.secret_name is not None),
        env=secret_settings(server),
        env_from=api_name(server.name),
        annotations={CONFIG_CHECKSUM: checksum(settings(server, context))},
        volumes=api_volumes(server),
        service_account=api_name(server.name),
        stop_delay=stop_delay(server),
        drain=DRAIN,
    )
    # Two processes must never have the same SQLite file open.
    return deployment(server, context, pods, ROLL_WITH_ONE_MORE if server.spec.database.postgresql else RECREATE)


def checksum(config: Mapping[str, str]) -> str:
    """Return what changes exactly when the settings do: pods read them only when they start."""
    return hashlib.sha256(json.dumps(config, sort_keys=True).encode()).hexdigest()


def _arguments(server: RuntimeServer) -> tuple[str, ...]:
    hosts = {executor.name: executor_name(server.name, executor.name) for executor in server.spec.executors}
    scheme = Scheme.HTTP if server.spec.tls.executors is None else Scheme.HTTPS
    urls = [f"{name}={scheme}://{host}:{EXECUTOR_PORT}" for name, host in hosts.items()]
    return "api", *(word for url in urls for word in ("--executors", url))
