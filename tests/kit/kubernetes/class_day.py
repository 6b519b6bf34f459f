"""A day of a class on an executor with GPUs, played on a simulated clock: the operator's own decisions, drawn jobs.

Students work in labs and in the evening. Each thinks, submits a job, waits for its result, and thinks again, so that
slow answers make fewer jobs, as in a class. Times are drawn with a fixed seed: exponential ones to think, log-normal
ones to run, and a few long jobs.

The pool is Kubernetes as far as the decision sees it: a pod has its slots a cold start after it was asked for, and
idle pods are removed first. The decision is `scaling.autoscaler.Autoscaler`, asked as often as the operator asks it.
"""

import heapq
import itertools
import random
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from statistics import quantiles
from typing import Any

from prometheus_client import CollectorRegistry

from kit.kubernetes.runtime_servers import runtime_server
from qiskit_runtime_operator.metrics import ScalingMetrics
from qiskit_runtime_operator.resource.model import Manifest, RuntimeServer
from qiskit_runtime_operator.scaling.autoscaler import Autoscaler
from qiskit_runtime_operator.scaling.load import ExecutorLoad, Load

LOOK_SECONDS = 0.5
MIDNIGHT = datetime(2026, 11, 30, tzinfo=UTC)
HOUR = 3600.0


@dataclass(frozen=True, kw_only=True)
class Lesson:
    """Students who work at the same time.

    Attributes:
        begin: In seconds since midnight.
        end: When they submit their last jobs.
    """

    begin: float
    end: float
    students: int


DAY = (
    Lesson(begin=10 * HOUR, end=11.5 * HOUR, students=30),
    Lesson(begin=14 * HOUR, end=15.5 * HOUR, students=30),
    Lesson(begin=18 * HOUR, end=23 * HOUR, students=6),
)
"""Two labs of a class of 30, and an evening of homework."""


@dataclass(frozen=True, kw_only=True)
class Pool:
    """An executor.

    Attributes:
        slots: Of each pod, which has one GPU.
        pods: At most; those that there always are without `autoscale`.
        autoscale: As in the RuntimeServer; None for a fixed number of pods.
        cold_start: Seconds from the decision to the first slot of a pod.
    """

    slots: int = 2
    pods: int = 4
    autoscale: dict[str, int] | None = None
    cold_start: float = 10.0

    def server(self) -> RuntimeServer:
        """Return the RuntimeServer that has it."""
        scaled = (
            {"replicas": self.pods}
            if self.autoscale is None
            else {"autoscale": {"maxReplicas": self.pods, **self.autoscale}}
        )
        return runtime_server({"executors": [{"name": "aer", "slots": self.slots, **scaled}]})


@dataclass(kw_only=True)
class _Pod:
    made: float
    ready: float
    running: int = 0
    busy_seconds: float = 0.0
    busy_since: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Moment:
    """What there is from a time of the day on: pods, those of them with a job, and jobs that wait."""

    seconds: float
    pods: int
    busy: int
    queued: int


@dataclass(frozen=True, kw_only=True)
class Played:
    """What a day was like.

    Attributes:
        moments: Whenever something of it changed.
        waits: Seconds from submission to start, of each job.
        gpu_seconds: How long pods were there, all together.
        idle_gpu_seconds: How long of that without a job.
        changes: How often the number of pods was changed.
    """

    moments: Sequence[Moment]
    waits: Sequence[float]
    gpu_seconds: float
    idle_gpu_seconds: float
    changes: int

    @property
    def most_pods(self) -> int:
        """The highest number of pods."""
        return max(moment.pods for moment in self.moments)

    def wait(self, percent: int) -> float:
        """Return a percentile of the waits."""
        return quantiles(self.waits, n=100, method="inclusive")[percent - 1]


