"""The internal port: the load for the operator and for autoscalers, and the metrics of every role."""

import time
from collections.abc import Iterator
from contextlib import ExitStack

import httpx
import pytest

from kit.server.cluster_processes import Cluster, Plugins, wait_until
from kit.server.http_jobs import end_of, signed_in, submit_named, when
from kit.server.scraped import scraped
from kit.server.server_process import ServerProcess, StartServer
from qiskit_runtime_server.backends.catalog import Catalog

INTERNAL = {"QRS_INTERNAL_PORT": "0", "QRS_LOAD_KEY": "a load key"}


def load(api: ServerProcess, key: str = "a load key") -> httpx.Response:
    return httpx.get(f"{api.internal_url}/internal/load", headers={"Authorization": f"Bearer {key}"}, timeout=60)


def test_the_load_says_what_waits_what_runs_and_how_long_the_oldest_has_waited(cluster: Cluster) -> None:
    api = cluster.api(cluster.executor().url, **INTERNAL)
    # Until the executor has been heard of.
    wait_until(lambda: load(api).json()["executors"]["counted"]["slots"] == 1)
    nothing = {"queued": 0, "startable": 0, "running": 0, "slots": 1, "oldest_waiting_seconds": 0.0, "draining": False}
    counted = {**nothing, "pods": {"127.0.0.1": 0}}
    assert load(api).json() == {"backends": len(Catalog().names()), "executors": {"counted": counted}}
    with signed_in(api.url) as client:
        running = submit_named(client, "nap 60")
        when(client, running, {"Running"})
        first = time.monotonic()
        for _ in range(2):
            submit_named(client, "nap 60")
        time.sleep(0.5)
        counted = load(api).json()["executors"]["counted"]
        assert {key: counted[key] for key in ("queued", "running", "slots")} == {"queued": 2, "running": 1, "slots": 1}
        assert counted["pods"] == {"127.0.0.1": 1}
        assert 0.5 <= counted["oldest_waiting_seconds"] <= time.monotonic() - first


@pytest.fixture(scope="module")
def api(
    tmp_path_factory: pytest.TempPathFactory, plugins: Plugins, standing: list[ServerProcess]
) -> Iterator[ServerProcess]:
    """Share one between the tests that send it no jobs."""
    with ExitStack() as stack:
        yield Cluster(tmp_path_factory.mktemp("api"), plugins, stack).api(standing[0].url, **INTERNAL)


def test_the_load_asks_for_its_key(api: ServerProcess) -> None:
    url = f"{api.internal_url}/internal/load"
    refused = [
        httpx.get(url),
        load(api, "another key"),
        load(api, "a load keyy"),
        httpx.get(url, headers={"Authorization": "x"}),
    ]
    assert [answer.status_code for answer in refused] == [401] * 4
    assert load(api).status_code == 200


def test_without_a_key_nobody_reads_the_load(cluster: Cluster, standing: list[ServerProcess]) -> None:
    api = cluster.api(standing[0].url, QRS_INTERNAL_PORT="0")
    assert load(api, "None").status_code == 401
    assert "qrs_slots" in httpx.get(f"{api.internal_url}/metrics").text


@pytest.mark.parametrize("path", ["/metrics", "/internal/load"])
def test_nothing_internal_is_served_to_clients(api: ServerProcess, standing: list[ServerProcess], path: str) -> None:
    key = {"Authorization": "Bearer a load key"}
    assert httpx.get(f"{api.url}{path}", headers=key).status_code == 404
    assert httpx.get(f"{standing[0].url}{path}", headers={"Authorization": "Bearer a key for tests"}).status_code == 404


def test_an_api_counts_what_becomes_of_its_jobs(cluster: Cluster, standing: list[ServerProcess]) -> None:
    api = cluster.api(standing[0].url, **INTERNAL)
    assert scraped(api.internal_url)['qrs_jobs_ended_total{executor="counted",state="failed"}'] == 0
    with signed_in(api.url, "a secret token") as client:
        for name, state in (("flip", "Completed"), ("stumble", "Failed"), ("die", "Failed")):
            assert end_of(client, submit_named(client, name))["status"] == state
        running = submit_named(client, "nap 60")
        when(client, running, {"Running"})
        seen = scraped(api.internal_url)
        assert seen['qrs_jobs{executor="counted",state="running"}'] == 1
        assert seen['qrs_slots_busy{executor="counted"}'] == 1
        client.post(f"/jobs/{running}/cancel").raise_for_status()
        deleted = submit_named(client, "nap 60")
        when(client, deleted, {"Running"})
        client.delete(f"/jobs/{deleted}").raise_for_status()
    seen = scraped(api.internal_url)
    assert seen["qrs_store_up"] == 1
    assert seen['qrs_jobs{executor="counted",state="running"}'] == 0
    ended = {state: seen[f'qrs_jobs_ended_total{{executor="counted",state="{state}"}}'] for state in
             ("completed", "failed", "cancelled")}  # fmt: skip
    assert ended == {"completed": 1, "failed": 2, "cancelled": 2}
    assert seen['qrs_job_retries_total{executor="counted",why="worker_died"}'] == 2
    assert seen['qrs_job_queue_seconds_count{executor="counted"}'] == 5
    assert seen['qrs_job_run_seconds_count{executor="counted",state="completed"}'] == 1
    assert seen['qrs_http_requests_total{method="POST",route="/jobs",status="200"}'] == 5
    assert seen['qrs_http_requests_total{method="POST",route="/jobs/{job_id}/cancel",status="204"}'] == 1


def test_an_executor_counts_its_runs_and_the_deaths_of_its_workers(cluster: Cluster) -> None:
    executor = cluster.executor(QRS_INTERNAL_PORT="0")
    api = cluster.api(executor.url, **INTERNAL)
    seen = scraped(executor.internal_url)
    assert seen["qrs_executor_slots"] == 1
    assert seen["qrs_executor_self_test_seconds"] > 0
    with signed_in(api.url) as client:
        for name in ("flip", "die"):
            end_of(client, submit_named(client, name))
        submit_named(client, "nap 60")
        wait_until(lambda: scraped(executor.internal_url)["qrs_executor_runs_started_total"] == 5)
    seen = scraped(executor.internal_url)
    assert seen["qrs_executor_slots_busy"] == 1
    assert seen['qrs_executor_runs{state="active"}'] == 1
    assert seen['qrs_executor_runs_ended_total{how="completed"}'] == 1
    assert seen['qrs_executor_runs_ended_total{how="worker_died"}'] == 3
    assert seen["qrs_executor_worker_deaths_total"] == 3


def test_labels_hold_nothing_that_clients_make_up(start_server: StartServer) -> None:
    server = start_server("--executors=aer=1", **INTERNAL)
    with signed_in(server.url, "nobody-knows-this-token") as client:
        client.get("/jobs/made-up-id")
        client.get("/nothing/made-up-path")
        client.request("MADEUP", "/jobs")
    text = httpx.get(f"{server.internal_url}/metrics").text
    assert 'route="/jobs/{job_id}",status="404"' in text
    for word in ("made-up", "MADEUP", "anonymous"):
        assert word not in text
