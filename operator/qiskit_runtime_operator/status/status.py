"""The status of a RuntimeServer: from what is seen in the cluster to what is written down. Pure."""

from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Final

from qiskit_runtime_operator.render.api_settings import api_volumes, starts_for_jobs
from qiskit_runtime_operator.render.context import RenderContext
from qiskit_runtime_operator.render.executor import can_claim, executor_volumes
from qiskit_runtime_operator.render.metadata import api_selector
from qiskit_runtime_operator.resource.kinds import OptionalApi
from qiskit_runtime_operator.resource.model import Executor, Manifest, RuntimeServer, Workload
from qiskit_runtime_operator.resource.names import (
    API,
    COMPONENT_LABEL,
    EXECUTOR,
    EXECUTOR_LABEL,
    RECONCILE,
    api_name,
    executor_name,
    executors_certificate_name,
)
from qiskit_runtime_operator.resource.urls import public_url
from qiskit_runtime_operator.scaling.decision import Decision, ScaleReason
from qiskit_runtime_operator.scaling.load import Load
from qiskit_runtime_operator.status.conditions import Condition, ConditionType, Reason, condition_documents
from qiskit_runtime_operator.status.notes import too_many
from qiskit_runtime_operator.status.rollout import Causes, Pool
from qiskit_runtime_operator.status.way_in import reachable

# While it is so, another job makes no other number of pods.
_NOT_FOLLOWED: Final = (ScaleReason.PODS_PENDING, ScaleReason.SCALED_ELSEWHERE)
NOT_WRITTEN: Final = (Reason.WRITE_REFUSED, Reason.NAME_TAKEN, Reason.CLAIM_API_MISSING)
# What pods read when they start is called as the Deployment that makes them.
READ_BY_PODS: Final = ("ConfigMap", "ResourceClaimTemplate")


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """An object that could not be made as it should be.

    Attributes:
        message: Whose it is, or what the API server said.
    """

    kind: str
    name: str
    reason: Reason
    message: str

    def __str__(self) -> str:
        return f"{self.kind} {self.name}: {self.message}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Observed:
    """What is seen in the cluster.

    Attributes:
        deployments: Those that the RuntimeServer owns.
        pods: Its pods; those of Deployments that are not short may be left out.
        refusals: What could not be made in the last pass.
        load: What the api last said, if it answers.
        scaling: What was decided for the executors with `autoscale`, by name.
        invalid: Why the spec, as it is now, is not what the RuntimeServer was made from; empty if it is.
        ways_in: Its Ingress and HTTPRoute, as far as they have been made.
        ingress_classes: The names of those that the cluster has; None if they are not known.
        answers: What pods that are not ready have said of it, by their UIDs.
        rolled_out: The checksum of the template that all pods of a Deployment had at some time, by its UID.
        turns: How many are rolled out at once, if it has to wait for its turn; otherwise empty.
        other_operators: Those that would look after it, had this one not claimed it.
    """

    deployments: Sequence[Manifest]
    pods: Sequence[Manifest] = ()
    refusals: Sequence[Refusal] = ()
    load: Load | None = None
    scaling: Mapping[str, Decision] = field(default_factory=dict)
    invalid: str = ""
    other_operators: Sequence[str] = ()
    turns: str = ""
    ways_in: Sequence[Manifest] = ()
    ingress_classes: Set[str] | None = None
    answers: Mapping[str, str] = field(default_factory=dict)
    rolled_out: Mapping[str, str] = field(default_factory=dict)


