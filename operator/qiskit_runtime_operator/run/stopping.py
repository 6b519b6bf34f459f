"""When to stop: a signal says so, or something that should go on has ended."""

import asyncio
import signal
from collections.abc import Coroutine
from typing import Any


def set_on_signals(stop: asyncio.Event) -> None:
    """Have SIGTERM and Ctrl-C set `stop`, in the place of all that they did before."""
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)


async def until_set(stop: asyncio.Event, work: Coroutine[Any, Any, None]) -> bool:
    """Wait for `work`, but no longer than until `stop` is set, which cancels it; tell whether it is done.

    Raises what the work has raised.
    """
    tasks = [asyncio.ensure_future(work), asyncio.ensure_future(stop.wait())]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finished = tasks[0].done()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
    if finished:
        await tasks[0]
    return finished
