"""Any sequence of calls leaves the store as a plain model predicts, with counts that a recount confirms."""

import asyncio
from collections import Counter
from collections.abc import Callable, Coroutine, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol, TypeVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test
from sqlalchemy import Executable, func, select

from qiskit_runtime_server.backends.names import ExecutorName
from qiskit_runtime_server.dispatch.events import Holder, Metrics
from qiskit_runtime_server.errors import InvalidStateError, JobNotFoundError
from qiskit_runtime_server.jobs import MAX_LOSSES, MAX_WORKER_DEATHS, AccountId, Job, JobId, JobState, Session
from qiskit_runtime_server.store.port import Claim, JobQuery, Load, Outcome, Setback, Store
from qiskit_runtime_server.store.schema import jobs as job_table
from qiskit_runtime_server.store.schema import ledger as ledger_table

T = TypeVar("T")


class OpenedStore(Protocol):
    """See conftest."""

    store: Store

    async def let_leases_age(self, seconds: float) -> None: ...

    async def rows(self, statement: Executable) -> Sequence[Sequence[Any]]: ...


OpenStore = Callable[[], AbstractAsyncContextManager[OpenedStore]]

ACCOUNTS = [AccountId(name) for name in ("alice", "bob", "carol")]
EXECUTORS = [ExecutorName("aer"), ExecutorName("custatevec")]
START = datetime(2026, 1, 1, tzinfo=UTC)
LEASE_SECONDS = 30
ENDS = [JobState.COMPLETED, JobState.FAILED]

