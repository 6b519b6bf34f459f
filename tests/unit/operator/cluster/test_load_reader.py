"""How busy the executors are, asked of an api that is not there, does not know the key, and answers."""

import asyncio
import socket
from base64 import b64encode
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.abc import AbstractResolver, ResolveResult

from qiskit_runtime_operator.cluster import load_reader
from qiskit_runtime_operator.cluster.load_reader import LoadReader
from qiskit_runtime_operator.cluster.outside import outside_session
from qiskit_runtime_operator.resource.names import Key
from qiskit_runtime_operator.scaling.load import ExecutorLoad, Load
from qiskit_runtime_operator.settings import Settings

LAB = Key("research", "lab")
URL = Settings.model_fields["load_url"].default


class Api:
    """The internal port of an api, under the name and port that the operator asks for.

    Attributes:
        load_key: What it wants to be shown.
        queued: What it says, as slots.
        instead: What it answers whatever it is shown, if it is one of somebody's own.
        asked: The hosts that it was asked as.
        cookies: What it was shown beside the key.
    """

    def __init__(self) -> None:
        self.load_key = "right"
        self.queued = 1
        self.slots = 2
        self.instead: web.StreamResponse | None = None
        self.asked: list[str] = []
        self.cookies: list[str | None] = []
        self.ended = asyncio.Event()

    async def answer(self, request: web.Request) -> web.StreamResponse:
        if request.host.startswith("silent"):
            await self.ended.wait()
        self.asked.append(f"{request.host}{request.path}")
        self.cookies.append(request.headers.get("Cookie"))
        if self.instead is not None:
            return self.instead
        if request.headers["Authorization"] != f"Bearer {self.load_key}":
            return web.json_response({}, status=401)
        return web.json_response({"executors": {"aer": {"queued": self.queued, "running": 2, "slots": self.slots}}})


class Everywhere(AbstractResolver):
    """Finds every host on one port of this machine."""

    def __init__(self, port: int) -> None:
        self._port = port

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        return [ResolveResult(hostname=host, host="127.0.0.1", port=self._port, family=family, proto=0, flags=0)]

    async def close(self) -> None:
        pass


class Secrets:
    """The keys of RuntimeServers."""

    def __init__(self, load_key: str) -> None:
        self.load_key = load_key
        self.reads = 0

    async def get(self, _kind: object, _namespace: str, name: str) -> dict[str, Any]:
        assert name.endswith("-keys")
        self.reads += 1
        return {"data": {"load-key": b64encode(self.load_key.encode()).decode()}}


@asynccontextmanager
async def reading(api: Api, keys: Secrets) -> AsyncIterator[LoadReader]:
    app = web.Application()
    app.router.add_get("/internal/load", api.answer)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    connector = aiohttp.TCPConnector(resolver=Everywhere(runner.addresses[0][1]))
    async with outside_session(connector) as http:
        yield LoadReader(http, keys, URL)  # type: ignore[arg-type]  # the one method of a Cluster that it uses
    api.ended.set()
    await runner.cleanup()
    await asyncio.sleep(0)


async def test_the_load_is_read_with_the_key_and_changes_are_told() -> None:
    api, keys = Api(), Secrets("right")
    async with reading(api, keys) as reader:
        assert await reader.read([LAB]) == [LAB]
        assert reader.loads == {LAB: Load(executors={"aer": ExecutorLoad(queued=1, running=2, slots=2)})}
        assert await reader.read([LAB]) == []
        api.queued = 5
        assert await reader.read([LAB]) == [LAB]
        assert api.asked[0] == "lab-api.research.svc:9090/internal/load"
        assert keys.reads == 1


async def test_an_api_does_not_have_the_operator_carry_anything_to_others() -> None:
    api = Api()
    api.instead = web.json_response({"executors": {}}, headers={"Set-Cookie": "a=b; Domain=svc; Path=/"})
    async with reading(api, Secrets("right")) as reader:
        await reader.read([LAB])
        await reader.read([LAB, Key("other", "lab")])
    assert api.cookies == [None, None, None]


async def test_an_api_is_without_slots_when_it_has_said_so_twice_in_a_row() -> None:
    api = Api()
    api.slots = 0
    async with reading(api, Secrets("right")) as reader:
        for wanted in (False, True, True):
            await reader.read([LAB])
            assert reader.loads[LAB].without_slots is wanted
        api.slots = 1
        assert await reader.read([LAB]) == [LAB]
        assert reader.loads[LAB].without_slots is False


async def test_a_key_that_is_not_right_any_more_is_read_again() -> None:
    api, keys = Api(), Secrets("old")
    async with reading(api, keys) as reader:
        assert await reader.read([LAB]) == []
        keys.load_key = "right"
        assert await reader.read([LAB]) == [LAB]
        assert keys.reads == 2


async def test_what_an_api_that_is_gone_said_is_forgotten() -> None:
    api = Api()
    async with reading(api, Secrets("right")) as reader:
        await reader.read([LAB])
        assert await reader.read([]) == [LAB]
        assert reader.loads == {}


@pytest.mark.slow
async def test_apis_that_are_silent_delay_none_that_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(load_reader, "_LIMIT", timedelta(seconds=0.5))
    silent = [Key("research", f"silent-{number}") for number in range(40)]
    async with reading(Api(), Secrets("right")) as reader:
        assert await reader.read(silent) == []
        others = {asyncio.create_task(reader.load_of(key)) for key in silent}
        await asyncio.sleep(0)
        answering = asyncio.create_task(reader.load_of(LAB))
        done, _ = await asyncio.wait({answering, *others}, return_when=asyncio.FIRST_COMPLETED)
        assert answering in done
        assert await answering is not None
        assert await asyncio.gather(*others) == [None] * len(silent)


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param({"queued": 10**400, "running": 0}, id="numbers that nobody can divide"),
        pytest.param({"queued": 1 << 31, "running": 0}, id="more jobs than a status can have"),
        pytest.param({"queued": -1, "running": 0}, id="fewer jobs than none"),
        pytest.param({"queued": 0, "running": 0, "pods": {"10.0.0.1": -1}}, id="fewer in a pod"),
        pytest.param({"queued": 0, "running": 0, "more": "x" * (1 << 20)}, id="a megabyte"),
    ],
)
async def test_what_no_api_of_ours_says_is_as_no_answer(answer: dict[str, Any]) -> None:
    api = Api()
    async with reading(api, Secrets("right")) as reader:
        await reader.read([LAB])
        api.instead = web.json_response({"executors": {"aer": answer}})
        assert await reader.read([LAB]) == [LAB]
        assert reader.loads == {}


async def test_an_api_sends_the_operator_nowhere() -> None:
    api = Api()
    async with reading(api, Secrets("right")) as reader:
        api.instead = web.Response(status=302, headers={"Location": "http://elsewhere/internal/load"})
        assert await reader.load_of(LAB) is None
        assert api.asked == ["lab-api.research.svc:9090/internal/load"]
