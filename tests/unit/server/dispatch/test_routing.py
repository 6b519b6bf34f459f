"""Jobs whose executor is to be chosen are looked at in a slot of any; the executors are played by the tests."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from itertools import count

import msgspec
import pytest
from prometheus_client import CollectorRegistry

from kit.server.played_pool import DONE, HOLDER, Play, PlayedPool, PlayedReservation
from qiskit_runtime_server.backends.names import AUTO, ExecutorName
from qiskit_runtime_server.byte_budget import ByteBudget
from qiskit_runtime_server.dispatch.dispatcher import Dispatcher
from qiskit_runtime_server.dispatch.metrics import JobMetrics
from qiskit_runtime_server.dispatch.pools import RunLost
from qiskit_runtime_server.dispatch.routing.auto_pool import AutoPool
from qiskit_runtime_server.dispatch.routing.router import Router
from qiskit_runtime_server.dispatch.routing.waits import waits
from qiskit_runtime_server.errors import InternalError, OutOfMemoryError
from qiskit_runtime_server.jobs import AccountId, Job, JobId, JobState
from qiskit_runtime_server.messages.messages import (
    PREDICTION,
    Completed,
    Event,
    Failed,
    HandedBack,
    Log,
    Metrics,
    Prediction,
    Progress,
    Routing,
    Started,
    Task,
)
from qiskit_runtime_server.store.memory.store import MemoryStore
from qiskit_runtime_server.store.port import Load

AER, QSIM = ExecutorName("aer"), ExecutorName("qsim")
ME = AccountId("me")
DENSE = {"aer": Prediction(seconds=13.0), "qsim": Prediction(seconds=1.0)}
LEASE = timedelta(seconds=30)
NO_ROOM = Failed(reason="8 GiB needed, 1 GiB free", code=OutOfMemoryError.code)
TEN_MINUTES = Progress(done=0, total=1, seconds=600.0)


def said(predictions: dict[str, Prediction]) -> Event:
    """Return what a worker says that has looked at a job."""
    return Completed(metrics=Metrics(), result=msgspec.json.encode(predictions))


class LookingPool(PlayedPool):
    """An executor by which jobs are looked at, too: what its worker says then is taken from a list for all."""

    def __init__(self, looks: list[Play]) -> None:
        super().__init__()
        self.looks = looks

    async def reserve(self) -> "LookingReservation":
        await self._free.acquire()
        return LookingReservation(self, self._free.release)


class LookingReservation(PlayedReservation):
    async def run(self, task: Task) -> AsyncGenerator[Event, None]:
        if task.program_id == f"{PREDICTION}:sampler":
            assert isinstance(self._pool, LookingPool)
            self._pool.plays.insert(0, self._pool.looks.pop(0))
        async with aclosing(super().run(task)) as events:
            async for event in events:
                yield event


class RoomyPool(LookingPool):
    """An executor that looks at jobs beside its slot, too."""

    def __init__(self, looks: list[Play]) -> None:
        super().__init__(looks)
        self._beside = asyncio.Semaphore(1)

    async def reserve_look(self) -> LookingReservation:
        await self._beside.acquire()
        return LookingReservation(self, self._beside.release)


@dataclass
class House:
    """A store and two executors with a dispatcher.

    Attributes:
        looks: What workers say that look at jobs, one after the other.
    """

    store: MemoryStore = field(default_factory=MemoryStore)
    looks: list[Play] = field(default_factory=list)
    numbers: "count[int]" = field(default_factory=count)
    registry: CollectorRegistry = field(default_factory=CollectorRegistry)

    def __post_init__(self) -> None:
        self.aer, self.qsim = LookingPool(self.looks), LookingPool(self.looks)

    @property
    def pools(self) -> dict[ExecutorName, PlayedPool]:
        return {AER: self.aer, QSIM: self.qsim}

    def plays(self, *looks: Play, aer: Play | None = None, qsim: Play | None = None) -> None:
        self.looks += looks
        self.aer.plays += [] if aer is None else [aer]
        self.qsim.plays += [] if qsim is None else [qsim]

    async def add(self, executor: ExecutorName = AUTO, routing: Routing | None = None) -> Job:
        job = Job(
            id=JobId(f"job-{next(self.numbers)}"),
            account=ME,
            instance="crn",
            program_id="sampler",
            backend=f"fake_manila@{executor}",
            executor=executor,
            created=datetime.now(UTC),
            max_seconds=600,
            seed=1,
            calibration_digest="digest",
            routing=routing,
        )
        await self.store.jobs.add(job, b"{}")
        return job

    async def when(self, job: Job, *states: JobState) -> Job:
        async with asyncio.timeout(30):
            while (found := await self.store.jobs.get(ME, job.id)).state not in states:  # noqa: ASYNC110 - as said there
                await asyncio.sleep(0.01)
        return found


@pytest.fixture
def house() -> House:
    return House()


@pytest.fixture
async def dispatcher(house: House) -> AsyncIterator[Dispatcher]:
    pools = house.pools
    metrics = JobMetrics(house.registry)
    made = Dispatcher(house.store, pools, metrics, ByteBudget(1 << 20), lease=LEASE, auto=AutoPool(pools))
    yield made
    await made.drain(timedelta(0))


async def test_a_job_is_looked_at_by_the_preferred_executor_and_run_by_the_better_one(
    house: House, dispatcher: Dispatcher
) -> None:
    house.plays([Started(), said(DENSE)], qsim=[Started(), DONE])
    job = await house.add()
    dispatcher.start()
    ended = await house.when(job, JobState.COMPLETED)
    assert (ended.executor, ended.routing, ended.fence) == (QSIM, Routing(predictions=DENSE, looks=1), 2)
    assert (house.aer.log, house.qsim.log) == (["run 1"], ["run 2"])
    # How long it waited is known of the executor that ran it, though its first claim was a look.
    assert house.registry.get_sample_value("qrs_job_queue_seconds_count", {"executor": QSIM}) == 1
    day = datetime.now(UTC).date()
    used = await house.store.counts.usage(day - timedelta(days=1), day)
    assert [(each.executor, each.jobs) for each in used] == [(QSIM, 1)]


async def test_the_one_that_could_not_be_spoken_for_is_asked_itself(house: House, dispatcher: Dispatcher) -> None:
    """Its code is not where the job was looked at, as that of a plug-in."""
    house.plays([said({"aer": DENSE["aer"]})], [said({"qsim": DENSE["qsim"]})], qsim=[DONE])
    job = await house.add()
    dispatcher.start()
    ended = await house.when(job, JobState.COMPLETED)
    assert (ended.executor, ended.routing) == (QSIM, Routing(predictions=DENSE, looks=1))


async def test_what_cannot_be_looked_at_goes_to_the_preferred_one_which_says_why(
    house: House, dispatcher: Dispatcher
) -> None:
    damaged = Failed(reason="damaged", code=InternalError.code)
    house.plays([damaged], aer=[damaged])
    job = await house.add()
    dispatcher.start()
    ended = await house.when(job, JobState.FAILED)
    assert (ended.executor, ended.reason, ended.routing) == (AER, "damaged", Routing(looks=1))


async def test_while_all_slots_are_busy_jobs_are_looked_at_beside_them_and_wake_who_suits_them(house: House) -> None:
    """The preferred executor is busy for ten minutes, the other one is at zero."""
    house.aer = RoomyPool(house.looks)
    await house.qsim.reserve()
    house.qsim.size, house.qsim.missing_seconds = 0, 1000.0
    house.plays([said(DENSE)], [said(DENSE)], aer=[Started(), Log(text="", progress=TEN_MINUTES), None])
    pools = house.pools
    auto = AutoPool(pools, on_demand=[QSIM])
    made = Dispatcher(house.store, pools, JobMetrics(CollectorRegistry()), ByteBudget(1 << 20), lease=LEASE, auto=auto)
    busy = await house.add(AER)
    made.start()
    await house.when(busy, JobState.RUNNING)
    waiting = [await house.add() for _ in range(2)]
    async with asyncio.timeout(5):
        while (await house.store.counts.load()).get(QSIM, Load()).queued < len(waiting):  # noqa: ASYNC110 - as there
            await asyncio.sleep(0.01)
    await made.drain(timedelta(0))
    assert house.looks == []


async def test_a_slot_is_preferred_to_a_place_beside_slots(house: House) -> None:
    house.aer = RoomyPool(house.looks)
    auto = AutoPool(house.pools)
    for _ in range(2):
        taken = [await auto.reserve() for _ in range(3)]
        assert [each.executor for each in taken] == [AER, QSIM, AER]
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await auto.reserve()
        for each in taken:
            each.release()


async def test_what_an_executor_has_too_little_memory_for_after_all_goes_to_the_next(
    house: House, dispatcher: Dispatcher
) -> None:
    house.plays([said(DENSE)], qsim=[Started(), NO_ROOM], aer=[Started(), DONE])
    job = await house.add()
    dispatcher.start()
    ended = await house.when(job, JobState.COMPLETED)
    assert (ended.executor, ended.runs) == (AER, 2)
    assert ended.routing == Routing(predictions={**DENSE, "qsim": Prediction(refusal=NO_ROOM.reason)}, looks=1)
    assert "qsim refused the job, which goes to aer: 8 GiB needed" in await house.store.documents.log(job.id)


async def test_what_nobody_has_the_memory_for_fails_with_the_last_reason(house: House, dispatcher: Dispatcher) -> None:
    refusals = {"aer": Prediction(refusal="too large"), "qsim": DENSE["qsim"]}
    house.plays([said(refusals)], qsim=[Started(), NO_ROOM])
    job = await house.add()
    dispatcher.start()
    ended = await house.when(job, JobState.FAILED)
    assert (ended.executor, ended.reason, ended.reason_code) == (QSIM, NO_ROOM.reason, NO_ROOM.code)


async def test_who_has_named_the_executor_is_told_that_its_memory_does_not_do(
    house: House, dispatcher: Dispatcher
) -> None:
    house.plays(qsim=[Started(), NO_ROOM])
    job = await house.add(QSIM)
    dispatcher.start()
    assert (await house.when(job, JobState.FAILED)).reason == NO_ROOM.reason


async def test_an_answer_that_makes_no_sense_says_nothing(house: House, dispatcher: Dispatcher) -> None:
    house.plays([DONE], aer=[DONE])
    job = await house.add()
    dispatcher.start()
    ended = await house.when(job, JobState.COMPLETED)
    assert (ended.executor, ended.routing) == (AER, Routing(looks=1))


async def test_a_look_that_kills_its_worker_three_times_fails_the_job(house: House, dispatcher: Dispatcher) -> None:
    death: Play = [Failed(reason="The worker died.", code=1, worker_died=True)]
    house.plays(death, death, death)
    job = await house.add()
    dispatcher.start()
    ended = await house.when(job, JobState.FAILED)
    assert (ended.worker_deaths, ended.executor) == (3, AUTO)


@pytest.mark.parametrize("first", [RunLost("gone"), HandedBack()])
async def test_a_look_that_is_lost_is_repeated(house: House, dispatcher: Dispatcher, first: Event | Exception) -> None:
    house.plays([first], [said(DENSE)], qsim=[DONE])
    job = await house.add()
    dispatcher.start()
    ended = await house.when(job, JobState.COMPLETED)
    assert (ended.executor, ended.fence, ended.runs) == (QSIM, 3, 1)


async def test_a_job_that_is_cancelled_while_it_is_looked_at_frees_the_slot(
    house: House, dispatcher: Dispatcher
) -> None:
    house.plays([Started(), None], [said(DENSE)], qsim=[DONE])
    job = await house.add()
    dispatcher.start()
    await house.when(job, JobState.RUNNING)
    await house.store.jobs.cancel(ME, job.id, reason="enough")
    dispatcher.end_run(job.id)
    assert (await house.when(await house.add(), JobState.COMPLETED)).executor == QSIM
    assert "ended" in house.aer.log
    assert (await house.when(job, JobState.CANCELLED)).metrics.charged == 0


async def test_what_is_looked_at_when_the_server_stops_waits_for_the_next_one(house: House) -> None:
    pools = house.pools
    metrics = JobMetrics(CollectorRegistry())
    dispatcher = Dispatcher(house.store, pools, metrics, ByteBudget(1 << 20), lease=LEASE, auto=AutoPool(pools))
    house.plays([Started(), None])
    job = await house.add()
    dispatcher.start()
    await house.when(job, JobState.RUNNING)
    await dispatcher.drain(timedelta(0))
    found = await house.store.jobs.get(ME, job.id)
    assert (found.state, found.executor, found.losses) == (JobState.QUEUED, AUTO, 0)


async def test_a_paused_choice_leaves_jobs_where_they_are(house: House, dispatcher: Dispatcher) -> None:
    await house.store.queue.drain(AUTO, draining=True)
    job = await house.add()
    dispatcher.start()
    await asyncio.sleep(0.2)
    assert (await house.store.jobs.get(ME, job.id)).state is JobState.QUEUED
    house.plays([said(DENSE)], qsim=[DONE])
    await house.store.queue.drain(AUTO, draining=False)
    await house.when(job, JobState.COMPLETED)


async def test_slots_that_nobody_got_are_free_again(house: House) -> None:
    auto = AutoPool(house.pools)
    first = await auto.reserve()
    assert first.executor == AER
    second = await auto.reserve()
    assert second.executor == QSIM
    waiting = asyncio.create_task(auto.reserve())
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    first.release()
    second.release()
    async with asyncio.timeout(5):
        assert (await house.qsim.reserve()).holder == HOLDER
        assert (await auto.reserve()).executor == AER


async def test_waiting_times_follow_from_what_runs_and_what_is_predicted(house: House) -> None:
    auto, counts, now = AutoPool(house.pools), house.store.counts, datetime.now(UTC)
    assert await waits(counts, auto, now) == {AER: 0, QSIM: 0}
    await house.add(QSIM)
    running = await house.store.queue.claim(QSIM, HOLDER, lease=LEASE)
    assert running is not None
    await house.store.queue.note_progress(running, Progress(done=0, total=1, seconds=20.0))
    await house.add(QSIM, Routing(predictions={"qsim": Prediction(seconds=5.0)}))
    found = await waits(counts, auto, datetime.now(UTC))
    assert found[AER] == 0
    assert found[QSIM] == pytest.approx(25.0, abs=1.0)
    await house.add(QSIM)  # of which nothing is known: as long as jobs took lately, or a second
    assert (await waits(counts, auto, datetime.now(UTC)))[QSIM] == pytest.approx(26.0, abs=1.0)


async def test_many_jobs_that_take_next_to_nothing_are_a_queue(house: House) -> None:
    for _ in range(50):
        await house.add(AER, Routing(predictions={"aer": Prediction(seconds=1e-4)}))
    found = await waits(house.store.counts, AutoPool(house.pools), datetime.now(UTC))
    assert found[AER] == pytest.approx(1.0, abs=0.1)


async def test_who_is_away_starts_in_a_minute_or_nobody_knows(house: House) -> None:
    counts, now = house.store.counts, datetime.now(UTC)
    house.qsim.size = 0
    house.qsim.missing_seconds = 20.0
    assert await waits(counts, AutoPool(house.pools), now) == {AER: 0, QSIM: 40}
    house.qsim.missing_seconds = 100.0
    assert await waits(counts, AutoPool(house.pools), now) == {AER: 0, QSIM: None}
    auto = AutoPool(house.pools, on_demand=["qsim"])
    assert await waits(counts, auto, now) == {AER: 0, QSIM: 60}
    started = replace(await house.add(QSIM), fence=1)
    back = started.created + timedelta(seconds=180)
    auto.cold_starts.claimed(started, away_since=now, back=back, slots=1)
    # And a second for the job.
    assert await waits(counts, auto, now) == {AER: 0, QSIM: 181}
    house.qsim.size = 1
    await house.store.queue.drain(QSIM, draining=True)
    assert await waits(counts, AutoPool(house.pools), now) == {AER: 0, QSIM: None}


async def test_jobs_leave_an_executor_that_has_gone_and_those_that_named_it_stay(house: House) -> None:
    router = Router(house.store, AutoPool(house.pools), ByteBudget(1 << 20))
    routed = [await house.add(QSIM, Routing(predictions=DENSE)) for _ in range(2)]
    named = await house.add(QSIM)
    await router.rebalance()
    assert {(await house.store.jobs.get(ME, job.id)).executor for job in routed} == {QSIM}
    house.qsim.size, house.qsim.missing_seconds = 0, 100.0
    await router.rebalance()
    assert {(await house.store.jobs.get(ME, job.id)).executor for job in routed} == {AER}
    assert (await house.store.jobs.get(ME, named.id)).executor == QSIM


async def test_a_long_queue_spills_over_until_it_is_worth_no_more(house: House) -> None:
    router = Router(house.store, AutoPool(house.pools), ByteBudget(1 << 20))
    slow = {"aer": Prediction(seconds=4.0), "qsim": Prediction(seconds=2.0)}
    jobs = [await house.add(QSIM, Routing(predictions=slow)) for _ in range(9)]
    for _ in range(3):
        await router.rebalance()
    found = [(await house.store.jobs.get(ME, job.id)).executor for job in jobs]
    # A third of the speed, a third of the jobs: the youngest ones.
    assert found.count(AER) in {2, 3}
    assert found == sorted(found, reverse=True)
