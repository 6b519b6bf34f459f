"""Jobs through an api and executor services, as real processes, and what becomes of them when one of those ends."""

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx

from kit.server.cluster_processes import Cluster, is_alive, templates_of, wait_until, workers_of
from kit.server.http_jobs import end_of, signed_in, submit_named, when
from kit.server.server_process import STOP_SECONDS, ServerProcess

HEADERS = {"Authorization": "Bearer a key for tests"}


def load(executor: ServerProcess) -> dict[str, object]:
    answer = httpx.get(f"{executor.url}/v1/load", headers=HEADERS, timeout=60).raise_for_status()
    loaded: dict[str, object] = answer.json()
    return loaded


def wait_until_idle(executor: ServerProcess) -> None:
    wait_until(lambda: load(executor)["idle"] == 1)


@contextmanager
def at_most(seconds: float) -> Iterator[None]:
    start = time.monotonic()
    yield
    assert time.monotonic() - start < seconds


def test_a_job_runs_in_an_executor_service(cluster: Cluster, standing: list[ServerProcess]) -> None:
    executor = standing[0]
    api = cluster.api(executor.url)
    with signed_in(api.url) as client:
        assert "fake_manila@counted" in {device["name"] for device in client.get("/backends").json()["devices"]}
        job = submit_named(client, "zeros")
        assert end_of(client, job)["status"] == "Completed"
        assert client.get(f"/jobs/{job}/results").json()["__type__"] == "PrimitiveResult"
        stumbled = end_of(client, submit_named(client, "stumble"))
        assert stumbled["state"]["reason"] == "RuntimeError: a plug-in's own mistake"
        late = end_of(client, submit_named(client, "sleep", cost=1))
        assert late["state"]["reason_code"] == 1305
        died = end_of(client, submit_named(client, "die"))
        assert "SIGKILL" in died["state"]["reason"]
        assert len(cluster.starts("die")) == 3
    maps = Path(f"/proc/{api.process.pid}/maps").read_text()
    assert "qiskit" not in maps
    assert "numpy" not in maps


def test_a_busy_executor_is_not_asked_while_another_is_idle(cluster: Cluster, standing: list[ServerProcess]) -> None:
    wires = {executor.process.pid: cluster.wire(executor) for executor in standing}
    api = cluster.api(*(wire.url for wire in wires.values()))
    with signed_in(api.url) as client:
        held = submit_named(client, cluster.held)
        busy = cluster.wait_for_start(cluster.held)
        for _ in range(5):
            assert end_of(client, submit_named(client, "zeros"))["status"] == "Completed"
        assert busy not in cluster.starts("zeros")
        assert wires[busy].count("POST /v1/jobs ") == 1
        cluster.let_go()
        assert end_of(client, held)["status"] == "Completed"


def test_a_cancelled_job_frees_its_slot_at_once(cluster: Cluster, standing: list[ServerProcess]) -> None:
    executor = standing[0]
    with signed_in(cluster.api(executor.url).url) as client:
        job = submit_named(client, "hold the interpreter lock")
        cluster.wait_for_start("hold the interpreter lock")
        workers = workers_of(executor)
        # For a busy machine; the job itself takes 60 s. `make bench` has what holds on a quiet one.
        with at_most(20):
            assert client.post(f"/jobs/{job}/cancel").status_code == 204
            wait_until(lambda: not workers_of(executor) & workers)
        assert end_of(client, submit_named(client, "zeros"))["status"] == "Completed"


def test_a_job_of_an_executor_that_is_killed_completes_on_another_and_its_successor_gets_jobs(cluster: Cluster) -> None:
    executors = {executor.process.pid: executor for executor in cluster.executors(2)}
    api = cluster.api(*(executor.url for executor in executors.values()))
    with signed_in(api.url) as client:
        job = submit_named(client, cluster.held)
        first = cluster.wait_for_start(cluster.held)
        executors[first].stop(signal.SIGKILL)
        cluster.let_go()
        assert end_of(client, job)["status"] == "Completed"
        assert set(cluster.starts(cluster.held)) == executors.keys()
        successor = cluster.executor(f"--port={executors[first].url.rpartition(':')[2]}")
        # The api asks a dead address again every 5 s.
        with at_most(60):
            while successor.process.pid not in cluster.starts("nap 1"):
                jobs = [submit_named(client, "nap 1") for _ in range(2)]
                assert {end_of(client, job)["status"] for job in jobs} == {"Completed"}


