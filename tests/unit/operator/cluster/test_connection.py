"""Kubeconfigs of every kind lead to the API server, whose part a small server plays here."""

import asyncio
import json
import shlex
import ssl
from base64 import b64encode
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from kubernetes.aio.config import incluster_config
from prometheus_client import CollectorRegistry

from qiskit_runtime_operator.cluster import connection as credentials
from qiskit_runtime_operator.cluster.api_server import Cluster
from qiskit_runtime_operator.cluster.connection import Connection, Kubeconfig, connected
from qiskit_runtime_operator.errors import ClusterError, StartupError
from qiskit_runtime_operator.metrics import WriteMetrics
from qiskit_runtime_operator.resource.kinds import LEASES


@dataclass
class Server:
    """Plays the API server, or a proxy before it.

    Attributes:
        url: Where it is.
        asked: The `Authorization` of each request.
        targets: What each request asked for: a path, or a URL if this is a proxy.
        common_names: Of each request's client certificate.
        refuses: What it answers 401 to.
        silent: Whether it does not answer.
    """

    url: str = ""
    asked: list[str] = field(default_factory=list)
    targets: list[str] = field(default_factory=list)
    common_names: list[str] = field(default_factory=list)
    refuses: str = "nobody"
    silent: bool = False

    async def answer(self, request: web.Request) -> web.Response:
        authorization = request.headers.get("Authorization", "")
        self.asked.append(authorization)
        self.targets.append(request.raw_path)
        certificate = request.get_extra_info("peercert") or {}
        self.common_names += [value for part in certificate.get("subject", ()) for _, value in part]
        if self.silent:
            await asyncio.sleep(60)
        if authorization == self.refuses:
            return web.json_response({"message": "Unauthorized"}, status=401)
        return web.json_response({"metadata": {"name": "lease"}})


@asynccontextmanager
async def serving(trust: ssl.SSLContext | None = None) -> AsyncIterator[Server]:
    server = Server()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", server.answer)
    runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=trust).start()
    server.url = f"{'https' if trust else 'http'}://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield server
    finally:
        await runner.cleanup()
        await asyncio.sleep(0)


def kubeconfig(folder: Path, server: str, user: Mapping[str, Any], **cluster: str) -> Kubeconfig:
    """Write a kubeconfig with a second context, which leads nowhere and is the current one; choose the first."""
    contexts = {"right": {"cluster": "there", "user": "me"}, "wrong": {"cluster": "nowhere", "user": "me"}}
    clusters = {"there": {"server": server, **cluster}, "nowhere": {"server": "http://127.0.0.1:9"}}
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": name, "cluster": value} for name, value in clusters.items()],
        "users": [{"name": "me", "user": user}],
        "contexts": [{"name": name, "context": value} for name, value in contexts.items()],
        "current-context": "wrong",
    }
    path = folder / "kubeconfig"
    path.write_text(json.dumps(document))
    return Kubeconfig(files=str(path), context="right")


def program(folder: Path, script: str) -> dict[str, Any]:
    """Return a user who logs in by a program: a shell script, in which `$N` is how often it has run."""
    count = shlex.quote(str(folder / "count"))
    body = f"N=$(($(cat {count} 2>/dev/null || echo 0) + 1)); echo $N > {count}\n{script}\n"
    kind = "client.authentication.k8s.io/v1"
    return {"exec": {"apiVersion": kind, "command": "sh", "args": ["-c", body], "interactiveMode": "Never"}}


def credential(status: Mapping[str, str]) -> str:
    """Return what prints an ExecCredential."""
    document = {"apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential", "status": status}
    return "printf '%s' " + json.dumps(json.dumps(document))


def cluster(connection: Connection, limit: timedelta = timedelta(seconds=30)) -> Cluster:
    return Cluster(connection, time_to_write=lambda: limit, metrics=WriteMetrics(CollectorRegistry()))


async def ask(connection: Connection, times: int = 1) -> None:
    for _ in range(times):
        await cluster(connection).get(LEASES, "system", "lease")


async def test_a_program_logs_in_once_for_as_long_as_it_said(tmp_path: Path) -> None:
    later = (datetime.now(UTC) + timedelta(hours=1)).isoformat(timespec="seconds")
    async with serving() as server:
        user = program(tmp_path, credential({"token": "t$N", "expirationTimestamp": later}))
        async with connected(kubeconfig(tmp_path, server.url, user)) as connection:
            await ask(connection, 3)
        assert server.asked == ["Bearer t1"] * 3


