"""Pauli propagation is chosen where nothing exact is left, and says so."""

import math

import numpy as np
import pytest
from qiskit import QuantumCircuit
from qiskit_aer.noise import NoiseModel, ReadoutError, amplitude_damping_error, depolarizing_error

from qiskit_runtime_server.errors import CircuitTooLargeError, UnsupportedOptionError
from qiskit_runtime_server.executors.aer import AerExecutor
from qiskit_runtime_server.simulation import engine
from qiskit_runtime_server.simulation.contract import BitTensor, Offer, Parities, SampleTask
from qiskit_runtime_server.simulation.noise import DeviceNoise
from qiskit_runtime_server.simulation.plan import Noise, Plan
from qiskit_runtime_server.simulation.seeds import SeedPath
from qiskit_runtime_server.simulation.wish import Approximation, Method, Wish


class Small(AerExecutor):
    """Has room for twelve qubits, however little they are entangled."""

    def offer(self, task: SampleTask) -> Offer:
        if task.circuit.num_qubits > 12:
            message = "too large."
            raise CircuitTooLargeError(message)
        return super().offer(task)

    def offer_truncated(self, task: SampleTask, most_error: float) -> Offer:
        raise CircuitTooLargeError(f"{task.circuit.num_qubits}, {most_error}: too large.")


AER = Small(memory_bytes=2**30, threads=1)
TRUNCATED = Wish(approximation=Approximation.TRUNCATED)


def kicked(width: int, depth: int, angle: float) -> QuantumCircuit:
    """Return a kicked Ising model on a ring, all of whose qubits are measured."""
    circuit = QuantumCircuit(width, width)
    for _ in range(depth):
        circuit.rx(angle, range(width))
        for start in (0, 1):
            for qubit in range(start, width, 2):
                circuit.rzz(-math.pi / 2, qubit, (qubit + 1) % width)
    circuit.measure(range(width), range(width))
    return circuit


def noisy() -> NoiseModel:
    model = NoiseModel()
    model.add_all_qubit_quantum_error(amplitude_damping_error(0.002), ["rx"])
    model.add_all_qubit_quantum_error(depolarizing_error(0.01, 2), ["rzz"])
    model.add_all_qubit_readout_error(ReadoutError([[0.98, 0.02], [0.04, 0.96]]))
    return model


def sampled(
    circuit: QuantumCircuit, wish: Wish, parities: Parities | None, *, noise: bool = True, limit: float = math.inf
) -> tuple[BitTensor, list[Plan]]:
    plans: list[Plan] = []
    bits = engine.sample(
        AER,
        circuit,
        np.empty((1, 0)),
        20_000,
        noise=DeviceNoise.from_model(noisy(), circuit.num_qubits) if noise else None,
        seeds=SeedPath((1,)),
        wish=wish,
        parities=None if parities is None else [parities],
        report=plans.append,
        limit_seconds=limit,
    )
    return bits, plans


def mean(bits: BitTensor, places: tuple[int, ...]) -> float:
    return float((1.0 - 2.0 * (bits[0][:, list(places)].sum(axis=1) % 2)).mean())


def test_what_an_executor_can_hold_stays_with_it() -> None:
    for wish in (Wish(), TRUNCATED):
        _, plans = sampled(kicked(4, 3, 0.4), wish, [(0,)])
        assert [plan.method for plan in plans] == ["density-matrix"]
        assert not plans[0].approximates


def test_shallow_circuits_of_any_width_run_exactly_by_default() -> None:
    circuit = kicked(60, 1, 0.4)
    parities = [(0,), (5, 6)]
    bits, plans = sampled(circuit, Wish(), parities)
    assert [(plan.method, plan.noise, plan.truncation_error) for plan in plans] == [
        ("pauli-propagation", Noise.DEVICE, 0.0)
    ]
    # All that these parities depend on lies within five qubits on each side.
    near = kicked(12, 1, 0.4)
    exact, _ = sampled(near, Wish(method=Method.EXECUTOR), parities)
    for places in parities:
        assert abs(mean(bits, places) - mean(exact, places)) < 5 * math.sqrt(2 / 20_000)


def test_truncation_happens_only_when_asked_for_and_is_told() -> None:
    circuit = kicked(60, 8, 0.4)
    with pytest.raises(CircuitTooLargeError, match=r"leave none out\. It may run with simulator\.appr"):
        sampled(circuit, Wish(), [(30,)])
    _, plans = sampled(circuit, TRUNCATED, [(30,)])
    first, last = plans
    assert (first.method, first.approximates) == ("pauli-propagation", False)
    assert 0 < last.truncation_error <= 0.02
    assert last.approximates
    assert not last.bounded
    assert last.document()["truncation_error_is"] == "estimate"
    assert "truncated, which may change results by about 0.00" in str(last)


