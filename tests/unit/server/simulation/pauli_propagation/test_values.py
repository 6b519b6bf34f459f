"""Values by Pauli propagation are exact where nothing is left out, and else as far off as they say."""

import numpy as np
import pytest
from numpy.typing import NDArray
from qiskit import QuantumCircuit

from kit.quantum.parity_circuits import ParityCase, parity_case
from qiskit_runtime_server.simulation.noise import DeviceNoise
from qiskit_runtime_server.simulation.pauli_propagation import propagation, terms, values
from qiskit_runtime_server.simulation.pauli_propagation.lowering import Lowering
from qiskit_runtime_server.simulation.pauli_propagation.terms import Limits, Operation, Terms, TooManyTermsError
from qiskit_runtime_server.simulation.pauli_propagation.values import TruncationError, exact_values, values_within

UNLIMITED = 1e12


def lowered(case: ParityCase) -> tuple[list[Operation], int, list[list[int]]]:
    width = case.circuit.num_qubits
    model = DeviceNoise.from_model(case.model, width).restricted_to(range(width))
    lowering = Lowering.of(case.circuit, model)
    assert lowering is not None
    return lowering.operations(case.values), width, [list(parity) for parity in case.parities]


def within(case: ParityCase, error: float) -> values.Values:
    operations, width, observables = lowered(case)
    return values_within(
        operations, width, observables, wanted=range(len(observables)), error=error, most_work=UNLIMITED
    )


@pytest.mark.parametrize("seed", range(60))
def test_values_are_those_of_density_matrices(seed: int) -> None:
    case = parity_case(np.random.default_rng(seed), most=10 if seed % 6 == 0 else 7)
    operations, width, observables = lowered(case)
    found = values_within(operations, width, observables, wanted=range(6), error=1e-6, most_work=UNLIMITED)
    assert np.abs(found.means - case.expectation_values()).max() <= 1e-6


@pytest.mark.parametrize("seed", range(20))
def test_nothing_is_left_out_of_exact_values(seed: int) -> None:
    case = parity_case(np.random.default_rng(seed), most=6)
    found = exact_values(*lowered(case), UNLIMITED)
    assert np.abs(found.means - case.expectation_values()).max() < 1e-9
    assert not found.errors.any()


def test_all_cuts_together_stay_within_the_work_that_was_told(monkeypatch: pytest.MonkeyPatch) -> None:
    spent: list[float] = []

    def spend(limits: Limits, terms: int, looked_at: float) -> None:
        spent.append(looked_at)
        limits_spend(limits, terms, looked_at)

    limits_spend = Limits.spend
    monkeypatch.setattr(Limits, "spend", spend)
    # No cut of these needs as much by itself.
    most = 110_000
    with pytest.raises(TruncationError):
        values_within(chain(30, 5), 30, [[15]], wanted=[0], error=1e-6, most_work=most)
    assert len(spent) > 100
    assert sum(spent) < most + max(spent) + 1


def test_a_refusal_takes_less_than_a_minute() -> None:
    seconds, _ = propagation.limits(1, exact=False)
    assert seconds < 60


@pytest.mark.slow
def test_bounds_hold_and_estimates_are_rarely_exceeded() -> None:
    ratios: dict[bool, list[float]] = {True: [], False: []}
    for seed in range(40):
        case = parity_case(np.random.default_rng([1, seed]), most=8, depth=5)
        exact = case.expectation_values()
        for error in (0.3, 0.1, 0.03):
            found = within(case, error)
            assert found.errors.max() <= error
            off = np.abs(found.means - exact)
            ratios[found.bounded] += ((off - 1e-9) / np.maximum(found.errors, 1e-12)).tolist()
    assert max(ratios[True]) <= 1
    # An estimate is no bound: on 1 of 100 values the error may be larger, twice as large on none.
    assert np.quantile(ratios[False], 0.99) <= 1
    assert max(ratios[False]) <= 2
    assert len(ratios[True]) > 50
    assert len(ratios[False]) > 50


def test_equal_hashes_of_different_terms_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    case = parity_case(np.random.default_rng(5), most=6)
    operations, width, observables = lowered(case)

    def value() -> NDArray[np.float64]:
        found = Terms(width, observables, np.zeros(len(observables)), Limits(terms=10**6, work=UNLIMITED))
        for operation in operations:
            found.apply(operation)
        return found.values()

    expected = value()
    monkeypatch.setattr(terms, "_hashed", lambda words: np.zeros(words.shape[1], dtype=np.uint64))
    assert value() == pytest.approx(expected, abs=1e-12)


def chain(width: int, depth: int) -> list[Operation]:
    circuit = QuantumCircuit(width, 1)
    for _ in range(depth):
        for qubit in range(width):
            circuit.rx(0.9, qubit)
            circuit.rz(0.8, qubit)
        for qubit in range(width - 1):
            circuit.cz(qubit, qubit + 1)
    circuit.measure(width // 2, 0)
    lowering = Lowering.of(circuit, None)
    assert lowering is not None
    return lowering.operations(np.empty(0))


def test_what_does_not_fit_is_not_called_exact() -> None:
    operations = chain(30, 10)
    with pytest.raises(TruncationError) as found:
        exact_values(operations, 30, [[15]], UNLIMITED)
    assert found.value.reached == float("inf")


def test_what_is_not_reached_says_how_far_it_came(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(values, "MOST_TERMS", 20_000)
    with pytest.raises(TruncationError) as found:
        values_within(chain(30, 5), 30, [[15]], wanted=[0], error=1e-6, most_work=UNLIMITED)
    assert 1e-6 < found.value.reached < float("inf")


def test_limits_are_kept() -> None:
    def propagate(limits: Limits) -> None:
        found = Terms(30, [[15]], np.zeros(1), limits)
        for operation in chain(30, 10):
            found.apply(operation)

    for limits in (Limits(terms=10, work=UNLIMITED), Limits(terms=10**6, work=100.0)):
        with pytest.raises(TooManyTermsError):
            propagate(limits)


def test_wide_circuits_have_terms_of_several_words() -> None:
    circuit = QuantumCircuit(150, 2)
    circuit.rx(0.3, 149)
    circuit.cx(149, 3)
    circuit.cx(3, 70)
    circuit.measure([70, 3], [0, 1])
    lowering = Lowering.of(circuit, None)
    assert lowering is not None
    found = exact_values(lowering.operations(np.empty(0)), 150, [[70], [70, 3]], UNLIMITED)
    assert found.means == pytest.approx([np.cos(0.3), 1.0])


def test_measurements_in_the_middle_and_unknown_gates_are_not_propagated_through() -> None:
    circuit = QuantumCircuit(2, 1)
    circuit.measure(0, 0)
    circuit.h(0)
    assert Lowering.of(circuit, None) is None
    wide = QuantumCircuit(5, 1)
    wide.mcx([0, 1, 2, 3], 4)
    wide.measure(4, 0)
    assert Lowering.of(wide, None) is None
