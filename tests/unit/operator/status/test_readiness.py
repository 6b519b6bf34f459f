"""Why a container that runs is not ready: what it answers, asked with bounds."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from qiskit_runtime_operator.cluster.readiness_reader import ReadinessReader
from qiskit_runtime_operator.resource.names import Key
from qiskit_runtime_operator.resource.ports import API_PORT
from qiskit_runtime_operator.resource.urls import readiness_url as at
from qiskit_runtime_operator.status.readiness import address_to_ask, words

LAB = Key("research", "lab")
POD = "127.71.5.9"
SILENT = "127.71.5.10"
DOWN = json.dumps({"errors": [{"code": 1, "message": "The database does not answer."}], "trace": "x"})


async def _listen(runner: web.AppRunner, address: str) -> None:
    """Listen at the one port that apis have; a connection of others may be leaving it just now."""
    for _ in range(50):
        with suppress(OSError):
            return await web.TCPSite(runner, address, API_PORT).start()
        await asyncio.sleep(0.1)
    return await web.TCPSite(runner, address, API_PORT).start()


@asynccontextmanager
async def pods(answers: dict[str, web.Response | float]) -> AsyncIterator[ReadinessReader]:
    """Pods on loopback, which answer or take so many seconds, and a reader."""
    runners = []

    async def answer(request: web.Request) -> web.StreamResponse:
        said = answers[request.host.partition(":")[0]]
        if isinstance(said, float):
            await asyncio.sleep(said)
            return web.Response()
        return web.Response(status=said.status, body=said.body, headers=said.headers)

    try:
        for address in answers:
            app = web.Application()
            app.router.add_get("/health/ready", answer)
            # What nobody waits for any more ends.
            runners.append(web.AppRunner(app, shutdown_timeout=0, handler_cancellation=True))
            await runners[-1].setup()
            await _listen(runners[-1], address)
        async with aiohttp.ClientSession() as http:
            yield ReadinessReader(http)
    finally:
        for runner in runners:
            await runner.cleanup()


async def test_what_a_pod_answers_is_read_and_forgotten_when_it_is_ready() -> None:
    answers: dict[str, web.Response | float] = {POD: web.Response(status=503, text=DOWN)}
    async with pods(answers) as reader:
        assert await reader.read([(LAB, "a", at(POD))]) == [LAB]
        assert reader.answers == {"a": "its readiness probe answers 503: The database does not answer."}
        assert await reader.read([(LAB, "a", at(POD))]) == []
        answers[POD] = web.Response(text="{}")
        assert await reader.read([(LAB, "a", at(POD))]) == [LAB]
        assert reader.answers == {}


@pytest.mark.slow
async def test_a_pod_that_does_not_answer_costs_two_seconds_and_says_nothing() -> None:
    async with pods({POD: web.Response(status=503, text=DOWN), SILENT: 5.0}) as reader:
        began = time.monotonic()
        assert await reader.read(
            [
                (LAB, "a", at(POD)),
                (LAB, "b", at(SILENT)),
                (LAB, "c", at("127.71.5.11")),
            ]
        ) == [LAB]
        assert time.monotonic() - began < 4
        assert set(reader.answers) == {"a"}


async def test_a_pod_sends_the_operator_nowhere() -> None:
    elsewhere = web.Response(status=302, headers={"Location": "http://127.71.5.9:8000/health/ready"})
    async with pods({POD: web.Response(status=503, text=DOWN), SILENT: elsewhere}) as reader:
        await reader.read([(LAB, "b", at(SILENT))])
        assert "database" not in reader.answers["b"]


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (DOWN, "its readiness probe answers 503: The database does not answer."),
        ('{"status": "draining"}', "its readiness probe answers 503: draining"),
        ("upstream failed\nand more", "its readiness probe answers 503: upstream failed"),
        ("[]", "its readiness probe answers 503"),
        ("[" * 4096, f"its readiness probe answers 503: {'[' * 266}…"),
        ('{"errors": [3]}', "its readiness probe answers 503"),
        ("", "its readiness probe answers 503"),
    ],
)
def test_any_answer_is_put_into_words(body: str, said: str) -> None:
    assert words(503, body.encode()) == said


def test_no_answer_is_longer_than_the_status_can_take() -> None:
    assert len(words(503, b"x" * 4096)) == 300
    assert words(503, b"\xff" * 8).startswith("its readiness probe answers 503: ")


def pod(component: str = "api", **changes: Any) -> dict[str, Any]:
    container = {"name": "server", "ready": False, "state": {"running": {}}}
    labels = {"app.kubernetes.io/component": component}
    status = {"podIP": POD, "containerStatuses": [{**container, **changes}]}
    return {"metadata": {"name": "pod", "uid": "a", "labels": labels}, "status": status}


def test_only_pods_of_the_api_that_run_and_are_not_ready_are_asked() -> None:
    assert address_to_ask(pod()) == POD
    assert address_to_ask(pod(component="executor")) is None
    assert address_to_ask(pod(ready=True)) is None
    assert address_to_ask(pod(state={"waiting": {}})) is None
    assert address_to_ask(pod(name="sidecar")) is None
    ending = pod()
    ending["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    assert address_to_ask(ending) is None