def observe(
    server: RuntimeServer, context: RenderContext, observed: Observed, *, previous: Mapping[str, Any], now: datetime
) -> Manifest:
    """Return the whole status; it equals `previous` if nothing has changed."""
    api, executors = _api_pool(server, observed), _executor_pools(server, observed)
    observed = replace(observed, refusals=(*observed.refusals, *_missing_apis(server, context)))
    available = _available(server, api, executors, observed)
    progressing = _progressing(server, (api, *executors), observed)
    degraded = _degraded(server, api, executors, observed)
    way_in = reachable(server, observed.ways_in, context.apis, observed.ingress_classes)
    conditions = (available, progressing, degraded, _ready(available, progressing, degraded), way_in)
    return {
        "observedGeneration": server.generation,
        "conditions": condition_documents(
            conditions, previous.get("conditions", []), generation=server.generation, now=now
        ),
        "url": public_url(server),
        **_backends(observed.load),
        "executorsReady": f"{sum(pool.ready for pool in executors)}/{sum(pool.desired for pool in executors)}",
        "api": {**_counts(api), "selector": _selector(api_selector(server))},
        "executors": [
            {"name": executor.name, **_counts(pool), **_jobs(executor, observed)}
            for executor, pool in zip(server.spec.executors, executors, strict=True)
        ],
    }


def refuse(
    invalid: str,
    generation: int,
    deployments: Sequence[Manifest],
    *,
    previous: Mapping[str, Any],
    now: datetime,
) -> Manifest:
    """Return the status of a RuntimeServer whose spec never made sense to this operator; what is there stays."""
    known = previous.get("conditions", [])
    ready = {
        deployment["metadata"].get("labels", {}).get(COMPONENT_LABEL)
        for deployment in deployments
        if deployment.get("status", {}).get("readyReplicas")
    }
    available = {API, EXECUTOR} <= ready
    states = {
        ConditionType.AVAILABLE: available,
        ConditionType.PROGRESSING: False,
        ConditionType.DEGRADED: True,
        ConditionType.READY: False,
    }
    conditions = (
        Condition(type=kind, status=status, reason=Reason.INVALID_SPEC, message=invalid)
        for kind, status in states.items()
    )
    documents = condition_documents(conditions, known, generation=generation, now=now)
    return {**previous, "observedGeneration": generation, "conditions": documents}


def fail(message: str, generation: int, *, previous: Mapping[str, Any], now: datetime) -> Manifest:
    """Return the status of a RuntimeServer over which a pass failed; for the rest the last whole pass has the word."""
    conditions = (
        Condition(type=kind, status=status, reason=Reason.RECONCILE_FAILED, message=message)
        for kind, status in ((ConditionType.DEGRADED, True), (ConditionType.READY, False))
    )
    known = previous.get("conditions", [])
    failed = condition_documents(conditions, known, generation=generation, now=now)
    by_type = {condition["type"]: condition for condition in (*known, *failed)}
    return {**previous, "conditions": list(by_type.values())}


def _api_pool(server: RuntimeServer, observed: Observed) -> Pool:
    pods = [pod for pod in observed.pods if pod["metadata"]["labels"].get(COMPONENT_LABEL) == API]
    return Pool.of(
        api_name(server.name),
        _deployment(observed, api_name(server.name)),
        pods,
        wanted=_wanted(server, server.spec.api),
        causes=Causes(volumes=[volume.origin for volume in api_volumes(server)], answers=observed.answers),
    )


def _executor_pools(server: RuntimeServer, observed: Observed) -> list[Pool]:
    return [_executor_pool(server, executor, observed) for executor in server.spec.executors]


def _executor_pool(server: RuntimeServer, executor: Executor, observed: Observed) -> Pool:
    name = executor_name(server.name, executor.name)
    deployment = _deployment(observed, name)
    before = None
    if deployment is not None and executor.autoscale is not None:
        before = observed.rolled_out.get(deployment["metadata"].get("uid", ""))
    return Pool.of(
        name,
        deployment,
        [pod for pod in observed.pods if pod["metadata"]["labels"].get(EXECUTOR_LABEL) == executor.name],
        wanted=_wanted(server, executor),
        causes=Causes(volumes=[volume.origin for volume in executor_volumes(server)], devices=_devices(executor)),
        rolled_out_before=before,
    )


def _devices(executor: Executor) -> str:
    gpu = executor.gpu
    return f"{gpu.count} of {gpu.claims}" if gpu and gpu.claims else ""


def _deployment(observed: Observed, name: str) -> Manifest | None:
    return next((found for found in observed.deployments if found["metadata"]["name"] == name), None)


