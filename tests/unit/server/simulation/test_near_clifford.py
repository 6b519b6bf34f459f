"""Near-Clifford circuits: against exact density matrices and other methods; clifft needs Python 3.12."""

import math
from dataclasses import replace
from importlib.util import find_spec

import numpy as np
import pytest
from numpy.typing import NDArray
from qiskit import QuantumCircuit
from qiskit.circuit import Parameter
from qiskit.circuit.library import CUGate, UGate, UnitaryGate
from qiskit.quantum_info import random_unitary
from qiskit_aer.noise import NoiseModel, amplitude_damping_error, depolarizing_error
from scipy.stats import kstest

from kit.quantum.clifford_circuits import CliffordCase, clifford_case
from kit.quantum.exact_noise import Errors
from kit.quantum.exact_reference import distribution
from kit.quantum.goodness_of_fit import impossible, p_value, too_often
from qiskit_runtime_server.errors import CircuitTooLargeError, CircuitTooLongError, UnsupportedOptionError
from qiskit_runtime_server.executors.aer import AerExecutor
from qiskit_runtime_server.simulation import engine
from qiskit_runtime_server.simulation.near_clifford.lowering import Lowering
from qiskit_runtime_server.simulation.noise import DeviceNoise
from qiskit_runtime_server.simulation.plan import Noise, Plan
from qiskit_runtime_server.simulation.seeds import SeedPath
from qiskit_runtime_server.simulation.wish import Approximation, Method, Wish

with_clifft = pytest.mark.skipif(find_spec("clifft") is None, reason="clifft is not installed: it needs Python 3.12")
without_clifft = pytest.mark.skipif(find_spec("clifft") is not None, reason="clifft is installed")

AER = AerExecutor(memory_bytes=2**30, threads=1)
SHOTS = 8000


def sampled(
    circuit: QuantumCircuit,
    model: NoiseModel | None,
    wish: Wish,
    values: NDArray[np.float64] | None = None,
    *,
    shots: int = SHOTS,
    seed: int = 7,
    limit: float = math.inf,
) -> tuple[NDArray[np.bool_], list[Plan]]:
    plans: list[Plan] = []
    bits = engine.sample(
        AER,
        circuit,
        np.empty((1, 0)) if values is None else values,
        shots,
        noise=None if model is None else DeviceNoise.from_model(model, circuit.num_qubits),
        seeds=SeedPath((seed,)),
        wish=wish,
        report=plans.append,
        limit_seconds=limit,
    )
    return bits, plans


NEAR = Wish(method=Method.NEAR_CLIFFORD)


def layered(num_qubits: int, depth: int, turns: int, angle: float | Parameter = 0.3) -> QuantumCircuit:
    """Return layers of Clifford gates, among which are so many rotations by an angle."""
    rng = np.random.default_rng(num_qubits)
    circuit = QuantumCircuit(num_qubits, num_qubits)
    turned = set(rng.choice(num_qubits * depth, turns, replace=False).tolist())
    for layer in range(depth):
        for qubit in range(num_qubits):
            circuit.sx(qubit)
            circuit.rz(math.pi / 2 * int(rng.integers(4)), qubit)
            if layer * num_qubits + qubit in turned:
                circuit.rx(angle, qubit)
        for qubit in range(layer % 2, num_qubits - 1, 2):
            circuit.ecr(qubit, qubit + 1)
    circuit.measure(range(num_qubits), range(num_qubits))
    return circuit


def depolarized() -> NoiseModel:
    model = NoiseModel()
    model.add_all_qubit_quantum_error(depolarizing_error(0.01, 2), ["ecr"])
    return model


def damped() -> NoiseModel:
    model = NoiseModel()
    model.add_all_qubit_quantum_error(amplitude_damping_error(0.01), ["sx"])
    return model


def agreeing(bits: NDArray[np.bool_], circuit: QuantumCircuit, model: NoiseModel | None) -> float | None:
    """Return how likely bits are to be as far from the exact distribution as they are."""
    numbers, found = np.unique(bits @ (1 << np.arange(bits.shape[1])), return_counts=True)
    counts = dict(zip(numbers.tolist(), found.tolist(), strict=True))
    chances = distribution(circuit, None if model is None else Errors.of_model(model))
    assert not impossible(counts, chances), circuit
    assert too_often(counts, chances) > 1e-6, circuit
    return p_value(counts, chances)


