"""Jobs through an api and executor services, as real processes, and what becomes of them when one of those ends."""

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
from cluster_processes import Cluster, workers_of
from http_jobs import end_of, signed_in, submit_named, when
from server_process import ServerProcess

HEADERS = {"Authorization": "Bearer a key for tests"}


def load(executor: ServerProcess) -> dict[str, object]:
    answer: dict[str, object] = httpx.get(f"{executor.url}/v1/load", headers=HEADERS).raise_for_status().json()
    return answer


def seconds_until_idle(executor: ServerProcess) -> float:
    start = time.monotonic()
    while load(executor)["idle"] != 1:
        assert time.monotonic() - start < 20
        time.sleep(0.02)
    return time.monotonic() - start


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
        nap = submit_named(client, "nap 2")
        busy = cluster.wait_for_start("nap 2")
        for _ in range(5):
            assert end_of(client, submit_named(client, "zeros"))["status"] == "Completed"
        assert busy not in cluster.starts("zeros")
        assert wires[busy].count("POST /v1/jobs ") == 1
        assert end_of(client, nap)["status"] == "Completed"


def test_a_cancelled_job_frees_its_slot_within_a_second(cluster: Cluster, standing: list[ServerProcess]) -> None:
    executor = standing[0]
    with signed_in(cluster.api(executor.url).url) as client:
        job = submit_named(client, "hold the interpreter lock")
        cluster.wait_for_start("hold the interpreter lock")
        workers = workers_of(executor)
        with at_most(1):
            assert client.post(f"/jobs/{job}/cancel").status_code == 204
            while workers_of(executor) & workers:
                time.sleep(0.01)
        assert end_of(client, submit_named(client, "zeros"))["status"] == "Completed"


def test_a_job_of_an_executor_that_is_killed_completes_on_another_and_its_successor_gets_jobs(cluster: Cluster) -> None:
    executors = {executor.process.pid: executor for executor in cluster.executors(2)}
    api = cluster.api(*(executor.url for executor in executors.values()))
    with signed_in(api.url) as client:
        job = submit_named(client, "nap 2")
        first = cluster.wait_for_start("nap 2")
        executors[first].stop(signal.SIGKILL)
        assert end_of(client, job)["status"] == "Completed"
        assert set(cluster.starts("nap 2")) == executors.keys()
        successor = cluster.executor(f"--port={executors[first].url.rpartition(':')[2]}")
        # The api asks a dead address again every 5 s.
        with at_most(20):
            while successor.process.pid not in cluster.starts("nap 1"):
                jobs = [submit_named(client, "nap 1") for _ in range(2)]
                assert {end_of(client, job)["status"] for job in jobs} == {"Completed"}


def test_a_job_goes_on_where_it_was_when_its_api_is_killed(cluster: Cluster, standing: list[ServerProcess]) -> None:
    executor = standing[0]
    api = cluster.api(executor.url)
    with signed_in(api.url) as client:
        job = submit_named(client, "nap 3")
        cluster.wait_for_start("nap 3")
    api.stop(signal.SIGKILL)
    with signed_in(cluster.api(executor.url).url) as client:
        assert client.get(f"/jobs/{job}").json()["status"] == "Running"
        assert end_of(client, job)["status"] == "Completed"
        assert len(cluster.starts("nap 3")) == 1


def test_a_result_that_no_api_was_there_for_is_kept(cluster: Cluster, standing: list[ServerProcess]) -> None:
    executor = standing[0]
    api = cluster.api(executor.url)
    with signed_in(api.url) as client:
        job = submit_named(client, "nap 1")
        cluster.wait_for_start("nap 1")
    api.stop(signal.SIGKILL)
    seconds_until_idle(executor)
    with signed_in(cluster.api(executor.url).url) as client:
        assert end_of(client, job)["status"] == "Completed"
        assert len(cluster.starts("nap 1")) == 1


def test_a_draining_api_hands_its_jobs_over_at_once(cluster: Cluster, standing: list[ServerProcess]) -> None:
    executor = standing[0]
    api = cluster.api(executor.url)
    with signed_in(api.url) as client:
        job = submit_named(client, "nap 3")
        cluster.wait_for_start("nap 3")
    with at_most(2):
        assert api.stop() == 0
    with signed_in(cluster.api(executor.url).url) as client:
        assert end_of(client, job)["status"] == "Completed"
        assert len(cluster.starts("nap 3")) == 1


