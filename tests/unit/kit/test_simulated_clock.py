"""Time on the simulated clock: exact, in order, and never waited for."""

import asyncio
import time

import pytest

from kit.simulated_clock import StuckError, simulated


async def times() -> list[tuple[float, str]]:
    seen: list[tuple[float, str]] = []

    async def note(seconds: float, what: str) -> None:
        await asyncio.sleep(seconds)
        seen.append((asyncio.get_running_loop().time(), what))

    await asyncio.gather(note(7200, "second"), note(3600, "first"), note(0, "begin"))
    return seen


def test_hours_pass_in_order_and_in_no_time() -> None:
    began = time.monotonic()
    seen = simulated(times())
    assert [what for _, what in seen] == ["begin", "first", "second"]
    assert [at for at, _ in seen] == pytest.approx([0, 3600, 7200])
    assert time.monotonic() - began < 60


def test_a_timeout_ends_what_takes_too_long() -> None:
    async def late() -> float:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(5):
                await asyncio.sleep(6)
        return asyncio.get_running_loop().time()

    assert simulated(late()) == pytest.approx(5)


def test_what_would_never_end_is_an_error() -> None:
    with pytest.raises(StuckError):
        simulated(asyncio.Event().wait())
