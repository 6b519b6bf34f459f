"""Cancelling, deadlines, crashes, restarts: over HTTP, against real server processes."""

import json
import os
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from textwrap import dedent

import httpx
import pytest
from qiskit import QuantumCircuit

from kit import TESTS
from kit.server.cluster_processes import Plugins, is_alive, own_memory_of, templates_of, wait_until, workers_of
from kit.server.http_jobs import circuit_of, end_of, long_circuit, signed_in, submission, submit, submit_named, when
from kit.server.server_process import (
    NO_EXECUTOR,
    STOP_SECONDS,
    ServerProcess,
    StartServer,
    refusal,
    running_server,
)


@pytest.fixture(scope="module")
def one_slot(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A server that tests share; each leaves it without unfinished jobs."""
    with running_server(tmp_path_factory.mktemp("data"), "--executors=aer=1") as shared:
        yield shared


def another_worker_lives(server: ServerProcess, worker: int) -> bool:
    return bool(workers_of(server) - {worker})


def start_long_job(server: ServerProcess, client: httpx.Client) -> str:
    job = submit(client, long_circuit(layers=100), backend="fake_quantum_sim@aer")
    when(client, job, {"Running"})
    # With the state in its memory the worker is inside the simulator, where it hears nothing.
    wait_until(lambda: any(own_memory_of(worker) > 400 * 2**20 for worker in workers_of(server)))
    return job


def test_a_running_job_is_cancelled_at_once_and_the_next_one_runs(one_slot: ServerProcess) -> None:
    with signed_in(one_slot.url) as client:
        job = start_long_job(one_slot, client)
        before = workers_of(one_slot)
        assert client.post(f"/jobs/{job}/cancel").status_code == 204
        assert client.get(f"/jobs/{job}").json()["status"] == "Cancelled"
        # For a busy machine; the job itself takes minutes. `make bench` has what holds on a quiet one.
        wait_until(lambda: not workers_of(one_slot) & before)
        assert end_of(client, submit(client))["status"] == "Completed"
        assert client.post(f"/jobs/{job}/cancel").status_code == 409
        assert client.get(f"/jobs/{job}/results").status_code == 204


def test_a_queued_job_is_cancelled_without_ever_running(one_slot: ServerProcess) -> None:
    with signed_in(one_slot.url) as client:
        running = start_long_job(one_slot, client)
        queued = submit(client)
        assert client.get("/backends/fake_manila@aer/status").json()["length_queue"] == 1
        assert client.get(f"/jobs/{queued}/metrics").json()["position_in_queue"] == 1
        assert client.post(f"/jobs/{queued}/cancel").status_code == 204
        assert client.get("/backends/fake_manila@aer/status").json()["length_queue"] == 0
        client.post(f"/jobs/{running}/cancel")
        assert client.get(f"/jobs/{queued}/metrics").json()["timestamps"]["running"] is None


def test_a_job_over_its_time_fails_with_the_code_for_it(one_slot: ServerProcess) -> None:
    with signed_in(one_slot.url) as client:
        job = end_of(client, submit(client, long_circuit(), backend="fake_quantum_sim@aer", cost=2))
        assert job["status"] == "Failed"
        assert job["state"]["reason_code"] == 1305
        assert "2 s" in job["state"]["reason"]


def test_deleting_a_running_job_ends_it(one_slot: ServerProcess) -> None:
    with signed_in(one_slot.url) as client:
        job = start_long_job(one_slot, client)
        assert client.delete(f"/jobs/{job}").status_code == 204
        assert client.get(f"/jobs/{job}").status_code == 404
        assert end_of(client, submit(client))["status"] == "Completed"


def test_a_long_job_does_not_slow_status_calls(one_slot: ServerProcess) -> None:
    with signed_in(one_slot.url) as client:
        job = start_long_job(one_slot, client)
        start = time.monotonic()
        for _ in range(10):
            client.get(f"/jobs/{job}")
        assert time.monotonic() - start < 5, "those that wait take a second each"
        client.post(f"/jobs/{job}/cancel")


def test_a_killed_worker_costs_an_attempt_not_the_job(one_slot: ServerProcess) -> None:
    with signed_in(one_slot.url) as client:
        job = start_long_job(one_slot, client)
        for attempt in range(3):
            (worker,) = workers_of(one_slot)
            os.kill(worker, signal.SIGKILL)
            if attempt < 2:
                wait_until(partial(another_worker_lives, one_slot, worker))
                when(client, job, {"Running"})
                time.sleep(0.5)
        ended = end_of(client, job)
        assert ended["status"] == "Failed"
        assert "SIGKILL" in ended["state"]["reason"]
        assert end_of(client, submit(client))["status"] == "Completed"


def test_a_job_outlives_the_template_of_its_worker(one_slot: ServerProcess) -> None:
    with signed_in(one_slot.url) as client:
        job = start_long_job(one_slot, client)
        (template,), (worker,) = templates_of(one_slot.process.pid), workers_of(one_slot)
        os.kill(template, signal.SIGKILL)
        wait_until(partial(another_worker_lives, one_slot, worker))
        assert not is_alive(worker)
        when(client, job, {"Running"})
        client.post(f"/jobs/{job}/cancel").raise_for_status()
        assert end_of(client, submit(client))["status"] == "Completed"


@pytest.fixture
def temporary() -> Iterator[Path]:
    """A temporary folder of a server's own, whose path is short: that of a socket has 107 characters at most."""
    with tempfile.TemporaryDirectory(prefix="t-") as folder:
        yield Path(folder)


@pytest.mark.parametrize("delay", [*(pytest.param(delay, marks=pytest.mark.thorough) for delay in (0.0, 0.3)), 0.05])
def test_kill_9_loses_no_job_and_no_worker_outlives_its_server_and_a_seed_gives_the_same_bits_after_it(
    start_server: StartServer, temporary: Path, delay: float
) -> None:
    server = start_server("--executors=aer=2", TMPDIR=str(temporary))
    with signed_in(server.url) as client:
        drawn = seeded_bits(client)
        jobs = [submit(client) for _ in range(20)]
        time.sleep(delay)
        orphans = workers_of(server, paused=True)
        server.stop(signal.SIGKILL)
    wait_until(lambda: not any(is_alive(pid) for pid in orphans))
    left = set(temporary.iterdir())
    again = start_server("--executors=aer=2", TMPDIR=str(temporary))
    assert left
    wait_until(lambda: not left & set(temporary.iterdir()))
    with signed_in(again.url) as client:
        assert {end_of(client, job)["status"] for job in jobs} == {"Completed"}
        assert client.get("/jobs", params={"limit": 100}).json()["count"] == 21
        for job in jobs:
            assert "PrimitiveResult" in client.get(f"/jobs/{job}/results").text
        assert seeded_bits(client) == drawn
    again.stop()
    assert list(temporary.iterdir()) == []


def seeded_bits(client: httpx.Client) -> object:
    """Return what a job gives whose bits are drawn, all from the same seed."""
    circuit = QuantumCircuit(1, 1)
    circuit.sx(0)
    circuit.measure(0, 0)
    params = submission(circuit)["params"] | {"options": {"simulator": {"seed_simulator": 5}}}
    job = submit(client, params=params)
    assert end_of(client, job)["status"] == "Completed"
    return client.get(f"/jobs/{job}/results").json()["__value__"]["pub_results"]


def test_an_answered_job_is_on_disk(one_slot: ServerProcess) -> None:
    with signed_in(one_slot.url) as client:
        job = submit(client)
    database = one_slot.data_dir / "store.db"
    rows = sqlite3.connect(f"file:{database}?mode=ro", uri=True).execute("SELECT id FROM jobs").fetchall()
    assert (job,) in rows


def test_sigterm_lets_running_jobs_end_and_exits_with_0(start_server: StartServer, plugins: Plugins) -> None:
    server = start_server("--executors=counted=1", **plugins.environment)
    with signed_in(server.url) as client:
        job = submit_named(client, "held terminated")
        when(client, job, {"Running"})
        server.process.send_signal(signal.SIGTERM)
        wait_until(lambda: any("Waiting up to 30 s for 1 running jobs" in line for line in server.output))
        plugins.let_go("held terminated")
        assert end_of(client, job)["status"] == "Completed"
    assert server.process.wait(STOP_SECONDS) == 0


def test_what_does_not_end_in_time_is_run_by_the_next_server(start_server: StartServer, plugins: Plugins) -> None:
    server = start_server("--executors=counted=1", QRS_DRAIN="0.5", **plugins.environment)
    with signed_in(server.url) as client:
        job = submit_named(client, "held late")
        when(client, job, {"Running"})
    assert server.stop() == 0
    with signed_in(start_server("--executors=counted=1", **plugins.environment).url) as client:
        plugins.let_go("held late")
        assert end_of(client, job)["status"] == "Completed"


def test_a_second_server_on_the_same_folder_is_refused(python: str, server: ServerProcess) -> None:
    assert str(server.data_dir) in refusal(python, server.data_dir, NO_EXECUTOR)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--executors=nothing"], "nothing"),
        (["--executors=aer=0"], "aer=2"),
        ([NO_EXECUTOR, "--host=0.0.0.0"], "--anonymous"),
        ([NO_EXECUTOR, "--tokens=/nowhere"], "/nowhere"),
        ([NO_EXECUTOR, "--port=1", "--host=192.0.2.1", "--anonymous"], "192.0.2.1"),
    ],
)
def test_a_server_that_cannot_start_says_why_in_one_line(
    python: str, tmp_path: Path, options: list[str], words: str
) -> None:
    assert words in refusal(python, tmp_path, *options)


