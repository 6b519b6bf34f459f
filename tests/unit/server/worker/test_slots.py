"""Slots and their worker processes, with real processes."""

import asyncio
import json
import os
import re
import signal
import time
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from pathlib import Path

import msgspec
import pytest
from qiskit import QuantumCircuit
from qiskit.primitives.containers.sampler_pub import SamplerPub
from qiskit_ibm_runtime import RuntimeEncoder

from kit.faults.scripted_executor import (
    AbortingExecutor,
    BrokenExecutor,
    GpuExecutor,
    GreedyExecutor,
    ScriptedExecutor,
)
from kit.server.cluster_processes import is_alive
from qiskit_runtime_server.backends.catalog import Catalog
from qiskit_runtime_server.byte_budget import ByteBudget
from qiskit_runtime_server.errors import OutOfMemoryError, StartupError
from qiskit_runtime_server.executors import BaseExecutor
from qiskit_runtime_server.machine import Cores
from qiskit_runtime_server.messages.messages import (
    PREDICTION,
    Candidate,
    Capabilities,
    Completed,
    Event,
    Failed,
    HandedBack,
    Heartbeat,
    Log,
    Started,
    Task,
)
from qiskit_runtime_server.worker.child import WorkerSpec
from qiskit_runtime_server.worker.confinement import bounds
from qiskit_runtime_server.worker.slots import Slot, Slots

pytestmark = pytest.mark.slow

MIB = 1024**2


def task(name: str, *, seconds: float = 60, shots: int = 8, bits: int = 2, account: str = "") -> Task:
    circuit = QuantumCircuit(2, bits, name=name)
    circuit.measure(0, 0)
    pub = SamplerPub.coerce((circuit, None, shots))
    params = {"pubs": [[pub.circuit, [], shots]], "options": {}, "version": 2, "support_qiskit": True}
    return Task(
        job_id="job",
        fence=1,
        program_id="sampler",
        backend_name="fake_manila@scripted",
        calibration_digest=Catalog().get("fake_manila", ideal_qubits=5).digest,
        seed=1,
        seconds=seconds,
        account=account,
        params=json.dumps(params, cls=RuntimeEncoder).encode(),
    )


async def ends(slot: Slot, work: Task) -> list[Event]:
    async with aclosing(slot.run(work)) as events:
        return [event async for event in events]


@asynccontextmanager
async def started(
    count: int, *, shared: bool | None = None, executor: BaseExecutor | None = None, cores: int = 1, kept: int = 0
) -> AsyncIterator[Slots]:
    spec = WorkerSpec(executor=executor or ScriptedExecutor(), memory_bytes=512 * MIB, threads=1, shared=shared)
    pool = Slots(spec, count, ByteBudget(MIB), cores=Cores(cores), kept=kept)
    await pool.start()
    yield pool
    await pool.stop()


@pytest.fixture
async def slots() -> AsyncIterator[Slots]:
    """Return a single slot, as each worker takes two seconds to start."""
    async with started(1) as pool:
        yield pool


@pytest.fixture
async def two_slots() -> AsyncIterator[Slots]:
    async with started(2) as pool:
        yield pool


async def test_a_job_starts_and_completes(slots: Slots) -> None:
    slot = await slots.reserve()
    events = await ends(slot, task("zeros"))
    assert isinstance(events[0], Started)
    assert isinstance(events[-1], Completed)
    assert events[-1].metrics.executions == 8
    assert json.loads(events[-1].result)["__type__"] == "PrimitiveResult"
    assert events[-1].metrics.slot_seconds is not None
    assert events[-1].metrics.slot_seconds >= events[-1].metrics.seconds > 0


async def test_ctrl_c_which_reaches_the_whole_process_group_ends_no_worker(slots: Slots) -> None:
    slot = await slots.reserve()
    pid = slot.pid
    assert pid is not None
    os.kill(pid, signal.SIGINT)
    assert isinstance((await ends(slot, task("zeros")))[-1], Completed)
    assert slot.pid == pid


async def test_a_large_result_waits_for_room_in_the_parent_while_the_slot_shows_signs_of_life(slots: Slots) -> None:
    slot = await slots.reserve()
    with slots.budget.share() as other:
        await other.hold(MIB)
        async with aclosing(slot.run(task("large 500000"))) as events:
            assert isinstance(await anext(events), Started)
            assert isinstance(await anext(events), Heartbeat)
            assert isinstance(await anext(events), Heartbeat)
            other.clear()
            last = [event async for event in events][-1]
    assert isinstance(last, Completed)
    assert len(last.result) > 500_000
    assert slots.budget.held == 0


