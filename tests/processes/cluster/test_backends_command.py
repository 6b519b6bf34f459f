"""The command `backends --load` against an api and an executor service: what accounts see, and what admins see."""

import subprocess
import sys
from pathlib import Path

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


def shown(url: str, token: str, *options: str) -> list[dict[str, str]]:
    """Return the rows of the table that the command prints, by the titles of its columns."""
    command = [sys.executable, "-m", "qiskit_runtime_server", "backends", url, "--token", token, *options]
    ran = subprocess.run(
        command, env={**kit.environment(), "COLUMNS": "200"}, capture_output=True, text=True, check=True
    )
    rows = [[cell.strip() for cell in line.strip("│┃").replace("┃", "│").split("│")] for line in ran.stdout.splitlines()
            if line[:1] in "│┃"]  # fmt: skip
    return [dict(zip(rows[0], row, strict=True)) for row in rows[1:]]


def test_an_account_sees_the_queue_and_its_own_jobs_and_an_admin_sees_all(
    cluster: Cluster, standing: list[ServerProcess], tokens: Path
) -> None:
    api = cluster.api(standing[0].url, QRS_TOKENS=str(tokens), QRS_ANONYMOUS="false")
    wait_until(lambda: shown(api.url, "bob-1", "--load")[0]["slots"] == "1")
    with signed_in(api.url, "alice-1") as alice:
        when(alice, submit_named(alice, cluster.held), {"Running"})
        submit_named(alice, cluster.held)
    told = {"executor": "counted", "ready": "yes", "queued": "1", "slots": "1", "why not ready": ""}
    [seen] = shown(api.url, "alice-1", "--load")
    assert seen == {**told, "yours running": "1", "running": "-", "idle": "-", "busy": "-"}
    [seen] = shown(api.url, "bob-1", "--load")
    assert seen == {**told, "yours running": "0", "running": "-", "idle": "-", "busy": "-"}
    [seen] = shown(api.url, "ada-1", "--load")
    assert seen == {**told, "yours running": "0", "running": "1", "idle": "0", "busy": "1"}
    cluster.let_go()


def test_an_executor_that_is_away_is_said_to_be_not_ready(cluster: Cluster) -> None:
    executor = cluster.executor()
    api = cluster.api(executor.url)
    wait_until(lambda: shown(api.url, "bob", "--load")[0]["ready"] == "yes")
    executor.stop()
    wait_until(lambda: shown(api.url, "bob", "--load")[0]["ready"] == "no")
    [seen] = shown(api.url, "bob", "--load")
    assert (seen["slots"], seen["why not ready"]) == ("0", "No executor is up: jobs wait for one.")


def test_without_the_option_the_backends_are_listed(cluster: Cluster, standing: list[ServerProcess]) -> None:
    api = cluster.api(standing[0].url)
    rows = {row["backend"]: row for row in shown(api.url, "bob")}
    assert rows["fake_manila@counted"] == {"backend": "fake_manila@counted", "qubits": "5", "queued jobs": "0"}
