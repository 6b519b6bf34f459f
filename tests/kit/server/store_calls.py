"""The calls that tests of a store make most often, and the executor, the holder and the lease that these name."""

from datetime import timedelta

from qiskit_runtime_server.backends.names import ExecutorName
from qiskit_runtime_server.jobs import AccountId, Job
from qiskit_runtime_server.messages.messages import Holder
from qiskit_runtime_server.store.port import Claim, Store

AER = ExecutorName("aer")
HERE = Holder(endpoint="here", boot_id="1")
LEASE = timedelta(seconds=30)


async def added(store: Store, *jobs: Job) -> None:
    for job in jobs:
        await store.jobs.add(job, b"{}")


async def claimed(store: Store, executor: ExecutorName = AER, *, lease: timedelta = LEASE) -> Claim:
    """Claim the next job; fail the test if there is none."""
    claim = await store.queue.claim(executor, HERE, lease=lease)
    assert claim is not None
    return claim


async def seconds_used(store: Store, account: AccountId) -> float:
    """Return the slot time of all jobs of an account."""
    return (await store.counts.standing(account, "any")).of_account


async def seconds_used_today(store: Store, account: AccountId, instance: str) -> float:
    """Return the slot time of an instance's jobs that have ended today."""
    return (await store.counts.standing(account, instance)).today
