"""How many pods one executor should have: a pure function of its jobs, its pods, and what it needed lately.

An executor *needs* as many pods as its queued and running jobs fill (`jobsPerReplica` each), within its bounds, and
never fewer than have a running job: those end first.

- More are asked for at once, or when the need has lasted for `scaleUpDelaySeconds`; but not while pods of it cannot be
  scheduled or made (no node has room, a quota is used up), for more pods would not help.
- Fewer are asked for when no more were needed at any moment of the last `idleSeconds` (what the HorizontalPodAutoscaler
  calls a stabilization window), and at most `scaleDownPercent` of them in that time.
- While the load is not known, nothing changes, and that time counts as one in which all pods were needed.

So, as long as jobs come as they did, the number of pods does not change its direction more than once in `idleSeconds`.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from qiskit_runtime_operator.resource.model import Autoscale

_ALL: Final = 100


class ScaleReason(StrEnum):
    """Why an executor has the number of pods that it has; `MEANINGS` explains each."""

    AS_NEEDED = "AsNeeded"
    AT_ZERO = "AtZero"
    AT_MAXIMUM = "AtMaximum"
    IDLE = "Idle"
    DELAYED = "Delayed"
    PODS_PENDING = "PodsPending"
    LOAD_UNKNOWN = "LoadUnknown"
    SCALED_ELSEWHERE = "ScaledElsewhere"


MEANINGS: Final[Mapping[ScaleReason, str]] = {
    ScaleReason.AS_NEEDED: (
        "The queued and running jobs fill as many pods. Of an account that may have no more running jobs, what is "
        "queued fills none."
    ),
    ScaleReason.AT_ZERO: "No job waits or runs, so no pod is there; the next job starts one.",
    ScaleReason.AT_MAXIMUM: "There would be work for more pods than `maxReplicas` allows.",
    ScaleReason.IDLE: "Some pods are not needed now. They are removed when that has lasted for `idleSeconds`.",
    ScaleReason.DELAYED: "More pods are needed, but not for `scaleUpDelaySeconds` yet.",
    ScaleReason.PODS_PENDING: (
        "More pods are needed, but those that are there find no node, or a quota lets none be made; the message "
        "has the words of the scheduler or of the API server. Add nodes, raise the quota, or lower `maxReplicas`."
    ),
    ScaleReason.LOAD_UNKNOWN: (
        "The api does not answer the operator, so the number of pods stays as it is. Look at the condition Available, "
        "and at NetworkPolicies between the operator and port 9090 of the api."
    ),
    ScaleReason.SCALED_ELSEWHERE: (
        "An autoscaler, or `kubectl scale`, has set the Deployment's number of replicas, and it is theirs until "
        "`minReplicas` or `maxReplicas` is changed."
    ),
}
"""What a reason means, and what to do about it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Demand:
    """What one executor has to do, and with what, at one moment.

    Attributes:
        queued: Jobs that would run if there were slots enough.
        running: Jobs in slots.
        busy: Pods with a running job, without those that are about to end; at least as many where that is not known.
        pending: Why pods of it cannot be scheduled or made; empty if there is none.
    """

    queued: int
    running: int
    busy: int
    pending: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Need:
    """How many pods were needed at one moment."""

    at: datetime
    replicas: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """What a decision needs of the past.

    Attributes:
        needs: Those of the last `idleSeconds`, oldest first; each is lower than the one before it, for what came
            before an equal or a higher one does not matter any more.
        short_since: Since when more pods were needed than there are.
        shrunk: When fewer were last asked for.
    """

    needs: tuple[Need, ...] = ()
    short_since: datetime | None = None
    shrunk: datetime | None = None

    def with_need(self, need: Need, since: datetime) -> "Memory":
        """Return the memory with one more need, and without those before `since`."""
        kept = (known for known in self.needs if known.at >= since and known.replicas > need.replicas)
        return replace(self, needs=(*kept, need))

    @property
    def highest(self) -> int:
        """The highest need that is remembered."""
        return self.needs[0].replicas


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """How many pods an executor should have, and why.

    Attributes:
        message: The reason in one sentence; equal for as long as nothing of it changes.
    """

    replicas: int
    reason: ScaleReason
    message: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """An executor at one moment.

    Attributes:
        demand: What it has to do; None if that is not known.
        slots: Jobs that one pod runs at a time.
        replicas: How many pods are asked for.
        now: The time.
    """

    demand: Demand | None
    slots: int
    replicas: int
    now: datetime


