"""What fails again and again is one line at first, and few later on."""

import logging

import pytest

from qiskit_runtime_server.log.failures import FailureLog

LOGGER = logging.getLogger("of the test")


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def log(clock: Clock, caplog: pytest.LogCaptureFixture) -> FailureLog:
    caplog.set_level(logging.INFO)
    return FailureLog(LOGGER, clock)


def test_twenty_equal_failures_are_a_line_and_then_few_with_a_count(
    log: FailureLog, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(20):
        log.failed("The database is away.")
        clock.now += 1.0
    assert caplog.messages == ["The database is away.", "The database is away. (11 failures in 10 s)"]
    for _ in range(3600):
        log.failed("The database is away.")
        clock.now += 1.0
    assert len(caplog.messages) < 12


def test_a_failure_of_another_kind_is_told_at_once_and_only_once(
    log: FailureLog, caplog: pytest.LogCaptureFixture
) -> None:
    for what in ("refused", "no route", "refused", "no route"):
        log.failed(what)
    assert caplog.messages == ["refused", "no route (2 failures in 0 s)"]


def test_success_is_told_after_a_failure_only_and_begins_anew(
    log: FailureLog, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    log.succeeded("It answers again")
    assert caplog.messages == []
    log.failed("away")
    clock.now = 3.0
    log.succeeded("It answers again")
    log.failed("away")
    assert caplog.messages == ["away", "It answers again (failures before: 1 in 3 s).", "away"]


def test_the_traceback_comes_once(log: FailureLog, clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    for clock.now in (0.0, 100.0):
        log.failed("a mistake", ValueError("x"))
    assert [bool(record.exc_info) for record in caplog.records] == [True, False]
