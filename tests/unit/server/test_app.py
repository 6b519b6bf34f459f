"""The application is whole when it has started."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from unittest.mock import patch

import httpx
import pytest
from fastapi import FastAPI
from fastapi.routing import APIRoute
from pydantic import TypeAdapter

from qiskit_runtime_server import Settings, create_app


@pytest.fixture
async def app(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[FastAPI]:
    """Return the application, started, without anything behind it."""

    @asynccontextmanager
    async def nothing(*_: object) -> AsyncIterator[None]:
        yield

    monkeypatch.setattr("qiskit_runtime_server.app.run_services", nothing)
    app = create_app(settings=Settings())
    async with app.router.lifespan_context(app):
        yield app


async def test_the_first_request_does_not_wait_for_routes_to_be_built(
    app: FastAPI, monkeypatch: pytest.MonkeyPatch
) -> None:
    def built(*_: object, **__: object) -> None:
        raise AssertionError("a field of a route was built")

    monkeypatch.setattr(TypeAdapter, "__init__", built)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost") as client:
        assert (await client.get("/nowhere")).status_code == 404
        assert (await client.get("/health/live")).status_code == 200


@pytest.mark.parametrize(("prefix", "most"), [("/api/v1", 6), ("/experimental/api/v1", 36)])
async def test_a_request_about_a_job_looks_at_few_routes(app: FastAPI, prefix: str, most: int) -> None:
    """Twice at those up to its own: to find the router, and in it. Nested routers would look again at each level."""
    with patch.object(APIRoute, "matches", autospec=True, side_effect=APIRoute.matches) as looked:
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            await client.get(f"{prefix}/jobs/a")
    paths = [call.args[0].path for call in looked.call_args_list]
    assert paths.count("/jobs/{job_id}") >= 2
    assert len(paths) <= most, paths
