"""What a job's log says of circuits before they are run."""

import logging
import math

import pytest

from qiskit_runtime_server.programs.device.shots import LONG_SECONDS, Journal
from qiskit_runtime_server.simulation.plan import Noise, Plan


@pytest.mark.parametrize(
    ("seconds", "level"),
    [(1.0, logging.INFO), (LONG_SECONDS, logging.WARNING), (1e5, logging.WARNING), (math.inf, logging.INFO)],
)
def test_a_plan_of_minutes_is_told_to_those_who_asked_for_warnings_only(seconds: float, level: int) -> None:
    lines: list[tuple[int, str]] = []
    plan = Plan(qubits=(0, 1), method="statevector", noise=Noise.NONE, seconds=seconds)
    Journal(lambda level, line: lines.append((level, line))).add(plan)
    assert [told for told, _ in lines] == [level]
