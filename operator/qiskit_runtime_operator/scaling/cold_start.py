"""What the start of an executor's first pod is made of, as the pod itself tells."""

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Final

from qiskit_runtime_operator.resource.model import Executor, Manifest, condition_of
from qiskit_runtime_operator.resource.names import EXECUTOR_LABEL, SERVER

PHASES: Final = ("decide", "schedule", "pull", "start")
"""In their order: until the pod is made, has a node, runs, and the api counts its slots, before the pod is ready."""

# Kubernetes tells whole seconds.
_SECOND: Final = timedelta(seconds=1)


def phases_of(
    executor: Executor, pods: Iterable[Manifest], *, woken: datetime, counted: datetime
) -> Mapping[str, timedelta]:
    """Return what each phase took, none of them less than 0; nothing if no pod that was made since is seen to run.

    Args:
        executor: Whose pod was started.
        pods: Those of its RuntimeServer.
        woken: When the pod was decided on.
        counted: When the api counted its slots.
    """
    made = (times for pod in pods if _is_of(executor, pod) and (times := _times(pod)))
    since = [times for times in made if times[0] > woken - _SECOND]
    if not since:
        return {}
    first = min(since, key=lambda times: times[-1])
    moments = (woken, *first, counted)
    took = (max(after - before, timedelta()) for before, after in pairwise(moments))
    return dict(zip(PHASES, took, strict=True))


def _is_of(executor: Executor, pod: Manifest) -> bool:
    return bool(pod["metadata"].get("labels", {}).get(EXECUTOR_LABEL) == executor.name)


def _times(pod: Manifest) -> tuple[datetime, ...]:
    """Return when a pod was made, had a node, and ran; nothing while it does not."""
    said = (
        pod["metadata"].get("creationTimestamp"),
        _since(pod, "PodScheduled"),
        next(_started(pod), None),
    )
    known = [datetime.fromisoformat(moment) for moment in said if moment]
    return tuple(known) if len(known) == len(said) else ()


def _since(pod: Manifest, condition: str) -> str | None:
    found = condition_of(pod, condition)
    return found.get("lastTransitionTime") if found.get("status") == "True" else None


def _started(pod: Manifest) -> Iterator[str]:
    for container in pod.get("status", {}).get("containerStatuses") or ():
        if container["name"] == SERVER and "running" in container.get("state", {}):
            yield container["state"]["running"]["startedAt"]
