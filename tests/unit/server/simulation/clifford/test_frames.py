"""Pauli frames: against exact density matrices, and what their shots depend on."""

import numpy as np
import pytest
from numpy.typing import NDArray
from qiskit.circuit import QuantumCircuit
from qiskit.quantum_info import SuperOp
from qiskit_aer.noise import (
    NoiseModel,
    QuantumError,
    amplitude_damping_error,
    coherent_unitary_error,
    depolarizing_error,
    pauli_error,
)
from scipy.stats import kstest

from kit.quantum.clifford_circuits import CliffordCase, clifford_case
from kit.quantum.clifford_search import compared
from kit.quantum.exact_noise import Errors
from kit.quantum.exact_reference import distribution
from kit.quantum.goodness_of_fit import impossible, p_value, too_often
from qiskit_runtime_server.simulation.clifford.frames import Frames
from qiskit_runtime_server.simulation.clifford.lowering import Lowering, is_exact
from qiskit_runtime_server.simulation.noise import DeviceNoise

SHOTS = 8000
RECORDED = 311215578


def bits_of(
    circuit: QuantumCircuit, values: NDArray[np.float64], model: NoiseModel | None, shots: int = SHOTS, seed: int = 7
) -> NDArray[np.bool_]:
    noise = None if model is None else DeviceNoise.from_model(model, circuit.num_qubits)
    own = None if noise is None else noise.restricted_to(range(circuit.num_qubits))
    lowering = Lowering(circuit, own)
    return Frames(lowering.program(values.tolist()), shots).sample(seed)


def counts_of(case: CliffordCase, seed: int) -> dict[int, int]:
    bits = bits_of(case.circuit, case.values, case.model, seed=seed)
    outcomes, counts = np.unique(bits @ (1 << np.arange(bits.shape[1])), return_counts=True)
    return dict(zip(outcomes.tolist(), counts.tolist(), strict=True))


def exact(case: CliffordCase) -> dict[int, float]:
    return distribution(case.bound, None if case.model is None else Errors.of_model(case.model))


@pytest.mark.slow
def test_noisy_shots_come_from_the_exact_distribution_in_200_random_circuits() -> None:
    """Of 2 to 10 qubits; `python -m kit.quantum.clifford_search` tries further ones."""
    found = [compared(seed) for seed in range(200)]
    assert not {seed: comparison for seed, comparison in enumerate(found) if comparison.wrong}
    assert {comparison.num_qubits for comparison in found} >= {2, 6, 9, 10}
    p_values = [comparison.p_value for comparison in found if comparison.p_value is not None]
    assert len(p_values) > 150
    assert kstest(p_values, "uniform").pvalue > 1e-3


@pytest.mark.parametrize("noisy", [pytest.param(True, marks=pytest.mark.slow), False])
def test_what_measured_bits_decide_comes_from_the_exact_distribution(*, noisy: bool) -> None:
    """With misread bits, and with errors of gates only where these happen."""
    rng = np.random.default_rng(17)
    found = []
    for number in range(60):
        case = clifford_case(rng, most=4, noisy=noisy, decided=0.3)
        counts, chances = counts_of(case, number), exact(case)
        assert not impossible(counts, chances), case.circuit
        assert too_often(counts, chances) > 1e-6, case.circuit
        p = p_value(counts, chances)
        found += [] if p is None else [p]
    assert len(found) > 30
    assert min(found) > 1e-6
    assert kstest(found, "uniform").pvalue > 1e-3


def test_perfect_shots_come_from_the_exact_distribution() -> None:
    rng = np.random.default_rng(5)
    for number in range(60):
        case = clifford_case(rng, noisy=False)
        counts, chances = counts_of(case, number), exact(case)
        assert not impossible(counts, chances), case.circuit
        assert (p_value(counts, chances) or 1) > 1e-6, case.circuit