def needed(policy: Autoscale, slots: int, demand: Demand) -> int:
    """Return how many pods the jobs of an executor fill, within its bounds."""
    filled = math.ceil((demand.queued + demand.running) / (policy.jobs_per_replica or slots))
    return min(max(policy.min_replicas, filled), policy.max_replicas)


def decide(policy: Autoscale, seen: Seen, memory: Memory | None) -> tuple[Decision, Memory]:
    """Return how many pods an executor should have.

    Args:
        policy: Its bounds and delays.
        seen: The executor now; not before what is remembered.
        memory: From the last decision; None at first, when all pods are taken to have been needed until now.
    """
    demand, replicas, now = seen.demand, seen.replicas, seen.now
    since = now - timedelta(seconds=policy.idle_seconds)
    memory = memory or Memory(needs=(Need(at=now, replicas=replicas),))
    if demand is None:
        memory = replace(memory.with_need(Need(at=now, replicas=replicas), since), short_since=None)
        message = "The api does not say how many jobs there are: the number of pods stays as it is."
        return Decision(replicas=replicas, reason=ScaleReason.LOAD_UNKNOWN, message=message), memory
    need = max(needed(policy, seen.slots, demand), min(demand.busy, replicas))
    memory = memory.with_need(Need(at=now, replicas=need), since)
    if need > replicas:
        memory = replace(memory, short_since=memory.short_since or now)
        return _grown(policy, seen, demand, memory), memory
    memory = replace(memory, short_since=None)
    if need == replicas:
        return _settled(policy, demand, need), memory
    wanted = _shrunk(policy, replicas, memory, now)
    if wanted < replicas:
        return _settled(policy, demand, wanted), replace(memory, shrunk=now)
    message = f"Pods that are not needed are removed after {policy.idle_seconds} s."
    return Decision(replicas=replicas, reason=ScaleReason.IDLE, message=message), memory


def _grown(policy: Autoscale, seen: Seen, demand: Demand, memory: Memory) -> Decision:
    replicas, need = seen.replicas, memory.needs[-1].replicas
    if demand.pending and replicas >= policy.min_replicas:
        message = f"More pods would not help: {demand.pending}"
        return Decision(replicas=replicas, reason=ScaleReason.PODS_PENDING, message=message)
    short_for = seen.now - (memory.short_since or seen.now)
    if replicas >= policy.min_replicas and short_for < timedelta(seconds=policy.scale_up_delay_seconds):
        message = f"More pods are asked for when they have been needed for {policy.scale_up_delay_seconds} s."
        return Decision(replicas=replicas, reason=ScaleReason.DELAYED, message=message)
    return _settled(policy, demand, need)


def _shrunk(policy: Autoscale, replicas: int, memory: Memory, now: datetime) -> int:
    """Return how many of `replicas` pods are kept: those above the maximum go at once, others by and by."""
    if replicas > policy.max_replicas:
        return min(memory.highest, max(policy.max_replicas, memory.needs[-1].replicas))
    steps = policy.scale_down_percent < _ALL
    if steps and memory.shrunk is not None and now - memory.shrunk < timedelta(seconds=policy.idle_seconds):
        return replicas
    return max(memory.highest, replicas - max(1, replicas * policy.scale_down_percent // _ALL))


def _settled(policy: Autoscale, demand: Demand, need: int) -> Decision:
    if need == 0:
        message = "There is nothing to do; the next job starts a pod."
        return Decision(replicas=0, reason=ScaleReason.AT_ZERO, message=message)
    if need == policy.max_replicas and demand.queued:
        message = f"All {need} pods that maxReplicas allows are asked for; further jobs wait."
        return Decision(replicas=need, reason=ScaleReason.AT_MAXIMUM, message=message)
    return Decision(replicas=need, reason=ScaleReason.AS_NEEDED)
