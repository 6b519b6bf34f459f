"""What bounds a run, and which jobs may not start."""

import logging
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from kit.server.played_pool import HOLDER, NAME
from qiskit_runtime_server.accounts.identity import Account
from qiskit_runtime_server.accounts.token_folder import TokenFolder
from qiskit_runtime_server.dispatch.allowances import Allowance, Allowances, Refusal, Releases
from qiskit_runtime_server.jobs import AccountId, Job, JobId, JobState, Outcome
from qiskit_runtime_server.messages.messages import Metrics
from qiskit_runtime_server.store.memory.store import MemoryStore
from qiskit_runtime_server.store.port import Claim, HeldJobs

ANN = AccountId("ann")
CRN = Account(id=ANN).crn(Account(id=ANN).instances[0])
LEASE = timedelta(minutes=1)


def job_of(name: str = "job", **changes: Any) -> Job:
    job = Job(
        id=JobId(name),
        account=ANN,
        instance=CRN,
        program_id="sampler",
        backend=f"fake_manila@{NAME}",
        executor=NAME,
        created=datetime.now(UTC),
        max_seconds=600,
        seed=1,
        calibration_digest="digest",
    )
    return replace(job, **changes)


def allowances_of(folder: Path, store: MemoryStore, limits: str, *, later: float = 0) -> Allowances:
    """Return those of a server where ann has these limits; its clock is ahead of the store's."""
    (folder / "ann").write_text("token of ann")
    (folder / "accounts.toml").write_text(f"[accounts.ann]\n{limits}")
    return Allowances(TokenFolder(folder), store, 600, lambda: datetime.now(UTC) + timedelta(seconds=later))


async def use(store: MemoryStore, seconds: float) -> None:
    """Have ann use slot time today."""
    await store.jobs.add(job_of(f"used {seconds}"), b"{}")
    claim = await store.queue.claim(NAME, HOLDER, lease=LEASE)
    assert claim is not None
    await store.queue.finish(claim, Outcome(state=JobState.COMPLETED, metrics=Metrics(seconds=seconds)), None)


@pytest.mark.parametrize(
    ("limits", "asked", "seconds", "limit"),
    [
        ("", None, 600, "QRS_MAX_SECONDS"),
        ("", 50, 50, "its own max_execution_time"),
        ("seconds_per_job = 40", 50, 40, "seconds_per_job of account ann, instance default"),
        ("seconds_per_job = 70", 50, 50, "its own max_execution_time"),
        ("seconds_per_job = 40\nseconds_per_day = 130", 50, 30, "left of seconds_per_day of account ann"),
        ('seconds_per_job = "unlimited"\nseconds_per_day = 1000', None, 600, "QRS_MAX_SECONDS"),
    ],
)
async def test_the_least_limit_holds_and_is_named(
    tmp_path: Path, limits: str, asked: int | None, seconds: float, limit: str
) -> None:
    store = MemoryStore()
    await use(store, 100)
    allowances = allowances_of(tmp_path, store, limits)
    found = await allowances.of(Claim(job=job_of(cost=asked, max_seconds=asked or 600)))
    assert isinstance(found, Allowance)
    assert found.seconds == pytest.approx(seconds)
    assert limit in found.limit


async def test_what_other_jobs_have_taken_so_far_counts(tmp_path: Path) -> None:
    store = MemoryStore()
    for name in ("first", "second"):
        await store.jobs.add(job_of(name), b"{}")
        assert await store.queue.claim(NAME, HOLDER, lease=LEASE) is not None
    second = await store.jobs.get(ANN, "second")
    found = await allowances_of(tmp_path, store, "seconds_per_day = 100", later=30).of(Claim(job=second))
    assert isinstance(found, Allowance)
    assert found.seconds == pytest.approx(70, abs=5)
    over = await allowances_of(tmp_path, store, "seconds_per_day = 20", later=30).of(Claim(job=second))
    assert isinstance(over, Refusal)


@pytest.mark.parametrize(
    ("limits", "changes", "reason", "gone"),
    [
        ("seconds_per_day = 100", {}, "100 s of slot time per day", False),
        ("", {"account": AccountId("bob")}, "account bob is not there any more", True),
        ("", {"instance": "crn:other"}, "no instance crn:other", True),
    ],
)
async def test_some_jobs_may_not_start(
    tmp_path: Path,
    limits: str,
    changes: dict[str, Any],
    reason: str,
    gone: bool,  # noqa: FBT001 - a parameter
) -> None:
    store = MemoryStore()
    await use(store, 100)
    found = await allowances_of(tmp_path, store, limits).of(Claim(job=job_of(**changes)))
    assert isinstance(found, Refusal)
    assert reason in found.reason
    assert found.gone is gone


async def test_held_jobs_are_released_once_they_may_start_and_admins_are_told_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    store = MemoryStore()
    await store.jobs.add(job_of(), b"{}")
    claim = await store.queue.claim(NAME, HOLDER, lease=LEASE)
    assert claim is not None
    await store.queue.hold(claim, reason="Held.")
    refusals: list[Refusal | None] = [Refusal(reason="account ann is gone", gone=True)] * 2 + [None]

    async def refusal(held: HeldJobs) -> Refusal | None:
        assert held == HeldJobs(account=ANN, instance=CRN, jobs=1)
        return refusals.pop(0)

    releases = Releases(store, refusal)
    for _ in range(2):
        await releases.look()
        assert (await store.jobs.get(ANN, "job")).held == "Held."
    await releases.look()
    assert (await store.jobs.get(ANN, "job")).held is None
    assert [record.levelname for record in caplog.records] == ["WARNING", "INFO"]
    assert "account ann is gone" in caplog.messages[0]