accounts = st.sampled_from(ACCOUNTS)
executors = st.sampled_from(EXECUTORS)
numbers = st.integers(0, 10**6)


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
        self.served: dict[tuple[ExecutorName, AccountId], int] = {}
        self.seconds: Counter[AccountId] = Counter()
        self.starts = 0

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

    def next_candidates(self, executor: ExecutorName) -> list[JobId]:
        """Return the jobs that may be claimed next: more than one only among accounts that were never served."""
        queued = [known.job for known in self.jobs_in(JobState.QUEUED) if known.job.executor == executor]
        queued = [job for job in queued if job.session_id is not None] or queued
        running = Counter(
            known.job.account for known in self.jobs_in(JobState.RUNNING) if known.job.executor == executor
        )

        def share(account: AccountId) -> tuple[int, int]:
            return running[account], self.served.get((executor, account), -1)

        best = min((share(job.account) for job in queued), default=None)
        oldest = []
        for account in {job.account for job in queued if share(job.account) == best}:
            hers = [job for job in queued if job.account == account]
            oldest.append(min(hers, key=lambda job: (job.created, job.id)).id)
        return oldest

    def note(self, claim: Claim) -> None:
        known = self.known[claim.job.id]
        assert claim.job.fence > known.job.fence
        known.job = claim.job
        known.lease_ends = self.now + LEASE_SECONDS
        self.claims.append(claim)

    def end(self, known: Known) -> None:
        """Learn what the store wrote at the end of a job, which is then never to change."""
        known.job = self.do(self.store.jobs.get(known.job.account, known.job.id))
        self.seconds[known.job.account] += known.job.metrics.seconds

    # What may happen

    @rule(account=accounts)
    def open_session(self, account: AccountId) -> None:
        session = self.new_session(account=account)
        self.do(self.store.sessions.add(session))
        self.sessions.append(session)

    @rule(account=accounts, executor=executors, age=st.integers(0, 3), params=st.binary(max_size=8))
    def submit(self, account: AccountId, executor: ExecutorName, age: int, params: bytes) -> None:
        job = self.new_job(account=account, executor=executor, created=START - timedelta(seconds=age))
        self.do(self.store.jobs.add(job, params))
        assert self.do(self.store.documents.params(job.id)) == params
        self.known[job.id] = Known(job)

    @precondition(lambda self: self.sessions)
    @rule(number=numbers, executor=executors)
    def submit_in_session(self, number: int, executor: ExecutorName) -> None:
        session = self.sessions[number % len(self.sessions)]
        job = self.new_job(account=session.account, executor=executor, session_id=session.id)
        if session.closed is None:
            self.do(self.store.jobs.add(job, b"{}"))
            self.known[job.id] = Known(job)
        else:
            with pytest.raises(InvalidStateError):
                self.do(self.store.jobs.add(job, b"{}"))

    @precondition(lambda self: self.sessions)
    @rule(number=numbers)
    def close_session(self, number: int) -> None:
        index = number % len(self.sessions)
        self.do(self.store.sessions.close(self.sessions[index].account, self.sessions[index].id))
        self.sessions[index] = replace(self.sessions[index], closed=START)

    @rule(executor=executors)
    def claim(self, executor: ExecutorName) -> None:
        self.starts += 1
        holder = Holder(endpoint=f"endpoint-{self.starts}", boot_id="1")
        expected = self.next_candidates(executor)
        claim = self.do(self.store.queue.claim(executor, holder, lease=timedelta(seconds=LEASE_SECONDS)))
        if claim is None:
            assert not expected
            return
        assert claim.job.id in expected
        assert claim.previous is None
        assert claim.job.state is JobState.RUNNING
        self.note(claim)
        self.known[claim.job.id].holder = holder
        self.served[executor, claim.job.account] = self.starts

    @rule(seconds=st.sampled_from([1, LEASE_SECONDS - 1, LEASE_SECONDS]))
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
        claim = self.claims[number % len(self.claims)]
        expected = self.holds(claim)
        outcome = Outcome(state=state, reason="so", metrics=Metrics(seconds=float(seconds)))
        assert self.do(self.store.queue.finish(claim, outcome, result)) == expected
        if expected:
            known = self.known[claim.job.id]
            known.result = result
            self.end(known)
            assert known.job.state is state

    @precondition(lambda self: self.claims)
    @rule(number=numbers, setback=st.sampled_from(Setback))
    def give_back(self, number: int, setback: Setback) -> None:
        claim = self.claims[number % len(self.claims)]
        expected = self.holds(claim)
        given = self.do(self.store.queue.give_back(claim, setback, reason="gone"))
        assert (given is not None) == expected
        if given is None:
            return
        known = self.known[claim.job.id]
        deaths = known.job.worker_deaths + (setback is Setback.WORKER_DIED)
        losses = known.job.losses + (setback is Setback.LOST)
        fails = deaths >= MAX_WORKER_DEATHS or losses >= MAX_LOSSES
        assert (given.worker_deaths, given.losses) == (deaths, losses)
        assert (given.state is JobState.FAILED) == fails
        known.job = given
        if fails:
            self.end(known)

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
    def counts_are_what_a_recount_says(self) -> None:
        queued = func.count().filter(job_table.c.state == "Queued")
        in_sessions = queued.filter(job_table.c.session_id.is_not(None))
        running = func.count().filter(job_table.c.state == "Running")
        recount = select(job_table.c.executor, job_table.c.account, queued, in_sessions, running)
        recounted = {
            (row[0], row[1]): tuple(row[2:])
            for row in self.do(self.opened.rows(recount.group_by(job_table.c.executor, job_table.c.account)))
        }
        counts = select(ledger_table.c["executor", "account", "queued", "queued_in_sessions", "running"])
        for row in self.do(self.opened.rows(counts)):
            assert recounted.pop((row[0], row[1]), (0, 0, 0)) == tuple(row[2:])
        assert not recounted

    @invariant()
    def the_load_adds_up(self) -> None:
        load = self.do(self.store.ledger.load())
        for executor in EXECUTORS:
            jobs = [known.job for known in self.known.values() if known.job.executor == executor]
            waiting = [job.created for job in jobs if job.state is JobState.QUEUED]
            running = sum(job.state is JobState.RUNNING for job in jobs)
            expected = Load(queued=len(waiting), running=running, oldest_queued=min(waiting, default=None))
            assert load.get(executor, Load()) == expected

    @invariant()
    def the_bill_covers_every_job_that_ran(self) -> None:
        for account in ACCOUNTS:
            assert self.do(self.store.ledger.seconds_used(account)) == pytest.approx(self.seconds[account])

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
@pytest.mark.parametrize("open_store", ["sqlite", "postgresql"], indirect=True)
def test_any_sequence_of_calls_does_what_the_model_predicts(
    open_store: OpenStore, new_job: Callable[..., Job], new_session: Callable[..., Session]
) -> None:
    run_state_machine_as_test(
        lambda: StoreMachine(open_store, new_job, new_session),
        settings=settings(
            max_examples=25,
            stateful_step_count=30,
            deadline=None,
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
        ),
    )
