"""Decides for all executors with `autoscale` how many pods they get, and remembers what that needs.

The controller feeds it with what the apis say, many times between two passes over a RuntimeServer; a decision that
differs from the last one is worth a pass, which carries it out. After a restart of the operator the numbers of the
Deployments count, so that nothing changes by it.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Final

from qiskit_runtime_operator.metrics import ScalingMetrics
from qiskit_runtime_operator.resource.model import Executor, Manifest, RuntimeServer, condition_of
from qiskit_runtime_operator.resource.names import EXECUTOR_LABEL, Key, executor_name
from qiskit_runtime_operator.resource.scheduling import unscheduled
from qiskit_runtime_operator.scaling.cold_start import phases_of
from qiskit_runtime_operator.scaling.decision import Decision, Demand, Memory, Seen, decide
from qiskit_runtime_operator.scaling.load import Load

# An api that is restarted, or a lost answer, is no reason to keep pods for longer.
_KNOWN_FOR: Final = timedelta(seconds=15)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Pool:
    """What is remembered of one executor.

    Attributes:
        woken: When its first pod was asked for, as long as the api has not counted a slot of it.
    """

    decision: Decision
    memory: Memory
    woken: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Heard:
    """What the api last said of one RuntimeServer."""

    load: Load
    at: datetime


@dataclass(kw_only=True, slots=True)
class Autoscaler:
    """The decisions for all RuntimeServers.

    Attributes:
        metrics: Where they are counted.
    """

    metrics: ScalingMetrics
    _pools: dict[Key, dict[str, _Pool]] = field(default_factory=dict, init=False)
    _heard: dict[Key, _Heard] = field(default_factory=dict, init=False)

    def decisions(self, key: Key) -> Mapping[str, Decision]:
        """Return what was last decided for the executors of a RuntimeServer, by name."""
        return {name: pool.decision for name, pool in self._pools.get(key, {}).items()}

    def load(self, key: Key) -> Load | None:
        """Return what the api of a RuntimeServer last said."""
        heard = self._heard.get(key)
        return heard.load if heard else None

    def busy(self, key: Key) -> Mapping[str, int]:
        """Return how many jobs each pod of a RuntimeServer runs, by its address, as the api last said."""
        load = self.load(key)
        loads = load.executors.values() if load else ()
        return {address: jobs for load in loads for address, jobs in load.pods.items()}

    def look(  # noqa: PLR0913 - what it follows from
        self,
        server: RuntimeServer,
        deployments: Iterable[Manifest],
        pods: Sequence[Manifest],
        load: Load | None,
        now: datetime,
        *,
        elsewhere: Collection[str] = (),
    ) -> bool:
        """Decide for the executors of a RuntimeServer, and tell whether that is news.

        Args:
            server: The RuntimeServer.
            deployments: Its Deployments, as they are now.
            pods: Its pods.
            load: What its api says now, if it does.
            now: The time.
            elsewhere: The Deployments whose number of pods is somebody else's: what is decided begins with that number.
        """
        key = server.key
        if load is not None:
            self._heard[key] = _Heard(load=load, at=now)
        known = {deployment["metadata"]["name"]: deployment for deployment in deployments}
        before, after = self._pools.get(key, {}), dict[str, _Pool]()
        for executor in scaled(server):
            name, last = executor_name(server.name, executor.name), before.get(executor.name)
            deployment = known.get(name)
            demand = self._demand(key, executor, deployment, pods, now)
            pool = _decided(executor, deployment, demand, last, now, ours=name not in elsewhere)
            slots = self._slots(key, executor)
            if pool.woken is not None and slots:
                self.metrics.started(now - pool.woken, phases_of(executor, pods, woken=pool.woken, counted=now))
                pool = replace(pool, woken=None)
            after[executor.name] = pool
        self._pools[key] = after
        return self._count(key, before, after)

    def _count(self, key: Key, before: Mapping[str, _Pool], after: Mapping[str, _Pool]) -> bool:
        """Count what was decided anew, and tell whether something was."""
        for name in before.keys() - after.keys():
            self.metrics.forget(*key, name)
        news = [name for name, pool in after.items() if name not in before or pool.decision != before[name].decision]
        for name in news:
            self.metrics.decided(*key, name, after[name].decision.replicas, after[name].decision.reason)
        return bool(news) or before.keys() != after.keys()

    def forget(self, keep: Iterable[Key]) -> None:
        """Forget all RuntimeServers but these."""
        for key in self._pools.keys() - set(keep):
            self.drop(key)

    def drop(self, key: Key) -> None:
        """Forget a RuntimeServer: one of the same name is another one."""
        self._count(key, self._pools.pop(key, {}), {})
        self._heard.pop(key, None)

    def _slots(self, key: Key, executor: Executor) -> int:
        load = self.load(key)
        known = load.executors.get(executor.name) if load else None
        return (known.slots or 0) if known else 0

    def _demand(
        self, key: Key, executor: Executor, deployment: Manifest | None, pods: Sequence[Manifest], now: datetime
    ) -> Demand | None:
        heard = self._heard.get(key)
        if heard is None or now - heard.at > _KNOWN_FOR:
            return None
        load = heard.load.executors.get(executor.name)
        if load is None:
            # An api of before the executor was added; nobody can submit to it.
            return Demand(queued=0, running=0, busy=0)
        return Demand(
            queued=load.waiting_for_pods,
            running=load.running,
            # An api that has just started, or has lost sight of the pods, may know of none.
            busy=load.busy_pods if load.pods else load.running,
            pending=_pending(executor, deployment, pods),
        )


def scaled(server: RuntimeServer) -> Iterator[Executor]:
    """Iterate over the executors of a RuntimeServer whose number of pods is decided here."""
    if not (server.spec.suspend or server.paused):
        yield from (executor for executor in server.spec.executors if executor.autoscale is not None)


def _decided(  # noqa: PLR0913 - what it follows from
    executor: Executor,
    deployment: Manifest | None,
    demand: Demand | None,
    last: _Pool | None,
    now: datetime,
    *,
    ours: bool,
) -> _Pool:
    if executor.autoscale is None:
        raise ValueError(executor.name)
    there = replicas_of(deployment, executor.autoscale.min_replicas)
    replicas = last.decision.replicas if last and ours else there
    seen = Seen(demand=demand, slots=executor.slots, replicas=replicas, now=now)
    decision, memory = decide(executor.autoscale, seen, last.memory if last else None)
    woken = now if replicas == 0 < decision.replicas else last.woken if last and decision.replicas else None
    woken = woken if ours else None
    return _Pool(decision=decision, memory=memory, woken=woken)


def replicas_of(deployment: Manifest | None, otherwise: int) -> int:
    """Return how many pods a Deployment asks for, or `otherwise` if it is not there or does not say."""
    asked: int | None = None if deployment is None else deployment["spec"].get("replicas")
    return otherwise if asked is None else asked


def _pending(executor: Executor, deployment: Manifest | None, pods: Iterable[Manifest]) -> str:
    """Return why pods of an executor cannot be made, or find no node; empty if all can."""
    failure = condition_of(deployment or {}, "ReplicaFailure")
    if failure.get("status") == "True":
        return str(failure.get("message", ""))
    for pod in pods:
        ours = pod["metadata"].get("labels", {}).get(EXECUTOR_LABEL) == executor.name
        if ours and "deletionTimestamp" not in pod["metadata"] and (why := unscheduled(pod)):
            return why
    return ""
