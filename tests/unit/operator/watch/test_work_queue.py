"""The keys that wait to be reconciled."""

import asyncio
from datetime import timedelta

import pytest

from qiskit_runtime_operator.backoff import Backoff
from qiskit_runtime_operator.resource.names import Key
from qiskit_runtime_operator.watch.work_queue import WorkQueue

LAB, OTHER = Key("research", "lab"), Key("research", "other")
# Seconds; nothing that is to come takes nearly as long, on a slow machine either.
SOON = 20
QUICK = Backoff(first=timedelta(milliseconds=20), longest=timedelta(milliseconds=80))


async def test_a_key_that_is_added_twice_is_given_out_once() -> None:
    queue = WorkQueue()
    queue.add(LAB)
    queue.add(LAB)
    queue.add(OTHER)
    assert len(queue) == 2
    assert [await queue.get(), await queue.get()] == [LAB, OTHER]
    assert len(queue) == 0


async def test_a_key_that_is_being_reconciled_is_given_out_again_only_when_that_is_done() -> None:
    queue = WorkQueue()
    queue.add(LAB)
    await queue.get()
    queue.add(LAB)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(queue.get(), 0.05)
    queue.done(LAB)
    assert await asyncio.wait_for(queue.get(), SOON) == LAB


async def test_a_key_that_failed_comes_back_by_itself() -> None:
    queue = WorkQueue(QUICK)
    queue.add(LAB)
    await queue.get()
    queue.failed(LAB)
    queue.done(LAB)
    assert len(queue) == 0
    assert await asyncio.wait_for(queue.get(), SOON) == LAB


async def test_a_key_that_failed_is_not_kept_waiting_when_something_happens_to_it() -> None:
    queue = WorkQueue(Backoff(first=timedelta(hours=1)))
    queue.add(LAB)
    await queue.get()
    queue.failed(LAB)
    queue.done(LAB)
    queue.add(LAB)
    assert await asyncio.wait_for(queue.get(), SOON) == LAB


@pytest.mark.parametrize("asked_for", ["by nobody", "during the pass", "after it"])
async def test_a_key_that_failed_waits_at_least_as_long_as_the_api_server_asked_for(asked_for: str) -> None:
    queue = WorkQueue(QUICK)
    queue.add(LAB)
    await queue.get()
    began = asyncio.get_running_loop().time()
    if asked_for == "during the pass":
        queue.add(LAB)
    queue.failed(LAB, timedelta(milliseconds=300))
    queue.done(LAB)
    if asked_for == "after it":
        queue.add(LAB)
    assert await asyncio.wait_for(queue.get(), SOON) == LAB
    assert asyncio.get_running_loop().time() - began > 0.29
    queue.done(LAB)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(queue.get(), 0.2)


def test_waits_double_up_to_the_longest_and_are_shortened_by_up_to_a_half() -> None:
    backoff = Backoff(first=timedelta(seconds=1), longest=timedelta(seconds=10))
    assert [backoff.delay(n, 0).total_seconds() for n in (1, 2, 3, 4, 5, 5000)] == [1, 2, 4, 8, 10, 10]
    assert backoff.delay(1, 1) == timedelta(seconds=0.5)


async def test_a_key_that_is_to_come_later_does_and_its_failures_are_not_forgotten() -> None:
    queue = WorkQueue(Backoff(first=timedelta(milliseconds=1), longest=timedelta(hours=1)), chance=lambda: 0)
    queue.add(LAB)
    for _ in range(2):
        await queue.get()
        queue.failed(LAB)
        queue.done(LAB)
        assert await asyncio.wait_for(queue.get(), SOON) == LAB
        queue.later(LAB, timedelta(milliseconds=10))
        queue.done(LAB)
        assert len(queue) == 0
    assert await asyncio.wait_for(queue.get(), SOON) == LAB


async def test_an_event_brings_back_sooner_what_was_to_come_later() -> None:
    queue = WorkQueue()
    queue.add(LAB)
    await queue.get()
    queue.later(LAB, timedelta(hours=1))
    queue.done(LAB)
    queue.add(LAB)
    assert await asyncio.wait_for(queue.get(), SOON) == LAB


async def test_what_happens_during_a_pass_is_not_put_off() -> None:
    queue = WorkQueue()
    queue.add(LAB)
    await queue.get()
    queue.add(LAB)
    queue.later(LAB, timedelta(hours=1))
    queue.done(LAB)
    assert await asyncio.wait_for(queue.get(), SOON) == LAB
