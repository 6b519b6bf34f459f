"""Amplitudes of qsim against those of Aer in double precision, and what is read from amplitudes against NumPy."""

import numpy as np
import pytest
from numpy.typing import NDArray
from qiskit import QuantumCircuit
from qiskit.circuit.library import UnitaryGate
from qiskit.quantum_info import DensityMatrix, Statevector, partial_trace, random_statevector, random_unitary
from qiskit_aer import AerSimulator

from kit.quantum.qsim_alone import needs_qsim
from qiskit_runtime_server.executors.qsim import amplitudes
from qiskit_runtime_server.executors.qsim.amplitudes import reduced, sampled, weights
from qiskit_runtime_server.executors.qsim.library import Operation, library
from qiskit_runtime_server.simulation.statevector.gates import fixed_matrix


def brickwork(num_qubits: int, depth: int) -> QuantumCircuit:
    rng = np.random.default_rng(num_qubits)
    circuit = QuantumCircuit(num_qubits)
    for layer in range(depth):
        for qubit in range(layer % 2, num_qubits - 1, 2):
            circuit.append(UnitaryGate(random_unitary(4, rng)), [qubit, qubit + 1])
    return circuit


def mixed(num_qubits: int) -> QuantumCircuit:
    """Return gates of one to six qubits in any order."""
    rng = np.random.default_rng(num_qubits)
    circuit = QuantumCircuit(num_qubits)
    for _ in range(30):
        width = int(rng.integers(1, min(6, num_qubits) + 1))
        qubits = rng.permutation(num_qubits)[:width].tolist()
        circuit.append(UnitaryGate(random_unitary(2**width, rng)), qubits)
    return circuit


def by_qsim(circuit: QuantumCircuit, max_fused_gate_size: int = 3) -> NDArray[np.complex64]:
    operations = [
        Operation.of(fixed_matrix(part.operation), [circuit.find_bit(qubit).index for qubit in part.qubits])
        for part in circuit.data
    ]
    return library().evolved(None, operations, circuit.num_qubits, threads=2, max_fused_gate_size=max_fused_gate_size)


def exact(circuit: QuantumCircuit) -> NDArray[np.complex128]:
    saved = circuit.copy()
    saved.save_statevector()
    simulator = AerSimulator(method="statevector", precision="double")
    return np.asarray(simulator.run(saved).result().get_statevector())


def infidelity(one: NDArray[np.complex64], other: NDArray[np.complex128]) -> float:
    """Return 1 - |<one|other>|^2 of two states, made of norm 1."""
    overlap = abs(np.vdot(one.astype(np.complex128), other)) ** 2
    return float(1 - overlap / np.vdot(other, other).real / np.linalg.norm(one.astype(np.complex128)) ** 2)


@needs_qsim
@pytest.mark.parametrize(
    "num_qubits",
    [
        1,
        2,
        3,
        4,
        5,
        6,
        9,
        12,
        16,
        pytest.param(20, marks=pytest.mark.slow),
        pytest.param(24, marks=pytest.mark.thorough),
    ],
)
def test_states_are_those_of_double_precision(num_qubits: int) -> None:
    circuit = brickwork(num_qubits, 20) if num_qubits > 9 else mixed(num_qubits)
    assert infidelity(by_qsim(circuit), exact(circuit)) < 1e-6


@needs_qsim
@pytest.mark.parametrize("max_fused_gate_size", [1, 2, 4, 5, 6])
def test_fused_gates_make_the_same_state(max_fused_gate_size: int) -> None:
    circuit = mixed(8)
    assert infidelity(by_qsim(circuit, max_fused_gate_size), exact(circuit)) < 1e-6


@needs_qsim
@pytest.mark.slow
def test_the_longest_circuit_that_qsim_is_given_keeps_its_fidelity() -> None:
    circuit = brickwork(12, 2727)
    assert 14_900 < len(circuit.data) <= 15_000
    assert infidelity(by_qsim(circuit), exact(circuit)) < 1e-6


@needs_qsim
def test_a_state_that_is_given_stays_as_it_is() -> None:
    begin = random_statevector(2**5, seed=1).data.astype(np.complex64)
    kept = begin.copy()
    flip = Operation.of(np.array([[0, 1], [1, 0]], dtype=np.complex128), [2])
    after = library().evolved(begin, [flip], 5, threads=1, max_fused_gate_size=2)
    assert (begin == kept).all()
    assert (after == kept.reshape(4, 2, 4)[:, ::-1].reshape(-1)).all()


@pytest.fixture(params=[2, 3, 17], ids="blocks of 2^{} amplitudes".format)
def _small_blocks(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(amplitudes, "_BLOCK_QUBITS", request.param)


@pytest.mark.usefixtures("_small_blocks")
def test_weights_are_those_of_a_qubit() -> None:
    state = random_statevector(2**5, seed=2)
    for qubit in range(5):
        found = weights(2 * state.data.astype(np.complex64), qubit)
        assert found == pytest.approx(4 * state.probabilities([qubit]), abs=1e-5)


@pytest.fixture(params=[(1, 1), (2, 3), (9, 1024)], ids="rows of 2^{0[0]} amplitudes, {0[1]} at a time".format)
def _small_rows(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    width, number = request.param
    monkeypatch.setattr(amplitudes, "_ROW_QUBITS", width)
    monkeypatch.setattr(amplitudes, "_MOST_ROWS", number)


@pytest.mark.usefixtures("_small_rows")
def test_samples_are_the_first_whose_cumulative_weight_exceeds_the_draw() -> None:
    state = random_statevector(2**5, seed=3).data.astype(np.complex64)
    state[[0, 1, 2, 3, 12, 30, 31]] = 0
    draws = np.concatenate([[0.0, 1 - 2.0**-53], np.random.default_rng(1).random(500)])
    cumulative = np.cumsum(np.abs(state.astype(np.complex128)) ** 2)
    found = sampled(state, draws)
    assert (found == np.searchsorted(cumulative, draws * cumulative[-1], side="right")).sum() >= 501
    assert set(found.tolist()).isdisjoint({0, 1, 2, 3, 12, 30, 31})
    assert (found[0], found[1]) == (4, 29)


@pytest.mark.parametrize("qubits", [(0,), (3,), (4,), (1, 3), (3, 1), (4, 0, 2), (0, 1, 2, 3, 4)])
def test_reduced_density_matrices_are_partial_traces(qubits: tuple[int, ...]) -> None:
    state: Statevector = random_statevector(2**5, seed=4)
    others = [qubit for qubit in range(5) if qubit not in qubits]
    kept: DensityMatrix = partial_trace(state, others)
    # What is left is in ascending order.
    wanted = kept.reverse_qargs() if qubits == (3, 1) else kept
    found = reduced(state.data.astype(np.complex64), qubits)
    if qubits == (4, 0, 2):
        order = [sorted(qubits).index(qubit) for qubit in qubits]
        tensor = kept.data.reshape((2,) * 6)
        axes = [2 - place for place in reversed(order)]
        wanted = DensityMatrix(tensor.transpose(*axes, *(3 + axis for axis in axes)).reshape(8, 8))
    assert found == pytest.approx(wanted.data, abs=1e-6)
