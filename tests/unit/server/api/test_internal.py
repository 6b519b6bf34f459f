"""What the operator and other autoscalers are told of the queue."""

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import yaml

from kit import ROOT
from kit.server.api_in_process import Api, api_in_process, submit
from kit.server.played_pool import NAME
from qiskit_runtime_server.api.internal import load_document


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[Api]:
    async with api_in_process(tmp_path) as api:
        yield api


async def startable(api: Api, short_job: timedelta = timedelta(seconds=20)) -> int:
    services = replace(api.services, settings=api.services.settings.model_copy(update={"short_job": short_job}))
    told = load_document(services, await api.store.counts.load(), datetime.now(UTC))[NAME]["startable"]
    assert isinstance(told, int)
    return told


async def test_a_long_job_that_waits_needs_the_slot_that_is_kept_for_short_ones_too(api: Api) -> None:
    for _ in range(2):
        await submit(api.alice)
    assert await startable(api) == 2
    claims = [await api.start_next() for _ in range(2)]
    assert await startable(api) == 0
    for claim in claims:
        await api.store.queue.found_long(claim, long_slots=1)
    assert await startable(api) == 2
    assert await startable(api, short_job=timedelta(0)) == 1


async def test_keda_is_told_where_to_find_what_it_adds_up(api: Api) -> None:
    _, scaled = yaml.safe_load_all((ROOT / "examples/kubernetes/autoscalers/keda.yaml").read_text())
    told = load_document(api.services, {}, datetime.now(UTC))[NAME]
    triggers = {trigger["name"]: trigger["metadata"]["valueLocation"] for trigger in scaled["spec"]["triggers"]}
    assert triggers == {name: f"executors.aer.{name}" for name in triggers}
    assert triggers.keys() <= told.keys()
    assert scaled["spec"]["advanced"]["scalingModifiers"]["formula"] == " + ".join(triggers)


async def test_while_an_admin_keeps_jobs_from_starting_none_is_startable(api: Api) -> None:
    await submit(api.alice)
    await api.store.queue.drain(NAME, draining=True)
    assert await startable(api) == 0
