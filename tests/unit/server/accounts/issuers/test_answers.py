"""What is made of the answers of an API server and of a hub; the real ones are asked in control_plane and processes.

Here are played those that the real ones do not give on demand.
"""

import json
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import jwt
import pytest

from qiskit_runtime_server.accounts.issuers.issuers import Issuers
from qiskit_runtime_server.accounts.issuers.jupyterhub import JupyterHubIssuer
from qiskit_runtime_server.accounts.issuers.kubernetes import KubernetesIssuer
from qiskit_runtime_server.accounts.issuers.outside import Answer, Outside
from qiskit_runtime_server.errors import IssuerUnavailableError, NotAuthenticatedError, StartupError

AUDIENCE = "https://lab.example.org"
SCOPE = "access:services!service=qiskit-runtime-server"
REVIEWED = {
    "authenticated": True,
    "audiences": [AUDIENCE],
    "user": {"username": "system:serviceaccount:lab:runner", "groups": ["system:serviceaccounts:lab"]},
}
USER = {"kind": "user", "name": "alice", "groups": ["students"], "scopes": [SCOPE]}


class PlayedOutside(Outside):
    """Answers what it was made with."""

    def __init__(self, status: int, document: object) -> None:
        super().__init__("The other side", authorities=None, setting="QRS_AUTH_CA")
        self.played = Answer(status=status, document=document)
        self.headers: dict[str, str] = {}
        self.sent: Any = None

    async def ask(
        self,
        method: str,
        url: str,
        *,
        headers: dict[str, str] | None = None,
        document: object = None,
        form: dict[str, str] | None = None,
    ) -> Answer:
        """Answer that."""
        self.headers, self.sent = headers or {}, document or form
        return self.played


@pytest.fixture
def own_token(tmp_path: Path) -> Path:
    path = tmp_path / "token"
    path.write_text("the-server-s-own\n")
    return path


def cluster(own_token: Path, outside: PlayedOutside, *namespaces: str) -> KubernetesIssuer:
    return KubernetesIssuer(
        url="https://kubernetes.default.svc/",
        audience=AUDIENCE,
        namespaces=namespaces or ("lab",),
        own_token=own_token,
        outside=outside,
    )


async def test_a_reviewed_token_is_a_service_account_s(own_token: Path) -> None:
    outside = PlayedOutside(201, {"status": REVIEWED})
    principal = await cluster(own_token, outside).principal("a-token")
    assert principal.account == "k8s.lab.runner"
    assert principal.groups == ("kubernetes:system:serviceaccounts:lab",)
    assert principal.revocable
    assert outside.headers["Authorization"] == "Bearer the-server-s-own"
    assert outside.sent["spec"] == {"token": "a-token", "audiences": [AUDIENCE]}


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"authenticated": False}, "does not accept"),
        ({"authenticated": None}, "does not accept"),
        # What an API server says that knows no audiences.
        ({"audiences": []}, "not for the audience"),
        ({"audiences": ["https://kubernetes.default.svc"]}, "not for the audience"),
        ({"user": {"username": "system:admin"}}, "not that of a ServiceAccount"),
        ({"user": {"username": "system:serviceaccount:lab:runner:more"}}, "not that of a ServiceAccount"),
        ({"user": {}}, "not that of a ServiceAccount"),
        ({"user": {"username": "system:serviceaccount:other:runner"}}, "namespace other are not let in"),
    ],
    ids=str,
)
async def test_what_an_api_server_does_not_vouch_for_is_refused(
    own_token: Path, changes: dict[str, Any], why: str
) -> None:
    outside = PlayedOutside(201, {"status": {**REVIEWED, **changes}})
    with pytest.raises(NotAuthenticatedError, match=why):
        await cluster(own_token, outside).principal("a-token")


async def test_namespaces_are_patterns(own_token: Path) -> None:
    outside = PlayedOutside(201, {"status": REVIEWED})
    for patterns in (("l*",), ("*",), ("other", "lab")):
        assert await cluster(own_token, outside, *patterns).principal("a-token")
    with pytest.raises(NotAuthenticatedError):
        await cluster(own_token, outside, "la").principal("a-token")


@pytest.mark.parametrize(("status", "document"), [(403, {}), (401, {}), (500, {}), (201, None), (200, {"status": {}})])
async def test_an_api_server_that_cannot_be_asked_calls_nobody_wrong(
    own_token: Path, status: int, document: object
) -> None:
    with pytest.raises(IssuerUnavailableError, match=f"it answers {status}"):
        await cluster(own_token, PlayedOutside(status, document)).principal("a-token")


