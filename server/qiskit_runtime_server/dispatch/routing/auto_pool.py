"""The slots of all executors among which `@auto` chooses, as one pool."""

import asyncio
from collections.abc import AsyncGenerator, Collection, Mapping

from qiskit_runtime_server.backends.names import ExecutorName
from qiskit_runtime_server.dispatch.cold_starts import ColdStarts
from qiskit_runtime_server.dispatch.pools import LookPool, Pool, Reservation, first_free
from qiskit_runtime_server.messages.messages import Candidate, Capabilities, Event, Holder, Occupancy, Task


class AutoReservation:
    """A slot of one of the executors, or a place beside these.

    Attributes:
        executor: Whose it is.
    """

    def __init__(self, executor: ExecutorName, slot: Reservation) -> None:
        self.executor = executor
        self._slot = slot

    @property
    def holder(self) -> Holder:
        """See `Reservation.holder`."""
        return self._slot.holder

    def run(self, task: Task) -> AsyncGenerator[Event, None]:
        """See `Reservation.run`."""
        return self._slot.run(task)

    def release(self) -> None:
        """See `Reservation.release`."""
        self._slot.release()


class AutoPool:
    """A `Pool`: a slot of it is one of any of its executors.

    Attributes:
        pools: Those of the executors, the preferred one first.
        cold_starts: What is known of how long they take to come up for a job.
    """

    def __init__(self, pools: Mapping[ExecutorName, Pool], on_demand: Collection[str] = ()) -> None:
        """Put pools together; `on_demand` are those executors that something starts when jobs wait for them."""
        self.pools = dict(pools)
        self.cold_starts = ColdStarts()
        self._on_demand = frozenset(on_demand)

    @property
    def size(self) -> int:
        """See `Pool.size`."""
        return sum(pool.size for pool in self.pools.values())

    @property
    def idle(self) -> int:
        """See `Pool.idle`."""
        return sum(pool.idle for pool in self.pools.values())

    @property
    def missing_seconds(self) -> float:
        """See `Pool.missing_seconds`; 0 also where a job starts an executor."""
        return min(0.0 if name in self._on_demand else pool.missing_seconds for name, pool in self.pools.items())

    def starts(self, executor: ExecutorName) -> bool:
        """Return whether something starts this executor when jobs wait for it."""
        return executor in self._on_demand

    def endpoints(self) -> Mapping[str, Occupancy]:
        """See `Pool.endpoints`: those of the executors are theirs."""
        return {}

    async def capabilities(self) -> Capabilities:
        """Return what the largest of the executors can do."""
        found = await asyncio.gather(*(pool.capabilities() for pool in self.pools.values()))
        return max(found, key=lambda each: each.num_qubits)

    async def candidates(self, asked: ExecutorName) -> tuple[Candidate, ...]:
        """Return all executors as candidates for a job, as one of them is asked."""
        return tuple(
            [
                Candidate(executor=name, capabilities=await pool.capabilities(), asked=name == asked)
                for name, pool in self.pools.items()
            ]
        )

    async def reserve(self, *only: ExecutorName) -> AutoReservation:
        """Wait for a free slot of any executor, or of these, or for where jobs are looked at beside slots.

        Of several, a slot is taken, and that of the preferred executor.
        """
        pools = {name: pool for name, pool in self.pools.items() if name in only or not only}
        places = [(name, pool.reserve()) for name, pool in pools.items()]
        places += [(name, pool.reserve_look()) for name, pool in pools.items() if isinstance(pool, LookPool)]
        number, place = await first_free([waiting for _, waiting in places])
        return AutoReservation(places[number][0], place)