def test_the_api_process_imports_no_simulation(server: ServerProcess) -> None:
    maps = Path(f"/proc/{server.process.pid}/maps").read_text()
    assert "qiskit" not in maps
    assert "numpy" not in maps


def test_a_users_own_executors_run_behind_any_asgi_server(tmp_path: Path) -> None:
    program = """
        import sys, uvicorn
        sys.path.insert(0, sys.argv[1])
        from pathlib import Path
        from kit.faults.scripted_executor import ScriptedExecutor
        from qiskit_runtime_server import Settings, create_app
        if __name__ == "__main__":
            app = create_app({"mine": ScriptedExecutor()}, Settings(data_dir=Path(sys.argv[2])))
            uvicorn.run(app, port=0)
    """
    script = tmp_path / "own_server.py"
    script.write_text(dedent(program))
    command: list[str | Path] = [sys.executable, script, TESTS, tmp_path / "data"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stderr is not None
            line = next(line for line in process.stderr if "running on" in line)
            url = line.split("running on ")[1].split()[0]
            with signed_in(url) as client:
                job = end_of(client, submit(client, circuit_of("zeros"), backend="fake_manila@mine"))
                assert job["status"] == "Completed", job
                # Entangled: single qubits do not need the executor.
                estimator = submission(long_circuit(layers=2, num_qubits=2)) | {
                    "backend": "fake_manila@mine",
                    "program_id": "estimator",
                }
                estimator["params"]["pubs"] = [[*estimator["params"]["pubs"][0][:1], {"ZZ": 1.0}, [], None]]
                refused = end_of(client, client.post("/jobs", json=estimator).json()["id"])
                assert refused["status"] == "Failed"
                assert json.dumps(refused)
        finally:
            process.send_signal(signal.SIGTERM)
