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
    budget = ByteBudget(3 * LARGE)
    with budget.share("a") as first, budget.share("b") as second, budget.share("c") as third:
        first.admit(LARGE)
        second.admit(LARGE)
        with pytest.raises(BusyError):
            third.admit(LARGE)
        third.admit(SMALL)
        assert budget.held == 2 * LARGE
        first.clear()
        third.admit(LARGE)
    assert budget.held == 0


def test_what_grows_is_refused_when_it_has_grown_too_large_to_share_the_room() -> None:
    budget = ByteBudget(4 * LARGE)
    with budget.share("a") as other, budget.share("b") as growing:
        other.admit(LARGE)
        growing.admit(LARGE)
        growing.admit(2 * LARGE)
        with pytest.raises(BusyError):
            growing.admit(2 * LARGE + 1)
        assert budget.held == 3 * LARGE


def test_a_document_larger_than_the_room_passes_alone() -> None:
    budget = ByteBudget(LARGE)
    with budget.share() as share:
        share.admit(LARGE)
        share.admit(10 * LARGE)
        assert budget.held == 10 * LARGE


async def test_uploads_leave_a_quarter_of_the_room_to_jobs_inside() -> None:
    budget = ByteBudget(4 * LARGE)
    with budget.share("a") as first, budget.share("b") as second, budget.share() as inside:
        first.admit(2 * LARGE)
        second.admit(LARGE)
        with pytest.raises(BusyError):
            second.check(LARGE + 1)
        await asyncio.wait_for(inside.hold(LARGE), 20)
        assert budget.held == 4 * LARGE


def test_uploads_of_one_account_take_half_of_the_room() -> None:
    budget = ByteBudget(4 * LARGE)
    with budget.share("a") as first, budget.share("a") as second, budget.share("b") as other:
        first.admit(LARGE)
        second.admit(LARGE)
        with pytest.raises(BusyError, match="This account"):
            second.admit(LARGE + 1)
        other.admit(LARGE)
        first.clear()
        second.admit(2 * LARGE)
    assert budget.held == 0


async def test_what_was_accepted_waits_in_turn_and_goes_before_what_comes_from_outside() -> None:
    budget = ByteBudget(2 * LARGE)
    passed: list[str] = []

    async def wait(name: str, size: int) -> None:
        with budget.share() as share:
            await share.hold(size)
            passed.append(name)
            await settled()

    with budget.share() as here, budget.share() as outside:
        await here.hold(LARGE)
        tasks = [asyncio.create_task(wait(name, size)) for name, size in (("whole", 2 * LARGE), ("half", LARGE))]
        await settled()
        assert passed == []
        with pytest.raises(BusyError):
            outside.admit(LARGE)
        here.clear()
        await asyncio.gather(*tasks)
    assert passed == ["whole", "half"]
    assert budget.held == 0


async def test_whoever_stops_waiting_holds_nothing_and_stands_in_nobodys_way() -> None:
    budget = ByteBudget(LARGE)
    with budget.share() as here, budget.share() as waiting, budget.share() as next_one:
        await here.hold(LARGE)
        task = asyncio.create_task(waiting.hold(LARGE))
        await settled()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        here.clear()
        await asyncio.wait_for(next_one.hold(LARGE), 20)
    assert budget.held == 0


async def test_one_document_makes_room_for_the_next_of_the_same_lot() -> None:
    budget = ByteBudget(LARGE)
    with budget.share() as share:
        await share.hold(LARGE)
        await asyncio.wait_for(share.hold(2 * LARGE), 20)
        assert budget.held == 2 * LARGE
        await share.hold(SMALL)
        assert budget.held == 0
