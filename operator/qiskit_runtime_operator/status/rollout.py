"""The pods of one Deployment: how many there are, whether they roll, and why some do not come up."""

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Self

from qiskit_runtime_operator.resource.model import Manifest, condition_of
from qiskit_runtime_operator.resource.names import SERVER, TEMPLATE_CHECKSUM
from qiskit_runtime_operator.resource.scheduling import is_gated, unscheduled
from qiskit_runtime_operator.status.conditions import shortened

# What the kubelet says of containers that are on their way.
_STARTING: Final = ("ContainerCreating", "PodInitializing")
# What of a pod that has a node is not ready yet; the kubelet says which one is missing in an Event only.
_WAITS: Final = "waits for its network or its volumes"
_WAITS_FOR_DEVICES: Final = "waits for its network, its volumes or its devices"
_NOT_READY: Final = "not ready"
_RUNS: Final = re.compile(rf"container [-a-z0-9]+: {_NOT_READY}")
# What Kubernetes says of pods of which somebody else says whether they are ready, as a load balancer's controller.
_GATED: Final = "ReadinessGatesNotReady"
_STALLED: Final = "ProgressDeadlineExceeded"


@dataclass(frozen=True, slots=True, kw_only=True)
class Causes:
    """What is known of why pods are not ready, beside what they say themselves.

    Attributes:
        volumes: Which objects they have to wait for.
        devices: What each of them claims by Dynamic Resource Allocation; empty if nothing.
        answers: What their readiness probes answer, by their UIDs.
    """

    volumes: Sequence[str] = ()
    devices: str = ""
    answers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pool:
    """What is known of the pods of one Deployment.

    Attributes:
        name: The Deployment's.
        ready: How many pods are ready.
        desired: How many are wanted.
        rolled_out: Whether all are of the newest version, and none of an older one.
        stalled: Whether Kubernetes has given up waiting for that.
        paused: Whether somebody has told Kubernetes to leave its pods as they are.
        message: Why some are not ready, in the words of scheduler and kubelet; empty if all are.
        gated: Whether scheduling gates hold back all those that are there and not ready.
    """

    name: str
    ready: int
    desired: int
    rolled_out: bool
    stalled: bool
    paused: bool = False
    message: str
    gated: bool = False

    @classmethod
    def of(  # noqa: PLR0913 - what it follows from
        cls,
        name: str,
        deployment: Manifest | None,
        pods: Iterable[Manifest],
        *,
        wanted: int,
        causes: Causes | None = None,
        rolled_out_before: str | None = None,
    ) -> Self:
        """Return what a Deployment, which may not be there yet, and its pods say.

        Args:
            name: The Deployment's.
            deployment: As it is now.
            pods: Its pods; they count only while it is short.
            wanted: How many replicas it should have where it does not say.
            causes: What else is known of why they are not ready.
            rolled_out_before: Of one whose number of pods follows jobs, the checksum of the template that all its pods
                had at some time: while it has that, another number of them is no roll-out. None of others.
        """
        if deployment is None:
            message = "not made yet" if wanted else ""
            return cls(name=name, ready=0, desired=wanted, rolled_out=False, stalled=False, message=message)
        pods = [pod for pod in pods if _is_missed(pod)]
        status, desired = deployment.get("status", {}), deployment["spec"].get("replicas", wanted)
        ready = status.get("readyReplicas", 0)
        return cls(
            name=name,
            ready=ready,
            desired=desired,
            rolled_out=_is_rolled_out(deployment, desired)
            or (rolled_out_before == template_of(deployment) is not None and _are_newest(deployment)),
            stalled=condition_of(deployment, "Progressing").get("reason") == _STALLED,
            paused=bool(deployment["spec"].get("paused")),
            message=_shortage(deployment, pods, causes or Causes()) if ready < desired else "",
            gated=ready < desired and bool(pods) and all(map(is_gated, pods)),
        )

    @property
    def short(self) -> bool:
        """Whether fewer pods are ready than wanted."""
        return self.ready < self.desired

    @property
    def failing(self) -> bool:
        """Whether pods are missing or not ready for another reason than that they are just starting."""
        words = set(self.message.split("; ")) - {"", *_STARTING}
        # Devices are prepared in each start of a pod, and volumes that are there are mounted before anybody looks.
        return self.short and not all(word.startswith(_WAITS_FOR_DEVICES) or _RUNS.fullmatch(word) for word in words)

    def __str__(self) -> str:
        return f"{self.name}: {self.ready} of {self.desired} ready" + f" ({self.message})" * bool(self.message)


def is_rolling(deployment: Manifest) -> bool:
    """Tell whether the pods of a Deployment are on their way to another version, and have not stalled."""
    stalled = condition_of(deployment, "Progressing").get("reason") == _STALLED
    return (
        not stalled
        and not deployment["spec"].get("paused")
        and not _is_rolled_out(deployment, deployment["spec"].get("replicas", 1))
    )


