"""Handshakes: with certificates that are read again, within a deadline, and not too many at a time."""

import asyncio
import logging
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from kit.server.certificates import Authority, self_signed
from qiskit_runtime_server.errors import StartupError
from qiskit_runtime_server.log.failures import FailureLog
from qiskit_runtime_server.roles.tls import Certificate, Handshake, Handshakes, certificate_of
from qiskit_runtime_server.settings import Settings


class Echo(asyncio.Protocol):
    """Sends back what it gets."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.transport.write(data)


@asynccontextmanager
async def echoing(certificate: Certificate, *, most: int = 100) -> AsyncIterator[int]:
    """Run a server and give its port."""
    handshakes = Handshakes(certificate, most, FailureLog(logging.getLogger("tls")))
    server = await asyncio.get_running_loop().create_server(lambda: Handshake(handshakes, Echo), "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


async def echoed(port: int, trusted: Path, *, words: bytes = b"hello") -> bytes:
    reader, writer = await asyncio.open_connection(
        "127.0.0.1", port, ssl=ssl.create_default_context(cafile=str(trusted)), server_hostname="localhost"
    )
    writer.write(words)
    answer = await reader.readexactly(len(words))
    writer.close()
    return answer


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return self_signed(tmp_path / "server.pem")


async def test_what_a_client_sends_with_the_end_of_its_handshake_is_not_lost(file: Path) -> None:
    async with echoing(Certificate(file, file)) as port:
        words = b"x" * 100_000
        assert [await echoed(port, file, words=words) for _ in range(20)] == [words] * 20


async def test_a_new_certificate_is_used_and_a_broken_one_is_not(file: Path, caplog: pytest.LogCaptureFixture) -> None:
    certificate = Certificate(file, file)
    async with echoing(certificate) as port:
        await asyncio.to_thread(file.write_text, "half of a certif")
        certificate.read_again()
        certificate.read_again()
        assert [line for line in caplog.messages if "cannot be used" in line] == caplog.messages[:1]
        self_signed(file)
        with pytest.raises(ssl.SSLCertVerificationError):
            await echoed(port, file)
        certificate.read_again()
        assert await echoed(port, file) == b"hello"


async def test_clients_that_begin_no_handshake_keep_nobody_out(file: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with echoing(Certificate(file, file), most=5) as port:
        silent = [await asyncio.open_connection("127.0.0.1", port) for _ in range(20)]
        assert await echoed(port, file) == b"hello"
        assert sum([await reader.read() == b"" for reader, _ in silent[:15]]) == 15
        for _, writer in silent:
            writer.close()
    assert len(caplog.messages) < 3


async def test_who_speaks_plain_http_is_hung_up_on(file: Path) -> None:
    async with echoing(Certificate(file, file)) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET / HTTP/1.1\r\n\r\n")
        assert b"HTTP" not in await reader.read()
        writer.close()


@pytest.mark.parametrize("content", [None, "no certificate"])
def test_a_certificate_that_cannot_be_used_is_said_in_one_line(tmp_path: Path, content: str | None) -> None:
    file = tmp_path / "server.pem"
    if content is not None:
        file.write_text(content)
    with pytest.raises(StartupError, match=r"QRS_TLS_CERTIFICATE .*server\.pem"):
        Certificate(file, file)


async def test_who_shows_no_certificate_of_the_authorities_is_hung_up_on_also_after_these_have_changed(
    file: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    first, second = Authority(tmp_path / "first.pem"), Authority(tmp_path / "second.pem")
    clients = {one: one.for_client(tmp_path / f"of {one.file.name}") for one in (first, second)}
    asked = tmp_path / "asked.pem"
    asked.write_bytes(first.file.read_bytes())
    certificate = Certificate(file, file, asked)

    async def heard(own: Path | None) -> bool:
        context = ssl.create_default_context(cafile=str(file))
        if own is not None:
            context.load_cert_chain(own)
        reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context, server_hostname="localhost")
        writer.write(b"hello")
        try:
            return await reader.read(5) == b"hello"
        except (ssl.SSLError, ConnectionError):
            return False
        finally:
            writer.close()

    async with echoing(certificate) as port:
        assert [await heard(own) for own in (None, clients[first], clients[second])] == [False, True, False]
        await asyncio.to_thread(asked.write_text, "half of an author")
        certificate.read_again()
        assert "cannot be used" in caplog.messages[-1]
        assert [await heard(own) for own in (None, clients[first], clients[second])] == [False, True, False]
        await asyncio.to_thread(asked.write_bytes, second.file.read_bytes())
        certificate.read_again()
        assert [await heard(own) for own in (None, clients[first], clients[second])] == [False, False, True]


@pytest.mark.parametrize(
    "given", [{"tls_client_ca": "ca.pem"}, {"tls_certificate": "a.pem"}, {"tls_key": "a.pem"}], ids=str
)
def test_a_part_of_what_belongs_together_is_refused(given: dict[str, Path]) -> None:
    settings = Settings.load(**given)
    with pytest.raises(StartupError, match="belong together"):
        certificate_of(settings, settings.tls_client_ca)


def test_authorities_that_cannot_be_read_are_named(file: Path, tmp_path: Path) -> None:
    with pytest.raises(StartupError, match=r"QRS_TLS_CLIENT_CA .*nowhere\.pem, cannot be used"):
        Certificate(file, file, tmp_path / "nowhere.pem")
