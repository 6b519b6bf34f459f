"""Large answers take room before they are read from the store, and keep it until they have been sent."""

import asyncio
from collections.abc import AsyncIterator, Callable, MutableMapping
from contextlib import asynccontextmanager
from typing import Any

import pytest

from kit.server.api_in_process import Api, submit
from qiskit_runtime_server.api.answers import AnswerBudget
from qiskit_runtime_server.errors import BusyError

LARGE = 100_000
SMALL = 64 * 1024
MIB = 1 << 20


async def settled() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


def budget_of(limit: int, patience: float = 20) -> AnswerBudget:
    return AnswerBudget(limit, patience=patience)


async def test_one_account_gets_half_of_the_room() -> None:
    budget = budget_of(4 * LARGE, patience=0.01)
    with budget.room() as first, budget.room() as second, budget.room() as third, budget.room() as other:
        first.owner = second.owner = third.owner = "a"
        other.owner = "b"
        await first.hold(LARGE)
        await second.hold(LARGE)
        with pytest.raises(BusyError):
            await third.hold(LARGE)
        with pytest.raises(BusyError):
            third.admit(LARGE)
        await other.hold(2 * LARGE)
        assert budget.held == 4 * LARGE
    assert budget.held == 0


async def test_those_of_an_account_without_room_keep_no_other_account_waiting() -> None:
    budget, passed = budget_of(4 * LARGE), []

    async def wait(owner: str, size: int) -> None:
        with budget.room() as room:
            room.owner = owner
            await room.hold(size)
            passed.append((owner, size))
            await settled()

    with budget.room() as unread, budget.room() as other:
        unread.owner, other.owner = "a", "c"
        await unread.hold(2 * LARGE)
        await other.hold(2 * LARGE)
        sizes = [("a", 2 * LARGE), ("a", LARGE), ("b", LARGE), ("b", 2 * LARGE)]
        tasks = [asyncio.create_task(wait(*one)) for one in sizes]
        await settled()
        assert passed == []
        other.clear()
        await asyncio.gather(*tasks[2:])
        assert passed == [("b", LARGE), ("b", 2 * LARGE)]
        unread.clear()
        await asyncio.gather(*tasks)
        assert passed[2:] == [("a", 2 * LARGE), ("a", LARGE)]
    assert budget.held == 0


async def test_whoever_stops_waiting_holds_nothing() -> None:
    budget = budget_of(2 * LARGE)
    with budget.room() as here, budget.room() as waiting, budget.room() as let_in:
        await here.hold(2 * LARGE)
        tasks = [asyncio.create_task(room.hold(LARGE)) for room in (waiting, let_in)]
        await settled()
        tasks[0].cancel()
        await settled()
        here.clear()
        tasks[1].cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert budget.held == let_in.size
    assert budget.held == 0


def test_what_is_small_does_not_count_and_what_is_larger_than_the_room_passes_alone() -> None:
    budget = budget_of(LARGE)
    with budget.room() as alone, budget.room() as small, budget.room() as second:
        alone.admit(10 * LARGE)
        small.admit(SMALL)
        assert budget.held == 10 * LARGE
        with pytest.raises(BusyError):
            second.admit(SMALL + 1)
        alone.admit(11 * LARGE)
        assert budget.held == 11 * LARGE
    assert budget.held == 0


class Reader:
    """A client that reads nothing of its answer until it is told to."""

    def __init__(self, api: Api, path: str, token: str) -> None:
        self.reads = asyncio.Event()
        self.messages: list[MutableMapping[str, Any]] = []
        self.most = 0
        scope = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": "1.1",
            "method": "GET",
            "path": f"/api/v1{path}",
            "raw_path": path.encode(),
            "query_string": b"",
            "headers": [(b"authorization", f"apikey {token}".encode())],
            "server": ("api", 80),
            "client": ("127.0.0.1", 1),
            "scheme": "http",
        }
        self.leaves = asyncio.Event()
        self.task = asyncio.create_task(api.app(scope, self._receive, self._send))

    async def _receive(self) -> dict[str, Any]:
        await self.leaves.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: MutableMapping[str, Any]) -> None:
        # As uvicorn has it: what is sent waits until what was sent before has been read.
        if any(message.get("body") for message in self.messages):
            await self.reads.wait()
        self.messages.append(message)
        self.most = max(self.most, len(message.get("body", b"")))

    @property
    def status(self) -> int | None:
        return self.messages[0]["status"] if self.messages else None

    def body(self) -> bytes:
        return b"".join(message.get("body", b"") for message in self.messages)


