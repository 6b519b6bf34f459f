"""What the operator says for each reason, from its own code: examples for the documentation."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from kit.kubernetes.runtime_servers import AER, body, render_context, runtime_server
from qiskit_runtime_operator.render import RenderContext, render
from qiskit_runtime_operator.resource.model import Manifest, RuntimeServer
from qiskit_runtime_operator.resource.names import SERVER
from qiskit_runtime_operator.run.turns import Turns
from qiskit_runtime_operator.scaling.load import Load
from qiskit_runtime_operator.status import notes, refusals
from qiskit_runtime_operator.status.conditions import Reason
from qiskit_runtime_operator.status.status import Observed, fail, observe
from qiskit_runtime_operator.watch.inventory import Inventory

CONTEXT = render_context()
_NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
_UNSCHEDULABLE = "0/3 nodes are available: 3 Insufficient nvidia.com/gpu."
_QUOTA = (
    'services "lab-api" is forbidden: exceeded quota: lab, requested: count/services=1, used: count/services=5, '
    "limited: count/services=5"
)
_FORBIDDEN = (
    'services is forbidden: User "system:serviceaccount:qiskit-system:operator" cannot watch resource "services"'
)
_OTHER = "other-system/qiskit-runtime-operator"


def deployments(server: RuntimeServer, *, ready: int | None = None, context: RenderContext = CONTEXT) -> list[Manifest]:
    """Return the Deployments as they are when all, or so many, of their pods are ready."""
    found = []
    for manifest in render(server, context):
        if manifest["kind"] == "Deployment":
            replicas = manifest["spec"]["replicas"]
            status = {
                "observedGeneration": 4,
                "replicas": replicas,
                "updatedReplicas": replicas,
                "readyReplicas": replicas if ready is None else min(ready, replicas),
                "conditions": [{"type": "Progressing", "status": "True", "reason": "NewReplicaSetAvailable"}],
            }
            found.append({**manifest, "metadata": {**manifest["metadata"], "generation": 4}, "status": status})
    return found


def messages() -> dict[Reason, str]:
    """Return a message for each reason: of the first played condition, or else of the Event, that has it."""
    found: dict[Reason, str] = {}
    for status in _statuses():
        for condition in status["conditions"]:
            found.setdefault(Reason(condition["reason"]), condition["message"])
    return {note.reason: note.message for note in _events()} | found


def _events() -> Iterator[notes.Note]:
    yield notes.taken_back("Service", "lab-api", ["kubectl-edit"])
    yield notes.scaled("aer", 1, 3, 2, 1)
    yield notes.replaced("Deployment", "lab-api", "spec.selector: Invalid value: field is immutable")
    yield notes.claim_changed("lab-data", "0f5c9d1e", "77ab02c4")
    yield notes.keys_announced()
    yield notes.keys_changed()


def _statuses() -> Iterator[Manifest]:
    """Play what can be seen of a RuntimeServer, what is well first."""
    server = runtime_server()
    gpu = runtime_server({"executors": [dict(AER), {"name": "custatevec", "gpu": {}}]})
    yield _status(server)
    yield _status(runtime_server({"suspend": True}))
    yield _status(
        server, [_changed(found, {"readyReplicas": 0}) for found in deployments(server)], pods=[_broken_api()]
    )
    yield _status(server, [])
    yield _status(gpu, _with_last(gpu, {"readyReplicas": 0}), pods=[_unschedulable("custatevec")])
    yield _status(server, _with_last(server, {"readyReplicas": 0}), pods=[_unschedulable("aer")])
    queued = runtime_server({"executors": [dict(AER), {"name": "gpu", "type": "own", "queueName": "research"}]})
    yield _status(queued, _with_last(queued, {"readyReplicas": 0}), pods=[_gated("gpu", "research")])
    yield _status(server, load=Load(executors={}, without_slots=True))
    stalled = {"conditions": [{"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded"}]}
    yield _status(server, _with_last(server, {"readyReplicas": 0, **stalled}), pods=[_unschedulable("aer")])
    paused = deployments(server)
    paused[0]["spec"]["paused"] = True
    yield _status(server, paused)
    yield _status(replace(server, paused=True))
    yield _status(server, turns=str(Turns(Inventory(), at_once=2)))
    two = runtime_server({"api": {"replicas": 2}, "database": {"postgresql": {"urlSecretRef": {"name": "database"}}}})
    yield _status(two, [_changed(found, {"readyReplicas": 1}) for found in deployments(two)])
    yield _status(server, invalid="spec.executors.0.slots: should be a valid integer")
    newer = body()
    newer["spec"]["colour"] = "blue"
    yield _status(RuntimeServer.from_object(newer))
    yield _status(server, other_operators=(_OTHER,))
    for refusal in (
        refusals.name_taken("Service", "lab-api"),
        refusals.write_refused("Service", "lab-api", _QUOTA),
        refusals.watch_refused("Service", _FORBIDDEN),
        refusals.contested("Service", "lab-api", "argocd-controller"),
    ):
        yield _status(server, refusals=[refusal])
    yield fail(refusals.failed(KeyError()), 1, previous={}, now=_NOW)
    scaled = runtime_server({"executors": [{**AER, "autoscale": {"minReplicas": 0, "maxReplicas": 4}}]})
    yield _status(scaled, _with_last(scaled, {"readyReplicas": 0, "replicas": 0, "updatedReplicas": 0}))
    yield from _ways_in()


def _ways_in() -> Iterator[Manifest]:
    ingress = runtime_server({"ingress": {"host": "lab.example.org", "className": "contour"}})
    yield _status(ingress)
    made = [{"spec": {"ingressClassName": "contour"}, "status": {}}]
    yield _status(ingress, ways_in=made, ingress_classes={"haproxy", "nginx"})
    yield _status(ingress, ways_in=[{"status": {"loadBalancer": {"ingress": [{"ip": "192.0.2.7"}]}}}])
    gateway = runtime_server({"gateway": {"parentRefs": [{"name": "public"}], "hostnames": ["lab.example.org"]}})
    yield _status(gateway, context=render_context(apis=frozenset()))
    claiming = runtime_server(
        {"executors": [dict(AER), {"name": "gpu", "type": "own", "gpu": {"claims": {"templateName": "gpus"}}}]}
    )
    yield _status(claiming, context=render_context(apis=frozenset()))
    certified = runtime_server({"tls": {"executors": {"issuerRef": {"name": "lab"}}}})
    yield _status(certified, context=render_context(apis=frozenset()))
    refused = {"type": "Accepted", "status": "False", "reason": "NotAllowedByListeners", "message": "no listener"}
    yield _status(
        gateway, ways_in=[{"status": {"parents": [{"parentRef": {"name": "public"}, "conditions": [refused]}]}}]
    )


def _status(
    server: RuntimeServer,
    found: list[Manifest] | None = None,
    *,
    context: RenderContext = CONTEXT,
    **seen: Any,
) -> Manifest:
    observed = Observed(deployments=deployments(server) if found is None else found, **seen)
    return observe(server, context, observed, previous={}, now=_NOW)


def _with_last(server: RuntimeServer, status: Manifest) -> list[Manifest]:
    *others, last = deployments(server)
    return [*others, _changed(last, status)]


def _changed(deployment: Manifest, status: Manifest) -> Manifest:
    return {**deployment, "status": {**deployment["status"], **status}}


def _unschedulable(executor: str) -> Manifest:
    condition = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": _UNSCHEDULABLE}
    labels = {"app.kubernetes.io/component": "executor", "runtimeserver.dev/executor": executor}
    return {"metadata": {"name": "pod", "labels": labels}, "status": {"phase": "Pending", "conditions": [condition]}}


def _gated(executor: str, queue: str) -> Manifest:
    condition = {"type": "PodScheduled", "status": "False", "reason": "SchedulingGated"}
    labels = {"app.kubernetes.io/component": "executor", "runtimeserver.dev/executor": executor,
              "kueue.x-k8s.io/queue-name": queue}  # fmt: skip
    gates = {"schedulingGates": [{"name": "kueue.x-k8s.io/admission"}]}
    return {"metadata": {"name": "pod", "labels": labels}, "spec": gates, "status": {"conditions": [condition]}}


def _broken_api() -> Manifest:
    said = "error: QRS_DATABASE_URL is no URL, as in postgresql://user:password@host/name\n"
    container = {"name": SERVER, "state": {"terminated": {"reason": "Error", "exitCode": 1, "message": said}}}
    labels = {"app.kubernetes.io/component": "api"}
    return {"metadata": {"name": "pod", "labels": labels}, "status": {"containerStatuses": [container]}}