def twirled(error: QuantumError) -> QuantumError:
    """Return the mean of an error over all Pauli operators before it and after it, by its definition."""
    labels = [f"{a}{b}" for a in "IXYZ" for b in "IXYZ"] if error.num_qubits == 2 else list("IXYZ")
    flips = [SuperOp(pauli_error([(label, 1)])) for label in labels]
    mean = sum((flip @ SuperOp(error) @ flip).data for flip in flips) / len(flips)
    size = 4**error.num_qubits
    basis = np.array([flip.data.reshape(-1) for flip in flips])
    chances, *_ = np.linalg.lstsq(basis.T, mean.reshape(-1), rcond=None)
    assert len(chances) == size
    return pauli_error([*zip(labels, chances.real.clip(0).tolist(), strict=True)])


@pytest.mark.parametrize("kind", ["damping", "coherent"])
def test_other_errors_are_twirled_and_said_to_be(kind: str) -> None:
    rng = np.random.default_rng(8)
    one = amplitude_damping_error(0.2) if kind == "damping" else coherent_unitary_error(_turn(0.7))
    two = one.tensor(amplitude_damping_error(0.1))
    found = []
    for number in range(30):
        case = clifford_case(rng, most=4, noisy=False)
        model, wanted = NoiseModel(), NoiseModel()
        for names, error in ((["h", "sx", "rz", "s"], one), (["cx", "ecr", "cz"], two)):
            model.add_all_qubit_quantum_error(error, names)
            wanted.add_all_qubit_quantum_error(twirled(error), names)
        own = DeviceNoise.from_model(model, case.circuit.num_qubits).restricted_to(range(case.circuit.num_qubits))
        assert not is_exact(case.circuit, own)
        counts = counts_of(CliffordCase(circuit=case.circuit, values=case.values, model=model), number)
        chances = distribution(case.bound, Errors.of_model(wanted))
        assert not impossible(counts, chances)
        found.append(p_value(counts, chances) or 1.0)
    assert min(found) > 1e-6


@pytest.mark.parametrize("damaged", ["sx", "reset", "measure", "x", "delay", "cx"])
def test_an_error_that_is_twirled_is_found_wherever_it_happens(damaged: str) -> None:
    circuit = QuantumCircuit(2, 2)
    circuit.sx(0)
    circuit.barrier()
    circuit.reset(1)
    circuit.delay(10**6, 1, "ns")
    circuit.cx(0, 1)
    circuit.measure(0, 0)
    with circuit.if_test((0, 1)):
        circuit.x(1)
    circuit.measure(1, 1)

    for error, wanted in ((depolarizing_error(0.1, 1), True), (amplitude_damping_error(0.1), False)):
        model = NoiseModel()
        model.add_all_qubit_quantum_error(depolarizing_error(0.1, 1), [*{"sx", "reset", "x"} - {damaged}])
        model.add_all_qubit_quantum_error(error.tensor(error) if damaged == "cx" else error, damaged)
        assert is_exact(circuit, DeviceNoise.from_model(model, 2).restricted_to(range(2))) is wanted


def _turn(angle: float) -> NDArray[np.complex128]:
    return np.array([[np.cos(angle / 2), -1j * np.sin(angle / 2)], [-1j * np.sin(angle / 2), np.cos(angle / 2)]])


def test_the_bits_of_a_seed_are_these() -> None:
    case = clifford_case(np.random.default_rng(4))
    bits = bits_of(case.circuit, case.values, case.model, shots=5000, seed=2**63 + 11)
    assert int(np.packbits(bits).astype(np.int64) @ np.arange(1, 1 + (bits.size + 7) // 8)) == RECORDED


def test_shots_of_a_block_do_not_depend_on_later_ones() -> None:
    case = clifford_case(np.random.default_rng(4))
    many = bits_of(case.circuit, case.values, case.model, shots=10_000)
    fewer = bits_of(case.circuit, case.values, case.model, shots=5000)
    assert (many[:5000] == fewer).all()
    assert (many[:4096] != many[4096:8192]).any()
