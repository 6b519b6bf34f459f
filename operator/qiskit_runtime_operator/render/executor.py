"""The executors: for each a Deployment and a headless Service, by which the api finds every pod."""

import json
from collections.abc import Iterator, Mapping
from typing import Final

from qiskit_runtime_operator.render.context import RenderContext
from qiskit_runtime_operator.render.deployment import ROLL_WITH_ONE_LESS, ROLL_WITH_ONE_MORE, deployment
from qiskit_runtime_operator.render.metadata import executor_selector, metadata
from qiskit_runtime_operator.render.pods import Pods, secret_value, snapshot_settings, snapshot_volumes
from qiskit_runtime_operator.resource.model import WHOLE_GPUS, Executor, Manifest, RuntimeServer
from qiskit_runtime_operator.resource.names import EXECUTOR_KEY, executor_name, executors_name, keys_name
from qiskit_runtime_operator.resource.ports import EXECUTOR_PORT, INTERNAL_PORT, service_ports

# The executor whose states can be spread over several GPUs, and its options that enlarge them.
_SPREADING: Final = "custatevec"
_ENLARGING: Final = {"devices", "host_qubits", "processes"}


def manifests(server: RuntimeServer, context: RenderContext) -> Iterator[Manifest]:
    """Yield the manifests of all executors."""
    for executor in server.spec.executors:
        yield service(server, executor)
        yield executor_deployment(server, executor, context)


def service(server: RuntimeServer, executor: Executor) -> Manifest:
    """Return the Service whose name stands for the addresses of all ready pods of one executor."""
    selector = executor_selector(server, executor)
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": metadata(server, executor_name(server.name, executor.name), selector),
        "spec": {"clusterIP": "None", "selector": selector, "ports": service_ports(EXECUTOR_PORT)},
    }


def executor_deployment(server: RuntimeServer, executor: Executor, context: RenderContext) -> Manifest:
    """Return the Deployment of one executor.

    Its pods need no hook to drain: after SIGTERM they take no jobs, and answer for those they have.
    """
    pods = Pods(
        name=executor_name(server.name, executor.name),
        selector=executor_selector(server, executor),
        workload=executor,
        image=_image(server, executor, context),
        args=_arguments(executor),
        port=EXECUTOR_PORT,
        env={**context.server_settings, **executor.settings, **_variables(server), **_options(executor)},
        volumes=snapshot_volumes(server),
        service_account=executors_name(server.name),
        gpu=executor.gpu,
        runtime_class_name=executor.runtime_class_name,
        queue=executor.queue_name,
        drain=executor.drain_seconds,
    )
    # A new pod would wait for the GPU, or for the quota, that the old one has.
    scarce = executor.gpu is not None or executor.queue_name is not None
    return deployment(server, context, pods, ROLL_WITH_ONE_LESS if scarce else ROLL_WITH_ONE_MORE)


def _image(server: RuntimeServer, executor: Executor, context: RenderContext) -> str:
    images, defaults = server.spec.image, context.images
    general = (images.executor_gpu or defaults.executor_gpu) if executor.gpu else (images.executor or defaults.executor)
    return executor.image or general


def _arguments(executor: Executor) -> tuple[str, ...]:
    drain = int(executor.drain_seconds.total_seconds())
    return "executor", executor.kind, "--slots", str(executor.slots), "--drain", f"{drain}s"


def _variables(server: RuntimeServer) -> dict[str, str | Manifest]:
    return {
        "QRS_HOST": "0.0.0.0",  # noqa: S104 - network policies say who gets in
        "QRS_PORT": str(EXECUTOR_PORT),
        "QRS_INTERNAL_PORT": str(INTERNAL_PORT),
        "QRS_EXECUTOR_KEY": secret_value(keys_name(server.name), EXECUTOR_KEY),
        **snapshot_settings(server),
    }


def _options(executor: Executor) -> dict[str, str | Manifest]:
    options = {**_all_gpus(executor), **executor.options}
    return {"QRS_EXECUTOR_OPTIONS": json.dumps({executor.kind: options}, sort_keys=True)} if options else {}


def _all_gpus(executor: Executor) -> Mapping[str, object]:
    """Return the option that spreads large states over the GPUs that a pod has, as many as are a power of two.

    Slices of GPUs cannot be joined, and only one option can enlarge a state.
    """
    gpu = executor.gpu
    chosen = _ENLARGING & executor.options.keys()
    if executor.kind != _SPREADING or gpu is None or gpu.count == 1 or gpu.resource != WHOLE_GPUS or chosen:
        return {}
    return {"devices": list(range(1 << (gpu.count.bit_length() - 1)))}
