"""Jobs go from the queue where they wait for a choice to that of an executor, and on to another: on every store."""

import asyncio
from collections.abc import Callable
from datetime import timedelta

from kit.server.store_calls import AER, HERE, LEASE, added, claimed
from qiskit_runtime_server.accounts.limits import AccountLimits
from qiskit_runtime_server.backends.names import AUTO, ExecutorName
from qiskit_runtime_server.jobs import AccountId, Job, JobState, Outcome, RetryReason, Session
from qiskit_runtime_server.messages.messages import Metrics, Prediction, Routing
from qiskit_runtime_server.store.port import Queued, QueuedTime, Store

QSIM = ExecutorName("qsim")
ALICE = AccountId("alice")
ROUTING = Routing(predictions={AER: Prediction(seconds=13.0), QSIM: Prediction(seconds=1.5)})

NewJob = Callable[..., Job]


async def routed(store: Store, job: Job, executor: ExecutorName = QSIM, routing: Routing = ROUTING) -> Job:
    """Add a job that leaves its executor to the server, and choose one."""
    await store.jobs.add(job, b"{}")
    claim = await claimed(store, AUTO)
    assert claim.job.id == job.id
    found = await store.queue.route(claim, executor, routing)
    assert found is not None
    return found


async def test_a_routed_job_waits_on_its_executor_and_says_why(store: Store, new_job: NewJob) -> None:
    job = await routed(store, new_job(executor=AUTO, backend="fake_manila@auto"))
    assert (job.executor, job.state, job.started, job.routing) == (QSIM, JobState.QUEUED, None, ROUTING)
    assert job.predicted_seconds == 1.5
    assert await store.jobs.get(ALICE, job.id) == job
    loads = await store.counts.load()
    assert (loads[AUTO].queued, loads[AUTO].running, loads[QSIM].queued) == (0, 0, 1)
    assert await store.queue.claim(AUTO, HERE, lease=LEASE) is None
    again = await claimed(store, QSIM)
    assert (again.job.id, again.job.fence, again.job.routing) == (job.id, 2, ROUTING)


async def test_time_counts_for_the_executor_that_ran_and_not_for_the_look(store: Store, new_job: NewJob) -> None:
    await routed(store, new_job(executor=AUTO))
    claim = await claimed(store, QSIM)
    await store.queue.finish(claim, Outcome(state=JobState.COMPLETED, metrics=Metrics(seconds=2.0)), b"{}")
    today = (await store.jobs.get(ALICE, claim.job.id)).finished
    assert today is not None
    day = today.date()
    used = await store.counts.usage(day - timedelta(days=1), day + timedelta(days=1))
    assert [(each.executor, each.seconds, each.jobs) for each in used] == [(QSIM, 2.0, 1)]


async def test_it_keeps_its_place_by_age_and_its_accounts_limits(store: Store, new_job: NewJob) -> None:
    first, second, third = new_job(executor=AUTO), new_job(executor=QSIM), new_job(executor=AUTO)
    await store.jobs.add(first, b"{}", AccountLimits(running=2))
    await added(store, second)
    await store.jobs.add(third, b"{}", AccountLimits(running=2))
    for _ in range(2):
        assert await store.queue.route(await claimed(store, AUTO), QSIM, ROUTING) is not None
    assert [(await claimed(store, QSIM)).job.id for _ in range(2)] == [first.id, second.id]
    # Two of the account run, as its limit says that came with the routed jobs.
    assert await store.queue.claim(QSIM, HERE, lease=LEASE) is None


async def test_a_look_is_void_once_the_job_was_cancelled_and_costs_nothing(store: Store, new_job: NewJob) -> None:
    job = new_job(executor=AUTO)
    await added(store, job)
    claim = await claimed(store, AUTO)
    await store.jobs.cancel(ALICE, job.id, reason="enough")
    assert await store.queue.route(claim, QSIM, ROUTING) is None
    after = await store.jobs.get(ALICE, job.id)
    assert (after.state, after.executor, after.metrics.charged) == (JobState.CANCELLED, AUTO, 0.0)
    assert await store.queue.claim(QSIM, HERE, lease=LEASE) is None


async def test_a_lost_look_is_taken_over_and_the_old_one_cannot_route(store: Store, new_job: NewJob) -> None:
    await added(store, new_job(executor=AUTO))
    lost = await claimed(store, AUTO, lease=timedelta(0))
    taken = await store.queue.take_over(AUTO, lease=LEASE)
    assert taken is not None
    assert await store.queue.route(lost, QSIM, ROUTING) is None
    back = await store.queue.requeue(taken, RetryReason.LOST, reason="gone")
    assert back is not None
    assert (back.executor, back.state) == (AUTO, JobState.QUEUED)
    again = await claimed(store, AUTO)
    assert await store.queue.route(again, QSIM, ROUTING) is not None


