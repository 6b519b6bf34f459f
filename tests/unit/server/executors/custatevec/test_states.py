"""What a port promises, of every implementation; the same tests for NumPy and for GPUs."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import pytest
from numpy.typing import NDArray
from qiskit.quantum_info import Operator, Pauli, Statevector, random_statevector, random_unitary
from scipy.stats import chisquare

from qiskit_runtime_server.errors import OutOfMemoryError
from qiskit_runtime_server.simulation.statevector.state_port import Batch, State, States

StatesOf = Callable[[str], States]

FALSE_ALARM = 1e-6
BOUNDS = {"single": 1e-5, "double": 1e-12}
PRECISIONS = pytest.mark.parametrize("precision", list(BOUNDS))


def distance(got: NDArray[np.complex128], wanted: NDArray[np.complex128]) -> float:
    return float(np.linalg.norm(got - wanted) / np.linalg.norm(wanted))


def prepared(states: States, state: State, vector: NDArray[np.complex128]) -> None:
    """Bring |0...0> to `vector`, by a unitary whose first column it is."""
    basis, _ = np.linalg.qr(np.column_stack([vector, np.eye(len(vector))[:, 1:]]))
    basis[:, 0] = vector
    with states.queue() as queue:
        queue.matrix(basis, range(len(vector).bit_length() - 1))
        queue.apply(state, np.empty(0))


@contextmanager
def loaded(states: States, vectors: NDArray[np.complex128]) -> Iterator[Batch]:
    """Yield a batch of these states."""
    width = vectors.shape[1].bit_length() - 1
    with states.batch(width, len(vectors)) as batch:
        batch.branch(np.zeros(len(vectors) - 1, dtype=np.int64))
        bases = []
        for vector in vectors:
            basis, _ = np.linalg.qr(np.column_stack([vector, np.eye(len(vector))[:, 1:]]))
            basis[:, 0] = vector
            bases.append(basis)
        batch.apply(np.array(bases), np.arange(len(vectors)), range(width))
        yield batch


@PRECISIONS
@pytest.mark.parametrize("qubits", [(0,), (3,), (1, 3), (3, 0), (2, 0, 3)])
def test_a_queued_matrix_acts_on_its_qubits(
    states_of: StatesOf, rng: np.random.Generator, precision: str, qubits: tuple[int, ...]
) -> None:
    states = states_of(precision)
    vector, matrix = random_statevector(16, rng).data, random_unitary(2 ** len(qubits), rng).data
    with states.state(4) as state, states.queue() as queue:
        prepared(states, state, vector)
        queue.matrix(matrix, qubits)
        queue.apply(state, np.empty(0))
        wanted = Statevector(vector).evolve(Operator(matrix), list(qubits)).data
        assert distance(state.amplitudes(), wanted) < BOUNDS[precision]


def test_a_queue_can_be_applied_again(states_of: StatesOf) -> None:
    states = states_of("double")
    rotation = np.array([[0.6, -0.8], [0.8, 0.6]], dtype=np.complex128)
    with states.state(1) as state, states.queue() as queue:
        queue.matrix(rotation, (0,))
        for power in (1, 2, 3):
            queue.apply(state, np.empty(0))
            wanted = np.linalg.matrix_power(rotation, power)[:, 0]
            assert distance(state.amplitudes(), wanted) < BOUNDS["double"]
        state.clear()
        assert state.amplitudes().tolist() == [1, 0]


def test_a_mixture_applies_its_unitaries_as_often_as_it_says(states_of: StatesOf, rng: np.random.Generator) -> None:
    states = states_of("single")
    flip, both = np.array([[0, 1], [1, 0]]), np.array([[0, 0, 0, 1], [0, 0, 1, 0], [0, 1, 0, 0], [1, 0, 0, 0]])
    unitaries = np.array([np.kron(np.eye(2), flip), both], dtype=np.complex128)
    outcomes = []
    with states.state(2) as state, states.queue() as queue:
        queue.mixture(np.array([0.2, 0.3]), unitaries, (0, 1))
        for _ in range(2000):
            state.clear()
            queue.apply(state, rng.random(queue.num_draws()))
            outcomes.append(int(np.abs(state.amplitudes()).argmax()))
    counts = np.bincount(outcomes, minlength=4)
    assert counts[2] == 0
    assert chisquare(counts[[0, 1, 3]], [1000, 400, 600]).pvalue > FALSE_ALARM


def test_probabilities_that_round_to_more_than_one_are_taken(states_of: StatesOf) -> None:
    tenths = np.full(10, 0.1)
    tenths[0] = np.nextafter(0.1, 1)
    assert np.cumsum(tenths)[-1] >= 1 - 1e-15
    flip = np.array([[0, 1], [1, 0]], dtype=np.complex128)
    states = states_of("double")
    with states.state(1) as state, states.queue() as queue:
        queue.mixture(tenths * (1 + 1e-15), np.array([flip] * 10), (0,))
        queue.apply(state, np.array([0.999999]))
        assert abs(state.amplitudes()[1]) == pytest.approx(1)


def test_a_general_channel_draws_by_the_norms_of_the_state(states_of: StatesOf, rng: np.random.Generator) -> None:
    states = states_of("double")
    damping = 0.4
    operators = np.array([[[1, 0], [0, (1 - damping) ** 0.5]], [[0, damping**0.5], [0, 0]]], dtype=np.complex128)
    hadamard = np.array([[1, 1], [1, -1]]) * 0.5**0.5
    decayed = 0
    with states.state(1) as state, states.queue() as queue:
        queue.matrix(hadamard.astype(np.complex128), (0,))
        queue.channel(operators, (0,))
        for _ in range(2000):
            state.clear()
            queue.apply(state, rng.random(queue.num_draws()))
            amplitudes = state.amplitudes()
            assert np.linalg.norm(amplitudes) == pytest.approx(1)
            decayed += abs(amplitudes[1]) < 1e-9
    assert chisquare([decayed, 2000 - decayed], [400, 1600]).pvalue > FALSE_ALARM


def test_a_checkpoint_can_be_returned_to_again_and_again(states_of: StatesOf, rng: np.random.Generator) -> None:
    states = states_of("double")
    vector = random_statevector(8, rng).data
    with states.state(3) as state, states.queue() as queue:
        prepared(states, state, vector)
        assert state.checkpoint()
        queue.matrix(random_unitary(4, rng).data, (2, 0))
        for _ in range(2):
            queue.apply(state, np.empty(0))
            state.restore()
            assert distance(state.amplitudes(), vector) < BOUNDS["double"]


@pytest.mark.parametrize("reset", [False, True])
def test_a_measured_state_collapses(states_of: StatesOf, rng: np.random.Generator, reset: bool) -> None:  # noqa: FBT001 - a parameter of pytest's
    states = states_of("double")
    vector = random_statevector(8, rng).data
    chance = float((abs(vector.reshape(2, 2, 2)) ** 2).sum(axis=(0, 2))[0])
    for draw, outcome in ((chance - 1e-6, 0), (chance + 1e-6, 1)):
        with states.state(3) as state:
            prepared(states, state, vector)
            assert state.measure(1, draw, reset=reset) == outcome
            wanted = np.zeros((2, 2, 2), dtype=np.complex128)
            wanted[:, 0 if reset else outcome] = vector.reshape(2, 2, 2)[:, outcome]
            wanted /= np.linalg.norm(wanted)
            assert distance(state.amplitudes(), wanted.ravel()) < BOUNDS["double"]


@PRECISIONS
def test_samples_follow_the_state(states_of: StatesOf, rng: np.random.Generator, precision: str) -> None:
    states = states_of(precision)
    vector = random_statevector(16, rng).data
    qubits = (2, 0, 3)
    with states.state(4) as state:
        prepared(states, state, vector)
        outcomes = state.sample(qubits, rng.random(20_000))
        assert distance(state.amplitudes(), vector) < BOUNDS[precision]
    assert chisquare(np.bincount(outcomes, minlength=8), 20_000 * weights(vector, qubits)).pvalue > FALSE_ALARM


def test_pauli_expectations_are_those_of_the_state(states_of: StatesOf, rng: np.random.Generator) -> None:
    states = states_of("double")
    vector = random_statevector(16, rng).data
    with states.state(4) as state:
        prepared(states, state, vector)
        got = state.expectations([("XY", (3, 1)), ("Z", (0,)), ("", ()), ("YZX", (0, 1, 2))])
    wanted = [Statevector(vector).expectation_value(Pauli(label)).real for label in ("XIYI", "IIIZ", "IIII", "IXZY")]
    assert got == pytest.approx(wanted, abs=1e-12)


def weights(vector: NDArray[np.complex128], qubits: tuple[int, ...]) -> NDArray[np.float64]:
    return np.asarray(Statevector(vector).probabilities(list(qubits)))


def random_states(count: int, width: int, rng: np.random.Generator) -> NDArray[np.complex128]:
    return np.array([random_statevector(2**width, rng).data for _ in range(count)])


@PRECISIONS
@pytest.mark.parametrize("qubits", [(0,), (1, 3), (3, 0), (2, 0, 3)])
def test_states_of_a_batch_get_matrices_of_their_own(
    states_of: StatesOf, rng: np.random.Generator, precision: str, qubits: tuple[int, ...]
) -> None:
    vectors = random_states(5, 4, rng)
    matrices = np.array([random_unitary(2 ** len(qubits), rng).data for _ in range(3)])
    index = np.array([2, 0, 0, 1, 2])
    with loaded(states_of(precision), vectors) as batch:
        batch.apply(matrices, index, qubits)
        wanted = [
            Statevector(v).evolve(Operator(matrices[i]), list(qubits)).data for v, i in zip(vectors, index, strict=True)
        ]
        assert distance(batch.amplitudes(), np.array(wanted)) < BOUNDS[precision]
        batch.apply(matrices[1:2], None, qubits)
        wanted = [Statevector(vector).evolve(Operator(matrices[1]), list(qubits)).data for vector in wanted]
        assert distance(batch.amplitudes(), np.array(wanted)) < BOUNDS[precision]


def test_a_batch_grows_by_copies(states_of: StatesOf, rng: np.random.Generator) -> None:
    vectors = random_states(2, 3, rng)
    with states_of("double").batch(3, 5) as batch:
        batch.branch(np.array([0]))
        bases = [random_unitary(8, rng).data for _ in vectors]
        batch.apply(np.array(bases), np.array([0, 1]), (0, 1, 2))
        batch.branch(np.array([1, 0, 1]))
        assert batch.size == 5
        wanted = np.array([bases[i][:, 0] for i in (0, 1, 1, 0, 1)])
        assert distance(batch.amplitudes(), wanted) < BOUNDS["double"]


@PRECISIONS
@pytest.mark.parametrize("qubits", [(1,), (3, 0), (0, 1, 2, 3)])
def test_a_batch_tells_the_weights_of_outcomes(
    states_of: StatesOf, rng: np.random.Generator, precision: str, qubits: tuple[int, ...]
) -> None:
    vectors = random_states(4, 4, rng)
    with loaded(states_of(precision), vectors) as batch:
        wanted = [weights(vector, qubits) for vector in vectors]
        assert batch.probabilities(qubits) == pytest.approx(np.array(wanted), abs=BOUNDS[precision])


@PRECISIONS
def test_a_batch_tells_expectations_of_some_states(
    states_of: StatesOf, rng: np.random.Generator, precision: str
) -> None:
    vectors = random_states(5, 3, rng)
    operators = np.array([random_unitary(4, rng).data for _ in range(3)])
    operators = operators + operators.conj().transpose(0, 2, 1)
    with loaded(states_of(precision), vectors) as batch:
        got = batch.expectations(operators, (2, 0), range(1, 4))
    wanted = [
        [Statevector(vector).expectation_value(Operator(operator), [2, 0]).real for operator in operators]
        for vector in vectors[1:4]
    ]
    assert got == pytest.approx(np.array(wanted), abs=10 * BOUNDS[precision])


@PRECISIONS
def test_samples_of_a_batch_follow_their_states(states_of: StatesOf, rng: np.random.Generator, precision: str) -> None:
    vectors = random_states(3, 4, rng)
    with loaded(states_of(precision), vectors) as batch:
        lanes = np.repeat([2, 0, 1], 10_000)
        outcomes = batch.sample((3, 1), lanes, rng.random(len(lanes)))
    for lane, vector in enumerate(vectors):
        counts = np.bincount(outcomes[lanes == lane], minlength=4)
        assert chisquare(counts, 10_000 * weights(vector, (3, 1))).pvalue > FALSE_ALARM


def test_an_outcome_without_weight_is_never_drawn(states_of: StatesOf) -> None:
    flip = np.array([[0, 1], [1, 0]], dtype=np.complex128)
    for draw in (0.0, 0.5, float(np.nextafter(1, 0))):
        with states_of("double").batch(2, 1) as batch:
            assert batch.sample((0, 1), np.zeros(1, dtype=np.int64), np.array([draw])).tolist() == [0]
            batch.apply(flip[None], None, (1,))
            assert batch.sample((0, 1), np.zeros(1, dtype=np.int64), np.array([draw])).tolist() == [2]


def test_states_that_do_not_fit_say_their_size(states_of: StatesOf) -> None:
    states = states_of("single")
    with pytest.raises(OutOfMemoryError, match="1 state of 40 qubits: 8 TiB needed"), states.state(40):
        pass
    with pytest.raises(OutOfMemoryError, match="1048576 states of 26 qubits: 512 TiB needed"), states.batch(26, 2**20):
        pass
    # What failed has left nothing behind.
    with states.state(4) as state:
        assert abs(state.amplitudes()[0]) == 1
