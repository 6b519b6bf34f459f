"""The executors: for each a Deployment and a headless Service, by which the api finds every pod.

One that claims GPUs of a device class has a ResourceClaimTemplate, too. Kubernetes makes a ResourceClaim from it for
each pod, and allocates devices to that when it schedules the pod: Dynamic Resource Allocation, see
https://kubernetes.io/docs/concepts/scheduling-eviction/dynamic-resource-allocation.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from hashlib import sha256
from typing import Final

from qiskit_runtime_operator.render.context import RenderContext
from qiskit_runtime_operator.render.credentials import certificates
from qiskit_runtime_operator.render.deployment import ROLL_WITH_ONE_LESS, ROLL_WITH_ONE_MORE, deployment
from qiskit_runtime_operator.render.metadata import executor_selector, labels, metadata
from qiskit_runtime_operator.render.pods import Pods, Probe, Volume, key_settings, snapshot_settings, snapshot_volumes
from qiskit_runtime_operator.resource.kinds import OptionalApi
from qiskit_runtime_operator.resource.model import Executor, Gpu, GpuClaims, Manifest, RuntimeServer
from qiskit_runtime_operator.resource.names import (
    CLAIMS_CHECKSUM,
    EXECUTOR_KEY,
    executor_name,
    executors_name,
)
from qiskit_runtime_operator.resource.ports import EXECUTOR_PORT, INTERNAL, INTERNAL_PORT, service_ports

# The executor whose library is published for one kind of processor alone.
_ON_AMD64: Final = "qsim"
_ARCHITECTURE: Final = "kubernetes.io/arch"
# The executor whose states can be spread over several GPUs, and its options that enlarge them.
_SPREADING: Final = "custatevec"
_ENLARGING: Final = {"devices", "host_qubits", "processes"}


def manifests(server: RuntimeServer, context: RenderContext) -> Iterator[Manifest]:
    """Yield the manifests of all executors.

    A cluster without Dynamic Resource Allocation would leave the claims out of the pods, which then ran without a GPU.
    """
    for executor in server.spec.executors:
        yield service(server, executor)
        if can_claim(executor, context):
            yield from _claim_templates(server, executor)
            yield executor_deployment(server, executor, context)


def service(server: RuntimeServer, executor: Executor) -> Manifest:
    """Return the Service whose name stands for the addresses of all pods of one executor, ready or not.

    Apis connect to a pod while it comes up, and have its first word at once: an executor answers them only when it has
    passed its self-test, and says itself when it drains. The kubelet, which asks once a second, and name servers, which
    remember for seconds that there is no address, would tell them later.
    """
    selector, tls = executor_selector(server, executor), server.spec.tls.executors is not None
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": metadata(server, executor_name(server.name, executor.name), selector),
        "spec": {
            "clusterIP": "None",
            "publishNotReadyAddresses": True,
            "selector": selector,
            "ports": service_ports(EXECUTOR_PORT, tls=tls),
        },
    }


def executor_deployment(server: RuntimeServer, executor: Executor, context: RenderContext) -> Manifest:
    """Return the Deployment of one executor.

    Its pods need no hook to drain: after SIGTERM they take no jobs, and answer for those they have.
    """
    pods = Pods(
        name=executor_name(server.name, executor.name),
        selector=executor_selector(server, executor),
        workload=_placed(executor),
        image=_image(server, executor, context),
        args=_arguments(executor),
        port=EXECUTOR_PORT,
        # A kubelet shows no certificate.
        probe=Probe() if server.spec.tls.executors is None else Probe(port=INTERNAL),
        env={**context.server_settings, **executor.settings, **_variables(server), **_options(executor)},
        annotations=_claims_checksum(executor),
        volumes=executor_volumes(server),
        service_account=executors_name(server.name),
        gpu=executor.gpu,
        claim_template=_claim_template_name(server, executor),
        runtime_class_name=executor.runtime_class_name,
        queue=executor.queue_name,
        drain=executor.drain_seconds,
    )
    # A new pod would wait for the GPU, or for the quota, that the old one has.
    scarce = executor.gpu is not None or executor.queue_name is not None
    return deployment(server, context, pods, ROLL_WITH_ONE_LESS if scarce else ROLL_WITH_ONE_MORE)


def executor_volumes(server: RuntimeServer) -> tuple[Volume, ...]:
    """Return the volumes: devices of the user's own, and the certificate."""
    return *snapshot_volumes(server), *certificates.executor_volumes(server)