@dataclass(kw_only=True)
class _Play:
    """A day that is being played."""

    pool: Pool
    end: float
    rng: random.Random
    now: float = 0.0
    events: list[tuple[float, int, Callable[[], None]]] = field(default_factory=list)
    numbers: "itertools.count[int]" = field(default_factory=itertools.count)
    queue: deque[tuple[float, Callable[[], None]]] = field(default_factory=deque)
    pods: list[_Pod] = field(default_factory=list)
    wanted: int = 0
    changes: int = 0
    waits: list[float] = field(default_factory=list)
    moments: list[Moment] = field(default_factory=list)
    gone: list[_Pod] = field(default_factory=list)
    gone_seconds: float = 0.0

    def at(self, seconds: float, what: Callable[[], None]) -> None:
        heapq.heappush(self.events, (seconds, next(self.numbers), what))

    def run(self) -> None:
        self._note()
        while self.events and self.events[0][0] <= self.end:
            self.now, _, what = heapq.heappop(self.events)
            what()
            self._note()
        self.now = self.end

    def study(self, lesson: Lesson) -> None:
        """Have a student think for as long as it takes, and then submit."""
        begin = max(self.now, lesson.begin) + self.rng.expovariate(1 / 60)

        def submit() -> None:
            if self.now < lesson.end:
                self.queue.append((self.now, lambda: self.study(lesson)))
                self._start()

        self.at(begin, submit)

    def scale(self, replicas: int) -> None:
        """Ask for a number of pods: new ones come up, of those that are too many idle ones go first."""
        self.changes += replicas != self.wanted
        self.wanted = replicas
        for _ in range(replicas - len(self.pods)):
            ready = self.now + self.pool.cold_start
            self.pods.append(_Pod(made=self.now, ready=ready))
            self.at(ready, self._start)
        idle_first = sorted(self.pods, key=lambda pod: (pod.running, -pod.made))
        for pod in idle_first[: len(self.pods) - replicas]:
            assert not pod.running, "a pod with a job was removed"
            self.pods.remove(pod)
            self.gone_seconds += self.now - pod.made
            self.gone.append(pod)

    @property
    def ready_pods(self) -> list[_Pod]:
        return [pod for pod in self.pods if pod.ready <= self.now]

    def load(self) -> Load:
        """Return what the api says."""
        pods = {f"10.0.0.{number}": pod.running for number, pod in enumerate(self.ready_pods)}
        executor = ExecutorLoad(
            queued=len(self.queue),
            running=sum(pods.values()),
            slots=self.pool.slots * len(pods),
            pods=pods,
        )
        return Load(executors={"aer": executor})

    def _start(self) -> None:
        """Start what waits, where there is most room."""
        while self.queue:
            free = [pod for pod in self.ready_pods if pod.running < self.pool.slots]
            if not free:
                return
            pod = min(free, key=lambda pod: pod.running)
            submitted, then = self.queue.popleft()
            self.waits.append(self.now - submitted)
            if not pod.running:
                pod.busy_since = self.now
            pod.running += 1
            self.at(self.now + self._seconds(), lambda pod=pod, then=then: self._finish(pod, then))  # type: ignore[misc]

    def _finish(self, pod: _Pod, then: Callable[[], None]) -> None:
        pod.running -= 1
        if not pod.running:
            pod.busy_seconds += self.now - pod.busy_since
        self._start()
        then()

    def _seconds(self) -> float:
        long = self.rng.random() < 0.03
        return self.rng.uniform(60, 180) if long else self.rng.lognormvariate(2.08, 0.8)

    def _note(self) -> None:
        busy = sum(pod.running > 0 for pod in self.pods)
        seen = Moment(seconds=self.now, pods=len(self.pods), busy=busy, queued=len(self.queue))
        last = self.moments[-1] if self.moments else None
        if last is None or (last.pods, last.busy, last.queued) != (seen.pods, seen.busy, seen.queued):
            self.moments.append(seen)


def played(pool: Pool, lessons: Sequence[Lesson] = DAY, *, hours: float = 24, seed: int = 1) -> Played:
    """Play a day.

    Args:
        pool: The executor.
        lessons: Who works when.
        hours: How much of the day; no job may be left at its end.
        seed: Of all that is drawn.
    """
    play = _Play(pool=pool, end=hours * HOUR, rng=random.Random(seed))  # noqa: S311 - reproducible
    for lesson in lessons:
        for _ in range(lesson.students):
            play.study(lesson)
    if pool.autoscale is None:
        play.scale(pool.pods)
        for pod in play.pods:
            pod.ready = 0.0
        play.changes = 0
    else:
        _autoscaled(play)
    play.run()
    assert not play.queue
    assert not any(pod.running for pod in play.pods)
    pods = [*play.pods, *play.gone]
    total = play.gone_seconds + sum(play.end - pod.made for pod in play.pods)
    return Played(
        moments=play.moments,
        waits=play.waits,
        gpu_seconds=total,
        idle_gpu_seconds=total - sum(pod.busy_seconds for pod in pods),
        changes=play.changes,
    )


def _autoscaled(play: _Play) -> None:
    """Have the operator's autoscaler look twice a second."""
    server, autoscaler = play.pool.server(), Autoscaler(metrics=ScalingMetrics(CollectorRegistry()))

    def deployment() -> dict[str, Any]:
        manifest: Manifest = {"metadata": {"name": "lab-executor-aer"}, "spec": {"replicas": play.wanted}}
        return manifest

    def look() -> None:
        now = MIDNIGHT + timedelta(seconds=play.now)
        if autoscaler.look(server, [deployment()], [], play.load(), now):
            play.scale(autoscaler.decisions(server.key)["aer"].replicas)
        play.at(play.now + LOOK_SECONDS, look)

    play.at(0.0, look)
