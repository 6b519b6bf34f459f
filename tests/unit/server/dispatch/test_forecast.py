"""When a queued job is expected to start: by what runs, what is ahead of it, and how long such jobs took lately."""

from datetime import UTC, datetime, timedelta

import pytest

from qiskit_runtime_server.dispatch.forecast import expected_start

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)


def start(ends: list[float | None], slots: int, ahead: int, seconds: float | None) -> float | None:
    """Return after how many seconds a job starts; `ends` are in seconds from now, too."""
    times = [None if end is None else NOW + timedelta(seconds=end) for end in ends]
    found = expected_start(NOW, times, slots, ahead=ahead, seconds=seconds)
    return None if found is None else (found - NOW).total_seconds()


@pytest.mark.parametrize(
    ("ends", "slots", "ahead", "seconds", "expected"),
    [
        ([], 1, 0, None, 0),
        ([40.0], 1, 0, None, 40),
        ([40.0], 1, 3, 10.0, 70),
        ([None], 1, 0, 10.0, 10),
        ([-5.0], 1, 0, None, 0),
        ([40.0, 7.0], 2, 0, None, 7),
        ([60.0], 2, 4, 30.0, 90),
        ([60.0], 2, 1, 30.0, 30),
        ([3600.0], 2, 10, 2.0, 20),
        ([10.0, 20.0, 30.0], 2, 0, None, 20),
    ],
)
def test_work_is_poured_over_the_slots(
    ends: list[float | None], slots: int, ahead: int, seconds: float | None, expected: float
) -> None:
    assert start(ends, slots, ahead, seconds) == expected


@pytest.mark.parametrize(("ends", "ahead"), [([None], 0), ([10.0], 1)])
def test_nothing_is_said_of_what_nothing_is_known(ends: list[float | None], ahead: int) -> None:
    assert start(ends, 1, ahead, None) is None
