"""Any sequence of calls leaves the store as a plain model predicts, with counts that a recount confirms.

On PostgreSQL the clock of the process jumps by an hour to and fro all the while (see conftest).
"""

import asyncio
import gc
import itertools
from collections import Counter, defaultdict
from collections.abc import Callable, Coroutine
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from typing import Any, Protocol, TypeVar

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from kit.server.store_calls import seconds_used
from qiskit_runtime_server.accounts.limits import AccountLimits
from qiskit_runtime_server.backends.names import ExecutorName
from qiskit_runtime_server.errors import InvalidStateError, JobNotFoundError
from qiskit_runtime_server.jobs import (
    AccountId,
    Job,
    JobId,
    JobState,
    Outcome,
    RetryReason,
    Session,
    found_long,
    held_back,
    moved,
    released,
    requeued,
    routed,
)
from qiskit_runtime_server.messages.messages import Holder, Metrics, Prediction, Routing
from qiskit_runtime_server.store import fair_share
from qiskit_runtime_server.store.fair_share import Counts
from qiskit_runtime_server.store.port import Claim, JobQuery, Load, Store

T = TypeVar("T")

Queue = tuple[ExecutorName, AccountId]


class OpenedStore(Protocol):
    """See conftest."""

    store: Store

    async def let_leases_age(self, seconds: float) -> None: ...

    async def restart(self) -> bool: ...

    async def counts(self) -> dict[Queue, Counts]: ...

    async def slot_seconds(self) -> dict[AccountId, float]: ...


OpenStore = Callable[[], AbstractAsyncContextManager[OpenedStore]]

ACCOUNTS = [AccountId(name) for name in ("alice", "bob", "carol")]
EXECUTORS = [ExecutorName("aer"), ExecutorName("custatevec")]
START = datetime(2026, 1, 1, tzinfo=UTC)
NEVER = Counts().waiting_since
# So long that it does not matter, on PostgreSQL, how much real time goes by meanwhile.
LEASE_SECONDS = 36_000
ENDS = [JobState.COMPLETED, JobState.FAILED]

accounts = st.sampled_from(ACCOUNTS)
executors = st.sampled_from(EXECUTORS)
numbers = st.integers(0, 10**6)
LIMITS = dict(zip(ACCOUNTS, (AccountLimits(), AccountLimits(weight=2), AccountLimits(running=1)), strict=True))


def other_than(executor: ExecutorName) -> ExecutorName:
    return next(other for other in EXECUTORS if other != executor)


@dataclass
class Known:
    """What the model knows of one job."""

    job: Job
    lease_ends: float = 0.0
    holder: Holder | None = None
    result: bytes | None = None


