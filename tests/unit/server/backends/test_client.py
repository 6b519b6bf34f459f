"""How a client is told where the server is."""

import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest

from kit.server.serving import serving
from qiskit_runtime_server import client
from qiskit_runtime_server.errors import MalformedRequestError, RequestError

URL = "http://localhost:8123"
PLATFORM = {"IAM_URL": URL, "GLOBAL_SEARCH_URL": URL, "GLOBAL_CATALOG_URL": URL}

# Prints what the client library would connect to, after it has resolved the account that it finds by itself.
RESOLVE = """
import json
from qiskit_ibm_runtime.accounts import AccountManager
from qiskit_ibm_runtime.api.client_parameters import ClientParameters
account = AccountManager.get()
parameters = ClientParameters(
    channel=account.channel, token=account.token, url=account.url, instance="crn:v1:a:b:c:us-east:d:e::"
)
print(json.dumps([account.token, account.instance, parameters.get_runtime_api_base_url(),
    account.get_iam_authentificator().token_manager.url, parameters.get_auth_handler().tm.url]))
"""


@pytest.mark.parametrize(
    "url", [URL, f"{URL}/", f"{URL}/api/v1", f"{URL}/experimental/api/v1", f"{URL}/experimental/api/v1/"]
)
def test_the_environment_names_the_server_whatever_part_of_its_url_was_copied(url: str) -> None:
    variables = client.environment(url, "secret")
    assert variables.items() > PLATFORM.items()
    assert variables["QISKIT_IBM_URL"] == f"{URL}/experimental/api/v1"
    assert variables["QISKIT_IBM_TOKEN"] == "secret"  # noqa: S105 - of this test only


def test_a_path_in_front_of_the_api_is_kept() -> None:
    assert client.platform_variables("https://example.org/lab/")["IAM_URL"] == "https://example.org/lab"


@pytest.mark.parametrize("url", ["", "localhost:8000", "ftp://localhost", "http://", "/api/v1"])
@pytest.mark.parametrize("use", [client.connect, client.save_account, client.environment])
def test_what_is_no_url_is_refused(url: str, use: Callable[[str, str], object]) -> None:
    before = dict(os.environ)
    with pytest.raises(MalformedRequestError, match="http://localhost:8000"):
        use(url, "secret")
    assert dict(os.environ) == before


@pytest.mark.slow
def test_the_client_library_reads_the_environment_as_it_is_meant() -> None:
    assert resolved(client.environment(URL, "secret", "my-instance")) == [
        "secret",
        "my-instance",
        f"{URL}/experimental/api/v1",
        URL,
        URL,
    ]


@pytest.mark.slow
def test_the_client_library_finds_a_saved_account(tmp_path: Path) -> None:
    file = tmp_path / ".qiskit" / "qiskit-ibm.json"
    file.parent.mkdir()
    other = {"channel": "ibm_quantum_platform", "token": "other", "url": "https://cloud.ibm.com"}
    file.write_text(json.dumps({"default-ibm-quantum-platform": {**other, "is_default_account": True}}))
    remaining = client.save_account(URL, "first", filename=str(file))
    assert client.save_account(URL, "secret", filename=str(file)) == remaining == PLATFORM
    assert json.loads(file.read_text())["default-ibm-quantum-platform"] == other
    assert resolved({"HOME": str(tmp_path), **remaining}) == [
        "secret",
        "auto",
        f"{URL}/experimental/api/v1",
        URL,
        URL,
    ]


def test_the_environment_is_printed_without_the_client_library() -> None:
    code = "import sys; from qiskit_runtime_server.client import environment; environment('http://a', 'b'); "
    code += "sys.exit('qiskit_ibm_runtime' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def resolved(variables: dict[str, str]) -> list[str]:
    ours = ("QISKIT_IBM_", "GLOBAL_", "IAM_URL")
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    done = subprocess.run(
        [sys.executable, "-c", RESOLVE],
        check=True,
        capture_output=True,
        text=True,
        env={**inherited, **variables},
    )
    answer: list[str] = json.loads(done.stdout)
    return answer


ACCESS = {"access_token": "of an hour"}
UNKNOWN = {"errorCode": "BXNIM0415E", "errorMessage": "Provided API key could not be found."}


@contextmanager
def answering(status: int, body: bytes, kind: str = "application/json") -> Iterator[str]:
    """Give the URL of something on loopback that answers every POST in one way."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - http.server's name
            """Say nothing."""

    with serving(Handler) as url:
        yield url


def test_signing_in_gives_an_access_token() -> None:
    with answering(200, json.dumps(ACCESS).encode()) as url:
        assert client.sign_in(f"{url}/api/v1", "secret") == "of an hour"


@pytest.mark.parametrize(
    ("status", "body", "kind", "reason"),
    [
        (400, json.dumps(UNKNOWN).encode(), "application/json", "does not know this token"),
        (404, b"<h1>Not found</h1>", "text/html", "is not a Qiskit Runtime server: 404"),
        (200, b"<h1>Hello</h1>", "text/html", "is not a Qiskit Runtime server: 200"),
        (200, b"[1]", "application/json", "is not a Qiskit Runtime server: 200"),
        (200, b"{", "application/json", "is not a Qiskit Runtime server"),
        (503, b"", "text/plain", "is not ready: it answered 503"),
    ],
)
def test_what_stands_in_the_way_is_said_before_anything_is_set(
    status: int, body: bytes, kind: str, reason: str
) -> None:
    before = dict(os.environ)
    with answering(status, body, kind) as url, pytest.raises(RequestError, match=reason):
        client.connect(url, "secret")
    assert dict(os.environ) == before


def test_a_server_that_speaks_no_tls_is_called_by_the_address_that_it_has() -> None:
    with (
        answering(200, b"{}", "application/json") as url,
        pytest.raises(RequestError, match=f"It does not speak TLS: try {url}"),
    ):
        client.sign_in(url.replace("http", "https"), "secret")


def test_a_server_that_is_not_there_is_not_called_a_wrong_token() -> None:
    with socket.create_server(("127.0.0.1", 0)) as held:
        port = held.getsockname()[1]
    with pytest.raises(
        RequestError,
        match=f"No server answers at http://127.0.0.1:{port}: .* refused. Is it started, and is this its address",
    ):
        client.connect(f"http://127.0.0.1:{port}")
