"""Every end of a job is counted once, whoever ends it and however, whatever the store."""

from collections import Counter
from collections.abc import Callable
from datetime import timedelta

import pytest
from prometheus_client import CollectorRegistry

from qiskit_runtime_server.accounts.identity import DEFAULT_INSTANCE, AccessTokens, Account, Anonymous, Identity
from qiskit_runtime_server.api.answers import AnswerBudget
from qiskit_runtime_server.api.routes.jobs import delete_job
from qiskit_runtime_server.api.services import Services
from qiskit_runtime_server.backends.catalog import Catalog
from qiskit_runtime_server.backends.names import ExecutorName
from qiskit_runtime_server.byte_budget import ByteBudget
from qiskit_runtime_server.dispatch.dispatcher import Dispatcher
from qiskit_runtime_server.dispatch.endings import Endings
from qiskit_runtime_server.dispatch.metrics import JobMetrics
from qiskit_runtime_server.errors import InvalidStateError
from qiskit_runtime_server.jobs import MAX_LOSSES, AccountId, Job, JobState, Outcome, RetryReason
from qiskit_runtime_server.messages.messages import Holder, Metrics
from qiskit_runtime_server.settings import Settings
from qiskit_runtime_server.store.port import Claim, Store

ALICE = AccountId("alice")
AER = ExecutorName("aer")
HERE = Holder(endpoint="here", boot_id="1")
LEASE = timedelta(seconds=30)
COMPLETED = Outcome(state=JobState.COMPLETED, metrics=Metrics(seconds=2.5))
OWNER = Identity(account=Account(id=ALICE), instance=DEFAULT_INSTANCE)

NewJob = Callable[..., Job]


class Counted:
    """An api of its own on a store."""

    def __init__(self, store: Store) -> None:
        self.registry = CollectorRegistry()
        metrics = JobMetrics(self.registry)
        metrics.count_ends(store.signals)
        budget = ByteBudget(1 << 20)
        self.services = Services(
            settings=Settings(),
            access_tokens=AccessTokens(Anonymous(), "a key", timedelta(hours=1)),
            catalog=Catalog(),
            pools={},
            store=store,
            dispatcher=Dispatcher(store, {}, metrics, budget, lease=LEASE),
            endings=Endings(),
            metrics=metrics,
            budget=budget,
            answers=AnswerBudget(1 << 20),
        )

    def ends(self) -> dict[str, int]:
        """Return how many jobs came to which state."""
        return self._samples("qrs_jobs_ended_total")

    def runs(self) -> dict[str, int]:
        """Return of how many jobs that came to a state the slot time is counted."""
        return self._samples("qrs_job_run_seconds_count")

    def _samples(self, name: str) -> dict[str, int]:
        samples = [sample for metric in self.registry.collect() for sample in metric.samples if sample.name == name]
        return dict(Counter({sample.labels["state"]: int(sample.value) for sample in samples}))


async def claimed(store: Store, job: Job) -> Claim:
    await store.jobs.add(job, b"{}")
    claim = await store.queue.claim(AER, HERE, lease=LEASE)
    assert claim is not None
    assert claim.job.id == job.id
    return claim


async def test_a_job_that_is_deleted_while_it_is_queued_is_counted(store: Store, new_job: NewJob) -> None:
    counted, job = Counted(store), new_job()
    await store.jobs.add(job, b"{}")
    await delete_job(job.id, OWNER, counted.services)
    assert counted.ends() == {"cancelled": 1}


async def test_a_job_that_is_deleted_while_it_runs_is_counted(store: Store, new_job: NewJob) -> None:
    counted, job = Counted(store), new_job()
    await claimed(store, job)
    await delete_job(job.id, OWNER, counted.services)
    assert counted.ends() == {"cancelled": 1}
    [day] = await store.counts.usage(job.created.date(), job.created.date().max)
    assert day.jobs == 1


async def test_a_job_that_has_ended_is_not_counted_again_when_it_is_deleted(store: Store, new_job: NewJob) -> None:
    counted, job = Counted(store), new_job()
    claim = await claimed(store, job)
    assert await store.queue.finish(claim, COMPLETED, None)
    await delete_job(job.id, OWNER, counted.services)
    assert (counted.ends(), counted.runs()) == ({"completed": 1}, {"completed": 1})


async def test_ends_that_are_refused_are_not_counted(store: Store, new_job: NewJob) -> None:
    counted, job = Counted(store), new_job()
    claim = await claimed(store, job)
    await counted.services.cancel(ALICE, job.id, reason="enough")
    with pytest.raises(InvalidStateError):
        await counted.services.cancel(ALICE, job.id, reason="again")
    assert not await store.queue.finish(claim, COMPLETED, None)
    assert await store.queue.requeue(claim, RetryReason.LOST, reason="late") is None
    assert (counted.ends(), counted.runs()) == ({"cancelled": 1}, {})


async def test_a_job_that_fails_by_one_retry_too_many_is_counted(store: Store, new_job: NewJob) -> None:
    counted = Counted(store)
    claim = await claimed(store, new_job(losses=MAX_LOSSES - 1))
    await store.queue.requeue(claim, RetryReason.LOST, reason="gone")
    assert (counted.ends(), counted.runs()) == ({"failed": 1}, {})