async def test_a_job_is_killed_also_while_its_result_waits_for_room(slots: Slots) -> None:
    slot = await slots.reserve()
    pid = slot.pid
    assert pid is not None
    with slots.budget.share() as other:
        await other.hold(MIB)
        async with aclosing(slot.run(task("large 500000"))) as events:
            assert isinstance(await anext(events), Started)
            assert isinstance(await anext(events), Heartbeat)
        assert not is_alive(pid)
    assert slots.budget.held == 0


async def test_a_job_that_ends_its_worker_while_it_is_decoded_is_not_tried_again() -> None:
    async with started(1, executor=AbortingExecutor()) as slots:
        *_, last = await ends(await slots.reserve(), task("zeros"))
    assert isinstance(last, Failed)
    assert not last.worker_died
    assert "SIGABRT when it decoded the job" in last.reason


@pytest.mark.parametrize("fault", ["abort", "die"])
async def test_a_worker_that_ends_later_costs_the_job_an_attempt(slots: Slots, fault: str) -> None:
    *_, last = await ends(await slots.reserve(), task(fault))
    assert isinstance(last, Failed)
    assert last.worker_died


async def test_a_slot_keeps_its_warm_worker(slots: Slots) -> None:
    slot = await slots.reserve()
    pid = slot.pid
    await ends(slot, task("zeros"))
    await ends(slot, task("refuse"))
    assert slot.pid == pid


async def pid_of_run(slot: Slot, account: str, name: str = "zeros") -> int:
    """Run a job of an account, and return in which worker."""
    *_, last = await ends(slot, task(name, account=account))
    assert isinstance(last, Completed)
    return slot.pid or 0


def is_paused(pid: int) -> bool:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"


async def until_paused(pid: int) -> None:
    async with asyncio.timeout(20):
        while not is_paused(pid):  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.01)


async def until_gone(pid: int) -> None:
    async with asyncio.timeout(20):
        while is_alive(pid):  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.01)
    # The loop hears of it in its next turn.
    await asyncio.sleep(0.01)


async def test_two_accounts_never_share_a_worker_and_one_that_has_no_place_to_wait_is_ended(slots: Slots) -> None:
    slot = await slots.reserve()
    first = await pid_of_run(slot, "ada")
    assert await pid_of_run(slot, "ada") == first
    assert await pid_of_run(slot, "bob") != first
    await until_gone(first)


async def test_accounts_that_take_turns_keep_their_workers_which_are_paused_meanwhile() -> None:
    async with started(1, kept=1) as pool:
        slot = await pool.reserve()
        ada = await pid_of_run(slot, "ada")
        bob = await pid_of_run(slot, "bob")
        assert ada != bob
        await until_paused(ada)
        assert await pid_of_run(slot, "ada") == ada
        await until_paused(bob)
        assert await pid_of_run(slot, "bob") == bob
        # One that was killed meanwhile is no fault of the next job.
        os.kill(ada, signal.SIGKILL)
        await until_gone(ada)
        assert await pid_of_run(slot, "ada") not in {ada, bob}
        assert await pid_of_run(slot, "eve") not in {ada, bob}
    assert not is_alive(bob)


async def test_an_account_has_its_worker_in_whichever_slot_its_job_comes() -> None:
    async with started(2) as pool:
        one, two = await pool.reserve(), await pool.reserve()
        ada, bob = await pid_of_run(one, "ada"), await pid_of_run(two, "bob")
        assert await pid_of_run(one, "bob") == bob
        assert await pid_of_run(two, "ada") == ada
        async with aclosing(one.run(task("nap", account="ada"))) as running:
            assert isinstance(await anext(running), Started)
            assert await pid_of_run(two, "ada") not in {ada, bob}, "that one is busy"


async def test_a_worker_that_holds_on_to_much_memory_is_not_kept() -> None:
    async with started(1, kept=1) as pool:
        slot = await pool.reserve()
        hoarder = await pid_of_run(slot, "ada", "hoard")
        await pid_of_run(slot, "bob")
        await until_gone(hoarder)


async def test_a_kept_worker_that_has_taken_more_than_it_may_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    async with started(1, kept=1) as pool:
        slot = await pool.reserve()
        greedy = await pid_of_run(slot, "ada")
        await pid_of_run(slot, "bob")
        monkeypatch.setattr(bounds, "MOST_THREADS", 0)
        await until_gone(greedy)