def can_claim(executor: Executor, context: RenderContext) -> bool:
    """Tell whether an executor can claim its GPUs, if it does: Kubernetes has to serve the API."""
    claims = executor.gpu is not None and executor.gpu.claims is not None
    return not claims or OptionalApi.RESOURCE_CLAIM_TEMPLATE in context.apis


def _placed(executor: Executor) -> Executor:
    """Return an executor with the nodes that its pods can run on, where it matters."""
    if executor.kind != _ON_AMD64:
        return executor
    return replace(executor, node_selector={_ARCHITECTURE: "amd64", **executor.node_selector})


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
        **key_settings(server, EXECUTOR_KEY),
        **certificates.executor_settings(server),
        **snapshot_settings(server),
    }


def _options(executor: Executor) -> dict[str, str | Manifest]:
    options = {**_all_gpus(executor), **executor.options}
    return {"QRS_EXECUTOR_OPTIONS": json.dumps({executor.kind: options}, sort_keys=True)} if options else {}


def _all_gpus(executor: Executor) -> Mapping[str, object]:
    """Return the option that spreads large states over the GPUs that a pod has, as many as are a power of two.

    Slices of GPUs, and what may be slices, cannot be joined, and only one option can enlarge a state.
    """
    gpu = executor.gpu
    chosen = _ENLARGING & executor.options.keys()
    if executor.kind != _SPREADING or gpu is None or gpu.count == 1 or not gpu.whole or chosen:
        return {}
    return {"devices": list(range(1 << (gpu.count.bit_length() - 1)))}


def _claim_template_name(server: RuntimeServer, executor: Executor) -> str | None:
    """Return the name of the template for the pods of an executor, the user's or ours; None if it needs none."""
    claims = executor.gpu.claims if executor.gpu else None
    return (claims.template_name or executor_name(server.name, executor.name)) if claims else None


def _claims_checksum(executor: Executor) -> Mapping[str, str]:
    """Return an annotation by which pods roll when our template, whose name stays, becomes another one."""
    devices = _devices(executor)
    if devices is None:
        return {}
    return {CLAIMS_CHECKSUM: sha256(json.dumps(devices, sort_keys=True).encode()).hexdigest()[:16]}


def _claim_templates(server: RuntimeServer, executor: Executor) -> Iterator[Manifest]:
    devices, selector = _devices(executor), executor_selector(server, executor)
    if devices is None:
        return
    yield {
        "apiVersion": "resource.k8s.io/v1",
        "kind": "ResourceClaimTemplate",
        "metadata": metadata(server, executor_name(server.name, executor.name), selector),
        "spec": {"metadata": {"labels": labels(selector)}, "spec": {"devices": devices}},
    }


def _devices(executor: Executor) -> Manifest | None:
    gpu = executor.gpu
    if gpu is None or gpu.claims is None or gpu.claims.device_class_name is None:
        return None
    return {"requests": [{"name": "gpu", "exactly": _request(gpu, gpu.claims)}]}


def _request(gpu: Gpu, claims: GpuClaims) -> Manifest:
    # What the API server would add is spelled out, so that what is asked for equals what is there.
    request = {"deviceClassName": claims.device_class_name, "allocationMode": "ExactCount", "count": gpu.count}
    selectors = [{"cel": {"expression": selector}} for selector in claims.selectors]
    return {**request, "selectors": selectors} if selectors else request