@asynccontextmanager
async def readers(api: Api, count: int, path: str, token: str) -> AsyncIterator[list[Reader]]:
    made = [Reader(api, path, token) for _ in range(count)]
    try:
        yield made
    finally:
        for reader in made:
            reader.leaves.set()
            reader.reads.set()
        await asyncio.gather(*(reader.task for reader in made))


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not true():  # noqa: ASYNC110 - what an app does from outside tells no event
            await asyncio.sleep(0.01)


@pytest.fixture
async def job(api: Api) -> str:
    """A job of alice whose params, result and log take 1 MiB each, less a little; the room is 1 MiB for all."""
    job_id = await submit(api.alice, params={"pubs": [], "padding": "p" * (MIB - 5000)})
    claim = await api.end_next(result=b"r" * (MIB - 5000))
    for _ in range(16):
        await api.services.store.documents.append_log(claim.job.id, "l" * (MIB // 16 - 1))
    return job_id


@pytest.mark.parametrize("part", ["", "/results", "/logs"])
async def test_answers_that_are_not_read_take_their_room_and_those_beyond_it_are_refused(
    api: Api, job: str, part: str
) -> None:
    async with readers(api, 4, f"/jobs/{job}{part}", "alice") as four:
        await until(lambda: sum(reader.status is not None for reader in four) == 4)
        assert sorted(reader.status or 0 for reader in four) == [200, 503, 503, 503]
        [answered] = [reader for reader in four if reader.status == 200]
        refused = next(reader for reader in four if reader.status == 503)
        assert (b"retry-after", b"6") in refused.messages[0]["headers"]
        assert api.services.answers.held >= MIB - 6000
        assert (await api.bob.get("/jobs")).status_code == 200
        assert (await api.alice.get("/jobs")).status_code == 200, "what is small passes"
        answered.reads.set()
        await answered.task
        assert api.services.answers.held == 0
        assert len(answered.body()) > MIB - 6000
        assert answered.most <= MIB // 4
        assert (await api.alice.get(f"/jobs/{job}{part}")).status_code == 200


async def test_one_that_leaves_gives_its_room_back(api: Api, job: str) -> None:
    async with readers(api, 1, f"/jobs/{job}/results", "alice") as [reader]:
        await until(lambda: api.services.answers.held > 0)
        reader.leaves.set()
        reader.reads.set()
        await reader.task
        assert api.services.answers.held == 0


async def test_an_answer_that_waits_for_room_is_given_when_there_is_some(api: Api, job: str) -> None:
    async with readers(api, 1, f"/jobs/{job}/results", "alice") as [first]:
        await until(lambda: api.services.answers.held > 0)
        waiting = asyncio.create_task(api.alice.get(f"/jobs/{job}/results"))
        await asyncio.sleep(0.05)
        assert not waiting.done()
        first.reads.set()
        answer = await waiting
        assert answer.status_code == 200
        assert len(answer.content) == MIB - 5000


async def test_a_private_result_is_not_taken_before_there_is_room(api: Api, job: str) -> None:
    private = await submit(api.alice, private=True)
    await api.end_next(result=b"s" * LARGE)
    async with readers(api, 1, f"/jobs/{job}/results", "alice") as [unread]:
        await until(lambda: api.services.answers.held > 0)
        assert (await api.alice.get(f"/jobs/{private}/results")).status_code == 503
        unread.reads.set()
        await unread.task
        assert (await api.alice.get(f"/jobs/{private}/results")).content == b"s" * LARGE
        assert (await api.alice.get(f"/jobs/{private}/results")).status_code == 204


async def test_listings_count_with_the_params_in_them(api: Api, job: str) -> None:
    async with readers(api, 1, f"/jobs/{job}/results", "alice") as [unread]:
        await until(lambda: api.services.answers.held > 0)
        assert (await api.alice.get("/jobs")).status_code == 200
        assert (await api.alice.get("/jobs", params={"exclude_params": False})).status_code == 503
        unread.reads.set()
        await unread.task
        listed = (await api.alice.get("/jobs", params={"exclude_params": False})).json()
        assert len(listed["jobs"][0]["params"]["padding"]) == MIB - 5000
        assert api.services.answers.held == 0


async def test_what_is_large_without_a_document_counts_too(api: Api, job: str) -> None:
    tags = [f"{number:03}" + "t" * 250 for number in range(64)]
    for _ in range(10):
        await submit(api.alice, tags=tags)
    async with readers(api, 1, f"/jobs/{job}/results", "alice") as [unread]:
        await until(lambda: api.services.answers.held > 0)
        assert (await api.alice.get("/jobs")).status_code == 503
        unread.reads.set()
        await unread.task
        assert (await api.alice.get("/jobs")).json()["count"] == 11