async def test_a_job_that_gets_no_worker_goes_back_to_the_queue(slots: Slots, monkeypatch: pytest.MonkeyPatch) -> None:
    async def fail() -> None:
        raise StartupError("there is no memory")

    slot = await slots.reserve()
    await ends(slot, task("zeros", account="ada"))
    with monkeypatch.context() as broken:
        broken.setattr(slot, "start", fail)
        assert [type(event) for event in await ends(slot, task("zeros", account="bob"))] == [HandedBack]
    slot.release()
    *_, last = await ends(await slots.reserve(), task("zeros", account="bob"))
    assert isinstance(last, Completed)


@pytest.mark.parametrize(("shared", "executor"), [(True, ScriptedExecutor()), (None, GpuExecutor())])
async def test_accounts_share_a_worker_if_that_is_wanted_or_it_has_a_gpu(
    *, shared: bool | None, executor: BaseExecutor
) -> None:
    async with started(1, shared=shared, executor=executor) as pool:
        slot = await pool.reserve()
        assert await pid_of_run(slot, "ada") == await pid_of_run(slot, "bob")


@pytest.mark.parametrize("name", ["stumble", "panic"])
async def test_a_worker_whose_simulator_failed_runs_no_other_job(slots: Slots, name: str) -> None:
    """Aer has left a damaged heap behind, which ended the process during the next job."""
    slot = await slots.reserve()
    pid = slot.pid or 0
    *_, last = await ends(slot, task(name))
    assert isinstance(last, Failed)
    assert last.worker_unfit
    assert not last.worker_died, "the job has failed for good"
    assert not is_alive(pid)
    slot.release()
    assert await slots.reserve() is slot
    assert slot.pid != pid
    assert isinstance((await ends(slot, task("zeros")))[-1], Completed)


async def test_a_simulation_that_never_returns_fails_its_job_after_its_own_limit(slots: Slots) -> None:
    slot = await slots.reserve()
    start = time.monotonic()
    *_, last = await ends(slot, task("hang"))
    assert isinstance(last, Failed)
    assert "seemed to go on for ever" in last.reason
    assert not last.worker_died, "it would hang again"
    # By itself it takes 60 s.
    assert time.monotonic() - start < 20
    slot.release()
    assert isinstance((await ends(await slots.reserve(), task("end in time")))[-1], Completed)


async def test_a_run_has_the_cores_of_slots_that_are_idle_when_it_starts() -> None:
    async with started(2, cores=4) as slots:
        first, second = await slots.reserve(), await slots.reserve()
        alone = await ends(first, task("count threads"))
        both = await asyncio.gather(*(ends(slot, task("count threads")) for slot in (first, second)))
        last = await ends(second, task("count threads"))
    assert [most_threads(events) for events in (alone, *both, last)] == [4, 4, 2, 4]


def most_threads(events: list[Event]) -> int:
    """Return how many threads there are at most for a product of matrices."""
    assert isinstance(events[-1], Completed)
    threads: list[int] = json.loads(events[-1].result)["__value__"]["metadata"]["threads"]
    return max(threads)


async def test_a_mistake_of_the_program_is_a_reason_and_a_traceback_in_the_log(slots: Slots) -> None:
    events = await ends(await slots.reserve(), task("stumble"))
    assert isinstance(events[-1], Failed)
    assert events[-1].reason == "RuntimeError: a plug-in's own mistake"
    assert not events[-1].worker_died
    assert any(isinstance(event, Log) and "execute_sampler" in event.text for event in events)


@pytest.mark.parametrize(("name", "how"), [("die", "was killed by SIGKILL"), ("exit", "ended with exit code 3")])
async def test_a_worker_that_dies_fails_the_run_and_is_replaced(slots: Slots, name: str, how: str) -> None:
    slot = await slots.reserve()
    pid = slot.pid
    events = await ends(slot, task(name))
    assert isinstance(events[-1], Failed)
    assert events[-1].worker_died
    assert how in events[-1].reason
    slot.release()
    assert await slots.reserve() is slot
    assert slot.pid != pid
    assert isinstance((await ends(slot, task("zeros")))[-1], Completed)


