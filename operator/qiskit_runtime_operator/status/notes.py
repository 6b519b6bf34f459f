"""Which Events the transitions of a RuntimeServer are worth: none for repetitions, or for what a start brings along."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from qiskit_runtime_operator.status.conditions import ConditionType, Reason


class NoteType(StrEnum):
    """How much it matters."""

    NORMAL = "Normal"
    WARNING = "Warning"


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """What an Event says."""

    type: NoteType
    reason: Reason
    message: str


_WARNINGS: Final = {
    Reason.API_NOT_READY,
    Reason.NO_EXECUTOR_READY,
    Reason.STALLED,
    Reason.API_SHORT,
    Reason.EXECUTOR_SHORT,
    Reason.INVALID_SPEC,
    Reason.FIELDS_IGNORED,
    Reason.NAME_TAKEN,
    Reason.WRITE_REFUSED,
    Reason.CONTESTED,
    Reason.RECONCILE_FAILED,
    Reason.WATCH_REFUSED,
    Reason.GATEWAY_API_MISSING,
    Reason.CLAIM_API_MISSING,
    Reason.CERTIFICATE_API_MISSING,
    Reason.OTHER_OPERATOR,
    Reason.ROUTE_REFUSED,
    Reason.INGRESS_CLASS_MISSING,
    Reason.CHILD_PAUSED,
}
_TOLD_APART: Final = (Reason.FIELDS_IGNORED, Reason.OTHER_OPERATOR)
# Pods of a new version are not ready at first; that is news only when nothing moves any more.
_PASSING: Final = {Reason.API_SHORT, Reason.EXECUTOR_SHORT}


def transitions(before: Mapping[str, Any], after: Mapping[str, Any]) -> tuple[Note, ...]:
    """Return what is news in `after`, both being statuses, and `before` empty at first."""
    told = {condition["type"]: _state(condition) for condition in _worth_telling(before)}
    return tuple(
        _note(condition)
        for condition in _worth_telling(after)
        if _state(condition) != told.get(condition["type"])
        # That something is not so is news only to those who know that it was.
        and (condition["type"] in told or condition["status"] == "True")
    )


def ignored(fields: Iterable[str]) -> Note:
    """Return what to say when a RuntimeServer has fields that this operator does not know."""
    message = f"This operator is older than the CRD and ignores {', '.join(fields)}: upgrade it."
    return Note(type=NoteType.WARNING, reason=Reason.FIELDS_IGNORED, message=message)


def other_operators(operators: Sequence[str]) -> Note:
    """Return what to say when other operators would look after a RuntimeServer."""
    return Note(type=NoteType.WARNING, reason=Reason.OTHER_OPERATOR, message=too_many(operators))


def too_many(operators: Sequence[str]) -> str:
    """Return what the condition and the Event say of them."""
    return f"{', '.join(operators)} would look after it, too, and leave it alone: one operator is enough"


def replaced(kind: str, name: str, why: str) -> Note:
    """Return what to say when an object was deleted and made again."""
    message = f"{kind} {name} was deleted and made again, for it could not be changed: {why}"
    return Note(type=NoteType.WARNING, reason=Reason.REPLACED, message=message)


def claim_changed(name: str, before: str, now: str) -> Note:
    """Return what to say when the claim with the data is another one; both are UIDs."""
    message = (
        f"PersistentVolumeClaim {name} is another one than before ({now}, not {before}): "
        "unless it was restored, the jobs and results of the old one are gone."
    )
    return Note(type=NoteType.WARNING, reason=Reason.CLAIM_CHANGED, message=message)


def taken_back(kind: str, name: str, managers: Iterable[str]) -> Note:
    """Return what to say when fields of the operator's own, which these managers had changed, were set again."""
    who = ", ".join(sorted(managers))
    message = f"{kind} {name}: {who} had changed fields that the RuntimeServer determines; they were set back."
    return Note(type=NoteType.WARNING, reason=Reason.TAKEN_BACK, message=message)


def reconcile_failed(message: str) -> Note:
    """Return what to say when a pass has failed."""
    return Note(type=NoteType.WARNING, reason=Reason.RECONCILE_FAILED, message=message)


def scaled(executor: str, before: int, after: int, queued: int, running: int) -> Note:
    """Return what to say when an executor gets `after` pods in place of `before`."""
    message = f"Executor {executor}: {before} to {after} pods, with {queued} jobs queued and {running} running."
    return Note(type=NoteType.NORMAL, reason=Reason.SCALED, message=message)


def keys_announced() -> Note:
    """Return what to say when the next keys are put beside those in use."""
    message = "The next keys are there. They are used as soon as all pods accept them; the pods are rolled for that."
    return Note(type=NoteType.NORMAL, reason=Reason.KEYS_ANNOUNCED, message=message)


def keys_changed() -> Note:
    """Return what to say when the next keys take the place of those in use."""
    message = (
        "All pods accept the next keys, and are rolled to use them. The former ones are accepted until the next change."
    )
    return Note(type=NoteType.NORMAL, reason=Reason.KEYS_CHANGED, message=message)


def _worth_telling(status: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    conditions = status.get("conditions", [])
    progressing = any(item["type"] == ConditionType.PROGRESSING and item["status"] == "True" for item in conditions)
    for condition in conditions:
        # The others say why; and that there is no way in from outside is no news.
        silent = condition["type"] == ConditionType.READY or condition["reason"] == Reason.IN_CLUSTER_ONLY
        if not silent and not (progressing and condition["reason"] in _PASSING):
            yield condition


def _state(condition: Mapping[str, Any]) -> tuple[str, str]:
    # Events of their own tell of these, also when something else is the condition's reason.
    reason = Reason.AS_WANTED if condition["reason"] in _TOLD_APART else condition["reason"]
    # As an Event Scaled does of pods that come and go with jobs.
    return condition["status"], Reason.READY if reason == Reason.SCALED_TO_ZERO else reason


def _note(condition: Mapping[str, Any]) -> Note:
    reason = Reason(condition["reason"])
    kind = NoteType.WARNING if reason in _WARNINGS else NoteType.NORMAL
    return Note(type=kind, reason=reason, message=condition["message"])
