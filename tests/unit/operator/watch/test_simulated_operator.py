"""The simulation of an operator with many RuntimeServers agrees with arithmetic where that knows the answer."""

import pytest

from kit.kubernetes.simulated_operator import LOOK_SECONDS, WORKERS, Takes, passes, wakes


def test_passes_that_need_the_processor_follow_each_other() -> None:
    found = passes(100, Takes(processor=0.01))
    assert found.until_all == pytest.approx(101 * 0.01)
    assert found.processor == pytest.approx(1)
    assert found.longest_queue == 100


def test_passes_that_wait_for_others_run_side_by_side() -> None:
    found = passes(10 * WORKERS - 1, Takes(processor=0.0, waiting=0.5))
    assert found.until_all == pytest.approx(10 * 0.5)


def test_a_change_waits_for_those_that_were_there_before() -> None:
    found = passes(400, Takes(processor=0.01))
    assert found.urgent == pytest.approx(200 * 0.01, rel=0.2)


def test_few_executors_wake_within_a_look() -> None:
    found = wakes(20, Takes(processor=0.001, waiting=0.002))
    assert len(found.seconds) == 20
    assert max(found.seconds) < LOOK_SECONDS + 0.1


def test_more_looks_than_the_processor_has_time_for_make_waking_slow() -> None:
    # 1,000 looks of 2 ms take 2 s, four times as long as the time between two of them.
    found = wakes(1000, Takes(processor=0.002), jobs=50)
    assert found.processor == pytest.approx(1, abs=0.05)
    assert 1.5 < max(found.seconds) < 4.5