def turned_case(rng: np.random.Generator, most: int) -> CliffordCase:
    """Return a Clifford circuit some of whose angles are changed to what is no Clifford gate."""
    case = clifford_case(rng, least=2, most=most)
    return replace(case, values=case.values + rng.uniform(-1, 1, len(case.values)))


@with_clifft
@pytest.mark.slow
def test_noisy_shots_come_from_the_exact_distribution_in_random_circuits() -> None:
    """With resets, measurements anywhere, and misread bits."""
    rng = np.random.default_rng(3)
    p_values: list[float] = []
    sizes: set[int] = set()
    for number in range(60):
        case = turned_case(rng, 10 if number < 4 else 4)
        bits, plans = sampled(case.circuit, case.model, NEAR, case.values[None], seed=number)
        assert {(plan.method, plan.approximates) for plan in plans} <= {("near-clifford", False), ("product", False)}
        sizes.add(case.circuit.num_qubits)
        p = agreeing(bits[0], case.bound, case.model)
        p_values += [] if p is None else [p]
    assert max(sizes) >= 8
    assert len(p_values) > 40
    assert min(p_values) > 1e-6
    assert kstest(p_values, "uniform").pvalue > 1e-3


@with_clifft
def test_gates_of_all_kinds_are_written_rightly() -> None:
    rng = np.random.default_rng(8)
    for number in range(40):
        circuit = QuantumCircuit(3, 3)
        for _ in range(6):
            one, other = rng.choice(3, 2, replace=False).tolist()
            angles = rng.uniform(-4, 4, 4).tolist()
            for gate, qubits in (
                (UGate(*angles[:3]), [one]),
                (UnitaryGate(random_unitary(2, seed=int(rng.integers(2**32)))), [one]),
                (UnitaryGate(random_unitary(4, seed=int(rng.integers(2**32)))), [one, other]),
                (CUGate(*angles), [other, one]),
            ):
                if rng.random() < 0.3:
                    circuit.append(gate, qubits)
            for name in ("rx", "ry", "rz", "p"):
                getattr(circuit, name)(angles[0], one)
            for name in ("rxx", "ryy", "rzz", "rzx", "cp"):
                if rng.random() < 0.3:
                    getattr(circuit, name)(angles[1], one, other)
            circuit.t(one)
            circuit.tdg(other)
            circuit.cx(one, other)
        circuit.measure(range(3), range(3))
        bits, _ = sampled(circuit, None, NEAR, seed=number)
        assert (agreeing(bits[0], circuit, None) or 1) > 1e-5


@with_clifft
def test_wide_circuits_agree_with_frames_and_with_the_executor() -> None:
    def means(circuit: QuantumCircuit, wish: Wish) -> NDArray[np.float64]:
        bits, plans = sampled(circuit, depolarized(), wish, shots=4000)
        assert not any(plan.approximates for plan in plans)
        parities = bits[0] ^ np.roll(bits[0], 1, axis=1)
        return np.concatenate([bits[0].mean(axis=0), parities.mean(axis=0)])

    for circuit, wish in (
        (layered(50, 6, 10, math.pi / 2), Wish(method=Method.CLIFFORD)),
        (layered(14, 3, 8), Wish(method=Method.EXECUTOR)),
    ):
        # Five standard errors of a difference.
        assert np.abs(means(circuit, NEAR) - means(circuit, wish)).max() < 5 * math.sqrt(0.5 / 4000)


@with_clifft
def test_a_seeds_bits_do_not_depend_on_other_rows_or_threads() -> None:
    circuit = layered(20, 6, 8, Parameter("a"))
    values = np.array([[0.1], [0.2], [0.3]])
    together, _ = sampled(circuit, depolarized(), NEAR, values, shots=500)
    again, _ = sampled(circuit, depolarized(), NEAR, values[:1], shots=500)
    assert (together[0] == again[0]).all()
    assert (together[0] != together[1]).any()


