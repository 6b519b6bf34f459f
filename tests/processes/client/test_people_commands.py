"""The commands for people against a server: `jobs`, `job`, `top`, `cancel` and `accounts usage`."""

import json
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from kit.server.cluster_processes import Plugins
from kit.server.http_jobs import end_of, signed_in, submit, submit_named, when
from kit.server.server_process import running_server
from qiskit_runtime_server.client import connect, environment

ACCOUNTS = '[accounts.ada]\nrole = "admin"\n[accounts.tess]\nteaches = ["pupil-*"]\n'
NAMES = [f"user-{number}" for number in range(6)]
UNUSED = iter(NAMES)
# Jobs that run until they are cancelled.
HELD = "held people"
HOSTILE = "[bold red]x[/]\x1b[2J\x1b]0;title\x07"

Command = Callable[..., "subprocess.CompletedProcess[str]"]
Read = Callable[..., Any]


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory, plugins: Plugins) -> Iterator[str]:
    """A server that all tests share, each with an account of its own."""
    folder = tmp_path_factory.mktemp("accounts") / "tokens"
    folder.mkdir()
    for name in ("ada", "bob", "tess", "pupil-1", *NAMES):
        (folder / name).write_text(token_of(name))
    (folder / "accounts.toml").write_text(ACCOUNTS)
    with running_server(
        tmp_path_factory.mktemp("data"), "--executors=counted=1", f"--tokens={folder}", **plugins.environment
    ) as server:
        yield server.url


@pytest.fixture
def name() -> str:
    """An account that no other test uses."""
    return next(UNUSED)


@pytest.fixture
def user(url: str, name: str) -> Iterator[httpx.Client]:
    with signed_in(url, token_of(name)) as client:
        yield client


def token_of(name: str) -> str:
    return f"{name}-1"