class StoreMachine(RuleBasedStateMachine):
    """The store beside the model."""

    def __init__(self, open_store: OpenStore, new_job: Callable[..., Job], new_session: Callable[..., Session]) -> None:
        super().__init__()
        self.new_job = new_job
        self.new_session = new_session
        self.runner = asyncio.Runner()
        self.stack = AsyncExitStack()
        self.opened = self.do(self.stack.enter_async_context(open_store()))
        self.store = self.opened.store
        self.now = 0.0
        self.known: dict[JobId, Known] = {}
        self.claims: list[Claim] = []
        self.sessions: list[Session] = []
        self.counts: dict[Queue, Counts] = {}
        self.may_overtake: dict[Queue, Counter[AccountId]] = {}
        self.seconds: defaultdict[AccountId, float] = defaultdict(float)
        self.events = 0
        self.draining: set[ExecutorName] = set()

    def do(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return self.runner.run(coroutine)

    def teardown(self) -> None:
        self.do(self.stack.aclose())
        self.runner.close()

    # What the model expects

    def jobs_in(self, *states: JobState) -> list[Known]:
        return [known for known in self.known.values() if known.job.state in states]

    def holds(self, claim: Claim) -> bool:
        known = self.known.get(claim.job.id)
        return known is not None and known.job.state is JobState.RUNNING and known.job.fence == claim.job.fence

    def of(self, queue: Queue, state: JobState) -> list[Job]:
        """Return an account's jobs on an executor, the oldest first."""
        jobs = [known.job for known in self.jobs_in(state) if (known.job.executor, known.job.account) == queue]
        return sorted(jobs, key=lambda job: (job.created, job.id))

    def claimable(self, queue: Queue, long_slots: int | None) -> list[Job]:
        """Return an account's jobs on an executor that may be claimed, whoever's turn it is."""
        running = [job for account in ACCOUNTS for job in self.of((queue[0], account), JobState.RUNNING)]
        short_only = long_slots is not None and sum(job.long_since is not None for job in running) >= long_slots
        queued = [job for job in self.of(queue, JobState.QUEUED) if job.held is None]
        return [job for job in queued if job.long_since is None or not short_only]

    def next_job(self, executor: ExecutorName, long_slots: int | None) -> Job | None:
        """Return the job that is to be claimed next."""
        accounts = {account: self.counts[executor, account] for at, account in self.counts if at == executor}
        able = {account for account in ACCOUNTS if self.claimable((executor, account), long_slots)}
        account = None if executor in self.draining else fair_share.next_account(accounts, able)
        if account is None:
            return None
        return fair_share.next_job(accounts[account], self.claimable((executor, account), long_slots))

    def instant(self) -> datetime:
        """Return a time that is later than every one before."""
        self.events += 1
        return START + timedelta(seconds=self.events)

    def arrive(self, job: Job) -> None:
        """Learn that a job has been added."""
        self.known[job.id] = Known(job)
        self.enter(job)

    def enter(self, job: Job) -> None:
        """Learn that a job has come into a queue."""
        queue = job.executor, job.account
        counts = self.counts.get(queue, Counts())
        self.counts[queue] = fair_share.arrived(counts, job, LIMITS[job.account], self.instant())
        self.known[job.id].job = job

    def stop(self, job: Job, *, queued_again: bool) -> None:
        """Learn that a job is about to run no more."""
        queue = job.executor, job.account
        self.counts[queue] = fair_share.stopped(self.counts[queue], job, self.instant(), queued_again=queued_again)

    def overtake(self, queue: Queue, long_slots: int | None) -> None:
        """Count a claim against all accounts on the executor that wait and run nothing: it must be within bounds.

        This knows nothing of how the store orders accounts, only what it promises.
        """
        executor, winner = queue
        for account in ACCOUNTS:
            waiting = executor, account
            if account == winner or not (self.is_waiting(waiting) and self.claimable(waiting, long_slots)):
                continue
            assert self.may_overtake[waiting][winner] > 0, f"{winner} overtakes {account} once too often"
            self.may_overtake[waiting][winner] -= 1

    def come_back(self, job: Job) -> None:
        """Learn that a job is queued again: its account goes on with its turn, as if it had waited all the while."""
        for (executor, account), allowed in self.may_overtake.items():
            if executor == job.executor and account != job.account:
                allowed[job.account] = max(allowed[job.account], LIMITS[job.account].weight)

    def is_waiting(self, queue: Queue) -> bool:
        return bool(self.claimable(queue, None)) and not self.of(queue, JobState.RUNNING)

    def note(self, claim: Claim) -> None:
        known = self.known[claim.job.id]
        assert claim.job.fence > known.job.fence
        known.job = claim.job
        known.lease_ends = self.now + LEASE_SECONDS
        self.claims.append(claim)

    def end(self, known: Known) -> None:
        """Learn what the store wrote at the end of a job, which is then never to change."""
        if known.job.state is JobState.RUNNING:
            self.stop(known.job, queued_again=False)
        else:
            queue = known.job.executor, known.job.account
            self.counts[queue] = fair_share.left(self.counts[queue], known.job)
        known.job = self.do(self.store.jobs.get(known.job.account, known.job.id))
        self.seconds[known.job.account] += known.job.metrics.charged

    # What may happen

    @rule(account=accounts)
    def open_session(self, account: AccountId) -> None:
        session = self.new_session(account=account)
        self.do(self.store.sessions.add(session))
        self.sessions.append(session)

    @rule(account=accounts, executor=executors, age=st.integers(0, 3), params=st.binary(max_size=8))
    def submit(self, account: AccountId, executor: ExecutorName, age: int, params: bytes) -> None:
        job = self.new_job(account=account, executor=executor, created=START - timedelta(seconds=age))
        self.do(self.store.jobs.add(job, params, LIMITS[account]))
        assert self.do(self.store.documents.params(job.id)) == params
        self.arrive(job)

    @precondition(lambda self: self.sessions)
    @rule(number=numbers, executor=executors)
    def submit_in_session(self, number: int, executor: ExecutorName) -> None:
        session = self.sessions[number % len(self.sessions)]
        job = self.new_job(account=session.account, executor=executor, session_id=session.id)
        if session.closed is None:
            self.do(self.store.jobs.add(job, b"{}", LIMITS[session.account]))
            self.arrive(job)
        else:
            with pytest.raises(InvalidStateError):
                self.do(self.store.jobs.add(job, b"{}"))

    @precondition(lambda self: self.sessions)
    @rule(number=numbers)
    def close_session(self, number: int) -> None:
        index = number % len(self.sessions)
        self.do(self.store.sessions.close(self.sessions[index].account, self.sessions[index].id))
        self.sessions[index] = replace(self.sessions[index], closed=START)

    @rule(executor=executors, long_slots=st.none() | st.integers(0, 2))
    def start(self, executor: ExecutorName, long_slots: int | None) -> None:
        self.claim(executor, long_slots)

    def claim(self, executor: ExecutorName, long_slots: int | None = None) -> Claim | None:
        self.events += 1
        holder = Holder(endpoint=f"endpoint-{self.events}", boot_id="1")
        expected = self.next_job(executor, long_slots)
        lease = timedelta(seconds=LEASE_SECONDS)
        claim = self.do(self.store.queue.claim(executor, holder, lease=lease, long_slots=long_slots))
        if claim is None or expected is None:
            assert claim is None
            assert expected is None
            return None
        assert claim.job.id == expected.id
        assert claim.previous is None
        assert claim.job.state is JobState.RUNNING
        self.overtake((executor, claim.job.account), long_slots)
        queue = executor, claim.job.account
        self.counts[queue] = fair_share.claimed(self.counts[queue], claim.job)
        self.note(claim)
        self.known[claim.job.id].holder = holder
        self.whoever_begins_to_wait_lets_only_those_go_first_who_wait_already()
        return claim

    @rule(executor=executors, count=st.integers(1, 6))
    def serve_one_by_one(self, executor: ExecutorName, count: int) -> None:
        for _ in range(count):
            if claim := self.claim(executor):
                self.end_with(claim, JobState.COMPLETED, 1, b"result")
                self.whoever_begins_to_wait_lets_only_those_go_first_who_wait_already()

    @rule(executor=executors, draining=st.booleans())
    def drain(self, executor: ExecutorName, draining: bool) -> None:  # noqa: FBT001 - drawn
        self.do(self.store.queue.drain(executor, draining=draining))
        (self.draining.add if draining else self.draining.discard)(executor)

    @rule()
    def restart(self) -> None:
        """A process ends, or is killed: the next one on SQLite knows that nobody else holds its jobs."""
        leases_are_over = self.do(self.opened.restart())
        self.store = self.opened.store
        if leases_are_over:
            for known in self.jobs_in(JobState.RUNNING):
                known.lease_ends = self.now

    @rule(seconds=st.sampled_from([1, LEASE_SECONDS - 3_600, LEASE_SECONDS]))
    def wait(self, seconds: int) -> None:
        self.now += seconds
        self.do(self.opened.let_leases_age(seconds))

    @rule(executor=executors)
    def take_over(self, executor: ExecutorName) -> None:
        lost = [
            known.job.id
            for known in self.jobs_in(JobState.RUNNING)
            if known.job.executor == executor and known.lease_ends <= self.now
        ]
        claim = self.do(self.store.queue.take_over(executor, lease=timedelta(seconds=LEASE_SECONDS)))
        if claim is None:
            assert not lost
            return
        assert claim.job.id in lost
        assert claim.previous == self.known[claim.job.id].holder
        self.note(claim)

    @precondition(lambda self: self.claims)
    @rule(picked=st.lists(numbers, max_size=4))
    def renew(self, picked: list[int]) -> None:
        claims = [self.claims[number % len(self.claims)] for number in picked]
        expected = {claim.key for claim in claims if self.holds(claim)}
        held = self.do(self.store.queue.renew([claim.key for claim in claims], lease=timedelta(seconds=LEASE_SECONDS)))
        assert held == expected
        for job_id, _ in held:
            self.known[job_id].lease_ends = self.now + LEASE_SECONDS

    @precondition(lambda self: self.claims)
    @rule(number=numbers, state=st.sampled_from(ENDS), seconds=st.integers(0, 100), result=st.none() | st.binary())
    def finish(self, number: int, state: JobState, seconds: int, result: bytes | None) -> None:
        self.end_with(self.claims[number % len(self.claims)], state, seconds, result)

    def end_with(self, claim: Claim, state: JobState, seconds: int, result: bytes | None) -> None:
        expected = self.holds(claim)
        outcome = Outcome(state=state, reason="so", metrics=Metrics(seconds=float(seconds)))
        assert self.do(self.store.queue.finish(claim, outcome, result)) == expected
        if expected:
            known = self.known[claim.job.id]
            known.result = result
            self.end(known)
            assert known.job.state is state

    @precondition(lambda self: self.claims)
    @rule(number=numbers, why=st.sampled_from(RetryReason))
    def requeue(self, number: int, why: RetryReason) -> None:
        claim = self.claims[number % len(self.claims)]
        expected = self.holds(claim)
        given = self.do(self.store.queue.requeue(claim, why, reason="gone"))
        assert (given is not None) == expected
        if given is None:
            return
        known = self.known[claim.job.id]
        expected_job = requeued(known.job, why, given.finished or START, reason="gone")
        assert replace(given, metrics=expected_job.metrics) == expected_job
        # On the store's clock, by which the run began.
        used = given.metrics.charged - known.job.metrics.charged
        assert used >= 0 if why is RetryReason.WORKER_DIED else used == 0
        if given.state.terminal:
            self.end(known)
            assert known.job == given
        else:
            self.stop(known.job, queued_again=True)
            known.job = given
            self.come_back(given)

    @precondition(lambda self: self.claims)
    @rule(number=numbers, long_slots=st.integers(0, 2))
    def find_long(self, number: int, long_slots: int) -> None:
        claim = self.claims[number % len(self.claims)]
        others = [
            known
            for known in self.jobs_in(JobState.RUNNING)
            if known.job.executor == claim.job.executor and known.job.id != claim.job.id and known.job.long_since
        ]
        expected = self.holds(claim)
        found = self.do(self.store.queue.found_long(claim, long_slots=long_slots))
        assert (found is not None) == expected
        if found is None:
            return
        known = self.known[claim.job.id]
        assert found == found_long(known.job, found.long_since or START, goes_on=len(others) < long_slots)
        if found.state is JobState.QUEUED:
            self.stop(known.job, queued_again=True)
            self.come_back(found)
        known.job = found

    @precondition(lambda self: self.claims)
    @rule(number=numbers)
    def hold(self, number: int) -> None:
        claim = self.claims[number % len(self.claims)]
        expected = self.holds(claim)
        held = self.do(self.store.queue.hold(claim, reason="not today"))
        assert (held is not None) == expected
        if held is None:
            return
        known = self.known[claim.job.id]
        assert held == held_back(known.job, reason="not today")
        self.stop(known.job, queued_again=True)
        known.job = held

    @precondition(lambda self: self.claims)
    @rule(number=numbers, seconds=st.none() | st.floats(0, 1e6))
    def route(self, number: int, seconds: float | None) -> None:
        claim = self.claims[number % len(self.claims)]
        expected = self.holds(claim)
        target = other_than(claim.job.executor)
        routing = Routing(predictions={target: Prediction(seconds=seconds)})
        job = self.do(self.store.queue.route(claim, target, routing))
        assert (job is not None) == expected
        if job is None:
            return
        known = self.known[claim.job.id]
        assert job == routed(known.job, target, routing)
        self.stop(known.job, queued_again=False)
        self.enter(job)

    @precondition(lambda self: self.known)
    @rule(number=numbers)
    def move(self, number: int) -> None:
        known = list(self.known.values())[number % len(self.known)]
        before = known.job
        waits = before.state is JobState.QUEUED and before.held is None and before.routing is not None
        target = other_than(before.executor)
        job = self.do(self.store.queue.move(before, target))
        assert (job is not None) == waits
        if job is None:
            return
        assert job == moved(before, target)
        queue = before.executor, before.account
        self.counts[queue] = fair_share.left(self.counts[queue], before)
        self.enter(job)

    @rule(account=accounts)
    def release(self, account: AccountId) -> None:
        held = [known for known in self.known.values() if known.job.account == account and known.job.held]
        groups = {group.account: group for group in self.do(self.store.queue.held())}
        assert (groups[account].jobs if account in groups else 0) == len(held)
        # All jobs of the suite are under one instance.
        assert self.do(self.store.queue.release(account, "crn:alice")) == len(held)
        for known in held:
            known.job = released(known.job)
            self.come_back(known.job)

    @precondition(lambda self: self.known)
    @rule(number=numbers)
    def cancel(self, number: int) -> None:
        known = list(self.known.values())[number % len(self.known)]
        cancel = self.store.jobs.cancel(known.job.account, known.job.id, reason="enough")
        if known.job.state.terminal:
            with pytest.raises(InvalidStateError):
                self.do(cancel)
            return
        assert self.do(cancel) == known.job
        self.end(known)
        assert known.job.state is JobState.CANCELLED

    @precondition(lambda self: self.known)
    @rule(number=numbers)
    def delete(self, number: int) -> None:
        known = list(self.known.values())[number % len(self.known)]
        if not known.job.state.terminal:
            # Its time in the slot, which delete adds to the bill, is known to nobody but the store.
            self.cancel(number)
        assert self.do(self.store.jobs.delete(known.job.account, known.job.id)) == known.job
        del self.known[known.job.id]
        with pytest.raises(JobNotFoundError):
            self.do(self.store.jobs.get(known.job.account, known.job.id))

    # What always holds

    @invariant()
    def whoever_begins_to_wait_lets_only_those_go_first_who_wait_already(self) -> None:
        for executor, waiting in itertools.product(EXECUTORS, ACCOUNTS):
            queue = executor, waiting
            if not self.is_waiting(queue):
                self.may_overtake.pop(queue, None)
            elif queue not in self.may_overtake:
                others = [account for account in ACCOUNTS if self.of((executor, account), JobState.QUEUED)]
                self.may_overtake[queue] = Counter({account: LIMITS[account].weight for account in others})

    @invariant()
    def every_job_is_as_the_model_says(self) -> None:
        for account in ACCOUNTS:
            expected = {known.job.id: known.job for known in self.known.values() if known.job.account == account}
            found, count = self.do(self.store.jobs.find(account, JobQuery(limit=1000)))
            assert {job.id: job for job in found} == expected
            assert count == len(expected)

    @invariant()
    def results_are_those_that_were_accepted(self) -> None:
        for known in self.known.values():
            assert self.do(self.store.documents.result(known.job.id)) == known.result

    @invariant()
    def counts_are_what_fair_share_and_a_recount_say(self) -> None:
        kept = self.do(self.opened.counts())
        assert kept == {queue: replace(counts, waiting_since=NEVER) for queue, counts in self.counts.items()}
        for queue, counts in kept.items():
            queued = self.of(queue, JobState.QUEUED)
            assert counts.queued == len(queued)
            assert counts.queued_in_sessions == sum(job.session_id is not None for job in queued)
            assert counts.running == len(self.of(queue, JobState.RUNNING))
        assert {(known.job.executor, known.job.account) for known in self.known.values()} <= kept.keys()

    @invariant()
    def the_load_adds_up(self) -> None:
        load = self.do(self.store.counts.load())
        for executor in EXECUTORS:
            jobs = [known.job for known in self.known.values() if known.job.executor == executor]
            queued = [job for job in jobs if job.state is JobState.QUEUED and job.held is None]
            waiting = [job.created for job in queued]
            running = sum(job.state is JobState.RUNNING for job in jobs)
            of = Counter(job.account for job in queued)
            long = [self.counts[executor, job.account] for job in queued if job.long_since is not None]
            expected = Load(
                queued=len(waiting),
                startable=sum(self.counts[executor, account].startable(number) for account, number in of.items()),
                long_waits=any(counts.may_run for counts in long),
                running=running,
                oldest_queued=min(waiting, default=None),
                draining=executor in self.draining,
            )
            assert load.get(executor, Load()) == expected

    @invariant()
    def the_bill_covers_every_job_that_ran(self) -> None:
        for account in ACCOUNTS:
            assert self.do(seconds_used(self.store, account)) == pytest.approx(self.seconds[account])
        expected = {account: self.seconds[account] for account in ACCOUNTS}
        by_day: defaultdict[AccountId, float] = defaultdict(float)
        for day in self.do(self.store.counts.usage(date.min, date.max)):
            by_day[day.account] += day.seconds
        for kept in (by_day, self.do(self.opened.slot_seconds())):
            assert {account: kept.get(account, 0.0) for account in ACCOUNTS} == pytest.approx(expected)

    @invariant()
    def sessions_know_their_active_jobs(self) -> None:
        for session in self.sessions:
            pending = [
                known.job
                for known in self.jobs_in(JobState.QUEUED, JobState.RUNNING)
                if known.job.session_id == session.id
            ]
            kept = self.do(self.store.sessions.get(session.account, session.id))
            assert kept.active_jobs == len(pending)
            queued = {job.id for job in pending if job.state is JobState.QUEUED}
            assert set(self.do(self.store.sessions.queued_jobs(session.id))) == queued


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("open_store", ["memory", "sqlite", "postgresql"], indirect=True)
def test_any_sequence_of_calls_does_what_the_model_predicts(
    open_store: OpenStore, new_job: Callable[..., Job], new_session: Callable[..., Session]
) -> None:
    class Machine(StoreMachine):
        def __init__(self) -> None:
            super().__init__(open_store, new_job, new_session)

    # What earlier tests left is not looked through again and again.
    gc.collect()
    gc.freeze()
    run_state_machine_as_test(
        Machine,
        settings=settings(
            max_examples=25,
            stateful_step_count=30,
            deadline=None,
            # To explain a failure, every line would be traced, of all that goes well too.
            phases=[Phase.explicit, Phase.reuse, Phase.generate, Phase.shrink],
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
        ),
    )
