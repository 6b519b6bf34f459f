"""Connections to executor endpoints: each endpoint's are kept, used again, and closed by themselves."""

import asyncio
from collections.abc import AsyncIterator
from importlib.machinery import ModuleSpec, PathFinder
from typing import Any

import httpx
import pytest

from qiskit_runtime_server.dispatch.remote.transports import TransportPerOrigin


class Endpoint:
    """An HTTP server that counts its connections.

    Attributes:
        opened: How many there were.
        connections: What serves each of them.
    """

    def __init__(self) -> None:
        self.opened = 0
        self.connections = set[asyncio.Task[None]]()
        self.url = ""

    @property
    def open(self) -> int:
        return sum(not connection.done() for connection in self.connections)

    async def start(self) -> asyncio.Server:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        return server

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.opened += 1
        task = asyncio.current_task()
        assert task is not None
        self.connections.add(task)
        while await reader.readline():
            while (await reader.readline()).strip():
                pass
            writer.write(b"HTTP/1.1 204 No Content\r\n\r\n")
        writer.close()
        await writer.wait_closed()


@pytest.fixture
async def endpoints() -> AsyncIterator[list[Endpoint]]:
    found = [Endpoint() for _ in range(3)]
    servers = [await endpoint.start() for endpoint in found]
    yield found
    for server in servers:
        server.close()
    await asyncio.wait_for(asyncio.gather(*(task for one in found for task in one.connections)), 30)


@pytest.fixture
async def transports(endpoints: list[Endpoint]) -> AsyncIterator[TransportPerOrigin]:
    assert endpoints  # They see connections closed, so that they outlive them.
    context = httpx.create_ssl_context(trust_env=False)
    transports = TransportPerOrigin(lambda: httpx.AsyncHTTPTransport(verify=context))
    yield transports
    await transports.aclose()
    assert len(transports) == 0


async def test_each_endpoint_has_connections_of_its_own_that_are_used_again(
    transports: TransportPerOrigin, endpoints: list[Endpoint]
) -> None:
    client = httpx.AsyncClient(transport=transports)
    for _ in range(4):
        for endpoint in endpoints:
            assert (await client.get(endpoint.url)).is_success
    assert len(transports) == len(endpoints)
    assert [endpoint.opened for endpoint in endpoints] == [1, 1, 1]


async def test_no_request_has_folders_searched_for_a_module(
    transports: TransportPerOrigin, endpoints: list[Endpoint], monkeypatch: pytest.MonkeyPatch
) -> None:
    client = httpx.AsyncClient(transport=transports)
    await client.get(endpoints[0].url)
    searched, find = [], PathFinder.find_spec

    def noted(name: str, *more: Any) -> ModuleSpec | None:
        searched.append(name)
        return find(name, *more)

    monkeypatch.setattr(PathFinder, "find_spec", noted)
    await client.get(endpoints[0].url)
    assert searched == []


async def test_what_is_not_wanted_and_not_used_is_closed(
    transports: TransportPerOrigin, endpoints: list[Endpoint]
) -> None:
    client = httpx.AsyncClient(transport=transports)
    for endpoint in endpoints:
        await client.get(endpoint.url)
    wanted = [endpoints[0].url]
    await transports.close_unused(keep=wanted, seconds=60)
    assert len(transports) == 3
    await transports.close_unused(keep=wanted, seconds=0)
    assert len(transports) == 1
    await asyncio.wait_for(asyncio.gather(*endpoints[1].connections, *endpoints[2].connections), 30)
    assert [endpoint.open for endpoint in endpoints] == [1, 0, 0]
    # One that is used again has connections again.
    assert (await client.get(endpoints[1].url)).is_success
    assert endpoints[1].opened == 2


async def test_an_endpoint_that_is_gone_is_an_error_of_its_own_requests(
    transports: TransportPerOrigin, endpoints: list[Endpoint]
) -> None:
    client = httpx.AsyncClient(transport=transports)
    with pytest.raises(httpx.ConnectError):
        await client.get("http://127.0.0.1:1")
    assert (await client.get(endpoints[0].url)).is_success