def test_a_stream_that_is_cut_is_taken_up_again(cluster: Cluster, standing: list[ServerProcess]) -> None:
    executor = standing[0]
    wire = cluster.wire(executor)
    with signed_in(cluster.api(wire.url).url) as client:
        job = submit_named(client, "nap 2")
        cluster.wait_for_start("nap 2")
        wire.cut()
        assert end_of(client, job)["status"] == "Completed"
        assert len(cluster.starts("nap 2")) == 1
        assert wire.count("GET /v1/jobs/") == 1


def test_a_job_that_nobody_asks_for_ends_after_its_time(cluster: Cluster) -> None:
    executor = cluster.executor(QRS_ORPHAN_AFTER="1", QRS_ORPHAN_KEPT="1")
    wire = cluster.wire(executor)
    api = cluster.api(wire.url, QRS_CONFIRM_EVERY="0.2")
    with signed_in(api.url) as client:
        submit_named(client, "sleep")
        cluster.wait_for_start("sleep")
        workers = workers_of(executor)
        time.sleep(2.5)
        assert workers_of(executor) >= workers, "a job that is followed goes on"
        assert wire.count("GET /v1/jobs/") == 0, "it was never taken for orphaned"
    api.stop(signal.SIGKILL)
    start = time.monotonic()
    while workers_of(executor) >= workers:
        assert time.monotonic() - start < 5
        time.sleep(0.02)
    assert time.monotonic() - start > 1
    seconds_until_idle(executor)


def test_a_draining_executor_lets_its_job_end_and_takes_no_other(cluster: Cluster) -> None:
    executors = {executor.process.pid: executor for executor in cluster.executors(2)}
    api = cluster.api(*(executor.url for executor in executors.values()))
    with signed_in(api.url) as client:
        job = submit_named(client, "nap 2")
        draining = executors[cluster.wait_for_start("nap 2")]
        draining.process.send_signal(signal.SIGTERM)
        while httpx.get(f"{draining.url}/health/ready").status_code != 503:
            time.sleep(0.02)
        others = [submit_named(client, "zeros") for _ in range(3)]
        assert {end_of(client, other)["status"] for other in others} == {"Completed"}
        assert draining.process.pid not in cluster.starts("zeros")
        assert end_of(client, job)["status"] == "Completed"
        assert len(cluster.starts("nap 2")) == 1
    assert draining.process.wait(5) == 0


def test_a_job_that_does_not_end_while_its_executor_drains_runs_elsewhere(cluster: Cluster) -> None:
    executors = {executor.process.pid: executor for executor in cluster.executors(2, "--drain-seconds=0.3")}
    api = cluster.api(*(executor.url for executor in executors.values()))
    with signed_in(api.url) as client:
        job = submit_named(client, "nap 2")
        first = cluster.wait_for_start("nap 2")
        with at_most(4):
            assert executors[first].stop() == 0
        assert end_of(client, job)["status"] == "Completed"
        assert set(cluster.starts("nap 2")) == executors.keys()


def test_jobs_wait_for_an_executor_that_no_api_has_seen_yet(cluster: Cluster, unused_tcp_port: int) -> None:
    api = cluster.api(f"http://127.0.0.1:{unused_tcp_port}")
    with signed_in(api.url) as client:
        assert "fake_manila@counted" in {device["name"] for device in client.get("/backends").json()["devices"]}
        jobs = [submit_named(client, "zeros"), submit_named(client, "zeros", backend="fake_quantum_sim@counted")]
        cluster.executor(f"--port={unused_tcp_port}")
        assert {end_of(client, job)["status"] for job in jobs} == {"Completed"}


def test_an_api_with_another_key_gets_nowhere(cluster: Cluster, standing: list[ServerProcess]) -> None:
    executor = standing[0]
    api = cluster.api(executor.url, QRS_EXECUTOR_KEY="a guess")
    with signed_in(api.url) as client:
        assert "No executor is up" in client.get("/backends/fake_manila@counted/status").json()["message"]
        job = submit_named(client, "zeros")
        time.sleep(1)
        assert client.get(f"/jobs/{job}").json()["status"] == "Queued"
    while not any("401" in line for line in api.output):
        time.sleep(0.02)


def test_many_jobs_of_a_killed_and_a_drained_executor_are_all_run(cluster: Cluster) -> None:
    killed, drained, last = cluster.executors(3)
    with signed_in(cluster.api(killed.url, drained.url, last.url).url) as client:
        jobs = [submit_named(client, "nap 0.1") for _ in range(40)]
        when(client, jobs[3], {"Completed"})
        killed.process.send_signal(signal.SIGKILL)
        drained.process.send_signal(signal.SIGTERM)
        assert {end_of(client, job)["status"] for job in jobs} == {"Completed"}
        assert len(cluster.starts("nap 0.1")) <= 41
    assert drained.process.wait(5) == 0
