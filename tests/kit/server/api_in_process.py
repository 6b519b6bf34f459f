"""An api in this process: its routes over ASGI, on a store in memory, with executors that tests play."""

import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
from fastapi import FastAPI
from prometheus_client import CollectorRegistry
from starlette.routing import BaseRoute

from kit.server.played_pool import HOLDER, NAME, PlayedPool
from qiskit_runtime_server import Settings, create_app
from qiskit_runtime_server.accounts.identity import AccessTokens
from qiskit_runtime_server.accounts.token_folder import TokenFolder
from qiskit_runtime_server.api.answers import AnswerBudget
from qiskit_runtime_server.api.rates import Rates
from qiskit_runtime_server.api.services import Services
from qiskit_runtime_server.backends.catalog import Catalog
from qiskit_runtime_server.byte_budget import ByteBudget
from qiskit_runtime_server.dispatch.dispatcher import Dispatcher
from qiskit_runtime_server.dispatch.endings import Endings
from qiskit_runtime_server.dispatch.metrics import JobMetrics
from qiskit_runtime_server.jobs import JobState, Outcome
from qiskit_runtime_server.messages.messages import Metrics
from qiskit_runtime_server.roles.issuers import issuers_of
from qiskit_runtime_server.store.memory.store import MemoryStore
from qiskit_runtime_server.store.port import Claim

BACKEND = f"fake_manila@{NAME}"
ACCOUNTS = """
[accounts.ada]
role = "admin"

[accounts.tess]
teaches = ["bob", "alice:teaching"]

[accounts.bob]
queued = 2

[[accounts.alice.instances]]
name = "research"

[[accounts.alice.instances]]
name = "teaching"
plan = "open"
seconds_per_day = 100
"""


NAMES = ("ada", "alice", "bob", "tess")
_ROUTES: dict[tuple[bool, bool], list[BaseRoute]] = {}


@dataclass(frozen=True, kw_only=True)
class Api:
    """An api and its clients.

    Attributes:
        nobody: Has no token.
        ada: An admin.
        alice: A user with two instances.
        bob: A user who may have two queued jobs.
        tess: A teacher of bob, and of alice in one of her instances.
    """

    app: FastAPI
    services: Services
    store: MemoryStore
    nobody: httpx.AsyncClient
    ada: httpx.AsyncClient
    alice: httpx.AsyncClient
    bob: httpx.AsyncClient
    tess: httpx.AsyncClient

    async def start_next(self) -> Claim:
        """Start the job whose turn it is."""
        claim = await self.store.queue.claim(NAME, HOLDER, lease=timedelta(seconds=60))
        assert claim is not None
        return claim

    async def end_next(self, *, seconds: float = 2.5, result: bytes = b'{"a": 1}') -> Claim:
        """Start that job, and end it with a result."""
        claim = await self.start_next()
        outcome = Outcome(state=JobState.COMPLETED, metrics=Metrics(seconds=seconds, executions=10))
        assert await self.store.queue.finish(claim, outcome, result)
        return claim


@asynccontextmanager
async def api_in_process(folder: Path, *, more_accounts: str = "", **changes: Any) -> AsyncIterator[Api]:
    """Serve the accounts above, whose tokens are their names, from a folder, with settings that are changed."""
    for name in NAMES:
        (folder / name).write_text(name)
    (folder / "accounts.toml").write_text(ACCOUNTS + more_accounts)
    settings = Settings(**{"hold": timedelta(0), "log_level": "info", **changes})
    app = create_app(settings=settings)
    # They know nothing of their application, and for the framework to build them takes longer than most tests.
    app.router.routes[:] = _ROUTES.setdefault((settings.console, settings.api_docs), [*app.router.routes])
    store, pools = MemoryStore(), {NAME: PlayedPool()}
    issuers = issuers_of(settings)
    budget, metrics = ByteBudget(1 << 20), JobMetrics(CollectorRegistry())
    app.state.services = services = Services(
        settings=settings,
        access_tokens=AccessTokens(
            TokenFolder(folder, issuers.names()), "k" * 32, settings.access_token_lifetime, settings.auth_recheck
        ),
        issuers=issuers,
        catalog=Catalog(include=("fake_manila", "fake_quantum_sim")),
        pools=pools,
        store=store,
        dispatcher=Dispatcher(store, pools, metrics, budget, lease=timedelta(seconds=30)),
        endings=Endings(),
        metrics=metrics,
        budget=budget,
        answers=AnswerBudget(1 << 20, patience=0.2),
        rates=Rates(settings),
    )
    async with AsyncExitStack() as stack:
        stack.push_async_callback(issuers.close)

        async def client(base: str, **headers: str) -> httpx.AsyncClient:
            transport = httpx.ASGITransport(app, raise_app_exceptions=False)
            made = httpx.AsyncClient(transport=transport, base_url=base, headers=headers)
            return await stack.enter_async_context(made)

        clients = {name: await client("http://api/api/v1", Authorization=f"apikey {name}") for name in NAMES}
        yield Api(app=app, services=services, store=store, nobody=await client("http://api"), **clients)


def body(**changes: Any) -> dict[str, Any]:
    """Return the body of a valid job, but for `changes`."""
    return {"program_id": "sampler", "backend": BACKEND, "params": {"pubs": []}, **changes}


async def submit(client: httpx.AsyncClient, **changes: Any) -> str:
    """Submit a job and return its id."""
    answer = await client.post("/jobs", json=body(**changes))
    assert answer.status_code == 200, answer.text
    return str(json.loads(answer.text)["id"])
