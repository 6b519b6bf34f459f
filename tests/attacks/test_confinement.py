"""Code that a client got to run in a worker reaches nothing but its own computation."""

import json
import os
import platform
from pathlib import Path

import httpx
import pytest

import kit
from kit.server.http_jobs import end_of, signed_in, submit_named
from kit.server.server_process import StartServer

ENTRY_POINTS = "[qiskit_runtime_server.executors]\nprobe = kit.faults.probing_executor:ProbingExecutor\n"
ALLOWED = {"compute on a thread", "its own limits", "write to its own folder"}

pytestmark = pytest.mark.skipif(platform.machine() != "x86_64", reason="system calls are named by their numbers there")


def reached(start_server: StartServer, folder: Path, **settings: str) -> set[str]:
    """Return what the probe reached on a server with secrets."""
    metadata = folder / "distribution" / "probe-1.dist-info"
    metadata.mkdir(parents=True)
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: probe\nVersion: 1\n")
    (metadata / "entry_points.txt").write_text(ENTRY_POINTS)
    tokens = folder / "tokens"
    tokens.mkdir()
    (tokens / "alice").write_text("a token of alice\n")
    server = start_server(
        "--executors=probe",
        f"--tokens={tokens}",
        QRS_SIGNING_KEY="a signing key of at least 32 bytes",
        QRS_LOAD_KEY="a load key",
        PYTHONPATH=kit.environment(folder / "distribution")["PYTHONPATH"],
        LOOT=":".join(
            ["/etc/passwd", str(Path("Makefile").absolute()), str(tokens / "alice"), str(folder / "data" / "store.db")]
        ),
        **settings,
    )
    confined = [*["user"] * (os.geteuid() == 0), "Landlock", "seccomp"]
    expected = [] if settings.get("QRS_CONFINE_WORKERS") == "false" else confined
    assert httpx.get(f"{server.url}/health").json()["executors"]["probe"]["confinement"] == expected
    with signed_in(server.url, "a token of alice") as client:
        job = end_of(client, submit_named(client, "probe", backend="fake_manila@probe"))
    reason = job["state"]["reason"]
    found: list[str] = json.loads(reason[reason.index("[") : reason.rindex("]") + 1])
    return set(found)


def test_a_worker_reaches_nothing(start_server: StartServer, tmp_path: Path) -> None:
    assert reached(start_server, tmp_path) == ALLOWED


def test_the_probe_does_reach_things_where_workers_are_not_confined(start_server: StartServer, tmp_path: Path) -> None:
    found = reached(start_server, tmp_path, QRS_CONFINE_WORKERS="false")
    assert {
        "a socket",
        "a program",
        "read alice",
        "read passwd",
        "a signal to the server",
        "the limits of the server",
        "the priority of the server",
        "the kernel to signal the server",
        "memory of System V",
        "a character typed into the terminal",
        "read Makefile",
        *(f"change the {what} of alice" for what in ("mode", "owner", "times")),
    } <= found
    assert "secrets in the environment" not in found
