"""A cluster of real processes, and faults that strike it again and again and mend themselves."""

import heapq
import itertools
import math
import random
import signal
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from os import kill

from kit.faults.wire import Wire, wire_to
from kit.ports import held_port
from kit.server.cluster_processes import Cluster, shared_by_apis, workers_of
from kit.server.postgresql_server import PostgresqlServer
from kit.server.server_process import ServerProcess
from qiskit_runtime_server.jobs import MAX_WORKER_DEATHS

EXECUTOR = "patient"
FAULT_SECONDS = 2.0
KILL_SECONDS = 20.0
_LEASE_SECONDS = 3.0
_ORPHAN_SECONDS = 2.0
# Long enough for a lease to run out, for a run to be taken for orphaned, and for nobody to listen.
_ASLEEP_SECONDS = _LEASE_SECONDS + 2
_CUT_SECONDS = _ORPHAN_SECONDS + 1.5
_AWAY_SECONDS = 1.0
_TIMES = {
    "QRS_LEASE": f"{_LEASE_SECONDS}",
    "QRS_CONFIRM_EVERY": "0.5",
    "QRS_ORPHAN_AFTER": f"{_ORPHAN_SECONDS}",
    "QRS_ORPHAN_KEPT": "20",
    "QRS_AUTO": EXECUTOR,
}

Mending = tuple[float, Callable[[], None]]
"""After how many seconds a fault ends, and how."""
Fault = Callable[[], Mending | None]
"""Strikes a victim that is whole; None if there is none."""


class Member:
    """A process of a fleet, which is started again where it was.

    Attributes:
        lives: Each of its starts.
        hurt: Whether a fault has it.
    """

    def __init__(self, start: Callable[[int], ServerProcess], port: int) -> None:
        self.port = port
        self.hurt = False
        self._start = start
        self.lives = [start(self.port)]

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def server(self) -> ServerProcess:
        """The process."""
        return self.lives[-1]

    @property
    def whole(self) -> bool:
        """Whether it is there, and ready."""
        return not self.hurt and any("Listening on" in line for line in self.server.output)

    def restart(self) -> None:
        """Start it again, without waiting until it is ready."""
        self.lives.append(self._start(self.port))


class Fleet:
    """Two apis on PostgreSQL and two executors with one slot, and a wire from each of those to each of these.

    Attributes:
        variables: Of each process that is started from now on, beside those that all have.
    """

    def __init__(
        self,
        cluster: Cluster,
        database: PostgresqlServer,
        stack: ExitStack,
        variables: Mapping[str, str] | None = None,
    ) -> None:
        self.database = database
        self.variables = dict(variables or {})
        self._cluster = cluster
        # Nobody else is given them while their owners are away.
        ports = (stack.enter_context(held_port()) for _ in range(4))
        self.executors = [Member(self._executor, next(ports)) for _ in range(2)]
        self.wires = [[stack.enter_context(wire_to(executor.url)) for executor in self.executors] for _ in range(2)]
        self.apis = [Member(partial(self._api, wires), next(ports)) for wires in self.wires]
        for member in self.members:
            member.server.wait_until_ready()

    @property
    def members(self) -> Sequence[Member]:
        """All processes but the database's."""
        return (*self.executors, *self.apis)

    def last_start(self, executor: Member) -> str:
        """Return the name of the job that it has started last."""
        starts = self._cluster.all_starts()
        return next((name for pid, name in reversed(starts) if pid == executor.server.process.pid), "")

    def _executor(self, port: int) -> ServerProcess:
        options = (f"--port={port}", "--slots=1", "--memory=512Mi")
        return self._cluster.begin("executor", EXECUTOR, *options, **_TIMES, **self.variables)

    def _api(self, wires: Sequence[Wire], port: int) -> ServerProcess:
        executors = [f"--executors={EXECUTOR}={wire.url}" for wire in wires]
        variables = shared_by_apis(self.database.url()) | _TIMES | self.variables
        return self._cluster.begin("api", f"--port={port}", *executors, **variables)