def test_a_worker_that_is_inside_a_job_ends_with_its_executor(cluster: Cluster) -> None:
    executor = cluster.executor()
    with signed_in(cluster.api(executor.url).url) as client:
        submit_named(client, cluster.held)
        cluster.wait_for_start(cluster.held)
    left = workers_of(executor, paused=True) | templates_of(executor.process.pid)
    assert len(left) == 2
    executor.stop(signal.SIGKILL)
    wait_until(lambda: not any(map(is_alive, left)), seconds=10)


def test_a_job_goes_on_where_it_was_when_its_api_is_killed(cluster: Cluster, standing: list[ServerProcess]) -> None:
    executor = standing[0]
    api = cluster.api(executor.url)
    with signed_in(api.url) as client:
        job = submit_named(client, cluster.held)
        cluster.wait_for_start(cluster.held)
    api.stop(signal.SIGKILL)
    with signed_in(cluster.api(executor.url).url) as client:
        assert client.get(f"/jobs/{job}").json()["status"] == "Running"
        cluster.let_go()
        assert end_of(client, job)["status"] == "Completed"
        assert len(cluster.starts(cluster.held)) == 1


def test_a_result_that_no_api_was_there_for_is_kept(cluster: Cluster, standing: list[ServerProcess]) -> None:
    executor = standing[0]
    api = cluster.api(executor.url)
    with signed_in(api.url) as client:
        job = submit_named(client, cluster.held)
        cluster.wait_for_start(cluster.held)
    api.stop(signal.SIGKILL)
    cluster.let_go()
    wait_until_idle(executor)
    with signed_in(cluster.api(executor.url).url) as client:
        assert end_of(client, job)["status"] == "Completed"
        assert len(cluster.starts(cluster.held)) == 1


def test_a_draining_api_hands_its_jobs_over_at_once(cluster: Cluster, standing: list[ServerProcess]) -> None:
    executor = standing[0]
    api = cluster.api(executor.url)
    with signed_in(api.url) as client:
        job = submit_named(client, cluster.held)
        cluster.wait_for_start(cluster.held)
    # Not even for half of the 30 s that jobs are waited for that nobody else can follow.
    with at_most(15):
        assert api.stop() == 0
    cluster.let_go()
    with signed_in(cluster.api(executor.url).url) as client:
        assert end_of(client, job)["status"] == "Completed"
        assert len(cluster.starts(cluster.held)) == 1


def test_a_stream_that_is_cut_is_taken_up_again(cluster: Cluster, standing: list[ServerProcess]) -> None:
    executor = standing[0]
    wire = cluster.wire(executor)
    with signed_in(cluster.api(wire.url).url) as client:
        job = submit_named(client, cluster.held)
        cluster.wait_for_start(cluster.held)
        wire.cut()
        wait_until(lambda: wire.count("GET /v1/jobs/") == 1)
        cluster.let_go()
        assert end_of(client, job)["status"] == "Completed"
        assert len(cluster.starts(cluster.held)) == 1


def test_a_job_that_nobody_asks_for_ends_after_its_time(cluster: Cluster) -> None:
    executor = cluster.executor(QRS_ORPHAN_AFTER="3", QRS_ORPHAN_KEPT="1")
    wire = cluster.wire(executor)
    api = cluster.api(wire.url, QRS_CONFIRM_EVERY="0.2")
    with signed_in(api.url) as client:
        submit_named(client, "sleep")
        cluster.wait_for_start("sleep")
        workers = workers_of(executor)
        # Longer than the executor would keep a run that nobody asks for.
        time.sleep(5)
        assert workers_of(executor) >= workers, "a job that is followed goes on"
        assert wire.count("GET /v1/jobs/") == 0, "it was never taken for orphaned"
    api.stop(signal.SIGKILL)
    start = time.monotonic()
    wait_until(lambda: not workers_of(executor) >= workers)
    assert time.monotonic() - start > 1
    wait_until_idle(executor)