@with_clifft
@pytest.mark.parametrize(
    ("model", "approximation", "noise"),
    [(None, None, Noise.NONE), (depolarized(), Approximation.NONE, Noise.DEVICE), (damped(), None, Noise.TWIRLED)],
)
def test_it_is_chosen_for_what_the_executor_cannot_hold(
    model: NoiseModel | None, approximation: Approximation | None, noise: Noise
) -> None:
    bits, (plan,) = sampled(layered(60, 20, 12), model, Wish(approximation=approximation), shots=1000)
    assert (plan.method, plan.noise, plan.approximates) == ("near-clifford", noise, noise is Noise.TWIRLED)
    assert bits.shape == (1, 1000, 60)
    assert plan.seconds > 0
    assert plan.memory_bytes >= 32


@with_clifft
def test_expectation_values_that_take_too_many_operators_are_found_from_shots() -> None:
    plans: list[Plan] = []
    circuit, parity = layered(60, 20, 12), tuple(range(0, 60, 2))
    engine.sample(
        AER,
        circuit,
        np.empty((1, 0)),
        10,
        noise=None,
        seeds=SeedPath((1,)),
        parities=[[parity]],
        report=plans.append,
        # Of operators, some thousand may be looked at in this time.
        limit_seconds=5e-4,
    )
    assert [plan.method for plan in plans] == ["pauli-propagation", "near-clifford"]


@with_clifft
def test_no_rows_take_no_plan() -> None:
    bits, plans = sampled(layered(4, 2, 2, Parameter("a")), None, NEAR, np.empty((0, 1)))
    assert (bits.shape, plans) == ((0, SHOTS, 4), [])


@with_clifft
def test_what_an_executor_can_hold_stays_with_it() -> None:
    _, (plan,) = sampled(layered(10, 4, 5), depolarized(), Wish(), shots=10)
    assert plan.method == "density-matrix"


@with_clifft
def test_refusals_say_what_would_run() -> None:
    with pytest.raises(
        CircuitTooLargeError, match=r"All of its gates but 12 .*simulator\.approximation: twirled-noise"
    ):
        sampled(layered(60, 20, 12), damped(), Wish(approximation=Approximation.NONE))
    with pytest.raises(CircuitTooLargeError, match=r"near-Clifford circuit its state takes .* fewer gates"):
        sampled(layered(60, 30, 80), None, Wish())
    with pytest.raises(CircuitTooLongError, match=r"near-Clifford circuit its simulation .* \d+ shots would run"):
        sampled(layered(60, 20, 20), depolarized(), NEAR, limit=1e-4)
    decided = layered(4, 2, 2)
    with decided.if_test((0, 1)):
        decided.h(1)
    decided.measure(1, 1)
    with pytest.raises(CircuitTooLargeError, match="cannot run as a near-Clifford circuit"):
        sampled(decided, None, NEAR)


@without_clifft
def test_without_clifft_the_method_is_refused_and_advised() -> None:
    with pytest.raises(UnsupportedOptionError, match=r"near-clifford needs an executor on Python 3\.12"):
        sampled(layered(4, 2, 2), None, NEAR)
    with pytest.raises(CircuitTooLargeError, match=r"All of its gates but 12 .* extra near-clifford would run it\."):
        sampled(layered(60, 20, 12), None, Wish())
    with pytest.raises(CircuitTooLargeError) as refused:
        sampled(layered(60, 20, 100), None, Wish())
    assert "near-clifford" not in str(refused.value)


def test_errors_and_measurements_are_written_in_the_order_of_the_circuit() -> None:
    circuit = QuantumCircuit(2, 2)
    circuit.rz(0.3, 0)
    circuit.ecr(0, 1)
    circuit.measure(1, 0)
    lowering = Lowering.of(circuit, DeviceNoise.from_model(depolarized(), 2).restricted_to(range(2)))
    assert lowering is not None
    lines = lowering.text([]).splitlines()
    assert lines[0] == f"R_Z({0.3 / math.pi:.17g}) 0"
    assert lines[-2].startswith("PAULI_CHANNEL_2(0.0006")
    assert lines[-1] == "M 1"
