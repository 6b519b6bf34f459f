"""What retention removes is said before it does."""

import asyncio
import logging
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from prometheus_client import CollectorRegistry

from kit.server.played_pool import NAME
from qiskit_runtime_server.dispatch.metrics import JobMetrics
from qiskit_runtime_server.dispatch.sweeper import Sweeper
from qiskit_runtime_server.jobs import AccountId, Job, JobId
from qiskit_runtime_server.store.memory.store import MemoryStore
from qiskit_runtime_server.store.port import JobQuery, Retention

ALICE = AccountId("alice")
JOB = Job(
    id=JobId("j"),
    account=ALICE,
    instance="crn",
    program_id="sampler",
    backend=f"fake_manila@{NAME}",
    executor=NAME,
    created=datetime(2026, 1, 1, tzinfo=UTC),
    max_seconds=60,
    seed=1,
    calibration_digest="digest",
)


async def store_with_ended_jobs(number: int) -> MemoryStore:
    store = MemoryStore()
    for index in range(number):
        await store.jobs.add(replace(JOB, id=JobId(f"j{index}")), b"x" * 100)
        await store.jobs.cancel(ALICE, f"j{index}", reason="enough")
    return store


async def first_sweep(store: MemoryStore, retention: Retention) -> None:
    sweeper = Sweeper(store.archive, retention, JobMetrics(CollectorRegistry()), every=timedelta(hours=1))
    running = asyncio.create_task(sweeper.run())
    await asyncio.sleep(0.3)
    running.cancel()


async def test_a_limit_that_removes_jobs_says_how_many_before_they_go(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    store = await store_with_ended_jobs(8)
    await first_sweep(store, Retention(jobs=2, stored_bytes=2**20))
    warning, removed = caplog.records
    assert warning.levelname == "WARNING"
    assert "of 8 that have ended" in warning.getMessage()
    assert "6 are more than QRS_RETAIN_JOBS of their accounts" in warning.getMessage()
    assert removed.getMessage() == "Removed 6 ended jobs that were over a limit."
    assert len((await store.jobs.find(ALICE, JobQuery(limit=20)))[0]) == 2


async def test_limits_that_remove_nothing_say_so(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    await first_sweep(await store_with_ended_jobs(3), Retention(jobs=20))
    assert [record.levelname for record in caplog.records] == ["INFO"]
    assert "keeps all 3 jobs that have ended" in caplog.text


async def test_without_limits_nothing_is_said(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    await first_sweep(await store_with_ended_jobs(1), Retention())
    assert not caplog.records