def test_a_draining_executor_lets_its_job_end_and_takes_no_other(cluster: Cluster) -> None:
    executors = {executor.process.pid: executor for executor in cluster.executors(2)}
    api = cluster.api(*(executor.url for executor in executors.values()))
    with signed_in(api.url) as client:
        job = submit_named(client, cluster.held)
        draining = executors[cluster.wait_for_start(cluster.held)]
        draining.process.send_signal(signal.SIGTERM)
        wait_until(lambda: httpx.get(f"{draining.url}/health/ready").status_code == 503)
        others = [submit_named(client, "zeros") for _ in range(3)]
        assert {end_of(client, other)["status"] for other in others} == {"Completed"}
        assert draining.process.pid not in cluster.starts("zeros")
        cluster.let_go()
        assert end_of(client, job)["status"] == "Completed"
        assert len(cluster.starts(cluster.held)) == 1
    assert draining.process.wait(STOP_SECONDS) == 0


def test_a_job_that_does_not_end_while_its_executor_drains_runs_elsewhere(cluster: Cluster) -> None:
    executors = {executor.process.pid: executor for executor in cluster.executors(2, "--drain=0.3")}
    api = cluster.api(*(executor.url for executor in executors.values()))
    with signed_in(api.url) as client:
        job = submit_named(client, cluster.held)
        first = cluster.wait_for_start(cluster.held)
        # By itself the job would never end.
        assert executors[first].stop() == 0
        wait_until(lambda: len(cluster.starts(cluster.held)) == 2)
        cluster.let_go()
        assert end_of(client, job)["status"] == "Completed"
        assert set(cluster.starts(cluster.held)) == executors.keys()


def test_jobs_wait_for_an_executor_that_no_api_has_seen_yet(cluster: Cluster, reserved_port: int) -> None:
    api = cluster.api(f"http://127.0.0.1:{reserved_port}")
    with signed_in(api.url) as client:
        assert "fake_manila@counted" in {device["name"] for device in client.get("/backends").json()["devices"]}
        jobs = [submit_named(client, "zeros"), submit_named(client, "zeros", backend="fake_quantum_sim@counted")]
        cluster.executor(f"--port={reserved_port}")
        assert {end_of(client, job)["status"] for job in jobs} == {"Completed"}


def test_a_job_for_an_executor_at_zero_is_told_when_one_is_up_once_that_was_measured(
    cluster: Cluster, reserved_port: int
) -> None:
    api = cluster.api(f"http://127.0.0.1:{reserved_port}", QRS_ON_DEMAND="counted")
    with signed_in(api.url) as client:

        def of(job: str) -> tuple[datetime, dict[str, Any]]:
            found: dict[str, Any] = client.get(f"/jobs/{job}/metrics").raise_for_status().json()
            return datetime.fromisoformat(found["timestamps"]["created"]), found

        def at_zero() -> bool:
            (seen,) = client.get("/executors").json()["executors"]
            return (seen["slots"], seen["reason"]) == (0, "No executor is up: a job starts one.")

        assert at_zero()
        job = submit_named(client, "zeros")
        began, waits = of(job)
        assert (waits["position_in_queue"], waits["estimated_start_time"]) == (1, None)
        executor = cluster.executor(f"--port={reserved_port}")
        assert end_of(client, job)["status"] == "Completed"
        took = datetime.fromisoformat(of(job)[1]["timestamps"]["running"]) - began
        executor.process.kill()
        wait_until(at_zero)
        began, waits = of(submit_named(client, "zeros"))
        expected = datetime.fromisoformat(waits["estimated_start_time"]) - began
        assert abs(expected - took).total_seconds() < 3


def test_an_api_with_another_key_gets_nowhere(cluster: Cluster, standing: list[ServerProcess]) -> None:
    executor = standing[0]
    api = cluster.api(executor.url, QRS_EXECUTOR_KEY="a guess")
    with signed_in(api.url) as client:
        assert "No executor is up" in client.get("/backends/fake_manila@counted/status").json()["message"]
        job = submit_named(client, "zeros")
        time.sleep(1)
        assert client.get(f"/jobs/{job}").json()["status"] == "Queued"
    wait_until(lambda: any("401" in line for line in api.output))


def test_many_jobs_of_a_killed_and_a_drained_executor_are_all_run(cluster: Cluster) -> None:
    killed, drained, last = cluster.executors(3)
    with signed_in(cluster.api(killed.url, drained.url, last.url).url) as client:
        jobs = [submit_named(client, "nap 0.1") for _ in range(40)]
        when(client, jobs[3], {"Completed"})
        killed.process.send_signal(signal.SIGKILL)
        drained.process.send_signal(signal.SIGTERM)
        assert {end_of(client, job)["status"] for job in jobs} == {"Completed"}
        assert len(cluster.starts("nap 0.1")) <= 41
    assert drained.process.wait(STOP_SECONDS) == 0
