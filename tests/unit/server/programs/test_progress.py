"""How far a run has come is told now and then, with how long it is going to take."""

import math
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
from qiskit_runtime_server.programs.device.progress import ProgressMeter, numbered
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
        meter.expect(0.05)
        clock.seconds += 0.05
        meter.end()
    assert told == []


def test_the_plan_counts_until_something_is_done_and_then_what_it_took(
    meter: ProgressMeter, clock: Time, told: list[Progress]
) -> None:
    meter.plan(300)
    meter.begin(100)
    clock.seconds = 1
    meter.expect(4.0)
    assert told == [Progress(done=0, total=300, seconds=13.0, fraction=0.0)]
    clock.seconds = 5
    meter.advance(0.5)
    clock.seconds = 10
    meter.end()
    assert [(each.done, each.total) for each in told[1:]] == [(50, 300), (100, 300)]
    assert [each.seconds for each in told[1:]] == [pytest.approx(30, rel=0.1), 30.0]
    assert [each.fraction for each in told[1:]] == [50 / 300, 100 / 300]


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


@pytest.fixture
def lines() -> list[str]:
    return []


@pytest.fixture
def logged(lines: list[str], clock: Time) -> ProgressMeter:
    return ProgressMeter(log=lines.append, clock=clock)


def run_pubs(meter: ProgressMeter, clock: Time, number: int, seconds: float) -> None:
    """Play a job of pubs of two circuits each."""
    meter.plan(2 * number)
    for index in range(number):
        with meter.stage(numbered("pub", index, number)):
            for factor in (1, 3):
                with meter.stage(f"noise factor {factor}"):
                    meter.begin(1)
                    clock.seconds += seconds / 2
                    meter.end()


def test_a_log_says_how_far_a_job_is_and_where(logged: ProgressMeter, clock: Time, lines: list[str]) -> None:
    run_pubs(logged, clock, 3, 14.0)
    assert lines == [
        "33 % done, done with pub 1 of 3, noise factor 3: 2 of about 6 circuits in 14 s; about 28 s to go.",
        "66 % done, done with pub 2 of 3, noise factor 3: 4 of about 6 circuits in 28 s; about 14 s to go.",
        "100 % done, done with pub 3 of 3, noise factor 3: 6 of about 6 circuits in 42 s.",
    ]


def test_a_log_says_nothing_of_a_short_job(logged: ProgressMeter, clock: Time, lines: list[str]) -> None:
    run_pubs(logged, clock, 9, 1.0)
    assert lines == []


@pytest.mark.parametrize(("pubs", "seconds", "most"), [(10_000, 1.0, 140), (3, 3600.0, 6), (100_000, 0.01, 140)])
def test_a_log_is_not_flooded(
    logged: ProgressMeter, clock: Time, lines: list[str], pubs: int, seconds: float, most: int
) -> None:
    run_pubs(logged, clock, pubs, seconds)
    assert 1 <= len(lines) <= most


def test_the_only_pub_has_no_number(logged: ProgressMeter, clock: Time, lines: list[str]) -> None:
    run_pubs(logged, clock, 1, 10_000.0)
    assert lines[-1] == "100 % done, done with noise factor 3: 2 of about 2 circuits in 2.8 h."


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


class Meter(ProgressMeter):
    """Notes each stage at which circuits were begun."""

    def __init__(self) -> None:
        super().__init__(self._note)
        self.stages: list[str] = []

    def begin(self, circuits: int) -> None:
        super().begin(circuits)
        self._told = -math.inf
        self.advance(0.0)

    def _note(self, progress: Progress) -> None:
        if progress.stage not in self.stages[-1:]:
            self.stages.append(progress.stage)


class Counted(SimulatedShots):
    """Shots of a simulator, and how many circuits were planned before the first was run, at the end, and run."""

    def __init__(self) -> None:
        self.meter = Meter()
        super().__init__(AerExecutor(threads=1), progress=self.meter)
        self.first: int | None = None
        self.ran = 0

    def sample(
        self, circuit: QuantumCircuit, parameter_values: NDArray[np.float64], *args: Any, **named: Any
    ) -> BitTensor:
        self.first = self.meter.planned if self.first is None else self.first
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
    assert (source.first, source.meter.planned, source.ran) == (number, number, number)


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
    assert source.meter.planned == source.ran
    assert source.first is not None
    assert source.ran / 2 <= source.first <= source.ran * 2, "known before it begins, if only about"


ZNE = {"resilience_level": 2, "resilience": {"zne": {"noise_factors": [1, 3]}}, "twirling": TWIRLED}
LEARNED = {"num_randomizations": 2, "shots_per_randomization": 16, "max_layers_to_learn": 2}


@pytest.mark.parametrize(
    ("options", "stages"),
    [
        ({"resilience_level": 0}, ["basis 1 of 2", "basis 2 of 2"]),
        (ZNE, ["noise factor 1, 2 randomizations", "noise factor 3, 2 randomizations", "readout calibration"]),
    ],
)
def test_an_estimator_says_what_it_runs(options: dict[str, Any], stages: list[str]) -> None:
    source = Counted()
    pubs = [EstimatorPub.coerce((chain(), [["ZZZ"], ["XXX"]], np.linspace(0, 1, 2), 0.2)) for _ in range(2)]
    estimator.execute(source, pubs, estimator_options(options, 1), "fake_manila@aer")
    assert source.meter.stages == [f"pub {number} of 2, {stage}" for number in (1, 2) for stage in stages]


def test_an_estimator_says_which_layers_it_learns_first() -> None:
    source = Counted()
    options = {"resilience": {"pec_mitigation": True, "layer_noise_learning": LEARNED}}
    pub = EstimatorPub.coerce((chain(), ["ZZZ"], [0.5], 0.2))
    estimator.execute(source, [pub], estimator_options(options, 1), "fake_manila@aer")
    assert source.meter.stages == [
        "learning layer 1 of 2",
        "learning layer 2 of 2",
        "2 randomizations",
        "readout calibration",
    ]