async def test_a_program_logs_in_again_when_its_token_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(credentials, "_REFUSED_SECONDS", 0)
    later = (datetime.now(UTC) + timedelta(hours=1)).isoformat(timespec="seconds")
    async with serving() as server:
        server.refuses = "Bearer t1"
        user = program(tmp_path, credential({"token": "t$N", "expirationTimestamp": later}))
        async with connected(kubeconfig(tmp_path, server.url, user)) as connection:
            with pytest.raises(ClusterError, match="Unauthorized"):
                await ask(connection)
            await ask(connection, 2)
        assert server.asked == ["Bearer t1", "Bearer t2", "Bearer t2"]


async def test_a_program_whose_token_is_over_logs_in_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(credentials, "_RENEWAL_SECONDS", 0)
    soon = (datetime.now(UTC) + timedelta(seconds=1)).isoformat(timespec="seconds")
    async with serving() as server:
        user = program(tmp_path, credential({"token": "t$N", "expirationTimestamp": soon}))
        async with connected(kubeconfig(tmp_path, server.url, user)) as connection:
            await ask(connection, 2)
        assert server.asked == ["Bearer t2", "Bearer t3"]


@pytest.mark.parametrize("script", ["echo who are you >&2; exit 3", "echo no JSON", credential({"other": "thing"})])
async def test_a_program_that_gives_nothing_is_told_at_once(
    tmp_path: Path, script: str, caplog: pytest.LogCaptureFixture
) -> None:
    chosen = kubeconfig(tmp_path, "http://127.0.0.1:9", program(tmp_path, script))
    with pytest.raises(StartupError, match=r"kubeconfig .*its credential plugin returned no credentials"):
        async with connected(chosen):
            pass
    assert "exec:" in caplog.text


async def test_a_program_that_fails_later_is_a_failed_request_and_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(credentials, "_RENEWAL_SECONDS", 0)
    async with serving() as server:
        user = program(tmp_path, f"test $N != 2 || exit 1; {credential({'token': 't$N'})}")
        async with connected(kubeconfig(tmp_path, server.url, user)) as connection:
            with pytest.raises(ClusterError, match="cannot be renewed"):
                await ask(connection)
            await ask(connection)
        assert server.asked == ["Bearer t3"]


async def test_a_token_file_that_rotates_is_followed_by_requests_and_watches(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(credentials, "_RENEWAL_SECONDS", 0)
    token = tmp_path / "token"
    token.write_text("first")
    async with serving() as server:
        chosen = kubeconfig(tmp_path, server.url, {"tokenFile": "token"})
        async with connected(chosen) as connection, connection.session() as watching:
            await ask(connection)
            token.write_text("second")
            await ask(connection)
            async with watching.get(f"{connection.server}/api"):
                pass
        assert server.asked == ["Bearer first", "Bearer second", "Bearer second"]


async def test_a_proxy_of_the_kubeconfig_and_one_of_the_environment_are_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serving() as proxy:
        chosen = kubeconfig(tmp_path, "http://api.example.org", {"token": "t"}, **{"proxy-url": proxy.url})
        async with connected(chosen) as connection:
            await ask(connection)
        monkeypatch.setenv("http_proxy", proxy.url)
        async with connected(kubeconfig(tmp_path, "http://api.example.net", {"token": "t"})) as connection:
            await ask(connection)
            async with connection.session() as watching, watching.get(f"{connection.server}/api"):
                pass
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        async with (
            serving() as server,
            connected(kubeconfig(tmp_path, server.url, {"token": "t"})) as connection,
        ):
            await ask(connection)
        assert len(server.asked) == 1
        hosts = [target.split("/")[2] for target in proxy.targets]
        assert hosts == ["api.example.org", "api.example.net", "api.example.net"]


async def test_a_client_certificate_is_shown_and_the_servers_is_checked(tmp_path: Path) -> None:
    authority = Authority("cluster")
    trust = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cadata=authority.certificate.decode())
    trust.verify_mode = ssl.CERT_REQUIRED
    for name, content in authority.issue("server").items():
        (tmp_path / name).write_bytes(content)
    trust.load_cert_chain(tmp_path / "certificate", tmp_path / "key")
    mine = authority.issue("alice")
    user = {f"client-{name}-data": b64encode(content).decode() for name, content in mine.items()}
    data = b64encode(authority.certificate).decode()
    other = b64encode(Authority("other").certificate).decode()
    async with serving(trust) as server:
        chosen = kubeconfig(tmp_path, server.url, user, **{"certificate-authority-data": data})
        async with connected(chosen) as connection, connection.session() as watching:
            await ask(connection)
            async with watching.get(f"{connection.server}/api"):
                pass
        assert set(server.common_names) == {"alice"}
        chosen = kubeconfig(tmp_path, server.url, user, **{"certificate-authority-data": other})
        async with connected(chosen) as connection:
            with pytest.raises(ClusterError, match="certificate verify failed"):
                await ask(connection)