@pytest.fixture(scope="module")
def command(python: str) -> Command:
    """Return what runs the command with arguments and, beside those of no server and no account, with variables."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("QISKIT_", "QRS_"))}

    def run(*arguments: str, **variables: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [python, "-m", "qiskit_runtime_server", *arguments],
            capture_output=True,
            text=True,
            check=False,
            env={**inherited, "COLUMNS": "200", "HOME": "/nonexistent", **variables},
            timeout=120,
        )

    return run


@pytest.fixture(scope="module")
def read(command: Command) -> Read:
    """Return what runs the command and reads the JSON that it prints."""

    def run(*arguments: str, **variables: str) -> Any:  # noqa: ANN401 - a JSON document
        done = command(*arguments, "--json", **variables)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return run


def test_jobs_are_listed_shown_and_cancelled(
    command: Command, read: Read, url: str, name: str, user: httpx.Client
) -> None:
    ended = submit_named(user, "flip", tags=["lesson-1"])
    end_of(user, ended)
    running = submit_named(user, HELD)
    when(user, running, {"Running"})
    queued = submit_named(user, "flip")
    me = {"QRS_URL": url, "QRS_TOKEN": token_of(name)}
    assert [job["id"] for job in read("jobs", **me)] == [queued, running, ended]
    assert [job["id"] for job in read("jobs", "--pending", "--limit", "1", **me)] == [queued]
    assert [job["id"] for job in read("jobs", "--ended", **me)] == [ended]
    listed = command("jobs", **me).stdout
    assert all(word in listed for word in (ended, "Completed", "lesson-1", running, "Running", queued, "Queued"))
    for narrow in (command("jobs", COLUMNS="80", **me).stdout, command("top", COLUMNS="80", **me).stdout):
        assert all(job_id in narrow for job_id in (running, queued))
        assert max(map(len, narrow.splitlines())) <= 80

    shown = command("job", ended, **me).stdout
    assert all(
        word in shown for word in (ended, "Completed", "sampler on fake_manila@counted", "slot time", "lesson-1")
    )
    about = read("job", queued, **me)
    assert (about["job"]["id"], about["metrics"]["position_in_queue"]) == (queued, 1)
    assert "position" in command("job", queued, **me).stdout

    backends = read("backends", url, "--token", token_of(name))
    assert ("fake_manila@counted", 5) in {(each["name"], each["qubits"]) for each in backends}
    loads = read("backends", url, "--token", token_of(name), "--load")
    assert [(load["name"], load["queued"], load["own_running"]) for load in loads] == [("counted", 1, 1)]
    assert "fake_manila@counted" in command("backends", url, "--token", token_of(name)).stdout

    state = read("top", **me)
    assert [job["id"] for job in state["running"]] == [running]
    assert [job["id"] for job in state["queued"]] == [queued]
    seen = command("top", **me).stdout
    assert all(word in seen for word in ("counted", running, queued, "running: 1", "queued: 1"))

    done = command("cancel", running, queued, "no-such-job", **me)
    assert done.returncode == 1
    assert done.stdout.splitlines()[:2] == [f"{running}: cancelled", f"{queued}: cancelled"]
    assert "404" in done.stdout
    assert {end_of(user, job_id)["status"] for job_id in (running, queued)} == {"Cancelled"}
    assert read("cancel", submit_named(user, HELD), **me)[0]["error"] is None


def test_watching_a_job_ends_with_it_and_says_how_it_went(
    command: Command, url: str, name: str, user: httpx.Client
) -> None:
    me = {"QRS_URL": url, "QRS_TOKEN": token_of(name)}
    right, wrong = (
        submit_named(user, "flip"),
        submit(user, backend="fake_manila@counted", params={"pubs": [["nonsense", [], 1]], "version": 2}),
    )
    assert command("job", right, "--watch", **me).returncode == 0
    done = command("job", wrong, "--watch", **me)
    assert done.returncode == 1
    assert "Failed" in done.stdout
    assert "reason" in done.stdout


def test_admins_see_everybody_s_jobs_and_usage_and_others_do_not(
    command: Command, read: Read, url: str, name: str, user: httpx.Client
) -> None:
    job_id = submit_named(user, "flip")
    end_of(user, job_id)
    ada, bob = {"QRS_URL": url, "QRS_TOKEN": token_of("ada")}, {"QRS_URL": url, "QRS_TOKEN": token_of("bob")}
    assert {job["id"]: job["account"] for job in read("jobs", "--all", **ada)}[job_id] == name
    assert [job["id"] for job in read("jobs", "--account", name, **ada)] == [job_id]
    assert read("jobs", "--account", "bob", **ada) == []
    assert name in command("jobs", "--all", **ada).stdout
    assert [used["jobs"] for used in read("accounts", "usage", **ada)["usage"] if used["account"] == name] == [1]
    assert name in command("accounts", "usage", **ada).stdout
    for arguments in (("jobs", "--all"), ("accounts", "usage"), ("job", job_id)):
        refused = command(*arguments, **bob)
        assert refused.returncode == 1
        assert refused.stderr.count("\n") == 1
    assert read("jobs", **bob) == []
    assert command("jobs", **bob).stdout == "There are none. Teachers and admins list those of others with --all.\n"


def test_a_teacher_sees_the_class_and_cancels_its_jobs_and_the_client_lists_only_the_own_ones(
    command: Command, read: Read, url: str, user: httpx.Client
) -> None:
    tess, pupil = {"QRS_URL": url, "QRS_TOKEN": token_of("tess")}, "pupil-1"
    with signed_in(url, token_of(pupil)) as of_class, signed_in(url, token_of("tess")) as teacher:
        ended = submit_named(of_class, "flip")
        end_of(of_class, ended)
        running = submit_named(of_class, HELD)
        when(of_class, running, {"Running"})
        other, own = submit_named(user, "flip"), submit_named(teacher, "flip")
        assert [job.job_id() for job in connect(url, token_of("tess")).jobs()] == [own]
        assert [job["id"] for job in read("jobs", **tess)] == [own]
        assert [job["id"] for job in read("jobs", "--all", **tess)] == [running, ended]
        assert [job["id"] for job in read("jobs", "--account", pupil, "--ended", **tess)] == [ended]
        assert read("jobs", "--account", "ada", **tess) == []
        assert command("jobs", "--account", "ada", **tess).stdout == "There are none like that.\n"
        state = read("top", **tess)
        assert ([job["id"] for job in state["running"]], [job["id"] for job in state["queued"]]) == ([running], [own])
        assert pupil in command("top", **tess).stdout
        assert pupil in command("job", ended, **tess).stdout
        assert "404" in command("job", other, **tess).stderr
        assert [used["account"] for used in read("accounts", "usage", **tess)["usage"]] == [pupil]
        done = command("cancel", running, other, **tess)
        assert (done.returncode, f"{running}: cancelled" in done.stdout, "404" in done.stdout) == (1, True, True)
        assert end_of(of_class, running)["state"]["reason"] == "Cancelled by tess, a teacher."


def test_nothing_that_a_user_has_sent_steers_the_terminal_of_another(
    command: Command, url: str, user: httpx.Client
) -> None:
    job_id = submit_named(user, "flip", tags=[HOSTILE])
    end_of(user, job_id)
    ada = {"QRS_URL": url, "QRS_TOKEN": token_of("ada"), "FORCE_COLOR": "1"}
    for arguments in (("jobs", "--all"), ("job", job_id)):
        shown = command(*arguments, **ada).stdout
        assert "[bold red]x[/]" in shown
        assert not any(text in shown for text in ("\x1b[2J", "\x1b]0", "\x07"))


def test_the_server_is_that_of_the_client_s_account(
    command: Command, read: Read, url: str, name: str, user: httpx.Client, tmp_path: Path
) -> None:
    job_id = submit_named(user, "flip")
    exported = environment(url, token_of(name))
    assert [job["id"] for job in read("jobs", **exported)] == [job_id]
    assert [load["name"] for load in read("backends", "--load", **exported)] == ["counted"]
    saved = tmp_path / ".qiskit" / "qiskit-ibm.json"
    saved.parent.mkdir()
    account = {"channel": "ibm_quantum_platform", "token": token_of(name), "url": exported["QISKIT_IBM_URL"]}
    saved.write_text(json.dumps({"qiskit-runtime-server": account}))
    done = command("jobs", "--json", HOME=str(tmp_path))
    assert [job["id"] for job in json.loads(done.stdout)] == [job_id]
    # A token goes only where it belongs, which by another name is another server.
    elsewhere = command("jobs", "--url", url.replace("127.0.0.1", "localhost"), HOME=str(tmp_path))
    assert "does not know this token" in elsewhere.stderr
    ibm = command("jobs", **{**exported, "QISKIT_IBM_URL": "https://cloud.ibm.com"})
    assert "http://127.0.0.1:8000" in ibm.stderr
