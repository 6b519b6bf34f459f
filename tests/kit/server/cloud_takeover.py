"""The names of IBM Cloud, led to a server of ours: what clients up to 0.48 need, which ask no other host for tokens."""

import asyncio
import ssl
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from pathlib import Path

from kit.server.certificates import self_signed

_HOSTS = (
    "iam",
    "quantum",
    "us-east.quantum-computing",
    "globalcatalog",
    "api.global-search-tagging",
    "resource-controller",
)
NAMES = tuple(f"{host}.cloud.ibm.com" for host in _HOSTS)
CALLED_SO = {"QRS_ALLOWED_HOSTS": " ".join(NAMES)}
"""What a server on loopback has to be told before it answers to these names."""


@contextmanager
def cloud_takeover(url: str, folder: Path) -> Iterator[dict[str, str]]:
    """Run a proxy that ends TLS itself and passes all that it hears to the server at `url`.

    Yields:
        The environment variables that lead a client through the proxy; it needs a token beside them and no URL.
    """
    certificate = self_signed(folder / "cloud.pem", NAMES)
    port: Future[int] = Future()
    stopped = threading.Event()
    proxy = _serve(int(url.rpartition(":")[2]), certificate, port, stopped)
    thread = threading.Thread(target=asyncio.run, args=[proxy])
    thread.start()
    try:
        yield {"HTTPS_PROXY": f"http://127.0.0.1:{port.result()}", "REQUESTS_CA_BUNDLE": str(certificate)}
    finally:
        stopped.set()
        thread.join()


async def _serve(server_port: int, certificate: Path, port: Future[int], stopped: threading.Event) -> None:
    """Answer `CONNECT` to whatever host, then speak TLS, until `stopped` is set and the clients have hung up."""
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(certificate)
    front = await asyncio.start_server(_Tunnel(server_port), "127.0.0.1", 0, ssl=tls)
    proxy = await asyncio.start_server(_Tunnel(_port_of(front), asked=True), "127.0.0.1", 0)
    async with front, proxy:
        port.set_result(_port_of(proxy))
        await asyncio.to_thread(stopped.wait)
    await asyncio.gather(*asyncio.all_tasks() - {asyncio.current_task()})


def _port_of(server: asyncio.Server) -> int:
    port: int = server.sockets[0].getsockname()[1]
    return port


class _Tunnel:
    """Joins each connection with one to a local port, after the `CONNECT` for it if it is asked."""

    def __init__(self, port: int, *, asked: bool = False) -> None:
        self._port = port
        self._asked = asked

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._asked:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        onward_reader, onward_writer = await asyncio.open_connection("127.0.0.1", self._port)
        await asyncio.gather(_pour(reader, onward_writer), _pour(onward_reader, writer))


async def _pour(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    # A client that keeps an idle connection for later answers no TLS shutdown; asyncio then gives up and cuts it.
    with suppress(ConnectionError, TimeoutError):
        while piece := await reader.read(65536):
            writer.write(piece)
            await writer.drain()
        writer.close()
        await writer.wait_closed()
