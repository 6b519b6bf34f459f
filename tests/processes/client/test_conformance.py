"""The command that asks servers whether they conform: ours does, and one with a fault is found out, by name."""

import json
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from xml.etree import ElementTree

import httpx
import pytest
from option_pages import option_rows

from kit.server.client_environments import CLIENTS, EnvironmentUnavailableError, asked_by, without_environment
from kit.server.option_rows import Verdict
from kit.server.server_process import ServerProcess
from qiskit_runtime_server.conformance.option_values import trials

Asked = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="module")
def asked(python: str) -> Asked:
    """Return what asks with arguments, and with the server's own client."""

    def run(*arguments: str) -> "subprocess.CompletedProcess[str]":
        command = [python, "-m", "qiskit_runtime_server.conformance.command", *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    return run


@contextmanager
def without_in_answers(url: str, path: str, key: str) -> Iterator[str]:
    """Serve what the server at `url` says, but for one key of its answers at a path."""

    class Handler(BaseHTTPRequestHandler):
        def handle_one(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            headers = {name: value for name, value in self.headers.items() if name.lower() != "host"}
            answer = httpx.request(self.command, url + self.path, content=body, headers=headers, timeout=60)
            content = answer.content
            if self.path.partition("?")[0].endswith(path):
                content = json.dumps({name: value for name, value in answer.json().items() if name != key}).encode()
            self.send_response(answer.status_code)
            self.send_header("content-type", answer.headers.get("content-type", "text/plain"))
            self.send_header("content-length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = do_PUT = do_DELETE = do_PATCH = handle_one  # noqa: N815 - the library's names

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the library's name
            pass

    proxy = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=proxy.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{proxy.server_port}"
    finally:
        proxy.shutdown()
        thread.join()
        proxy.server_close()


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_this_server_conforms_and_the_reports_say_so(asked: Asked, server: ServerProcess, tmp_path: Path) -> None:
    said, junit = tmp_path / "said.json", tmp_path / "said.xml"
    done = asked(f"--url={server.url}", "--token=conformance", f"--json={said}", f"--junit={junit}")
    assert done.returncode == 0, done.stdout + done.stderr
    checks = json.loads(said.read_text())["checks"]
    missing = {check["name"] for check in checks if check["verdict"] == "not offered"}
    assert missing == {"options.every-job.environment.image"}
    suite = ElementTree.parse(junit).getroot()  # noqa: S314 - the command has written it
    assert (suite.get("failures"), suite.get("skipped"), suite.get("tests")) == ("0", "1", str(len(checks)))


def asked_by_older(client: str, url: str, folder: Path, *only: str) -> list[str]:
    """Return the lines of a client's checks, all or some, none of which has failed."""
    try:
        with asked_by(client, url, f"conformance-{client}", folder) as (command, environment):
            asking = [*command, *(f"--only={check}" for check in only)]
            done = subprocess.run(asking, env=environment, capture_output=True, text=True, check=False)
    except EnvironmentUnavailableError as error:
        without_environment(error)
    assert done.returncode == 0, f"{client}: {done.stdout}{done.stderr}"
    lines = done.stdout.splitlines()
    assert " 0 failed" in lines[-1]
    return lines


@pytest.mark.slow
@pytest.mark.thorough
@pytest.mark.timeout(900)
@pytest.mark.parametrize("which", ["the oldest", "one drawn by the date"])
def test_this_server_conforms_with_older_clients(server: ServerProcess, which: str, tmp_path: Path) -> None:
    oldest, *others = CLIENTS[:-1]
    client = oldest if which == "the oldest" else others[datetime.now(UTC).toordinal() % len(others)]
    asked_by_older(client, server.url, tmp_path)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_oldest_client_gets_through_one_check_of_each_kind(server: ServerProcess, tmp_path: Path) -> None:
    only = ("jobs.details", "sessions.batch", "backends.device", "backends.listing", "errors.cancel", "sampler.counts",
            "estimator.values", "options.sampler.twirling.enable_gates")  # fmt: skip
    lines = asked_by_older(CLIENTS[0], server.url, tmp_path, *only)
    assert sum(line.startswith("passed") for line in lines) == len(only)


@pytest.mark.slow
def test_a_fault_of_a_server_is_found_by_name(asked: Asked, server: ServerProcess) -> None:
    groups = ("--only=accounts", "--only=rest.usage", "--only=errors.wrong-token")
    with without_in_answers(server.url, "/instances/usage", "usage_consumed_seconds") as url:
        done = asked(f"--url={url}", "--token=fault", *groups)
    assert done.returncode == 1, done.stdout + done.stderr
    verdicts = {line.split()[3]: line.split()[0] for line in done.stdout.splitlines()[:-1]}
    assert verdicts == {
        "accounts.usage:": "failed",
        "accounts.instances": "passed",
        "rest.usage:": "failed",
        "errors.wrong-token": "passed",
    }
    assert "usage_consumed_seconds" in done.stdout


@pytest.mark.slow
def test_a_server_that_is_not_there_fails_every_check(asked: Asked) -> None:
    done = asked("--url=http://127.0.0.1:9", "--only=rest.usage", "--only=accounts.usage")
    assert (done.returncode, done.stdout.count("failed  ")) == (1, 2)


def test_checks_are_listed_with_what_they_ask(asked: Asked) -> None:
    lines = asked("--list", "--only=sessions").stdout.splitlines()
    assert [line.partition(":")[0] for line in lines] == ["sessions.dedicated", "sessions.batch"]
    assert all(line.endswith(".") for line in lines)
    assert asked("--list", "--only=nothing").returncode == 2


def test_every_row_of_the_table_of_options_is_asked_for() -> None:
    rows = {key for key, row in option_rows().items() if row.verdict is not Verdict.NOT_SENT}
    assert {(trial.program, trial.option) for trial in trials()} == rows
