"""What a job's log says of circuits: before they are run, and while they take minutes."""

import logging
import math

import pytest

from qiskit_runtime_server.programs.device.shots import LONG_SECONDS, Journal
from qiskit_runtime_server.simulation.plan import Noise, Plan

Lines = list[tuple[int, str]]


def journal(lines: Lines, times: list[float] | None = None) -> Journal:
    clock = iter(times or [0.0] * 10)
    return Journal(lambda level, line: lines.append((level, line)), clock=lambda: next(clock))


@pytest.mark.parametrize(
    ("seconds", "level"),
    [(1.0, logging.INFO), (LONG_SECONDS, logging.WARNING), (1e5, logging.WARNING), (math.inf, logging.INFO)],
)
def test_a_plan_of_minutes_is_told_to_those_who_asked_for_warnings_only(seconds: float, level: int) -> None:
    lines: Lines = []
    plan = Plan(qubits=(0, 1), method="statevector", noise=Noise.NONE, seconds=seconds)
    journal(lines).add(plan)
    assert [told for told, _ in lines] == [level]


def test_how_far_a_long_job_has_come_is_told_once_a_minute() -> None:
    lines: Lines = []
    told = journal(lines, [0.0, 20.0, 61.0, 90.0, 125.0])
    for _ in range(4):
        told.count(3)
    assert lines == [
        (logging.WARNING, "6 circuits were run in 61 s so far."),
        (logging.WARNING, "12 circuits were run in 125 s so far."),
    ]


def test_a_short_job_says_nothing_of_how_far_it_is() -> None:
    lines: Lines = []
    told = journal(lines, [0.0, 1.0, 59.0])
    told.count(1)
    told.count(1)
    assert lines == []