def test_an_error_that_cannot_be_reached_is_refused_with_the_one_that_can() -> None:
    wish = Wish(approximation=Approximation.TRUNCATED, max_truncation_error=1e-5)
    with pytest.raises(
        CircuitTooLargeError, match=r"has an error of 0\.\d+, and simulator\.max_truncation_error is 1e"
    ):
        sampled(kicked(60, 8, 0.4), wish, [(30,)], limit=0.05)


def test_where_nothing_can_be_said_of_a_value_fewer_gates_are_advised() -> None:
    with pytest.raises(CircuitTooLargeError, match=r"to say anything of an expectation value\. With fewer gates"):
        sampled(kicked(60, 8, 0.4), TRUNCATED, [(30,)], limit=1e-4)


def test_too_many_terms_of_one_basis_leave_the_refusal_as_it_is() -> None:
    parities = [*((qubit,) for qubit in range(10)), (0, 1)]
    with pytest.raises(CircuitTooLargeError, match=r"too large\. 10 independent terms .* Use fewer terms in a pub\."):
        sampled(kicked(60, 1, 0.4), Wish(), parities)
    with pytest.raises(CircuitTooLargeError, match=r"0\.02: too large"):
        sampled(kicked(60, 1, 0.4), TRUNCATED, parities)


def test_bits_themselves_are_never_propagated() -> None:
    for wish in (Wish(), TRUNCATED):
        with pytest.raises(CircuitTooLargeError):
            sampled(kicked(60, 2, 0.4), wish, None)
    with pytest.raises(UnsupportedOptionError, match="pauli-propagation is for expectation values"):
        sampled(kicked(4, 2, 0.4), Wish(method=Method.PROPAGATION), None)


def test_clifford_circuits_run_by_frames_unless_truncation_is_asked_for() -> None:
    circuit = kicked(60, 2, math.pi / 2)
    _, (plan,) = sampled(circuit, Wish(), [(30,)])
    assert (plan.method, plan.noise) == ("clifford-frames", Noise.TWIRLED)
    _, plans = sampled(circuit, TRUNCATED, [(30,)])
    assert {(plan.method, plan.noise) for plan in plans} == {("pauli-propagation", Noise.DEVICE)}
    _, plans = sampled(circuit, Wish(approximation=Approximation.NONE), [(30,)])
    assert {(plan.method, plan.noise, plan.truncation_error) for plan in plans} == {
        ("pauli-propagation", Noise.DEVICE, 0.0)
    }


@pytest.mark.parametrize("angle", [0.0, math.pi / 2])
def test_propagation_agrees_with_frames_at_127_qubits(angle: float) -> None:
    model = NoiseModel()
    model.add_all_qubit_quantum_error(depolarizing_error(0.01, 2), ["rzz"])
    circuit = kicked(127, 5, angle)
    parities = [(62,), (3, 4), (100, 101, 102)]

    def means(method: Method) -> list[float]:
        plans: list[Plan] = []
        bits = engine.sample(
            AER,
            circuit,
            np.empty((1, 0)),
            20_000,
            noise=DeviceNoise.from_model(model, 127),
            seeds=SeedPath((2,)),
            wish=Wish(method=method),
            parities=[parities],
            report=plans.append,
        )
        assert not any(plan.approximates for plan in plans)
        return [mean(bits, places) for places in parities]

    # Five standard errors of a difference.
    assert means(Method.CLIFFORD) == pytest.approx(means(Method.PROPAGATION), abs=5 * math.sqrt(2 / 20_000))


@pytest.mark.parametrize("approximation", [None, *Approximation])
@pytest.mark.parametrize(("width", "depth", "angle"), [(3, 4, 0.2), (30, 2, 0.3), (30, 5, 0.3), (30, 4, math.pi / 2)])
def test_nothing_is_truncated_without_saying_so_or_against_the_options(
    width: int, depth: int, angle: float, approximation: Approximation | None
) -> None:
    wish = Wish(approximation=approximation)
    try:
        _, plans = sampled(kicked(width, depth, angle), wish, [(width // 2,)], limit=2.0)
    except CircuitTooLargeError:
        assert approximation is not Approximation.TRUNCATED
        return
    for plan in plans:
        assert plan.document()["truncation_error"] == plan.truncation_error
        assert plan.approximates == (plan.truncation_error > 0 or plan.noise is Noise.TWIRLED)
        if plan.truncation_error:
            assert approximation is Approximation.TRUNCATED
            assert plan.truncation_error <= wish.max_truncation_error