def has_older_pods(deployment: Manifest) -> bool:
    """Tell whether there are, or may be, pods of an older version; those that are about to end do not count."""
    status = deployment.get("status", {})
    return not _is_seen(deployment) or status.get("updatedReplicas", 0) != status.get("replicas", 0)


def is_over(pod: Manifest) -> bool:
    """Tell whether all containers of a pod have ended for good, as those of one that was evicted."""
    return pod.get("status", {}).get("phase") in ("Succeeded", "Failed")


def template_of(deployment: Manifest) -> str | None:
    """Return the checksum of the pod template that the operator has given a Deployment."""
    checksum: str | None = deployment["metadata"].get("annotations", {}).get(TEMPLATE_CHECKSUM)
    return checksum


def has_rolled_out(deployment: Manifest) -> bool:
    """Tell whether all pods that there are have the Deployment's template, however many are wanted."""
    return _is_seen(deployment) and _are_newest(deployment)


def _is_rolled_out(deployment: Manifest, desired: int) -> bool:
    return has_rolled_out(deployment) and deployment.get("status", {}).get("replicas", 0) == desired


def _is_seen(deployment: Manifest) -> bool:
    observed = deployment.get("status", {}).get("observedGeneration")
    return bool(observed == deployment["metadata"].get("generation"))


def _are_newest(deployment: Manifest) -> bool:
    """Tell whether all pods were of the newest version when Kubernetes last looked."""
    status = deployment.get("status", {})
    return (
        status.get("updatedReplicas", 0) == status.get("replicas", 0)
        and condition_of(deployment, "Progressing").get("reason") == "NewReplicaSetAvailable"
    )


def _shortage(deployment: Manifest, pods: Sequence[Manifest], causes: Causes) -> str:
    """Return why pods are missing or not ready: each reason once, in an order of its own, so that it stands still."""
    words = {word for pod in pods for word in _pod_words(pod, causes)}
    words |= {causes.answers[uid] for pod in pods if (uid := pod["metadata"].get("uid")) in causes.answers}
    failure = condition_of(deployment, "ReplicaFailure")
    if failure.get("status") == "True":
        words.add(_said(failure))
    if "deletionTimestamp" in deployment["metadata"]:
        words.add("is being deleted, and is made anew when its pods are gone")
    return shortened("; ".join(sorted(words)))


def _is_missed(pod: Manifest) -> bool:
    """Tell whether a pod is to be ready and is not."""
    return "deletionTimestamp" not in pod["metadata"] and condition_of(pod, "Ready").get("status") != "True"


def _pod_words(pod: Manifest, causes: Causes) -> Iterator[str]:
    status = pod.get("status", {})
    if is_over(pod) and "reason" in status:
        # The kubelet has evicted it, or could not take it in.
        yield _sentence(status["reason"], status.get("message", ""))
        return
    if why := unscheduled(pod):
        refused = causes.devices and "cannot allocate" in why
        yield f"{why} (each pod claims {causes.devices})" if refused else why
    awaited = [*causes.volumes, *filter(None, [causes.devices])]
    if awaited and condition_of(pod, "PodReadyToStartContainers").get("status") == "False":
        yield f"{_WAITS_FOR_DEVICES if causes.devices else _WAITS}: {', '.join(awaited)}"
        return
    for container in (*status.get("initContainerStatuses", ()), *status.get("containerStatuses", ())):
        if not container.get("ready") and (words := _container_words(container)):
            yield words if container["name"] == SERVER else f"container {container['name']}: {words}"
    ready = condition_of(pod, "Ready")
    if ready.get("reason") == _GATED:
        yield _said(ready)


def _container_words(container: Mapping[str, Any]) -> str:
    """Return why a container is not ready; of one that waits for others, or starts, only the server says so."""
    state, last = container.get("state", {}), container.get("lastState", {})
    # What ended says why; that it will be tried again in 20 s, 40 s and so on does not.
    ended = state.get("terminated") or last.get("terminated")
    waiting = state.get("waiting")
    ours = container["name"] == SERVER
    if ended:
        return _sentence(f"{ended.get('reason', 'Ended')} (exit code {ended['exitCode']})", _last_line(ended))
    if waiting:
        reason = waiting.get("reason", "Waiting")
        return _sentence(reason, waiting.get("message", "")) if ours or reason not in _STARTING else ""
    return _NOT_READY if "running" in state and not ours else ""


def _said(condition: Mapping[str, Any]) -> str:
    """Return what a condition says: anybody who may write one may leave out its message, and its reason."""
    return str(condition.get("message") or condition.get("reason") or condition["type"])


def _sentence(reason: str, message: str) -> str:
    return f"{reason}: {message}" if message else reason


def _last_line(ended: Mapping[str, Any]) -> str:
    """Return the last line of what a container said, which is its error; of a line of a JSON log, its message."""
    lines: list[str] = ended.get("message", "").strip().splitlines()
    if not lines:
        return ""
    try:
        said = json.loads(lines[-1])
    except (ValueError, RecursionError):
        return lines[-1]
    return str(said["message"]) if isinstance(said, dict) and "message" in said else lines[-1]