def _wanted(server: RuntimeServer, workload: Workload) -> int:
    return 0 if server.spec.suspend else workload.first_replicas


def _available(server: RuntimeServer, api: Pool, executors: Sequence[Pool], observed: Observed) -> Condition:
    load = observed.load

    def condition(reason: Reason, message: str) -> Condition:
        status = reason in (Reason.READY, Reason.SCALED_TO_ZERO)
        return Condition(type=ConditionType.AVAILABLE, status=status, reason=reason, message=message)

    if server.spec.suspend:
        return condition(Reason.SUSPENDED, "All pods are stopped and the data is kept, as spec.suspend says.")
    if not api.ready:
        return condition(Reason.API_NOT_READY, str(api))
    if not any(pool.ready for pool in executors):
        if _can_wake(server, executors, observed):
            return condition(Reason.SCALED_TO_ZERO, _at_zero(observed))
        decisions = observed.scaling.values()
        elsewhere = {decision.message for decision in decisions if decision.reason is ScaleReason.SCALED_ELSEWHERE}
        return condition(Reason.NO_EXECUTOR_READY, "; ".join([*map(str, executors), *elsewhere]))
    if load is not None and load.without_slots:
        return condition(Reason.NO_SLOT, "Pods of executors are ready, but the api finds no slot to run jobs in.")
    return condition(Reason.READY, "The api and at least one executor are ready.")


def _at_zero(observed: Observed) -> str:
    if any(decision.reason is ScaleReason.LOAD_UNKNOWN for decision in observed.scaling.values()):
        return "The api takes jobs; one starts a pod of its executor as soon as the api answers the operator, too."
    return "The api takes jobs; the first one starts a pod of its executor."


def _can_wake(server: RuntimeServer, executors: Sequence[Pool], observed: Observed) -> bool:
    """Tell whether a job starts a pod of an executor that has none ready, or one is about to be there."""
    awake = starts_for_jobs(server)
    unwritten = {refusal.name for refusal in observed.refusals if refusal.kind in ("Deployment", *READ_BY_PODS)}
    decisions = [observed.scaling.get(executor.name) for executor in server.spec.executors]
    return not server.paused and any(
        executor.name in awake
        and not (decision is not None and decision.reason in _NOT_FOLLOWED)
        and not pool.failing
        and pool.name not in unwritten
        for executor, pool, decision in zip(server.spec.executors, executors, decisions, strict=True)
    )


def _progressing(server: RuntimeServer, pools: Sequence[Pool], observed: Observed) -> Condition:
    kinds = ("Deployment", *READ_BY_PODS)
    refused = [item for item in observed.refusals if item.kind in kinds and item.reason in NOT_WRITTEN]
    paused = [pool.name for pool in pools if pool.paused]
    stalled = [str(pool) for pool in pools if pool.stalled]
    rolling = [pool.name for pool in pools if not pool.rolled_out]
    if server.paused:
        status, reason, message = False, Reason.PAUSED, f"Nothing is written, as the annotation {RECONCILE} says."
    elif refused:
        # Its pods are what was asked for before.
        status, reason, message = False, refused[0].reason, "; ".join(map(str, refused))
    elif observed.turns:
        status, reason, message = False, Reason.WAITS_FOR_TURN, f"Waits for its turn: {observed.turns}."
    elif paused:
        message = f"Somebody has paused {', '.join(paused)}: kubectl rollout resume lets them go on."
        status, reason = False, Reason.CHILD_PAUSED
    elif stalled:
        status, reason, message = False, Reason.STALLED, "; ".join(stalled)
    elif rolling:
        status, reason, message = True, Reason.ROLLING_OUT, f"Rolling out {', '.join(rolling)}."
    else:
        status, reason, message = False, Reason.ROLLED_OUT, "All pods are of the wanted version."
    return Condition(type=ConditionType.PROGRESSING, status=status, reason=reason, message=message)


