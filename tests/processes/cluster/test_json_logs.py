"""A server with `QRS_LOG_FORMAT=json`: every line that it writes is one JSON object."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from kit.server.cluster_processes import Cluster
from kit.server.http_jobs import end_of, signed_in, submit, submit_named
from kit.server.server_process import ServerProcess, StartServer

JSON = {"QRS_LOG_FORMAT": "json"}


def lines(server: ServerProcess) -> list[dict[str, Any]]:
    """Return what the server wrote, in order, once it has ended."""
    server.reader.join()
    return [json.loads(line) for line in server.output]


def send_nonsense(url: str) -> None:
    where = urlsplit(url)
    with socket.create_connection((where.hostname or "", where.port or 0), timeout=30) as connection:
        connection.sendall(b"this is no HTTP\r\n\r\n")
        connection.recv(4096)


def broken_snapshot(folder: Path) -> Path:
    """Return a folder with a device that cannot be read."""
    (folder / "snapshots" / "ibm_broken").mkdir(parents=True)
    (folder / "snapshots" / "ibm_broken" / "configuration.json").write_text("{")
    return folder / "snapshots"


def test_all_that_a_server_says_is_json(start_server: StartServer, tmp_path: Path) -> None:
    server = start_server("--executors=aer=1", "--anonymous", **JSON, QRS_SNAPSHOTS=str(broken_snapshot(tmp_path)))
    with signed_in(server.url) as client:
        job_id = submit(client)
        assert end_of(client, job_id)["status"] == "Completed"
        refused = client.get("/jobs/nonsense")
    send_nonsense(server.url)
    assert server.stop() == 0
    said = lines(server)
    assert all({"time", "level", "logger", "message"} <= line.keys() for line in said)
    by_logger: dict[str, list[dict[str, Any]]] = {}
    for line in said:
        by_logger.setdefault(line["logger"], []).append(line)
    accepted, started, ended = by_logger["qiskit_runtime_server.dispatch.job_log"]
    (account,) = {line["account"] for line in (accepted, started, ended)}
    about = {"job": job_id, "account": account, "program": "sampler", "backend": "fake_manila@aer"}
    assert all(about.items() <= line.items() for line in (accepted, started, ended))
    assert [line["fence"] for line in (accepted, started, ended)] == [0, 1, 1]
    assert accepted["bytes"] > 0
    assert (started["run"], ended["state"], ended["level"]) == (1, "Completed", "info")
    assert 0 < ended["seconds"] < 60
    (answer,) = by_logger["qiskit_runtime_server.api.errors"]
    assert (answer["status"], answer["trace"]) == (404, refused.json()["trace"])
    assert (answer["method"], answer["path"]) == ("GET", "/api/v1/jobs/nonsense")
    (banner,) = by_logger["qiskit_runtime_server.roles.banner"]
    assert banner["url"] == server.url
    assert [line["message"] for line in by_logger["uvicorn.error"]] == ["Invalid HTTP request received."]
    assert "ibm_broken" in by_logger["qiskit_runtime_server.backends.catalog"][0]["message"]


def test_the_trace_that_a_client_sees_is_that_of_its_job_in_every_log(cluster: Cluster) -> None:
    executor = cluster.executor(**JSON)
    api = cluster.api(executor.url, **JSON)
    with signed_in(api.url) as client:
        job_id, other = (submit_named(client, f"warn {name}") for name in ("here", "there"))
        assert {end_of(client, one)["status"] for one in (job_id, other)} == {"Completed"}
        refused = client.post(f"/jobs/{job_id}/cancel")
        assert (refused.status_code, refused.json()["trace"]) == (409, job_id)
    assert api.stop() == executor.stop() == 0
    said = {
        name: [line for line in lines(server) if line.get("trace") == job_id]
        for name, server in {"api": api, "executor": executor}.items()
    }
    (warning,) = said["executor"]
    assert (warning["logger"], warning["level"], warning["message"]) == (
        "kit.server.counted_executor",
        "warning",
        "A word: here",
    )
    assert [line["url"] for line in lines(executor) if line["logger"].endswith("banner")] == [executor.url]
    whats = [line["message"].replace(job_id, "ID").partition(":")[0] for line in said["api"]]
    assert whats == [
        "Job ID accepted",
        "submit",
        "Job ID started",
        "Job ID ended Completed",
        "POST /api/v1/jobs/ID/cancel answered 409, trace ID",
    ]
    about_it = [line for server in (api, executor) for line in lines(server) if job_id in line["message"]]
    assert all(line.get("trace") == job_id for line in about_it)


def test_an_error_that_a_user_can_mend_is_the_last_line(tmp_path: Path) -> None:
    tokens = tmp_path / "tokens"
    command = [sys.executable, "-m", "qiskit_runtime_server", "api", "--executors=aer=1", f"--tokens={tokens}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, **JSON})
    assert done.returncode == 1
    assert done.stdout == ""
    (line,) = map(json.loads, done.stderr.splitlines())
    assert line["level"] == "critical"
    assert line["message"].startswith("An api has no slots of its own")
