"""The application is whole when it has started."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import pytest
from pydantic import TypeAdapter

from qiskit_runtime_server import Settings, create_app


async def test_the_first_request_does_not_wait_for_routes_to_be_built(monkeypatch: pytest.MonkeyPatch) -> None:
    @asynccontextmanager
    async def nothing(*_: object) -> AsyncIterator[None]:
        yield

    def built(*_: object, **__: object) -> None:
        raise AssertionError("a field of a route was built")

    monkeypatch.setattr("qiskit_runtime_server.app.run_services", nothing)
    app = create_app(settings=Settings())
    async with app.router.lifespan_context(app):
        monkeypatch.setattr(TypeAdapter, "__init__", built)
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost") as client:
            assert (await client.get("/nowhere")).status_code == 404
            assert (await client.get("/health/live")).status_code == 200