def _degraded(server: RuntimeServer, api: Pool, executors: Sequence[Pool], observed: Observed) -> Condition:
    problems = [(Reason.INVALID_SPEC, f"{observed.invalid}; the last spec that made sense stays in force")] * bool(
        observed.invalid
    )
    problems += [(refusal.reason, str(refusal)) for refusal in observed.refusals]
    problems += [(Reason.API_SHORT, str(api))] * api.short
    problems += [
        (Reason.SCHEDULING_GATED if pool.gated else Reason.EXECUTOR_SHORT, str(pool))
        for executor, pool in zip(server.spec.executors, executors, strict=True)
        # More pods of an executor that is scaled take a moment to start.
        if (pool.short if executor.autoscale is None else pool.failing)
    ]
    notices = [(Reason.FIELDS_IGNORED, _ignored(server.ignored))] * bool(server.ignored)
    notices += [(Reason.OTHER_OPERATOR, too_many(observed.other_operators))] * bool(observed.other_operators)
    reason, _ = (*problems, *notices, (Reason.AS_WANTED, ""))[0]
    message = "; ".join(message for _, message in (*problems, *notices)) or "Everything is as wanted."
    return Condition(type=ConditionType.DEGRADED, status=bool(problems), reason=reason, message=message)


def _ready(available: Condition, progressing: Condition, degraded: Condition) -> Condition:
    """Sum the others up, as kstatus, Flux and Argo CD ask: all is as the spec asks, also that all pods are stopped."""
    wrong = [progressing] * (progressing.reason is Reason.PAUSED)
    wrong += [degraded] * bool(degraded.status)
    wrong += [progressing] * (progressing.reason is not Reason.ROLLED_OUT)
    wrong += [available] * (available.reason not in (Reason.READY, Reason.SUSPENDED, Reason.SCALED_TO_ZERO))
    because = (*wrong, available)[0]
    return Condition(type=ConditionType.READY, status=not wrong, reason=because.reason, message=because.message)


def _ignored(fields: Sequence[str]) -> str:
    return f"ignored, for this operator is older than the CRD and does not know them: {', '.join(fields)}"


def _missing_apis(server: RuntimeServer, context: RenderContext) -> Iterator[Refusal]:
    if server.spec.gateway is not None and OptionalApi.HTTP_ROUTE not in context.apis:
        yield Refusal(
            kind="HTTPRoute",
            name=api_name(server.name),
            reason=Reason.GATEWAY_API_MISSING,
            message="this cluster does not have the Gateway API: install it, or use spec.ingress",
        )
    executors = server.spec.tls.executors
    if executors is not None and executors.issuer_ref is not None and OptionalApi.CERTIFICATE not in context.apis:
        yield Refusal(
            kind="Certificate",
            name=executors_certificate_name(server.name),
            reason=Reason.CERTIFICATE_API_MISSING,
            message="this cluster does not have cert-manager: install it, or leave out spec.tls.executors.issuerRef",
        )
    for executor in server.spec.executors:
        if not can_claim(executor, context):
            yield Refusal(
                kind="Deployment",
                name=executor_name(server.name, executor.name),
                reason=Reason.CLAIM_API_MISSING,
                message="this cluster does not serve resource.k8s.io/v1: upgrade Kubernetes, or use gpu.resource",
            )


def _counts(pool: Pool) -> Manifest:
    counts: Manifest = {"ready": pool.ready, "desired": pool.desired}
    return {**counts, "message": pool.message} if pool.message else counts


def _jobs(executor: Executor, observed: Observed) -> Manifest:
    jobs = None if observed.load is None else observed.load.executors.get(executor.name)
    decision = observed.scaling.get(executor.name)
    document: Manifest = {} if jobs is None else {"queued": jobs.queued, "running": jobs.running}
    if decision is not None:
        busy = {} if jobs is None else {"busy": jobs.busy_pods}
        document |= {**busy, "reason": decision.reason.value}
        if decision.message:
            document["scaling"] = decision.message
    return document


def _backends(load: Load | None) -> Manifest:
    return {} if load is None or load.backends is None else {"backends": load.backends}


def _selector(labels: Mapping[str, str]) -> str:
    return ",".join(f"{key}={value}" for key, value in sorted(labels.items()))