async def test_a_pod_uses_its_service_account_and_follows_the_token_unless_a_kubeconfig_is_chosen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(credentials, "_RENEWAL_SECONDS", 0)
    authority, token, trusted = Authority("cluster"), tmp_path / "token", tmp_path / "ca.crt"
    trust = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    for name, content in authority.issue("server").items():
        (tmp_path / name).write_bytes(content)
    trust.load_cert_chain(tmp_path / "certificate", tmp_path / "key")
    trusted.write_bytes(authority.certificate)
    token.write_text("first")
    monkeypatch.setattr(incluster_config, "SERVICE_TOKEN_FILENAME", str(token))
    monkeypatch.setattr(incluster_config, "SERVICE_CERT_FILENAME", str(trusted))
    async with serving(trust) as server, serving() as other:
        monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "127.0.0.1")
        monkeypatch.setenv("KUBERNETES_SERVICE_PORT", server.url.rpartition(":")[2])
        async with connected() as connection:
            await ask(connection)
            token.write_text("second")
            await ask(connection)
        assert server.asked == ["bearer first", "bearer second"]
        async with connected(kubeconfig(tmp_path, other.url, {"token": "t"})) as connection:
            await ask(connection)
        assert other.asked == ["Bearer t"]


async def test_a_netrc_in_the_home_folder_is_nobodys_business(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "netrc").write_text("default login me password secret\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    async with serving() as server:
        async with connected(kubeconfig(tmp_path, server.url, {"token": "t"})) as connection:
            await ask(connection)
        assert server.asked == ["Bearer t"]


@pytest.mark.slow
async def test_a_write_is_over_when_the_lease_is_and_not_at_the_next_full_second(tmp_path: Path) -> None:
    async with serving() as server:
        server.silent = True
        async with connected(kubeconfig(tmp_path, server.url, {"token": "t"})) as connection:
            began = asyncio.get_running_loop().time()
            # aiohttp would round the end of what takes more than five seconds up: here by four fifths of a second.
            limit = timedelta(seconds=5 + (1.2 - began % 1) % 1)
            with pytest.raises(ClusterError, match="TimeoutError"):
                await cluster(connection, limit).replace(LEASES, {"metadata": {"namespace": "system", "name": "lease"}})
            assert asyncio.get_running_loop().time() - began < limit.total_seconds() + 0.5


@pytest.mark.parametrize(
    ("content", "context", "message"),
    [
        (None, None, "the file does not exist, and this pod has no service account"),
        ("{}", None, "Expected key current-context"),
        ("- a list", None, "no credentials for the API server"),
        ("a: [", None, "no credentials for the API server"),
        ("contexts: []", "lab", "Expected object with name lab"),
    ],
)
async def test_what_is_no_kubeconfig_is_said_in_a_sentence_that_names_it(
    tmp_path: Path, content: str | None, context: str | None, message: str
) -> None:
    path = tmp_path / "kubeconfig"
    if content is not None:
        path.write_text(content)
    with pytest.raises(StartupError, match=message) as told:
        async with connected(Kubeconfig(files=str(path), context=context)):
            pass
    assert str(path) in str(told.value)


class Authority:
    """Issues certificates for 127.0.0.1."""

    def __init__(self, name: str) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = _named(name)
        constraint = (x509.BasicConstraints(ca=True, path_length=None), True)
        self.certificate = self._sign(name, self._key, constraint)

    def issue(self, name: str) -> dict[str, bytes]:
        """Return a certificate and its key."""
        key = ec.generate_private_key(ec.SECP256R1())
        names = (x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), False)
        pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        return {"certificate": self._sign(name, key, names), "key": pem}

    def _sign(self, name: str, key: ec.EllipticCurvePrivateKey, extension: tuple[x509.ExtensionType, bool]) -> bytes:
        now = datetime.now(UTC)
        own = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
        issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key())
        builder = (
            x509.CertificateBuilder()
            .subject_name(_named(name))
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(hours=1))
            .not_valid_after(now + timedelta(hours=1))
            .add_extension(extension[0], critical=extension[1])
            .add_extension(own, critical=False)
            .add_extension(issuer, critical=False)
        )
        return builder.sign(self._key, hashes.SHA256()).public_bytes(Encoding.PEM)


def _named(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
