"""How far a run has come is told now and then, with how long it is going to take."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from qiskit import QuantumCircuit
from qiskit.circuit import Parameter
from qiskit.primitives.containers.estimator_pub import EstimatorPub
from qiskit.primitives.containers.sampler_pub import SamplerPub

from qiskit_runtime_server.executors.aer import AerExecutor
from qiskit_runtime_server.messages.messages import Progress
from qiskit_runtime_server.programs import estimator, sampler
from qiskit_runtime_server.programs.device.progress import ProgressMeter
from qiskit_runtime_server.programs.device.shots import SimulatedShots
from qiskit_runtime_server.programs.options.options import estimator_options, sampler_options
from qiskit_runtime_server.simulation import engine
from qiskit_runtime_server.simulation.contract import BitTensor
from qiskit_runtime_server.simulation.seeds import SeedPath


class Time:
    """Stands still until told otherwise."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def told() -> list[Progress]:
    return []


@pytest.fixture
def clock() -> Time:
    return Time()


@pytest.fixture
def meter(told: list[Progress], clock: Time) -> ProgressMeter:
    return ProgressMeter(told.append, clock=clock)


def test_a_short_run_tells_nothing(meter: ProgressMeter, clock: Time, told: list[Progress]) -> None:
    meter.plan(2)
    for _ in range(2):
        meter.begin(1)
        meter.expect(0.5)
        clock.seconds += 0.5
        meter.end()
    assert told == []


def test_the_plan_counts_until_something_is_done_and_then_what_it_took(
    meter: ProgressMeter, clock: Time, told: list[Progress]
) -> None:
    meter.plan(300)
    meter.begin(100)
    clock.seconds = 1
    meter.expect(4.0)
    assert told == [Progress(done=0, total=300, seconds=13.0)]
    clock.seconds = 5
    meter.advance(0.5)
    clock.seconds = 10
    meter.end()
    assert [(each.done, each.total) for each in told[1:]] == [(50, 300), (100, 300)]
    assert [each.seconds for each in told[1:]] == [pytest.approx(30, rel=0.1), 30.0]


def test_a_slow_first_circuit_does_not_make_all_others_slow(
    meter: ProgressMeter, clock: Time, told: list[Progress]
) -> None:
    meter.plan(3000)
    meter.begin(3000)
    meter.expect(300.0)
    clock.seconds = 3
    meter.advance(1 / 3000)
    assert told[-1].seconds is not None
    assert 300 < told[-1].seconds < 500


def test_it_tells_every_two_seconds_at_first_and_every_ten_later(
    meter: ProgressMeter, clock: Time, told: list[Progress]
) -> None:
    meter.plan(1000)
    for second in range(1000):
        meter.begin(1)
        clock.seconds = second + 1.0
        meter.end()
    assert [each.done for each in told[:4]] == [1, 3, 5, 7]
    pauses = np.diff([each.done for each in told])
    assert pauses[-50:].tolist() == [10] * 50
    assert told[-1].seconds == pytest.approx(1000)


def test_what_was_planned_too_low_or_too_high_is_put_right(
    meter: ProgressMeter, clock: Time, told: list[Progress]
) -> None:
    clock.seconds = 5
    meter.begin(8)
    meter.end()
    meter.plan(20)
    meter.plan(-4)
    clock.seconds = 10
    meter.begin(8)
    meter.end()
    assert [(each.done, each.total) for each in told] == [(8, 8), (16, 16)]


def test_a_time_that_nobody_knows_says_nothing(meter: ProgressMeter, told: list[Progress]) -> None:
    meter.begin(1)
    meter.expect(float("inf"))
    assert told == []


def rotated(pairs: int) -> QuantumCircuit:
    """Return pairs of entangled qubits, the same angle on each."""
    angle = Parameter("a")
    circuit = QuantumCircuit(2 * pairs, 2 * pairs)
    for first in range(0, 2 * pairs, 2):
        circuit.rx(angle, first)
        circuit.cx(first, first + 1)
    circuit.measure(range(2 * pairs), range(2 * pairs))
    return circuit


