"""An operator of thousands of RuntimeServers on a simulated clock: its own queue and its own decisions.

What is played is the time that things take, as it was measured: a pass, and a look at the load of an api. Each needs
the operator's one processor for a part of that time, and waits for others (the API server, an api) in the rest; an
`asyncio.Lock` is that processor. The bounds are the operator's: so many passes side by side, so many requests for
loads.
"""

import asyncio
import math
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from prometheus_client import CollectorRegistry

from kit.kubernetes.runtime_servers import runtime_server
from kit.simulated_clock import simulated
from qiskit_runtime_operator.metrics import ScalingMetrics
from qiskit_runtime_operator.resource.model import RuntimeServer
from qiskit_runtime_operator.resource.names import Key
from qiskit_runtime_operator.scaling.autoscaler import Autoscaler
from qiskit_runtime_operator.scaling.load import ExecutorLoad, Load
from qiskit_runtime_operator.settings import Settings
from qiskit_runtime_operator.watch.work_queue import WorkQueue

WORKERS: int = Settings.model_fields["workers"].default
LOADS_AT_ONCE = 16
LOOK_SECONDS: float = Settings.model_fields["autoscale_interval"].default.total_seconds()
BEGIN = datetime(2026, 11, 30, tzinfo=UTC)


@dataclass(frozen=True, kw_only=True)
class Takes:
    """How long something takes, in seconds.

    Attributes:
        processor: Of the operator's processor.
        waiting: For others.
    """

    processor: float
    waiting: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Work:
    """What the operator was measured to take.

    Attributes:
        creation: A pass that makes all objects of a RuntimeServer.
        quiet: A pass that finds all as it should be.
        look: One read of an api's load, with the decision.
    """

    creation: Takes
    quiet: Takes
    look: Takes


class _Operator:
    """The processor, and what is done on it."""

    def __init__(self) -> None:
        self._processor = asyncio.Lock()
        self.used = 0.0

    async def take(self, takes: Takes) -> None:
        async with self._processor:
            self.used += takes.processor
            await asyncio.sleep(takes.processor)
        await asyncio.sleep(takes.waiting)


def names(count: int) -> Iterator[Key]:
    """Iterate over RuntimeServers."""
    return (Key("research", f"lab-{number}") for number in range(count))


@dataclass(frozen=True, kw_only=True)
class Passes:
    """How passes over all RuntimeServers went.

    Attributes:
        until_all: Seconds until each has had one.
        processor: Share of that time for which the processor was in use.
        longest_queue: Of those that waited.
        urgent: Seconds until the change of one more, made in the middle, was dealt with.
    """

    until_all: float
    processor: float
    longest_queue: int
    urgent: float


def passes(count: int, takes: Takes) -> Passes:
    """Have all RuntimeServers queued at once, and one changed when half of them are done."""
    return simulated(_passes(count, takes))


async def _passes(count: int, takes: Takes) -> Passes:
    loop, queue, operator = asyncio.get_running_loop(), WorkQueue(chance=lambda: 0.5), _Operator()
    changed = Key("research", "changed")
    done: dict[Key, float] = {}
    finished = asyncio.Event()
    asked = 0.0

    async def work() -> None:
        nonlocal asked
        while True:
            key = await queue.get()
            await operator.take(takes)
            queue.succeeded(key)
            queue.done(key)
            done[key] = loop.time()
            if len(done) == (count + 1) // 2 and changed not in done:
                asked = loop.time()
                queue.add(changed)
            if len(done) == count + 1:
                finished.set()

    for key in names(count):
        queue.add(key)
    longest = len(queue)
    workers = [asyncio.create_task(work()) for _ in range(WORKERS)]
    await finished.wait()
    for worker in workers:
        worker.cancel()
    ended = max(done.values())
    return Passes(until_all=ended, processor=operator.used / ended, longest_queue=longest, urgent=done[changed] - asked)


@dataclass(frozen=True, kw_only=True)
class Wakes:
    """How long the first jobs of executors at zero waited for the decision to start a pod.

    Attributes:
        seconds: Each of them.
        processor: Share of the time for which the processor was in use.
    """

    seconds: Sequence[float]
    processor: float


def wakes(count: int, takes: Takes, *, jobs: int = 100, seconds: float = 20) -> Wakes:
    """Look at the loads of so many RuntimeServers with `autoscale`; at drawn moments one of them gets its first job."""
    return simulated(_wakes(count, takes, jobs, seconds))


async def _wakes(count: int, takes: Takes, jobs: int, seconds: float) -> Wakes:
    loop, operator = asyncio.get_running_loop(), _Operator()
    rng = random.Random(1)  # noqa: S311 - reproducible
    autoscaler = Autoscaler(metrics=ScalingMetrics(CollectorRegistry()))
    keys = list(names(count))
    servers = {key: _server(key) for key in keys}
    submitted = {key: seconds * rng.uniform(0.25, 0.75) for key in rng.sample(keys, min(jobs, count))}
    woken: dict[Key, float] = {}
    gate, asking = asyncio.Semaphore(LOADS_AT_ONCE), set[Key]()
    finished = asyncio.Event()

    async def look(key: Key) -> None:
        async with gate:
            waits = submitted.get(key, math.inf) <= loop.time()
            await operator.take(takes)
        load = Load(executors={"aer": ExecutorLoad(queued=int(waits), running=0, slots=0)})
        news = autoscaler.look(servers[key], (), (), load, BEGIN + timedelta(seconds=loop.time()))
        if news and waits and autoscaler.decisions(key)["aer"].replicas and key not in woken:
            woken[key] = loop.time() - submitted[key]
            if len(woken) == len(submitted):
                finished.set()
        asking.discard(key)

    async def ask() -> None:
        async with asyncio.TaskGroup() as group:
            while True:
                for key in keys:
                    if key not in asking:
                        asking.add(key)
                        group.create_task(look(key))
                await asyncio.sleep(LOOK_SECONDS)

    asks = asyncio.create_task(ask())
    await finished.wait()
    asks.cancel()
    return Wakes(seconds=list(woken.values()), processor=operator.used / loop.time())


def _server(key: Key) -> RuntimeServer:
    return runtime_server(
        {"executors": [{"name": "aer", "autoscale": {"maxReplicas": 4}}]}, name=key.name, uid=key.name
    )
