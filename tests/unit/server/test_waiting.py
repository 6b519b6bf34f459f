"""Waking, backing off, and tasks that nobody awaits."""

import asyncio

import pytest

from qiskit_runtime_server.waiting import Backoff, KeptTasks, News, cancelled


def test_waits_double_up_to_the_longest_and_begin_again_after_a_success() -> None:
    backoff = Backoff(0.2, 5.0)
    assert [backoff.fail() for _ in range(7)] == pytest.approx([0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0])
    backoff.succeed()
    assert backoff.fail() == 0.2


def test_what_fails_for_days_is_still_tried_again() -> None:
    backoff = Backoff(0.2, 5.0)
    assert {backoff.fail() for _ in range(2_000)} >= {5.0}


async def test_news_wake_all_who_wait_and_nobody_later() -> None:
    news = News()
    waiting = [asyncio.create_task(news.wait(30)) for _ in range(3)]
    await asyncio.sleep(0)
    news.tell()
    assert await asyncio.gather(*waiting) == [True, True, True]
    assert await news.wait(0.01) is False


async def test_news_that_came_since_one_looked_are_not_waited_for() -> None:
    news = News()
    known = news.count
    news.tell()
    assert await news.wait(30, since=known) is True
    assert await news.wait(0.01, since=news.count) is False


async def test_kept_tasks_are_cancelled_together_also_those_that_have_not_begun() -> None:
    tasks, ends = KeptTasks(), list[str]()

    async def work(name: str) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ends.append(name)

    tasks.begin(work("first"))
    await asyncio.sleep(0)
    late = tasks.begin(work("second"))
    await tasks.cancel()
    assert ends == ["first"]
    assert late.cancelled()


async def test_an_error_that_nobody_has_seen_is_logged_when_its_task_is_cancelled(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def broken() -> None:
        raise RuntimeError("a mistake")

    task = asyncio.create_task(broken())
    await asyncio.sleep(0)
    await cancelled(task)
    assert "RuntimeError: a mistake" in caplog.text


async def test_kept_tasks_are_waited_for_also_those_that_fail() -> None:
    tasks = KeptTasks()

    async def late() -> int:
        await asyncio.sleep(0.01)
        return 7

    async def broken() -> None:
        raise RuntimeError("a mistake")

    first, second = tasks.begin(late()), tasks.begin(broken())
    await tasks.ended()
    assert first.result() == 7
    assert isinstance(second.exception(), RuntimeError)
