"""What clients are told of `@auto`, and of jobs that were sent to it."""

import json
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from kit.server.api_in_process import Api, api_in_process, submit
from kit.server.played_pool import HOLDER, NAME, PlayedPool
from qiskit_runtime_server.api.internal import load_document, with_unrouted
from qiskit_runtime_server.api.services import Services
from qiskit_runtime_server.backends.names import AUTO, ExecutorName
from qiskit_runtime_server.dispatch.routing.auto_pool import AutoPool
from qiskit_runtime_server.errors import StartupError
from qiskit_runtime_server.messages.messages import Capabilities, Prediction, Routing
from qiskit_runtime_server.roles.pools import auto_of, offers_auto
from qiskit_runtime_server.settings import Settings

WIDE = ExecutorName("wide")
LEASE = timedelta(seconds=30)


class WidePool(PlayedPool):
    async def capabilities(self) -> Capabilities:
        return Capabilities(num_qubits=9)


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[Api]:
    async with api_in_process(tmp_path) as api:
        pools = {NAME: PlayedPool(), WIDE: WidePool()}
        services = replace(api.services, pools=pools, auto=AutoPool(pools))
        api.app.state.services = services
        yield replace(api, services=services)


async def test_it_is_listed_first_and_is_as_wide_as_the_widest(api: Api) -> None:
    listed = (await api.alice.get("/backends")).json()["devices"]
    names = [device["name"] for device in listed]
    assert names[0] == "fake_manila@auto"
    assert names[2:] == ["fake_manila@played", "fake_quantum_sim@played", "fake_manila@wide", "fake_quantum_sim@wide"]
    ideal = (await api.alice.get("/backends/fake_quantum_sim@auto/configuration")).json()
    assert (ideal["backend_name"], ideal["n_qubits"]) == ("fake_quantum_sim@auto", 9)
    for part in ("properties", "status", "defaults"):
        assert (await api.alice.get(f"/backends/fake_manila@auto/{part}")).status_code == 200
    refused = (await api.alice.get("/backends/fake_manila@oto/status")).json()
    assert "Did you mean fake_manila@auto" in json.dumps(refused)


async def test_as_many_jobs_come_first_as_where_least_do(api: Api) -> None:
    for backend in ["fake_manila@played"] * 3 + ["fake_manila@wide"] * 2 + ["fake_manila@auto"]:
        await submit(api.alice, backend=backend)
    status = (await api.alice.get("/backends/fake_manila@auto/status")).json()
    assert (status["length_queue"], status["status"]) == (3, "active")
    await api.store.queue.drain(WIDE, draining=True)
    assert (await api.alice.get("/backends/fake_manila@auto/status")).json()["length_queue"] == 4
    await api.store.queue.drain(NAME, draining=True)
    assert (await api.alice.get("/backends/fake_manila@auto/status")).json()["status"] == "paused"


async def test_who_looks_at_a_job_sees_it_queued_until_it_runs_where_it_was_sent(api: Api) -> None:
    job = await submit(api.alice, backend="fake_manila@auto")
    claim = await api.store.queue.claim(AUTO, HOLDER, lease=LEASE)
    assert claim is not None
    seen = (await api.alice.get(f"/jobs/{job}")).json()
    assert (seen["status"], seen["state"]["status"], seen["started"]) == ("Queued", "Queued", None)
    metrics = (await api.alice.get(f"/jobs/{job}/metrics")).json()
    assert (metrics["executor"], metrics["routing"], metrics["timestamps"]["running"]) == (None, None, None)
    known = {str(NAME): Prediction(seconds=1.5), str(WIDE): Prediction(refusal="too wide")}
    await api.store.queue.route(claim, NAME, Routing(predictions=known))
    await api.start_next()
    assert (await api.alice.get(f"/jobs/{job}")).json()["status"] == "Running"
    metrics = (await api.alice.get(f"/jobs/{job}/metrics")).json()
    assert metrics["executor"] == NAME
    assert metrics["routing"] == {
        NAME: {"seconds": 1.5, "refusal": None},
        WIDE: {"seconds": None, "refusal": "too wide"},
    }
    assert metrics["estimated_completion_time"] is not None


async def loads(services: Services) -> dict[str, int]:
    """Return what autoscalers are told that waits."""
    found = with_unrouted(services, await services.store.counts.load())
    return {name: each["queued"] for name, each in load_document(services, found, datetime.now(UTC)).items()}


async def test_what_waits_for_a_choice_counts_for_one_executor(api: Api) -> None:
    """Else a job would wake all that are at zero."""
    await submit(api.alice, backend="fake_manila@auto")
    services, (played, wide) = api.services, api.services.pools.values()
    assert isinstance(played, PlayedPool)
    assert isinstance(wide, PlayedPool)
    assert await loads(services) == {NAME: 1, WIDE: 0}
    played.size = 0
    assert await loads(services) == {NAME: 0, WIDE: 1}
    wide.size = 0
    assert await loads(services) == {NAME: 1, WIDE: 0}
    started = replace(services, auto=AutoPool(services.pools, on_demand=[WIDE]))
    assert await loads(started) == {NAME: 0, WIDE: 1}


async def test_it_is_paused_once_all_are_away_and_nothing_starts_one(api: Api) -> None:
    for pool in api.services.pools.values():
        assert isinstance(pool, PlayedPool)
        pool.size, pool.missing_seconds = 0, 100.0
    status = (await api.alice.get("/backends/fake_manila@auto/status")).json()
    assert (status["status"], status["message"]) == ("paused", "No executor is up: jobs wait for one.")
    api.app.state.services = replace(api.services, auto=AutoPool(api.services.pools, on_demand=[WIDE]))
    assert (await api.alice.get("/backends/fake_manila@auto/status")).json()["status"] == "active"


def test_it_is_offered_where_there_is_a_choice_or_somebody_says_so() -> None:
    one, two = {NAME: PlayedPool()}, {NAME: PlayedPool(), WIDE: PlayedPool()}
    assert not offers_auto(Settings(), one)
    assert offers_auto(Settings(), two)
    assert not offers_auto(Settings(auto="off"), two)
    chosen = Settings(auto="wide played")
    assert offers_auto(chosen, two)
    assert list(auto_of(chosen, two).pools) == [WIDE, NAME]
    assert offers_auto(Settings(auto="wide"), two)
    # Jobs of a time when there was a choice still go somewhere.
    assert list(auto_of(Settings(auto="off"), two).pools) == [NAME, WIDE]
    with pytest.raises(StartupError, match="QRS_AUTO: 'aer' is none of the executors here, which are played, wide"):
        auto_of(Settings(auto="aer"), two)
