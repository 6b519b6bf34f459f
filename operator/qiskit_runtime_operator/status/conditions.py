"""Conditions of a RuntimeServer, and the fixed list of their reasons."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Final

from qiskit_runtime_operator.resource.model import Manifest

# Of a message; what pods say can be long.
MAX_MESSAGE: Final = 1024


class ConditionType(StrEnum):
    """What is said of a RuntimeServer."""

    AVAILABLE = "Available"
    PROGRESSING = "Progressing"
    DEGRADED = "Degraded"
    READY = "Ready"
    REACHABLE = "Reachable"


class Reason(StrEnum):
    """Why a condition is as it is, or an Event was written; `MEANINGS` explains each."""

    READY = "Ready"
    SUSPENDED = "Suspended"
    API_NOT_READY = "ApiNotReady"
    NO_EXECUTOR_READY = "NoExecutorReady"
    NO_SLOT = "NoSlot"
    ROLLING_OUT = "RollingOut"
    ROLLED_OUT = "RolledOut"
    STALLED = "Stalled"
    CHILD_PAUSED = "ChildPaused"
    PAUSED = "Paused"
    WAITS_FOR_TURN = "WaitsForTurn"
    AS_WANTED = "AsWanted"
    API_SHORT = "ApiShort"
    EXECUTOR_SHORT = "ExecutorShort"
    SCHEDULING_GATED = "SchedulingGated"
    INVALID_SPEC = "InvalidSpec"
    FIELDS_IGNORED = "FieldsIgnored"
    NAME_TAKEN = "NameTaken"
    WRITE_REFUSED = "WriteRefused"
    WATCH_REFUSED = "WatchRefused"
    CONTESTED = "Contested"
    RECONCILE_FAILED = "ReconcileFailed"
    GATEWAY_API_MISSING = "GatewayApiMissing"
    CLAIM_API_MISSING = "ClaimApiMissing"
    CERTIFICATE_API_MISSING = "CertificateApiMissing"
    TAKEN_BACK = "TakenBack"
    SCALED_TO_ZERO = "ScaledToZero"
    SCALED = "Scaled"
    REPLACED = "Replaced"
    CLAIM_CHANGED = "ClaimChanged"
    KEYS_ANNOUNCED = "KeysAnnounced"
    KEYS_CHANGED = "KeysChanged"
    OTHER_OPERATOR = "OtherOperator"
    IN_CLUSTER_ONLY = "InClusterOnly"
    ROUTED = "Routed"
    NO_ADDRESS = "NoAddress"
    INGRESS_CLASS_MISSING = "IngressClassMissing"
    ROUTE_REFUSED = "RouteRefused"


MEANINGS: Final[Mapping[Reason, str]] = {
    Reason.READY: "The api and at least one executor pod are ready: clients are served.",
    Reason.SUSPENDED: "`spec.suspend` is true: all pods are stopped, the data is kept. Set it to false to go on.",
    Reason.API_NOT_READY: (
        "No pod of the api is ready, so nobody is served. The message says why, in the words of scheduler and kubelet; "
        "the last line of a container that ended is there, too."
    ),
    Reason.NO_EXECUTOR_READY: (
        "The api takes jobs, but no pod of any executor is ready, so none is run. The message says why: most often a "
        "node without room, a missing GPU, or an image that cannot be pulled."
    ),
    Reason.NO_SLOT: (
        "Pods of executors are ready, but the api counted no slot twice, so no job is run: it cannot reach them, or "
        "they refuse its key. Look at the api's log; most often a NetworkPolicy or a name server is in the way."
    ),
    Reason.ROLLING_OUT: "Pods of a new version are being started, and those of the old one stopped. Wait.",
    Reason.ROLLED_OUT: "All pods are of the wanted version.",
    Reason.STALLED: (
        "A roll-out has not got on for `progressDeadlineSeconds`. The message says why new pods do not become ready; "
        "the old ones go on serving. Mend the cause, or set the RuntimeServer back to what it was."
    ),
    Reason.CHILD_PAUSED: (
        "Somebody has paused a Deployment of the RuntimeServer (`kubectl rollout pause`): its pods stay as they are, "
        "whatever the RuntimeServer asks for. `kubectl rollout resume` lets them go on. To hold back all changes, "
        "annotate the RuntimeServer with `runtimeserver.dev/reconcile: paused` instead."
    ),
    Reason.PAUSED: (
        "The annotation `runtimeserver.dev/reconcile: paused` is set: changes of the RuntimeServer are not applied, "
        "and nothing is repaired. The status goes on. Remove the annotation to go on."
    ),
    Reason.WAITS_FOR_TURN: (
        "The operator was upgraded, and rolls out few RuntimeServers at once (`rollouts` of its chart). "
        "This one goes on as it was until it is its turn; a change of its spec rolls it at once."
    ),
    Reason.AS_WANTED: "All that the RuntimeServer asks for is there.",
    Reason.API_SHORT: "Fewer pods of the api are ready than wanted. During a roll-out that passes by itself.",
    Reason.EXECUTOR_SHORT: "Fewer pods of an executor are ready than wanted; its jobs wait longer.",
    Reason.SCHEDULING_GATED: (
        "Pods of an executor are held back before the scheduler looks at them; its jobs wait longer. Of those with a "
        "`queueName` Kueue does that until their queue has the quota: `kubectl get workloads` says what they wait for. "
        "The message names gates of others."
    ),
    Reason.INVALID_SPEC: (
        "The spec makes no sense to this operator; the message names the field. The CRD refuses most of that before it "
        "is stored, so CRD and operator are of different releases: bring both to the same one. What was made from the "
        "last spec that made sense is kept and repaired as long as the operator runs."
    ),
    Reason.FIELDS_IGNORED: (
        "The CRD is newer than the operator, which ignores the fields that the message names and uses their defaults. "
        "Upgrade the operator; during an upgrade, that passes by itself."
    ),
    Reason.NAME_TAKEN: (
        "An object of a name that the RuntimeServer needs belongs to somebody else, and is left untouched. Delete it, "
        "which the operator notices within seconds, or give the RuntimeServer another name."
    ),
    Reason.WRITE_REFUSED: (
        "The API server refuses an object, for a quota, a policy, a webhook or a missing right; the message has its "
        "words. The operator tries again after at most five minutes, or when the RuntimeServer is changed."
    ),
    Reason.WATCH_REFUSED: (
        "The API server does not let the operator list or watch a kind of objects in this namespace, so changes of "
        "them go unnoticed. Most often a Role or RoleBinding is missing; [these are needed](permissions.md)."
    ),
    Reason.CONTESTED: (
        "Somebody changes or deletes an object of the RuntimeServer again and again; the message names the field "
        "manager, if it is known. After ten repairs in a row the object is set back once a minute only. Stop one of "
        "the two: a GitOps tool, for one, must not manage what the operator makes."
    ),
    Reason.RECONCILE_FAILED: (
        "A pass of the operator over the RuntimeServer did not come to its end, so what the spec asks for may not be "
        "made. The operator's log has the whole story: a traceback for a defect, which please report, or what the API "
        "server has said for more than 15 seconds. The pass is repeated, at the latest after five minutes, and the "
        "first one that succeeds clears this. Until then, the other conditions and `status.observedGeneration` are "
        "those of the last one that did. What was made runs on, and other RuntimeServers are not affected."
    ),
    Reason.GATEWAY_API_MISSING: (
        "`spec.gateway` is given, but the cluster does not have the Gateway API. Install it, or use `spec.ingress`."
    ),
    Reason.CLAIM_API_MISSING: (
        "An executor has `gpu.claims`, but the cluster does not serve `resource.k8s.io/v1`, as Kubernetes does from "
        "1.34 on. The executor gets no pods, for without their claims they would have no GPU. Upgrade Kubernetes, or "
        "use `gpu.resource`."
    ),
    Reason.CERTIFICATE_API_MISSING: (
        "`spec.tls.executors.issuerRef` is given, but the cluster does not have cert-manager, so pods wait for their "
        "certificates. Install it, or leave out `issuerRef`: the operator then signs them itself."
    ),
    Reason.TAKEN_BACK: (
        "An Event only: somebody had changed fields that the RuntimeServer determines, and the operator set them back. "
        "Change the RuntimeServer instead. What recurs within five minutes is one Event with a count."
    ),
    Reason.SCALED_TO_ZERO: (
        "The api takes jobs, and no executor has a ready pod because there was nothing to do: the next job starts one."
    ),
    Reason.SCALED: (
        "An Event only: an executor with `autoscale` got another number of pods. What recurs within five minutes is "
        "one Event with a count."
    ),
    Reason.REPLACED: (
        "An Event only: an object differed in a field that cannot be changed, as the selector of a Deployment, and "
        "was deleted and made again. Its old pods end as in a roll-out: they take no more jobs, and finish theirs."
    ),
    Reason.CLAIM_CHANGED: (
        "An Event only: the PersistentVolumeClaim with the data is another one than before. If nobody has restored it "
        "from a backup, somebody deleted the old one, and the jobs and results in it are gone."
    ),
    Reason.KEYS_ANNOUNCED: (
        "An Event only: the annotation `runtimeserver.dev/rotate-keys` asks for other keys. They are in the Secret, "
        "beside those in use, and all pods are rolled so that each accepts both. Nobody is refused meanwhile."
    ),
    Reason.KEYS_CHANGED: (
        "An Event only: all pods accept the next keys, and are rolled to use them. The former keys are accepted until "
        "the next change."
    ),
    Reason.IN_CLUSTER_ONLY: "Neither `spec.ingress` nor `spec.gateway` is given: clients must be in the cluster.",
    Reason.ROUTED: (
        "A controller serves the Ingress or the HTTPRoute. Whether the host's name leads to it is up to your DNS."
    ),
    Reason.NO_ADDRESS: (
        "No controller has taken up the Ingress or the HTTPRoute yet. If that lasts, look whether the class or the "
        "Gateway exists, and whether its controller runs. Some controllers of Ingresses publish no addresses; then "
        "this stays so, and means nothing."
    ),
    Reason.INGRESS_CLASS_MISSING: (
        "The Ingress has no address, and the cluster has no IngressClass of its name; or it names none, and none was "
        "the default when it was made. The message lists those that there are: set `spec.ingress.className` to one, "
        "or install the controller, which is noticed within five minutes. An operator that looks after listed "
        "namespaces only has no right to see IngressClasses; the reason is `NoAddress` then."
    ),
    Reason.ROUTE_REFUSED: (
        "The controller of a Gateway refuses the HTTPRoute; the message has its words. Most often the listener does "
        "not allow routes of this namespace, or has another host."
    ),
    Reason.OTHER_OPERATOR: (
        "Another operator looks after this namespace, too. It leaves the RuntimeServer alone, as `status.operator` "
        "names the one that has claimed it. Give each of the two releases `namespaces` of its own, or uninstall one. "
        "To hand a RuntimeServer over, set its `status.operator` to the other one."
    ),
}
"""What a reason means, and what to do about it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """What is so now; a status of None is unknown."""

    type: ConditionType
    status: bool | None
    reason: Reason
    message: str


def shortened(message: str) -> str:
    """Return a message no longer than one may be."""
    return message if len(message) <= MAX_MESSAGE else f"{message[: MAX_MESSAGE - 1]}…"


def condition_documents(
    conditions: Iterable[Condition], previous: Iterable[Mapping[str, Any]], *, generation: int, now: datetime
) -> list[Manifest]:
    """Return conditions as the status has them; since when one is so is kept while it is so."""
    before = {condition["type"]: condition for condition in previous}
    documents = (_document(condition, generation) for condition in conditions)
    return [{**document, "lastTransitionTime": _since(document, before, now)} for document in documents]


def _document(condition: Condition, generation: int) -> Manifest:
    return {
        "type": condition.type.value,
        "status": "Unknown" if condition.status is None else str(condition.status),
        "observedGeneration": generation,
        "reason": condition.reason.value,
        "message": shortened(condition.message),
    }


def _since(document: Manifest, before: Mapping[str, Mapping[str, Any]], now: datetime) -> str:
    known = before.get(document["type"], {})
    if known.get("status") == document["status"]:
        return str(known["lastTransitionTime"])
    return now.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
