"""Waiting for the end of a job."""

import asyncio
import time
from datetime import timedelta

from qiskit_runtime_server.dispatch.endings import Endings
from qiskit_runtime_server.jobs import JobId

JOB = JobId("a")
LONG = timedelta(seconds=30)


async def wait(endings: Endings, limit: timedelta) -> None:
    with endings.watch(JOB) as ending:
        await ending.wait(limit)


async def test_everybody_who_waits_is_woken_by_the_end() -> None:
    endings = Endings()
    waiting = [asyncio.create_task(wait(endings, LONG)) for _ in range(3)]
    await asyncio.sleep(0)
    endings.announce(JobId("another"))
    await asyncio.sleep(0)
    assert not any(task.done() for task in waiting)
    endings.announce(JOB)
    await asyncio.wait_for(asyncio.gather(*waiting), 20)


async def test_nobody_waits_longer_than_asked() -> None:
    start = time.monotonic()
    await wait(Endings(), timedelta(seconds=0.05))
    assert 0.04 < time.monotonic() - start < 20


async def test_a_limit_in_the_past_is_no_wait() -> None:
    await asyncio.wait_for(wait(Endings(), timedelta(seconds=-5)), 20)


async def test_closing_releases_all_and_lets_nobody_wait_again() -> None:
    endings = Endings()
    waiting = asyncio.create_task(wait(endings, LONG))
    await asyncio.sleep(0)
    endings.close()
    await asyncio.wait_for(waiting, 20)
    await asyncio.wait_for(wait(endings, LONG), 20)


async def test_an_end_between_looking_and_waiting_is_noticed() -> None:
    endings = Endings()
    with endings.watch(JOB) as ending:
        endings.announce(JOB)
        await asyncio.wait_for(ending.wait(LONG), 20)