async def test_without_a_token_of_its_own_a_server_cannot_ask(tmp_path: Path) -> None:
    with pytest.raises(IssuerUnavailableError, match="own Kubernetes token"):
        await cluster(tmp_path / "token", PlayedOutside(201, {})).principal("a-token")


def test_a_token_for_another_audience_is_not_even_shown_to_the_api_server(own_token: Path) -> None:
    issuer = cluster(own_token, PlayedOutside(201, {}))
    for aud, shown in (
        ([AUDIENCE], True),
        (AUDIENCE, True),
        (["https://kubernetes.default.svc"], False),
        (None, False),
    ):
        token = jwt.encode({"aud": aud}, "k" * 32) if aud else jwt.encode({}, "k" * 32)
        assert (Issuers([issuer]).issuer_of(token) is issuer) == shown
    for token in ("", "a" * 32, "a.b.c", "e30.e30.e30", "x" * 20_000):
        assert Issuers([issuer]).issuer_of(token) is None


def hub(outside: PlayedOutside, scope: str = SCOPE) -> JupyterHubIssuer:
    return JupyterHubIssuer(url="http://hub:8081/hub/api/", scope=scope, outside=outside)


async def test_a_token_of_a_hub_is_a_user_s() -> None:
    outside = PlayedOutside(200, USER)
    principal = await hub(outside).principal("t" * 32)
    assert (principal.account, principal.groups) == ("hub.alice", ("jupyterhub:students",))
    assert principal.revocable
    assert outside.headers["Authorization"] == f"token {'t' * 32}"


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"kind": "service"}, "not that of a user"),
        ({"name": None}, "not that of a user"),
        ({"scopes": ["access:services!service=another"]}, "has not the scope"),
        ({"scopes": None}, "has not the scope"),
    ],
    ids=str,
)
async def test_what_a_hub_does_not_vouch_for_is_refused(changes: dict[str, Any], why: str) -> None:
    with pytest.raises(NotAuthenticatedError, match=why):
        await hub(PlayedOutside(200, {**USER, **changes})).principal("t" * 32)


async def test_a_scope_without_a_filter_is_enough_and_none_may_be_asked_for() -> None:
    assert await hub(PlayedOutside(200, {**USER, "scopes": ["access:services"]})).principal("t" * 32)
    assert await hub(PlayedOutside(200, {**USER, "scopes": []}), scope="").principal("t" * 32)


@pytest.mark.parametrize("status", [401, 403, 404])
async def test_a_token_that_a_hub_does_not_know_is_wrong(status: int) -> None:
    with pytest.raises(NotAuthenticatedError):
        await hub(PlayedOutside(status, {})).principal("t" * 32)


@pytest.mark.parametrize(("status", "document"), [(500, {}), (503, {}), (200, None), (302, {}), (200, [])])
async def test_a_hub_that_cannot_be_asked_calls_nobody_wrong(status: int, document: object) -> None:
    with pytest.raises(IssuerUnavailableError):
        await hub(PlayedOutside(status, document)).principal("t" * 32)


def test_only_what_can_be_a_token_of_a_hub_is_shown_to_it() -> None:
    issuer = hub(PlayedOutside(200, {}))
    assert issuer.may_have_issued("0123456789abcdef0123456789abcdef", None)
    for token in ("short", "with space in the middle", "line\nbreak-0123456789", "x" * 257, "ü" * 32):
        assert not issuer.may_have_issued(token, None)
    assert not issuer.may_have_issued("0123456789abcdef0123456789abcdef", {})


def test_a_file_of_authorities_that_is_not_there_is_said_at_the_start(tmp_path: Path) -> None:
    with pytest.raises(StartupError, match=r"QRS_AUTH_CA.*missing\.pem"):
        Outside("The hub", authorities=tmp_path / "missing.pem", setting="QRS_AUTH_CA")


class Baker(BaseHTTPRequestHandler):
    """Sets a cookie with each answer, and answers with those that it was sent."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Set-Cookie", "session=alice; Path=/")
        self.end_headers()
        self.wfile.write(json.dumps(self.headers.get_all("Cookie", [])).encode())

    def log_message(self, *_: object) -> None:
        """Say nothing."""


async def test_what_one_token_s_answer_sets_is_not_sent_along_with_another_token() -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), Baker) as hub:
        thread = Thread(target=hub.serve_forever)
        thread.start()
        outside = Outside("The hub", authorities=None, setting="QRS_AUTH_CA")
        try:
            answers = [await outside.ask("GET", f"http://127.0.0.1:{hub.server_port}/") for _ in range(2)]
        finally:
            await outside.close()
            hub.shutdown()
            thread.join()
    assert [answer.document for answer in answers] == [[], []]