async def test_a_job_that_needs_more_memory_than_its_slot_has_fails_alone(two_slots: Slots) -> None:
    slot, neighbour = await two_slots.reserve(), await two_slots.reserve()
    failed, completed = await asyncio.gather(ends(slot, task("hog")), ends(neighbour, task("zeros")))
    assert isinstance(failed[-1], Failed)
    assert "memory" in failed[-1].reason
    assert not failed[-1].worker_died
    assert isinstance(completed[-1], Completed)
    assert isinstance((await ends(slot, task("zeros")))[-1], Completed)


@pytest.mark.parametrize(("verb", "what"), [("start", "threads"), ("write", "files")])
async def test_a_job_that_takes_more_than_a_worker_may_fails_at_once_and_its_worker_is_replaced(
    verb: str, what: str
) -> None:
    async with started(1, executor=GreedyExecutor()) as slots:
        slot = await slots.reserve()
        failed = (await ends(slot, task(f"{verb} {what} without end")))[-1]
        slot.release()
        assert isinstance(failed, Failed)
        assert not failed.worker_died
        assert re.fullmatch(rf"The worker process was ended, as it had more than [\d,]+ {what}\.", failed.reason)
        assert isinstance((await ends(await slots.reserve(), task("zeros")))[-1], Completed)


@pytest.mark.parametrize("name", ["sleep", "hold the interpreter lock"])
async def test_a_job_over_its_time_is_killed_with_the_code_that_clients_know(slots: Slots, name: str) -> None:
    slot = await slots.reserve()
    start = time.monotonic()
    events = await ends(slot, task(name, seconds=0.5))
    assert isinstance(events[-1], Failed)
    assert events[-1].code == 1305
    # The job itself takes 60 s.
    assert 0.5 <= events[-1].metrics.seconds <= time.monotonic() - start < 20


async def test_heartbeats_come_while_the_worker_is_busy(slots: Slots) -> None:
    events = await ends(await slots.reserve(), task("hold the interpreter lock", seconds=5.9))
    assert sum(isinstance(event, Heartbeat) for event in events) == 2


async def test_leaving_a_run_kills_its_process_at_once(slots: Slots) -> None:
    slot = await slots.reserve()
    pid = slot.pid or 0
    run = asyncio.create_task(ends(slot, task("hold the interpreter lock")))
    await asyncio.sleep(0.3)
    start = time.monotonic()
    run.cancel()
    with pytest.raises(asyncio.CancelledError):
        await run
    assert not is_alive(pid)
    assert time.monotonic() - start < 20, "by itself the job takes 60 s"


async def test_the_slot_of_a_cancelled_job_is_free_again_in_a_fraction_of_a_second(slots: Slots) -> None:
    """A process that began with imports would take two; of a processor, as others may keep this machine busy."""
    times = []
    for _ in range(5):
        slot = await slots.reserve()
        async with aclosing(slot.run(task("hold the interpreter lock"))) as events:
            assert isinstance(await anext(events), Started)
        slot.release()
        assert await slots.reserve() is slot
        times.append(used_ticks(slot.pid or 0) / os.sysconf("SC_CLK_TCK"))
        slot.release()
    assert min(times) < 0.3, times


async def test_stopping_leaves_no_process(two_slots: Slots) -> None:
    workers = [await two_slots.reserve(), await two_slots.reserve()]
    pids = [slot.pid or 0 for slot in workers]
    run = asyncio.create_task(ends(workers[0], task("sleep")))
    await asyncio.sleep(0.2)
    await two_slots.stop()
    await run
    assert not any(is_alive(pid) for pid in pids)


async def test_only_idle_slots_are_handed_out(two_slots: Slots) -> None:
    first, second = await two_slots.reserve(), await two_slots.reserve()
    assert first is not second
    assert two_slots.idle == 0
    waiting = asyncio.create_task(two_slots.reserve())
    await asyncio.sleep(0.05)
    assert not waiting.done()
    second.release()
    assert await asyncio.wait_for(waiting, 20) is second


async def test_a_worker_that_is_killed_while_idle_is_noticed_by_its_next_job(slots: Slots) -> None:
    slot = await slots.reserve()
    os.kill(slot.pid or 0, signal.SIGKILL)
    events = await ends(slot, task("zeros"))
    assert isinstance(events[-1], Failed)
    assert events[-1].worker_died


async def test_a_worker_that_is_killed_while_its_slot_is_free_costs_no_job_anything(two_slots: Slots) -> None:
    both = [await two_slots.reserve(), await two_slots.reserve()]
    for slot in both:
        slot.release()
    os.kill(both[0].pid or 0, signal.SIGKILL)
    async with asyncio.timeout(20):
        while both[0].usable:  # noqa: ASYNC110 - nobody is told
            await asyncio.sleep(0.01)
    assert await two_slots.reserve() is both[1]
    async with asyncio.timeout(60):
        assert isinstance((await ends(await two_slots.reserve(), task("zeros")))[-1], Completed)