class Storm:
    """Faults in an order that `rng` decides.

    A job whose worker dies a third time fails, as it should; so no worker is killed under a job that has lost two.

    Attributes:
        faults: How many of each kind there were.
        gone: The last words of processes that ended by themselves and were started again.
    """

    def __init__(self, fleet: Fleet, rng: random.Random) -> None:
        self.faults: Counter[str] = Counter()
        self.gone: list[str] = []
        self._fleet = fleet
        self._rng = rng
        self._mendings: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = itertools.count()
        self._held: set[int] = set()
        self._deaths: Counter[str] = Counter()

    def blow(self, over: Callable[[], bool]) -> None:
        """Strike until `over`, and mend what is broken then."""
        frequent: dict[str, Fault] = {
            "api killed": self._kill_api,
            "api stopped past its lease": self._stop_api,
            "PostgreSQL restarted": partial(self._restart_database, signal.SIGINT),
            "PostgreSQL crashed": partial(self._restart_database, signal.SIGQUIT),
            "network cut from api to executor": partial(self._cut, requests=True),
            "network cut from executor to api": partial(self._cut, answers=True),
            "network cut both ways": partial(self._cut, requests=True, answers=True),
        }
        rare: dict[str, Fault] = {"executor killed": self._kill_executor, "worker killed": self._kill_worker}
        schedules = [(FAULT_SECONDS, frequent), (KILL_SECONDS, rare)]
        due = [time.monotonic() + seconds for seconds, _ in schedules]
        while not over():
            self._mend(time.monotonic())
            self._supervise()
            for number, (seconds, faults) in enumerate(schedules):
                if time.monotonic() >= due[number]:
                    due[number] = time.monotonic() + seconds
                    self._strike(faults)
            time.sleep(0.05)
        self._mend(math.inf)

    def _supervise(self) -> None:
        """Start again what has ended by itself, such as an api that found no database when it started."""
        for member in self._fleet.members:
            if not member.hurt and member.server.process.poll() is not None:
                self.gone.append("".join(member.server.output[-3:]))
                member.restart()

    def _strike(self, faults: dict[str, Fault]) -> None:
        """Let one fault happen whose victim is whole."""
        for name in self._rng.sample(sorted(faults), len(faults)):
            if (mending := faults[name]()) is not None:
                self.faults[name] += 1
                seconds, mend = mending
                heapq.heappush(self._mendings, (time.monotonic() + seconds, next(self._numbers), mend))
                return

    def _mend(self, now: float) -> None:
        while self._mendings and self._mendings[0][0] <= now:
            heapq.heappop(self._mendings)[2]()

    def _victim(self, members: Sequence[Member]) -> Member | None:
        """Choose one of several that are all whole: on a slow machine, none would ever be otherwise."""
        if not all(member.whole for member in members):
            return None
        victim = self._rng.choice(members)
        victim.hurt = True
        return victim

    def _kill_api(self) -> Mending | None:
        return self._kill(self._fleet.apis)

    def _kill_executor(self) -> Mending | None:
        return self._kill(self._fleet.executors)

    def _kill(self, members: Sequence[Member]) -> Mending | None:
        victim = self._victim(members)
        if victim is None:
            return None
        victim.server.stop(signal.SIGKILL)

        def mend() -> None:
            victim.restart()
            victim.hurt = False

        return _AWAY_SECONDS, mend

    def _stop_api(self) -> Mending | None:
        victim = self._victim(self._fleet.apis)
        if victim is None:
            return None
        victim.server.process.send_signal(signal.SIGSTOP)

        def mend() -> None:
            victim.server.process.send_signal(signal.SIGCONT)
            victim.hurt = False

        return _ASLEEP_SECONDS, mend

    def _restart_database(self, how: signal.Signals) -> Mending:
        self._fleet.database.stop(how)
        return 0.0, self._fleet.database.start

    def _cut(self, **ways: bool) -> Mending | None:
        whole = [wire for wires in self._fleet.wires for wire in wires if id(wire) not in self._held]
        if not whole:
            return None
        wire = self._rng.choice(whole)
        self._held.add(id(wire))
        wire.hold(**ways)

        def mend() -> None:
            wire.heal()
            self._held.discard(id(wire))

        return _CUT_SECONDS, mend

    def _kill_worker(self) -> Mending | None:
        executor = self._rng.choice(self._fleet.executors)
        workers, job = workers_of(executor.server), self._fleet.last_start(executor)
        if not workers or self._deaths[job] == MAX_WORKER_DEATHS - 1:
            return None
        self._deaths[job] += 1
        kill(workers.pop(), signal.SIGKILL)
        return 0.0, lambda: None
