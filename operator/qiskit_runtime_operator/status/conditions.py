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


class Reason(StrEnum):
    """Why a condition is as it is, or an Event was written."""

    READY = "Ready"
    SUSPENDED = "Suspended"
    API_NOT_READY = "ApiNotReady"
    NO_EXECUTOR_READY = "NoExecutorReady"
    ROLLING_OUT = "RollingOut"
    ROLLED_OUT = "RolledOut"
    STALLED = "Stalled"
    AS_WANTED = "AsWanted"
    API_SHORT = "ApiShort"
    EXECUTOR_SHORT = "ExecutorShort"
    INVALID_SPEC = "InvalidSpec"
    # The CRD is newer than the operator: what it does not know, it leaves undone.
    FIELDS_IGNORED = "FieldsIgnored"
    # Not made: an object of that name is somebody else's.
    NAME_TAKEN = "NameTaken"
    # Not made: the API server refuses it, for a quota, a policy or a webhook.
    WRITE_REFUSED = "WriteRefused"
    GATEWAY_API_MISSING = "GatewayApiMissing"
    # Of Events only: somebody else had changed what is the operator's.
    TAKEN_BACK = "TakenBack"


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """What is so now."""

    type: ConditionType
    status: bool
    reason: Reason
    message: str


def condition_documents(
    conditions: Iterable[Condition], previous: Iterable[Mapping[str, Any]], *, generation: int, now: datetime
) -> list[Manifest]:
    """Return conditions as the status has them; since when one is so is kept while it is so."""
    before = {condition["type"]: condition for condition in previous}
    documents = (_document(condition, generation) for condition in conditions)
    return [{**document, "lastTransitionTime": _since(document, before, now)} for document in documents]


def _document(condition: Condition, generation: int) -> Manifest:
    message = condition.message
    return {
        "type": condition.type.value,
        "status": str(condition.status),
        "observedGeneration": generation,
        "reason": condition.reason.value,
        "message": message if len(message) <= MAX_MESSAGE else f"{message[: MAX_MESSAGE - 1]}…",
    }


def _since(document: Manifest, before: Mapping[str, Mapping[str, Any]], now: datetime) -> str:
    known = before.get(document["type"], {})
    if known.get("status") == document["status"]:
        return str(known["lastTransitionTime"])
    return now.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
