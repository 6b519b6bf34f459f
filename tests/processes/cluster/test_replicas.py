"""Several apis on one PostgreSQL store, as real processes."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import httpx
import pytest

from kit.server.cluster_processes import Cluster, wait_until, workers_of
from kit.server.http_jobs import end_of, signed_in, submission, submit_named
from kit.server.server_process import ServerProcess
from qiskit_runtime_server import Settings, create_app
from qiskit_runtime_server.errors import StoreUnavailableError
from qiskit_runtime_server.jobs import Job

NOWHERE = "http://127.0.0.1:9"


def test_replicas_start_at_once_on_an_empty_database_and_know_each_others_jobs_and_tokens(
    cluster: Cluster, standing: list[ServerProcess], shared_store: dict[str, str]
) -> None:
    executors = [f"--executors=counted={executor.url}" for executor in standing]
    one, other = (cluster.begin("api", "--port=0", *executors, **shared_store) for _ in range(2))
    one.wait_until_ready()
    other.wait_until_ready()
    with signed_in(one.url) as client:
        jobs = [submit_named(client, "replicated") for _ in range(10)]
        client.base_url = httpx.URL(f"{other.url}/api/v1")
        assert {end_of(client, job)["status"] for job in jobs} == {"Completed"}
        assert client.get(f"/jobs/{jobs[0]}/results").json()["__type__"] == "PrimitiveResult"
    assert len(cluster.starts("replicated")) == len(jobs)
    assert "PostgreSQL at" in "".join(one.output)


def test_a_status_call_that_waits_is_answered_when_another_replica_ends_the_job(
    cluster: Cluster, standing: list[ServerProcess], shared_store: dict[str, str]
) -> None:
    cluster.api(standing[0].url, **shared_store)
    waiting = cluster.api(NOWHERE, QRS_HOLD="50", **shared_store)
    with signed_in(waiting.url) as client:
        start = time.monotonic()
        job = submit_named(client, "nap 1")
        assert client.get(f"/jobs/{job}").json()["status"] == "Completed"
        assert time.monotonic() - start < 20, "it did not wait for its limit"


def test_a_job_is_cancelled_through_a_replica_that_does_not_run_it(
    cluster: Cluster, standing: list[ServerProcess], shared_store: dict[str, str]
) -> None:
    # Neither can the other tell the executor, nor does this one ask the database in the meantime.
    cluster.api(standing[0].url, QRS_LEASE="120", **shared_store)
    other = cluster.api(NOWHERE, **shared_store)
    with signed_in(other.url) as client:
        job = submit_named(client, "sleep")
        cluster.wait_for_start("sleep")
        workers = workers_of(standing[0])
        assert client.post(f"/jobs/{job}/cancel").status_code == 204
        wait_until(lambda: not workers & workers_of(standing[0]), seconds=10)
        assert end_of(client, submit_named(client, "zeros"), seconds=40)["status"] == "Completed"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"QRS_SIGNING_KEY": None}, "QRS_SIGNING_KEY"),
        ({"QRS_DATABASE_URL": "postgresql://me:secret@db:port/jobs"}, "cannot be used"),
    ],
)
def test_an_api_that_cannot_share_a_database_says_why_and_no_password(
    cluster: Cluster, shared_store: dict[str, str], change: dict[str, str | None], words: str
) -> None:
    with cluster.command("api", f"--executors=counted={NOWHERE}", "--port=0", **{**shared_store, **change}) as process:
        output, _ = process.communicate(timeout=60)
    assert process.returncode == 1
    assert words in output
    assert "Traceback" not in output
    assert "secret" not in output


@asynccontextmanager
async def api_in_process(shared_store: dict[str, str]) -> AsyncIterator[tuple[Any, httpx.AsyncClient]]:
    """Yield the services of an api without executors, and a client of it."""
    settings = Settings(
        executors=(f"counted={NOWHERE}",),
        anonymous=True,
        database_url=shared_store["QRS_DATABASE_URL"],
        signing_key=shared_store["QRS_SIGNING_KEY"],
        hold=timedelta(0),
    )
    app = create_app(settings=settings)
    async with app.router.lifespan_context(app):
        transport = httpx.ASGITransport(app)
        headers = {"Authorization": "apikey tester"}
        async with httpx.AsyncClient(transport=transport, base_url="http://api/api/v1", headers=headers) as client:
            yield app.state.services, client


async def test_a_submission_that_the_database_left_in_doubt_is_withdrawn(
    shared_store: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    async with api_in_process(shared_store) as (services, client):
        add, delete = services.store.jobs.add, services.store.jobs.delete
        back = asyncio.Event()

        async def added_and_not_told(*arguments: Any) -> None:
            await add(*arguments)
            raise StoreUnavailableError("The database is away.")

        async def away_for_a_while(*arguments: Any) -> Job:
            if not back.is_set():
                raise StoreUnavailableError("The database is away.")
            job: Job = await delete(*arguments)
            return job

        monkeypatch.setattr(services.store.jobs, "delete", away_for_a_while)
        with monkeypatch.context() as patch:
            patch.setattr(services.store.jobs, "add", added_and_not_told)
            refused = await client.post("/jobs", json=submission(backend="fake_manila@counted"))
        assert refused.status_code == 503
        assert refused.headers["Retry-After"] == "1"
        assert refused.json()["errors"][0]["message"] == "The database is away."
        again = await client.post("/jobs", json=submission(backend="fake_manila@counted"))
        assert (await client.get("/jobs")).json()["count"] == 2
        back.set()
        async with asyncio.timeout(10):
            while (found := (await client.get("/jobs")).json())["count"] == 2:  # noqa: ASYNC110 - it is elsewhere
                await asyncio.sleep(0.05)
        assert [job["id"] for job in found["jobs"]] == [again.json()["id"]]
