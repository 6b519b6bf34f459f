"""Jobs for `@auto` behind an api and two executor services, one of which is killed."""

import asyncio
from datetime import UTC, datetime, timedelta

import httpx
import pytest
from prometheus_client import CollectorRegistry

from kit.quantum.qsim_alone import needs_qsim
from kit.server.cluster_processes import Cluster, wait_until
from kit.server.executor_tasks import task_of
from kit.server.http_jobs import end_of, long_circuit, signed_in, submit, submit_named, when
from kit.server.remote_pools import pool_of
from kit.server.server_process import ServerProcess
from qiskit_runtime_server.backends.names import AUTO, ExecutorName
from qiskit_runtime_server.byte_budget import ByteBudget
from qiskit_runtime_server.dispatch.dispatcher import Dispatcher
from qiskit_runtime_server.dispatch.metrics import JobMetrics
from qiskit_runtime_server.dispatch.remote import run as remote_run
from qiskit_runtime_server.dispatch.routing.auto_pool import AutoPool
from qiskit_runtime_server.jobs import AccountId, Job, JobId
from qiskit_runtime_server.store.memory.store import MemoryStore

BACKEND = "fake_quantum_sim@auto"

# Predicted are 3 s on qsim for the first; for the second 5 s on aer, and a fraction of one on qsim.
VERY_LONG = long_circuit(layers=5000, num_qubits=22)
LONG, DENSE = long_circuit(layers=270, num_qubits=22), long_circuit(layers=60, num_qubits=20)


# As test_jobs_leave_an_executor_that_has_gone_and_those_that_named_it_stay, with executors.
@pytest.mark.thorough
@needs_qsim
def test_what_waits_on_an_executor_that_is_killed_runs_on_the_other(cluster: Cluster) -> None:
    aer, qsim = cluster.executor(name="aer"), cluster.executor(name="qsim")
    executors = f"--executors=aer={aer.url} qsim={qsim.url}"
    api = cluster.begin("api", "--port=0", f"--data-dir={cluster.data_dir}", executors, "--log-level=info")
    api.wait_until_ready()
    with signed_in(api.url) as client:

        def metrics(job: str) -> dict[str, object]:
            found: dict[str, object] = client.get(f"/jobs/{job}/metrics").raise_for_status().json()
            return found

        wait_until(lambda: sum(each["slots"] for each in client.get("/executors").json()["executors"]) == 2)
        named = submit(client, LONG, backend="fake_quantum_sim@qsim")
        when(client, named, {"Running"})
        waiting = submit(client, DENSE, backend=BACKEND)
        wait_until(lambda: metrics(waiting)["executor"] == "qsim")
        qsim.process.kill()
        assert end_of(client, waiting)["status"] == "Completed"
        assert metrics(waiting)["executor"] == "aer"
        # What has named its executor waits for it.
        assert metrics(named)["executor"] == "qsim"


# As test_while_all_slots_are_busy_jobs_are_looked_at_beside_them_and_wake_who_suits_them, with executors.
@pytest.mark.thorough
@needs_qsim
def test_a_job_wakes_the_executor_at_zero_that_suits_it_while_the_other_is_busy(cluster: Cluster) -> None:
    aer, qsim = cluster.executor(name="aer"), cluster.executor(name="qsim")
    executors = f"--executors=aer={aer.url} qsim={qsim.url}"
    api = cluster.begin("api", "--port=0", f"--data-dir={cluster.data_dir}", executors, QRS_ON_DEMAND="qsim")
    api.wait_until_ready()
    with signed_in(api.url) as client:

        def slots() -> int:
            return sum(each["slots"] for each in client.get("/executors").json()["executors"])

        wait_until(lambda: slots() == 2)
        qsim.process.kill()
        wait_until(lambda: slots() == 1)
        when(client, submit(client, VERY_LONG, backend="fake_quantum_sim@aer"), {"Running"})
        waiting = submit(client, DENSE, backend=BACKEND)
        wait_until(lambda: client.get(f"/jobs/{waiting}/metrics").json()["executor"] == "qsim")
        assert client.get(f"/jobs/{waiting}").json()["status"] == "Queued"
        # So are circuits drawn.
        drawn = client.get(f"/jobs/{submit(client, backend='fake_quantum_sim@aer')}/drawing")
        assert drawn.is_success, drawn.text


def test_an_api_that_is_killed_takes_no_job_with_it_that_it_looked_at(
    cluster: Cluster, standing: list[ServerProcess], shared_store: dict[str, str]
) -> None:
    """The executors have primitives of their own, of which nobody knows how long they take."""
    executors = f"--executors=first={standing[0].url} second={standing[1].url}"
    settings = {**shared_store, "QRS_LEASE": "2"}
    one, other = (
        cluster.begin("api", "--port=0", f"--data-dir={cluster.data_dir}", executors, **settings) for _ in "ab"
    )
    one.wait_until_ready()
    other.wait_until_ready()
    with signed_in(one.url) as client:
        jobs = [submit_named(client, "routed", backend="fake_manila@auto") for _ in range(20)]
        one.process.kill()
        client.base_url = httpx.URL(f"{other.url}/api/v1")
        assert {end_of(client, job)["status"] for job in jobs} == {"Completed"}
        ran = [client.get(f"/jobs/{job}/metrics").json()["executor"] for job in jobs]
    assert set(ran) <= {"first", "second"}
    assert len(cluster.starts("routed")) >= len(jobs)


async def test_a_look_that_its_executor_never_heard_the_end_of_is_not_taken_for_the_run(
    cluster: Cluster, standing: list[ServerProcess], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where the api that looked has died: the look has ended, and is kept for whoever asks for it."""

    async def unheard(*_: object) -> None:
        pass

    monkeypatch.setattr(remote_run, "end", unheard)
    task = task_of("routed")
    job = Job(
        id=JobId(task.job_id),
        account=AccountId("me"),
        instance="crn",
        program_id=task.program_id,
        backend="fake_manila@auto",
        executor=AUTO,
        created=datetime.now(UTC),
        max_seconds=60,
        seed=1,
        calibration_digest=task.calibration_digest,
    )
    store = MemoryStore()
    await store.jobs.add(job, task.params)
    async with pool_of(standing[0].url) as pool:
        pools = {ExecutorName("counted"): pool}
        metrics, lease = JobMetrics(CollectorRegistry()), timedelta(seconds=30)
        dispatcher = Dispatcher(store, pools, metrics, ByteBudget(1 << 20), lease=lease, auto=AutoPool(pools))
        dispatcher.start()
        async with asyncio.timeout(60):
            while not (await store.jobs.get(job.account, job.id)).state.terminal:  # noqa: ASYNC110 - as in test_routing
                await asyncio.sleep(0.01)
        await dispatcher.drain(timedelta(0))
    assert len(cluster.starts("routed")) == 1
