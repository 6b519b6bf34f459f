"""What the dispatcher makes of events, losses and a store that is away; the executors are played by the tests."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from unittest.mock import AsyncMock

import pytest
from prometheus_client import CollectorRegistry
from sqlalchemy.exc import OperationalError

from kit.server.played_pool import DONE, HOLDER, NAME, PlayedPool
from qiskit_runtime_server.byte_budget import ByteBudget
from qiskit_runtime_server.dispatch import dispatcher as dispatcher_module
from qiskit_runtime_server.dispatch import store_calls
from qiskit_runtime_server.dispatch.allowances import Refusal
from qiskit_runtime_server.dispatch.dispatcher import Dispatcher
from qiskit_runtime_server.dispatch.metrics import JobMetrics
from qiskit_runtime_server.dispatch.pools import RunLost
from qiskit_runtime_server.errors import StoreFullError, StoreUnavailableError
from qiskit_runtime_server.jobs import AccountId, Job, JobId, JobState, Outcome
from qiskit_runtime_server.messages.messages import (
    Failed,
    HandedBack,
    Heartbeat,
    Log,
    Progress,
    Started,
)
from qiskit_runtime_server.store.memory.state import State
from qiskit_runtime_server.store.memory.store import MemoryStore
from qiskit_runtime_server.store.port import Claim, HeldJobs, Queued, Store

ME = AccountId("me")


@pytest.fixture
def state() -> State:
    return State()


@pytest.fixture
def store(state: State) -> Store:
    return MemoryStore(state)


@pytest.fixture
async def dispatch(store: Store) -> AsyncIterator[Callable[..., Dispatcher]]:
    dispatchers = []

    def begin(pool: PlayedPool, *, lease: float = 30) -> Dispatcher:
        metrics = JobMetrics(CollectorRegistry())
        dispatcher = Dispatcher(store, {NAME: pool}, metrics, ByteBudget(1 << 20), lease=timedelta(seconds=lease))
        dispatcher.start()
        dispatchers.append(dispatcher)
        return dispatcher

    yield begin
    for dispatcher in dispatchers:
        await dispatcher.drain(timedelta(0))


class Sleeping(PlayedPool):
    """A pool that has no slot until a test wakes it."""

    def __init__(self, *plays: list[Any]) -> None:
        super().__init__(*plays)
        self.size, self.missing_seconds = 0, 100.0
        self._free = asyncio.Semaphore(0)

    def wake(self) -> None:
        self.size = 2
        self._free.release()


async def add_job(store: Store, name: str = "job") -> JobId:
    job = Job(
        id=JobId(name),
        account=ME,
        instance="crn",
        program_id="sampler",
        backend=f"fake_manila@{NAME}",
        executor=NAME,
        created=datetime.now(UTC),
        max_seconds=60,
        seed=1,
        calibration_digest="digest",
    )
    await store.jobs.add(job, b"{}")
    return job.id


async def when(store: Store, job: JobId, *states: JobState) -> Job:
    async with asyncio.timeout(30):
        while (found := await store.jobs.get(ME, job)).state not in states:  # noqa: ASYNC110 - the store tells nobody
            await asyncio.sleep(0.01)
    return found


async def when_logged(pool: PlayedPool, *log: str) -> None:
    async with asyncio.timeout(30):
        while sorted(pool.log) != sorted(log):  # noqa: ASYNC110 - as above
            await asyncio.sleep(0.01)


async def test_the_wait_for_the_first_slot_is_measured(store: Store, dispatch: Callable[..., Dispatcher]) -> None:
    pool = Sleeping([DONE])
    dispatcher = dispatch(pool)
    await asyncio.sleep(0)
    job = await add_job(store)
    await asyncio.sleep(0.2)
    assert dispatcher.cold_starts.of(NAME) is None
    pool.wake()
    await when(store, job, JobState.COMPLETED)
    start = dispatcher.cold_starts.of(NAME)
    assert start is not None
    assert 0.2 <= start.seconds < 5
    assert start.slots == 2
    # So it is for another api, and after a restart.
    async with asyncio.timeout(30):
        while await store.overviews.kept_text(f"cold starts of {NAME}") is None:  # noqa: ASYNC110 - as above
            await asyncio.sleep(0.01)
        other = dispatch(Sleeping([]))
        while other.cold_starts.of(NAME) != start:  # noqa: ASYNC110 - as above
            await asyncio.sleep(0.01)


async def test_what_waited_before_the_slots_were_gone_measures_no_start(
    store: Store, dispatch: Callable[..., Dispatcher]
) -> None:
    pool = Sleeping([DONE])
    job = await add_job(store)
    pool.missing_seconds = 0.0
    dispatcher = dispatch(pool)
    await asyncio.sleep(0)
    pool.wake()
    await when(store, job, JobState.COMPLETED)
    assert dispatcher.cold_starts.of(NAME) is None
    # Nor is anything of it kept for another api.
    assert await store.overviews.kept_text(f"cold starts of {NAME}") is None
    await store.overviews.keep_text(f"cold starts of {NAME}", "[]")
    await dispatcher.cold_starts.recall(NAME, store.overviews)
    assert dispatcher.cold_starts.of(NAME) is None


async def test_a_run_is_noted_from_its_logs_to_its_result(store: Store, dispatch: Callable[..., Dispatcher]) -> None:
    job = await add_job(store)
    dispatch(PlayedPool([Started(), Heartbeat(), Log(text="a\n"), Log(text="b\n"), DONE]))
    assert (await when(store, job, JobState.COMPLETED)).metrics.seconds == 1
    assert await store.documents.result(job) == b"result"
    assert "a\n" in await store.documents.log(job)


async def test_how_far_a_run_is_is_noted_while_it_goes_on(store: Store, dispatch: Callable[..., Dispatcher]) -> None:
    job, progress = await add_job(store), Progress(done=1, total=4, seconds=20)
    dispatch(PlayedPool([Started(), Log(text="", progress=progress), None]))
    async with asyncio.timeout(30):
        while (await store.jobs.get(ME, job)).progress != progress:  # noqa: ASYNC110 - the store tells nobody
            await asyncio.sleep(0.01)
    assert await store.documents.log(job) == ""


PROBLEMS = [OperationalError("UPDATE", {}, ConnectionError("the database restarts")), StoreUnavailableError("away")]


@pytest.mark.parametrize("problem", [*PROBLEMS, StoreFullError("no room")])
async def test_a_run_goes_on_whose_progress_could_not_be_noted(
    store: Store,
    dispatch: Callable[..., Dispatcher],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    problem: Exception,
) -> None:
    monkeypatch.setattr(store.queue, "note_progress", AsyncMock(side_effect=problem))
    job = await add_job(store)
    play: list[Any] = [Started(), *(Log(text="", progress=Progress(done=done, total=4)) for done in range(3)), DONE]
    pool = PlayedPool(play)
    dispatch(pool)
    assert (await when(store, job, JobState.COMPLETED)).fence == 1
    assert pool.log == ["run 1"]
    (line,) = [record for record in caplog.records if "How far" in record.getMessage()]
    assert str(problem) in line.getMessage()
    assert bool(line.exc_info) == isinstance(problem, OperationalError), "what may be a mistake here has its traceback"


@pytest.mark.parametrize("problem", PROBLEMS)
async def test_a_result_is_held_while_the_store_is_away(
    store: Store, dispatch: Callable[..., Dispatcher], monkeypatch: pytest.MonkeyPatch, problem: Exception
) -> None:
    finish, calls = store.queue.finish, []

    async def away(*arguments: Any) -> bool:
        calls.append(arguments)
        if len(calls) < 4:
            raise problem
        return await finish(*arguments)

    monkeypatch.setattr(store.queue, "finish", away)
    job = await add_job(store)
    pool = PlayedPool([DONE])
    dispatch(pool)
    await when(store, job, JobState.COMPLETED)
    assert len(calls) == 4
    assert pool.log == ["run 1"]


async def test_a_result_that_finds_no_room_fails_the_job_and_does_not_run_it_again(
    store: Store, dispatch: Callable[..., Dispatcher], monkeypatch: pytest.MonkeyPatch
) -> None:
    finish = store.queue.finish

    async def full(claim: Claim, outcome: Outcome, result: bytes | None) -> bool:
        if result is not None:
            raise StoreFullError("The disk of the database is full.")
        return await finish(claim, outcome, result)

    monkeypatch.setattr(store.queue, "finish", full)
    monkeypatch.setattr(store_calls, "_INSIST_ON_ROOM_SECONDS", 0.2)
    job = await add_job(store)
    pool = PlayedPool([DONE])
    dispatch(pool)
    failed = await when(store, job, JobState.FAILED)
    assert failed.reason == "The result, 6 bytes, could not be stored: The disk of the database is full."
    assert failed.metrics.seconds == 1
    assert pool.log == ["run 1"]


async def test_a_job_that_arrives_is_not_waited_for_by_polling(
    store: Store, dispatch: Callable[..., Dispatcher], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dispatcher_module, "_POLL_SECONDS", 60)
    dispatch(PlayedPool([DONE]))
    await asyncio.sleep(0.3)
    await when(store, await add_job(store), JobState.COMPLETED)


async def test_nothing_is_claimed_after_the_last_job(
    store: Store, dispatch: Callable[..., Dispatcher], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dispatcher_module, "_POLL_SECONDS", 60)
    found, claim = [], store.queue.claim

    async def noted(*arguments: Any, **options: Any) -> Claim | None:
        found.append(await claim(*arguments, **options))
        return found[-1]

    monkeypatch.setattr(store.queue, "claim", noted)
    jobs = [await add_job(store, name) for name in ("first", "second", "third")]
    dispatch(PlayedPool([DONE], [DONE], [DONE]))
    for job in jobs:
        await when(store, job, JobState.COMPLETED)
    await asyncio.sleep(0.1)
    assert [claim and claim.job.id for claim in found] == jobs


@pytest.mark.slow
async def test_jobs_of_other_replicas_are_looked_for_once_for_many_signals(
    state: State, store: Store, dispatch: Callable[..., Dispatcher], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dispatcher_module, "_POLL_SECONDS", 60)
    monkeypatch.setattr(dispatcher_module, "_OTHERS_FIRST_SECONDS", 1)
    claim, claims = store.queue.claim, 0
    answered = asyncio.Event()

    async def counted(*arguments: Any, **options: Any) -> Claim | None:
        nonlocal claims
        claims += 1
        found = await claim(*arguments, **options)
        answered.set()
        return found

    monkeypatch.setattr(store.queue, "claim", counted)
    dispatch(PlayedPool([DONE]))
    await answered.wait()
    for _ in range(100):
        state.hub.announce(Queued(executor=NAME, elsewhere=True))
    await asyncio.sleep(2)
    assert claims == 2
    announce = state.hub.announce
    monkeypatch.setattr(state.hub, "announce", lambda _signal: None)
    job = await add_job(store)
    monkeypatch.setattr(state.hub, "announce", announce)
    state.hub.announce(Queued(executor=NAME, elsewhere=True))
    await when(store, job, JobState.COMPLETED)


async def test_a_job_that_is_handed_back_runs_again_and_has_lost_nothing(
    store: Store, dispatch: Callable[..., Dispatcher]
) -> None:
    job = await add_job(store)
    pool = PlayedPool([Started(), HandedBack()], [DONE])
    dispatch(pool)
    ended = await when(store, job, JobState.COMPLETED)
    assert pool.log == ["run 1", "run 2"]
    assert (ended.losses, ended.worker_deaths) == (0, 0)


async def test_losses_are_counted_and_the_next_try_comes_later_each_time(
    store: Store, dispatch: Callable[..., Dispatcher]
) -> None:
    job = await add_job(store)
    start = time.monotonic()
    dispatch(PlayedPool([Started(), RunLost("gone")], [RunLost("gone")], [DONE]))
    ended = await when(store, job, JobState.COMPLETED)
    assert (ended.losses, ended.worker_deaths) == (2, 0)
    assert time.monotonic() - start >= 1, "0 s after the first, 1 s after the second"


async def test_a_job_of_a_dispatcher_that_was_lost_is_followed_where_it_runs(
    store: Store, dispatch: Callable[..., Dispatcher]
) -> None:
    job = await add_job(store)
    await store.queue.claim(NAME, HOLDER, lease=timedelta(0))
    pool = PlayedPool([DONE])
    dispatch(pool)
    ended = await when(store, job, JobState.COMPLETED)
    assert pool.log == ["follow 2"]
    assert ended.losses == 0


async def test_a_followed_job_that_is_gone_goes_back_to_the_queue(
    store: Store, dispatch: Callable[..., Dispatcher]
) -> None:
    job = await add_job(store)
    await store.queue.claim(NAME, HOLDER, lease=timedelta(0))
    pool = PlayedPool([RunLost("gone")], [DONE])
    dispatch(pool)
    assert (await when(store, job, JobState.COMPLETED)).losses == 1
    assert pool.log == ["follow 2", "run 3"]


async def test_draining_hands_over_to_another_dispatcher_at_once(
    store: Store, dispatch: Callable[..., Dispatcher]
) -> None:
    job = await add_job(store)
    first, second = PlayedPool([Started(), None]), PlayedPool([DONE])
    draining = dispatch(first)
    await when_logged(first, "run 1")
    await draining.drain(timedelta(seconds=60))
    assert first.log == ["run 1", "left"]
    dispatch(second)
    await when(store, job, JobState.COMPLETED)
    assert second.log == ["follow 2"]


async def test_draining_ends_while_the_store_is_away(
    store: Store, dispatch: Callable[..., Dispatcher], monkeypatch: pytest.MonkeyPatch
) -> None:
    calls, begun = 0, asyncio.Event()

    async def away(*_: Any, **__: Any) -> Claim | None:
        nonlocal calls
        calls += 1
        begun.set()
        await asyncio.sleep(0.2)
        raise StoreUnavailableError("away")

    monkeypatch.setattr(store.queue, "claim", away)
    draining = dispatch(PlayedPool([DONE]))
    await begun.wait()
    async with asyncio.timeout(30):
        await draining.drain(timedelta(0))
    assert calls == 1


async def test_a_job_that_is_taken_over_in_the_moment_of_draining_is_let_go_at_once(
    store: Store, dispatch: Callable[..., Dispatcher], monkeypatch: pytest.MonkeyPatch
) -> None:
    job = await add_job(store)
    claim = await store.queue.claim(NAME, HOLDER, lease=timedelta(0))
    assert claim
    take_over, begun = store.queue.take_over, asyncio.Event()

    async def slow(*arguments: Any, **settings: Any) -> Claim | None:
        begun.set()
        await asyncio.sleep(0.2)
        return await take_over(*arguments, **settings)

    monkeypatch.setattr(store.queue, "take_over", slow)
    draining = dispatch(PlayedPool())
    await begun.wait()
    await draining.drain(timedelta(0))
    monkeypatch.setattr(store.queue, "take_over", take_over)
    second = PlayedPool([DONE])
    dispatch(second)
    await when(store, job, JobState.COMPLETED)
    assert second.log == ["follow 3"]


async def test_a_cancelled_job_is_ended_here_or_wherever_it_runs(
    store: Store, dispatch: Callable[..., Dispatcher]
) -> None:
    job = await add_job(store)
    pool = PlayedPool([Started(), None])
    dispatcher = dispatch(pool)
    await when_logged(pool, "run 1")
    await store.jobs.cancel(ME, job, reason="asked for")
    dispatcher.end_run(job)
    dispatcher.end_run(JobId("of another replica"))
    await when_logged(pool, "run 1", "end everywhere", "ended")
    assert (await store.jobs.get(ME, job)).state is JobState.CANCELLED


async def test_a_run_whose_claim_is_void_is_ended(store: Store, dispatch: Callable[..., Dispatcher]) -> None:
    job = await add_job(store)
    pool = PlayedPool([Started(), None])
    dispatch(pool, lease=3)
    await when_logged(pool, "run 1")
    await store.jobs.cancel(ME, job, reason="asked for elsewhere")
    await when_logged(pool, "run 1", "ended")


async def test_a_run_that_ends_badly_leaves_its_slot_free(store: Store, dispatch: Callable[..., Dispatcher]) -> None:
    jobs = [await add_job(store, f"job {number}") for number in range(3)]
    failed = Failed(reason="no", code=1)
    dispatch(PlayedPool([failed], [failed], [failed]))
    for job in jobs:
        assert (await when(store, job, JobState.FAILED)).reason == "no"


async def run_long_elsewhere(store: Store) -> Claim:
    """Have another dispatcher run a job that is known as long."""
    await add_job(store, "elsewhere")
    claim = await store.queue.claim(NAME, HOLDER, lease=timedelta(seconds=30))
    assert claim is not None
    assert await store.queue.found_long(claim, long_slots=1)
    return claim


def with_lane(store: Store, pool: PlayedPool, seconds: float) -> Dispatcher:
    """Return a dispatcher that keeps one of two slots for jobs that take less than `seconds`."""
    pool.size = 2
    return Dispatcher(
        store,
        {NAME: pool},
        JobMetrics(CollectorRegistry()),
        ByteBudget(1 << 20),
        lease=timedelta(seconds=30),
        short=timedelta(seconds=seconds),
    )


@pytest.mark.parametrize(
    ("seconds", "play"), [(0.2, [Started(), None]), (60, [Started(), Log(text="", expected_seconds=300), None])]
)
async def test_a_run_that_turns_out_to_be_long_goes_on_later_if_as_many_long_ones_run_as_may(
    store: Store, seconds: float, play: list[Any]
) -> None:
    elsewhere = await run_long_elsewhere(store)
    job = await add_job(store)
    pool = PlayedPool(play, [DONE])
    dispatcher = with_lane(store, pool, seconds)
    dispatcher.start()
    try:
        await when_logged(pool, "run 1", "ended")
        back = await store.jobs.get(ME, job)
        assert (back.state, back.losses, back.worker_deaths) == (JobState.QUEUED, 0, 0)
        assert back.long_since is not None
        assert "no short one" in await store.documents.log(job)
        await store.queue.finish(elsewhere, Outcome(state=JobState.COMPLETED), None)
        assert (await when(store, job, JobState.COMPLETED)).fence == 2
    finally:
        await dispatcher.drain(timedelta(0))


async def test_a_long_run_goes_on_where_a_slot_is_free_for_it(store: Store) -> None:
    job = await add_job(store)
    dispatcher = with_lane(store, PlayedPool([Started(), None]), 0.1)
    dispatcher.start()
    try:
        async with asyncio.timeout(30):
            while (await store.jobs.get(ME, job)).long_since is None:  # noqa: ASYNC110 - the store tells nobody
                await asyncio.sleep(0.01)
        await asyncio.sleep(0.1)
        assert (await store.jobs.get(ME, job)).state is JobState.RUNNING
    finally:
        await dispatcher.drain(timedelta(0))


async def test_an_estimate_within_the_patience_with_estimates_is_left_to_the_clock(store: Store) -> None:
    await run_long_elsewhere(store)
    job = await add_job(store)
    dispatcher = with_lane(store, PlayedPool([Log(text="", expected_seconds=200), DONE]), 60)
    dispatcher.start()
    try:
        assert (await when(store, job, JobState.COMPLETED)).fence == 1
    finally:
        await dispatcher.drain(timedelta(0))


class Forbidding:
    """Allowances that let nothing start."""

    async def of(self, _: Job) -> Refusal:
        return Refusal(reason="not today")

    async def refusal(self, _: HeldJobs) -> Refusal:
        return Refusal(reason="not today")


async def test_a_job_that_may_not_start_is_held_and_says_why(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    job, pool = await add_job(store), PlayedPool()
    allowances: Any = Forbidding()
    dispatcher = Dispatcher(
        store,
        {NAME: pool},
        JobMetrics(CollectorRegistry()),
        ByteBudget(1 << 20),
        lease=timedelta(seconds=30),
        allowances=allowances,
    )
    dispatcher.start()
    try:
        async with asyncio.timeout(30):
            while (await store.documents.log(job)) == "":  # noqa: ASYNC110 - the store tells nobody
                await asyncio.sleep(0.01)
        held = await store.jobs.get(ME, job)
        assert (held.state, held.held) == (JobState.QUEUED, "Held: not today.")
        assert await store.documents.log(job) == "Held: not today.\n"
        assert pool.log == []
        assert any(
            "held: account me, sampler on fake_manila@played. Held: not today." in line for line in caplog.messages
        )
        assert not any("started" in line for line in caplog.messages)
    finally:
        await dispatcher.drain(timedelta(0))
