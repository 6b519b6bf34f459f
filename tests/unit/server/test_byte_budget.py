"""Large documents pass one after the other where there is no room for all, and small ones in any case."""

import asyncio

import pytest

from qiskit_runtime_server.byte_budget import ByteBudget
from qiskit_runtime_server.errors import BusyError

LARGE = 100_000
SMALL = 64 * 1024


async def settled() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


def test_what_comes_from_outside_is_refused_where_there_is_no_room() -> None:
    transit = ByteBudget(2 * LARGE)
    with transit.share() as first, transit.share() as second, transit.share() as third:
        first.admit(LARGE)
        second.admit(LARGE)
        with pytest.raises(BusyError):
            third.admit(LARGE)
        third.admit(SMALL)
        assert transit.held == 2 * LARGE
        first.clear()
        third.admit(LARGE)
    assert transit.held == 0


def test_what_grows_is_refused_when_it_has_grown_too_large_to_share_the_room() -> None:
    transit = ByteBudget(3 * LARGE)
    with transit.share() as other, transit.share() as growing:
        other.admit(LARGE)
        growing.admit(LARGE)
        growing.admit(2 * LARGE)
        with pytest.raises(BusyError):
            growing.admit(2 * LARGE + 1)
        assert transit.held == 3 * LARGE


def test_a_document_larger_than_the_room_passes_alone() -> None:
    transit = ByteBudget(LARGE)
    with transit.share() as lot:
        lot.admit(LARGE)
        lot.admit(10 * LARGE)
        assert transit.held == 10 * LARGE


async def test_what_was_accepted_waits_in_turn_and_goes_before_what_comes_from_outside() -> None:
    transit = ByteBudget(2 * LARGE)
    passed: list[str] = []

    async def wait(name: str, size: int) -> None:
        with transit.share() as lot:
            await lot.hold(size)
            passed.append(name)
            await settled()

    with transit.share() as here, transit.share() as outside:
        await here.hold(LARGE)
        tasks = [asyncio.create_task(wait(name, size)) for name, size in (("whole", 2 * LARGE), ("half", LARGE))]
        await settled()
        assert passed == []
        with pytest.raises(BusyError):
            outside.admit(LARGE)
        here.clear()
        await asyncio.gather(*tasks)
    assert passed == ["whole", "half"]
    assert transit.held == 0


async def test_whoever_stops_waiting_holds_nothing_and_stands_in_nobodys_way() -> None:
    transit = ByteBudget(LARGE)
    with transit.share() as here, transit.share() as waiting, transit.share() as next_one:
        await here.hold(LARGE)
        task = asyncio.create_task(waiting.hold(LARGE))
        await settled()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        here.clear()
        await asyncio.wait_for(next_one.hold(LARGE), 20)
    assert transit.held == 0


async def test_one_document_makes_room_for_the_next_of_the_same_lot() -> None:
    transit = ByteBudget(LARGE)
    with transit.share() as lot:
        await lot.hold(LARGE)
        await asyncio.wait_for(lot.hold(2 * LARGE), 20)
        assert transit.held == 2 * LARGE
        await lot.hold(SMALL)
        assert transit.held == 0