async def test_large_results_pass(slots: Slots) -> None:
    events = await ends(await slots.reserve(), task("zeros", shots=100_000, bits=1600))
    assert isinstance(events[-1], Completed)


async def until_blocked(pid: int, begin: int) -> None:
    """Return when a process has worked since it had used so many ticks, and does no more."""
    before = 0
    while (now := used_ticks(pid)) == begin or now != before:
        before = now
        await asyncio.sleep(0.5)


def used_ticks(pid: int) -> int:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


async def test_a_worker_that_is_killed_while_it_sends_a_large_result_does_not_hold_up_its_neighbour(
    two_slots: Slots,
) -> None:
    sender, neighbour = await two_slots.reserve(), await two_slots.reserve()
    pid = sender.pid or 0
    begin = used_ticks(pid)
    async with aclosing(sender.run(task("noise", shots=100_000, bits=800))) as events:
        assert isinstance(await anext(events), Started)
        # Nobody asks for the rest, so the worker is stuck in the midst of it.
        await until_blocked(pid, begin)
        assert isinstance((await ends(neighbour, task("zeros")))[-1], Completed)
        os.kill(pid, signal.SIGKILL)
        assert isinstance((await ends(neighbour, task("zeros")))[-1], Completed)
        *_, last = [event async for event in events]
    assert isinstance(last, Failed)
    assert last.worker_died
    sender.release()
    assert isinstance((await ends(await two_slots.reserve(), task("noise", shots=100_000, bits=800)))[-1], Completed)


async def test_an_executor_that_does_not_come_up_is_an_error_at_start() -> None:
    pool = Slots(WorkerSpec(executor=BrokenExecutor(), memory_bytes=None, threads=1), 1, ByteBudget(MIB))
    with pytest.raises(StartupError, match="did not start"):
        await pool.start()
    await pool.stop()


def look(job: Task, program: str = "sampler") -> Task:
    """Return a task in which a job is only looked at."""
    own = Candidate(executor="scripted", capabilities=Capabilities(num_qubits=5), asked=True)
    return msgspec.structs.replace(job, program_id=f"{PREDICTION}:{program}", candidates=(own,), run_seconds=60.0)


async def test_jobs_are_looked_at_beside_a_busy_slot_by_a_worker_that_stays_while_there_are_some(slots: Slots) -> None:
    slot = await slots.reserve()
    async with aclosing(slot.run(task("sleep"))) as running:
        assert isinstance(await anext(running), Started)
        place = await slots.reserve_look()
        assert place.pid is None
        for _ in range(2):
            assert isinstance((await ends(place, look(task("zeros"))))[-1], Completed)
        pid = place.pid
        assert pid is not None
        # A worker that is killed meanwhile is no fault of the next job.
        os.kill(pid, signal.SIGKILL)
        while place.usable:  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.01)
        place.release()
        assert await slots.reserve_look() is place
        assert isinstance((await ends(place, look(task("zeros"))))[-1], Completed)
    assert place.pid != pid


async def test_the_worker_for_looks_has_little_memory_and_goes_when_there_are_none(
    slots: Slots, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("qiskit_runtime_server.worker.slots._LOOK_KEPT_SECONDS", 0.1)
    place = await slots.reserve_look()
    for params in (b" " * (33 * MIB), b'{"pubs": [' + b"[]," * (10 * MIB) + b"[]]}"):
        failed = (await ends(place, msgspec.structs.replace(look(task("zeros"), "executor"), params=params)))[-1]
        assert isinstance(failed, Failed)
        assert (failed.code, failed.worker_died) == (OutOfMemoryError.code, False)
    pid = place.pid
    assert pid is not None
    async with asyncio.timeout(10):
        while is_alive(pid):  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.05)
    assert place.pid is None


async def test_a_place_for_looks_that_gets_no_worker_rests_before_the_next_try(
    slots: Slots, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = await slots.reserve_look()

    async def fail() -> None:
        raise StartupError

    monkeypatch.setattr(place, "start", fail)
    assert isinstance((await ends(place, look(task("zeros"))))[-1], HandedBack)
    begin = time.monotonic()
    place.release()
    assert await slots.reserve_look() is place
    assert time.monotonic() - begin > 0.4
