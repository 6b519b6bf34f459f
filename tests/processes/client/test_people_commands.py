"""The commands for people against a server: `jobs`, `job`, `top`, `cancel` and `accounts usage`."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from kit.server.http_jobs import circuit_of, end_of, long_circuit, signed_in, submit, when
from kit.server.server_process import StartServer
from qiskit_runtime_server.client import environment

ACCOUNTS = '[accounts.ada]\nrole = "admin"\n'
HOSTILE = "[bold red]x[/]\x1b[2J\x1b]0;title\x07"


@pytest.fixture
def url(start_server: StartServer, tmp_path: Path) -> str:
    folder = tmp_path / "tokens"
    folder.mkdir()
    for name in ("ada", "alice", "bob"):
        (folder / name).write_text(f"{name}-1")
    (folder / "accounts.toml").write_text(ACCOUNTS)
    return start_server("--executors=aer=1", f"--tokens={folder}").url


@pytest.fixture
def alice(url: str) -> Iterator[httpx.Client]:
    with signed_in(url, "alice-1") as client:
        yield client


def command(*arguments: str, **variables: str) -> "subprocess.CompletedProcess[str]":
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("QISKIT_", "QRS_"))}
    own = {"COLUMNS": "200", "HOME": "/nonexistent", **variables}
    return subprocess.run(
        [sys.executable, "-m", "qiskit_runtime_server", *arguments],
        capture_output=True,
        text=True,
        check=False,
        env={**inherited, **own},
        timeout=120,
    )


def read(*arguments: str, **variables: str) -> Any:  # noqa: ANN401 - a JSON document
    done = command(*arguments, "--json", **variables)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_jobs_are_listed_shown_and_cancelled(url: str, alice: httpx.Client) -> None:
    ended = submit(alice, circuit_of(), tags=["lesson-1"])
    end_of(alice, ended)
    running = submit(alice, long_circuit(), backend="fake_quantum_sim@aer")
    when(alice, running, {"Running"})
    queued = submit(alice, circuit_of())
    me = {"QRS_URL": url, "QRS_TOKEN": "alice-1"}
    assert [job["id"] for job in read("jobs", **me)] == [queued, running, ended]
    assert [job["id"] for job in read("jobs", "--pending", "--limit", "1", **me)] == [queued]
    assert [job["id"] for job in read("jobs", "--ended", **me)] == [ended]
    listed = command("jobs", **me).stdout
    assert all(word in listed for word in (ended, "Completed", "lesson-1", running, "Running", queued, "Queued"))

    shown = command("job", ended, **me).stdout
    assert all(word in shown for word in (ended, "Completed", "sampler on fake_manila@aer", "slot time", "lesson-1"))
    about = read("job", queued, **me)
    assert (about["job"]["id"], about["metrics"]["position_in_queue"]) == (queued, 1)
    assert "position" in command("job", queued, **me).stdout

    state = read("top", **me)
    assert [job["id"] for job in state["running"]] == [running]
    assert [job["id"] for job in state["queued"]] == [queued]
    seen = command("top", **me).stdout
    assert all(word in seen for word in ("aer", running, queued, "running: 1", "queued: 1"))

    done = command("cancel", running, queued, "no-such-job", **me)
    assert done.returncode == 1
    assert done.stdout.splitlines()[:2] == [f"{running}: cancelled", f"{queued}: cancelled"]
    assert "404" in done.stdout
    assert {end_of(alice, job_id)["status"] for job_id in (running, queued)} == {"Cancelled"}
    assert read("cancel", submit(alice, long_circuit(), backend="fake_quantum_sim@aer"), **me)[0]["error"] is None


def test_watching_a_job_ends_with_it_and_says_how_it_went(url: str, alice: httpx.Client) -> None:
    me = {"QRS_URL": url, "QRS_TOKEN": "alice-1"}
    right, wrong = submit(alice, circuit_of()), submit(alice, params={"pubs": [["nonsense", [], 1]], "version": 2})
    assert command("job", right, "--watch", **me).returncode == 0
    done = command("job", wrong, "--watch", **me)
    assert done.returncode == 1
    assert "Failed" in done.stdout
    assert "reason" in done.stdout


def test_admins_see_everybody_s_jobs_and_usage_and_others_do_not(url: str, alice: httpx.Client) -> None:
    job_id = submit(alice, circuit_of())
    end_of(alice, job_id)
    ada, bob = {"QRS_URL": url, "QRS_TOKEN": "ada-1"}, {"QRS_URL": url, "QRS_TOKEN": "bob-1"}
    assert [job["account"] for job in read("jobs", "--all", **ada)] == ["alice"]
    assert read("jobs", "--account", "bob", **ada) == []
    assert "alice" in command("jobs", "--all", **ada).stdout
    assert [used["account"] for used in read("accounts", "usage", **ada)["usage"]] == ["alice"]
    assert "alice" in command("accounts", "usage", **ada).stdout
    for arguments in (("jobs", "--all"), ("accounts", "usage"), ("job", job_id)):
        refused = command(*arguments, **bob)
        assert refused.returncode == 1
        assert refused.stderr.count("\n") == 1
    assert read("jobs", **bob) == []


def test_nothing_that_a_user_has_sent_steers_the_terminal_of_another(url: str, alice: httpx.Client) -> None:
    job_id = submit(alice, circuit_of(), tags=[HOSTILE])
    end_of(alice, job_id)
    ada = {"QRS_URL": url, "QRS_TOKEN": "ada-1", "FORCE_COLOR": "1"}
    for arguments in (("jobs", "--all"), ("job", job_id)):
        shown = command(*arguments, **ada).stdout
        assert "[bold red]x[/]" in shown
        assert not any(text in shown for text in ("\x1b[2J", "\x1b]0", "\x07"))


def test_the_server_is_that_of_the_client_s_account(url: str, alice: httpx.Client, tmp_path: Path) -> None:
    job_id = submit(alice, circuit_of())
    exported = environment(url, "alice-1")
    assert [job["id"] for job in read("jobs", **exported)] == [job_id]
    saved = tmp_path / ".qiskit" / "qiskit-ibm.json"
    saved.parent.mkdir()
    account = {"channel": "ibm_quantum_platform", "token": "alice-1", "url": exported["QISKIT_IBM_URL"]}
    saved.write_text(json.dumps({"qiskit-runtime-server": account}))
    done = command("jobs", "--json", HOME=str(tmp_path))
    assert [job["id"] for job in json.loads(done.stdout)] == [job_id]
    # A token goes only where it belongs.
    elsewhere = command("jobs", "--url", url, HOME=str(tmp_path))
    assert "does not know this token" in elsewhere.stderr
    ibm = command("jobs", **{**exported, "QISKIT_IBM_URL": "https://cloud.ibm.com"})
    assert "http://127.0.0.1:8000" in ibm.stderr
