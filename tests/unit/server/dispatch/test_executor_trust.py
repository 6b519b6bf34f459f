"""What an api trusts and shows where executor services speak TLS."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from kit.server.certificates import Authority
from qiskit_runtime_server.dispatch.remote.tls import ExecutorTrust
from qiskit_runtime_server.errors import StartupError


@asynccontextmanager
async def asking(server: Path, clients: Path) -> AsyncIterator[int]:
    """Run a server that asks for certificates, and give its port."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(clients))
    context.load_cert_chain(server)
    context.verify_mode = ssl.CERT_REQUIRED

    def greet(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"hello")
        writer.close()

    listening = await asyncio.start_server(greet, "127.0.0.1", 0, ssl=context)
    async with listening:
        yield listening.sockets[0].getsockname()[1]


async def greeted(port: int, trust: ExecutorTrust) -> bool:
    try:
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", port, ssl=trust.context, server_hostname="localhost"
        )
        greeting = await reader.read()
    except (ssl.SSLError, ConnectionError):
        return False
    writer.close()
    return greeting == b"hello"


async def test_new_files_are_used_and_broken_ones_are_not(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    first, second = Authority(tmp_path / "first.pem"), Authority(tmp_path / "second.pem")
    trusted, own = tmp_path / "trusted.pem", first.for_client(tmp_path / "own.pem")
    trusted.write_bytes(first.file.read_bytes())
    trust = ExecutorTrust(trusted, own, own)
    context = trust.context
    async with (
        asking(first.for_server(tmp_path / "a.pem"), first.file) as a,
        asking(second.for_server(tmp_path / "b.pem"), second.file) as b,
    ):
        assert [await greeted(port, trust) for port in (a, b)] == [True, False]
        own.write_text("half of a certif")
        trust.read_again()
        trust.read_again()
        assert ["cannot be used" in line for line in caplog.messages if str(own) in line] == [True]
        assert [await greeted(port, trust) for port in (a, b)] == [True, False]
        second.for_client(own)
        trusted.write_bytes(first.file.read_bytes() + second.file.read_bytes())
        assert not trust.read_again()
        assert [await greeted(port, trust) for port in (a, b)] == [False, True]
        assert trust.context is context
        trusted.write_bytes(first.file.read_bytes())
        assert trust.read_again(), "the second one is trusted no more"
        assert [await greeted(port, trust) for port in (a, b)] == [False, False]
        assert trust.context is not context


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ((None, "own.pem", None), "belong together"),
        ((None, None, "own.pem"), "belong together"),
        (("nowhere.pem", None, None), "QRS_EXECUTOR_CA .*nowhere"),
        ((None, "nowhere.pem", "nowhere.pem"), "QRS_EXECUTOR_CERTIFICATE .*nowhere"),
    ],
)
def test_what_cannot_be_used_is_said_in_one_line(tmp_path: Path, files: tuple[str | None, ...], words: str) -> None:
    Authority(tmp_path / "authority.pem").for_client(tmp_path / "own.pem")
    with pytest.raises(StartupError, match=words):
        ExecutorTrust(*(None if file is None else tmp_path / file for file in files))
