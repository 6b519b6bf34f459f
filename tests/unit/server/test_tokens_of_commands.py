"""A token goes to its own server alone, whatever server a command is told to ask."""

from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from urllib.parse import parse_qs

import pytest
from typer.testing import CliRunner

from kit.server.serving import serving
from qiskit_runtime_server.__main__ import cli

HERS = "a token of another server"
ELSEWHERE = "https://elsewhere.test"
API = "/experimental/api/v1"


@pytest.fixture
def asked() -> Iterator[tuple[str, list[str]]]:
    """A server's URL, and the tokens that it is given; it signs nobody in."""
    given: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"])).decode()
            given.append(parse_qs(body)["apikey"][0])
            self.send_error(503)

        def log_message(self, *_: object) -> None:
            pass

    with serving(Handler) as url:
        yield url, given


@pytest.mark.parametrize(
    "command",
    [("jobs",), ("job", "x"), ("top",), ("cancel", "x"), ("accounts", "usage"), ("accounts", "remove", "--end-jobs")],
    ids=" ".join,
)
@pytest.mark.parametrize(
    ("variables", "token"),
    [
        ({"QRS_URL": ELSEWHERE, "QRS_TOKEN": HERS}, "anonymous"),
        ({"QRS_TOKEN": HERS}, "anonymous"),
        ({"QISKIT_IBM_URL": ELSEWHERE + API, "QISKIT_IBM_TOKEN": HERS}, "anonymous"),
        ({"QISKIT_IBM_TOKEN": HERS}, "anonymous"),
        ({"QRS_URL": "{}/", "QRS_TOKEN": "mine", "QISKIT_IBM_TOKEN": HERS}, "mine"),
        ({"QISKIT_IBM_URL": "{}" + API, "QISKIT_IBM_TOKEN": "mine"}, "mine"),
        ({"QISKIT_IBM_URL": "{}" + API, "QISKIT_IBM_TOKEN": HERS, "QRS_TOKEN": "mine"}, "mine"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, dict) else value,
)
def test_the_token_of_another_server_is_never_sent(
    command: tuple[str, ...],
    variables: Mapping[str, str],
    token: str,
    asked: tuple[str, list[str]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    url, given = asked
    for name in ("QRS_URL", "QRS_TOKEN", "QISKIT_IBM_URL", "QISKIT_IBM_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    for name, value in variables.items():
        monkeypatch.setenv(name, value.format(url))
    (tmp_path / "carol").write_text("a token of carol\n")
    of_accounts = (str(tmp_path), "carol") if "remove" in command else ()
    CliRunner().invoke(cli, [*command, *of_accounts, "--url", url])
    assert given[:1] == [token]
    assert HERS not in given