async def test_only_what_still_waits_there_is_moved(store: Store, new_job: NewJob) -> None:
    job = await routed(store, new_job(executor=AUTO))
    named = new_job(executor=QSIM)
    await added(store, named)
    assert await store.queue.move(named, AER) is None
    found = await store.queue.move(job, AER)
    assert found is not None
    assert (found.executor, found.predicted_seconds, found.routing) == (AER, 13.0, ROUTING)
    assert await store.queue.move(job, AER) is None
    running = await claimed(store, AER)
    assert running.job.id == job.id
    assert await store.queue.move(running.job, QSIM) is None


async def test_a_run_that_has_too_little_memory_is_sent_on_as_a_job_that_never_ran_there(
    store: Store, new_job: NewJob
) -> None:
    await routed(store, new_job(executor=AUTO))
    claim = await claimed(store, QSIM)
    assert await store.queue.found_long(claim, long_slots=1) is not None
    predictions = {**ROUTING.predictions, QSIM: Prediction.refused("too little memory")}
    known = Routing(predictions=predictions, looks=ROUTING.looks)
    found = await store.queue.route(claim, AER, known)
    assert found is not None
    assert (found.executor, found.state, found.routing) == (AER, JobState.QUEUED, known)
    assert (found.long_since, found.started, found.metrics.charged) == (None, None, 0.0)
    loads = await store.counts.load()
    assert (loads[QSIM].queued, loads[QSIM].running, loads[AER].queued) == (0, 0, 1)
    assert await store.queue.route(claim, QSIM, known) is None
    again = await claimed(store, AER)
    assert (again.job.id, again.job.fence) == (found.id, claim.job.fence + 1)


async def test_side_by_side_jobs_cross_between_executors_once_each(store: Store, new_job: NewJob) -> None:
    jobs = [await routed(store, new_job(executor=AUTO), executor) for executor in [QSIM, AER] * 4]
    other = {QSIM: AER, AER: QSIM}
    moves = [store.queue.move(job, other[job.executor]) for job in jobs for _ in range(2)]
    found = [job for job in await asyncio.gather(*moves) if job is not None]
    assert sorted(job.id for job in found) == sorted(job.id for job in jobs)
    loads = await store.counts.load()
    assert (loads[AER].queued, loads[QSIM].queued, loads[AUTO].queued) == (4, 4, 0)


async def test_it_is_known_how_long_the_waiting_jobs_take_and_which_were_routed(store: Store, new_job: NewJob) -> None:
    assert await store.counts.queued_time(QSIM) == QueuedTime(jobs=0, predicted=0, seconds=0.0)
    first = await routed(store, new_job(executor=AUTO))
    await added(store, new_job(executor=QSIM))
    unknown = Routing(predictions={QSIM: Prediction()})
    third = await routed(store, new_job(executor=AUTO), routing=unknown)
    assert await store.counts.queued_time(QSIM) == QueuedTime(jobs=3, predicted=1, seconds=1.5)
    assert await store.counts.routed(QSIM, limit=10) == [third, first]
    assert await store.counts.routed(QSIM, limit=1) == [third]
    assert await store.counts.routed(AER, limit=10) == []


async def test_a_routed_job_that_runs_is_expected_to_end_as_predicted(store: Store, new_job: NewJob) -> None:
    await routed(store, new_job(executor=AUTO))
    claim = await claimed(store, QSIM)
    assert claim.job.started is not None
    assert await store.counts.expected_ends(QSIM) == [claim.job.started + timedelta(seconds=1.5)]


async def test_those_who_wait_for_jobs_of_the_executor_are_told(store: Store, new_job: NewJob) -> None:
    signals = store.signals.watch()

    async def told() -> list[object]:
        found: list[object] = []
        async for signal in signals:
            found.append(signal.executor if isinstance(signal, Queued) else signal)
            if len(found) == 3:
                return found
        raise AssertionError

    listening = asyncio.create_task(told())
    await asyncio.sleep(0.1)
    job = await routed(store, new_job(executor=AUTO))
    await store.queue.move(job, AER)
    async with asyncio.timeout(5):
        assert await listening == [AUTO, QSIM, AER]
    await signals.aclose()


async def test_a_job_in_a_session_goes_first_where_it_is_sent(
    store: Store, new_job: NewJob, new_session: Callable[..., Session]
) -> None:
    session = new_session()
    await store.sessions.add(session)
    await added(store, new_job(executor=QSIM))
    job = await routed(store, new_job(executor=AUTO, session_id=session.id))
    claim = await claimed(store, QSIM)
    assert claim.job.id == job.id
    assert (await store.sessions.get(ALICE, session.id)).active_jobs == 1
    await store.jobs.cancel(ALICE, job.id, reason="enough")
    assert (await store.sessions.get(ALICE, session.id)).active_jobs == 0