def sampled(executor: AerExecutor, pairs: int, shares: list[float]) -> BitTensor:
    values = np.linspace(0, 3, 30)[:, np.newaxis]
    return engine.sample(executor, rotated(pairs), values, 50, noise=None, seeds=SeedPath((7,)), advance=shares.append)


@pytest.mark.parametrize("pairs", [1, 2])
def test_long_work_is_done_in_pieces_which_change_no_bit(pairs: int, monkeypatch: pytest.MonkeyPatch) -> None:
    shares: list[float] = []
    whole = sampled(AerExecutor(threads=1), pairs, shares)
    assert shares == [(number + 1) / pairs for number in range(pairs)]
    monkeypatch.setattr(engine, "PIECE_SECONDS", 1e-9)
    pieces: list[float] = []
    np.testing.assert_array_equal(sampled(AerExecutor(threads=1), pairs, pieces), whole)
    assert_rises_evenly(pieces, 30 * pairs)


def assert_rises_evenly(shares: Sequence[float], steps: int) -> None:
    assert shares == pytest.approx([(number + 1) / steps for number in range(steps)])


TWIRLED = {"enable_gates": True, "num_randomizations": 4, "shots_per_randomization": 16}


class Counted(SimulatedShots):
    """Shots of a simulator, and how many circuits were planned before the first was run, at the end, and run."""

    def __init__(self) -> None:
        super().__init__(AerExecutor(threads=1))
        self.first: int | None = None
        self.planned = self.ran = 0

    def plan_circuits(self, number: int) -> None:
        self.planned += number

    def sample(
        self, circuit: QuantumCircuit, parameter_values: NDArray[np.float64], *args: Any, **named: Any
    ) -> BitTensor:
        self.first = self.planned if self.first is None else self.first
        self.ran += len(parameter_values)
        return super().sample(circuit, parameter_values, *args, **named)


def chain() -> QuantumCircuit:
    """Return an ISA circuit of fake_manila with an angle."""
    circuit = QuantumCircuit(3)
    circuit.rz(Parameter("a"), 0)
    circuit.sx(0)
    circuit.cx(0, 1)
    circuit.cx(1, 2)
    return circuit


def measured() -> QuantumCircuit:
    circuit = chain()
    circuit.measure_all()
    return circuit


@pytest.mark.parametrize(
    ("options", "number"),
    [({}, 7), ({"twirling": {"enable_measure": True}}, 7), ({"twirling": TWIRLED}, 7 * 4)],
)
def test_a_sampler_knows_its_circuits_before_it_begins(options: dict[str, Any], number: int) -> None:
    source = Counted()
    pubs = [SamplerPub.coerce((measured(), np.linspace(0, 1, size), 64)) for size in (4, 3)]
    sampler.execute(source, pubs, sampler_options(options, 1), "fake_manila@aer")
    assert (source.first, source.planned, source.ran) == (number, number, number)


@pytest.mark.parametrize(
    "options",
    [
        {"resilience_level": 0},
        {"resilience_level": 1},
        {"resilience_level": 2, "resilience": {"zne": {"noise_factors": [1, 3]}}},
        {"resilience_level": 0, "twirling": {"enable_gates": True, "num_randomizations": 4}},
        {
            "resilience": {
                "pec_mitigation": True,
                "layer_noise_learning": {"num_randomizations": 2, "shots_per_randomization": 16},
            }
        },
    ],
)
def test_an_estimator_plans_as_many_circuits_as_it_runs(options: dict[str, Any]) -> None:
    source = Counted()
    pubs = [EstimatorPub.coerce((chain(), [["ZZZ"], ["XXX"]], np.linspace(0, 1, 2), 0.2)) for _ in range(2)]
    estimator.execute(source, pubs, estimator_options(options, 1), "fake_manila@aer")
    assert source.planned == source.ran
    assert source.first is not None
    assert source.ran / 2 <= source.first <= source.ran * 2, "known before it begins, if only about"
