"""The command `backends --load` against an api and an executor service: what accounts see, and what admins see."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import kit
from kit.server.cluster_processes import Cluster, wait_until
from kit.server.http_jobs import signed_in, submit_named, when
from kit.server.server_process import ServerProcess

ACCOUNTS = '[accounts.ada]\nrole = "admin"\n'


@pytest.fixture
def tokens(tmp_path: Path) -> Path:
    folder = tmp_path / "tokens"
    folder.mkdir()
    for name in ("ada", "alice", "bob"):
        (folder / name).write_text(f"{name}-1")
    (folder / "accounts.toml").write_text(ACCOUNTS)
    return folder


def printed(url: str, token: str, *options: str) -> str:
    """Return what the command prints into a pipe; there are columns in the environment where readline was imported."""
    command = [sys.executable, "-m", "qiskit_runtime_server", "backends", url, "--token", token, *options]
    environment = {name: value for name, value in kit.environment().items() if name != "COLUMNS"}
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout


def loads(url: str, token: str) -> list[dict[str, Any]]:
    """Return how busy executors are, as the command says it to programs."""
    found: list[dict[str, Any]] = json.loads(printed(url, token, "--load", "--json"))
    return found


def test_an_account_sees_the_queue_and_its_own_jobs_and_an_admin_sees_all(
    cluster: Cluster, standing: list[ServerProcess], tokens: Path
) -> None:
    api = cluster.api(standing[0].url, QRS_TOKENS=str(tokens), QRS_ANONYMOUS="false")
    wait_until(lambda: loads(api.url, "bob-1")[0]["slots"] == 1)
    with signed_in(api.url, "alice-1") as alice:
        when(alice, submit_named(alice, cluster.held), {"Running"})
        submit_named(alice, cluster.held)
    told = {"name": "counted", "ready": True, "queued": 1, "slots": 1, "reason": ""}
    [seen] = loads(api.url, "alice-1")
    assert {**told, "own_running": 1, "running": None, "idle": None}.items() <= seen.items()
    [seen] = loads(api.url, "bob-1")
    assert {**told, "own_running": 0, "running": None, "idle": None}.items() <= seen.items()
    [seen] = loads(api.url, "ada-1")
    assert {**told, "own_running": 0, "running": 1, "idle": 0}.items() <= seen.items()
    # What others are not told is a dash.
    for token, cells in (
        ("bob-1", ["yes", "1", "-", "0", "1", "-", "-"]),
        ("ada-1", ["yes", "1", "1", "0", "1", "0", "1"]),
    ):
        [row] = [line.split() for line in printed(api.url, token, "--load").splitlines() if "counted" in line]
        assert row == ["counted", *cells]
    cluster.let_go()


def test_an_executor_that_is_away_is_said_to_be_not_ready(cluster: Cluster) -> None:
    executor = cluster.executor()
    api = cluster.api(executor.url)
    wait_until(lambda: loads(api.url, "bob")[0]["ready"])
    executor.stop()
    wait_until(lambda: not loads(api.url, "bob")[0]["ready"])
    [row] = [line for line in printed(api.url, "bob", "--load").splitlines() if "counted" in line]
    assert row.strip().split(maxsplit=8) == [
        "counted",
        "no",
        "0",
        "-",
        "0",
        "0",
        "-",
        "-",
        "No executor is up: jobs wait for one.",
    ]


def test_without_the_option_the_backends_are_listed(cluster: Cluster, standing: list[ServerProcess]) -> None:
    api = cluster.api(standing[0].url)
    rows = [line.split() for line in printed(api.url, "bob").splitlines()]
    assert ["fake_manila@counted", "5", "0"] in rows
