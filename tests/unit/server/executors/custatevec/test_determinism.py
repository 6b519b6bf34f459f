"""A row's bits depend on its seed and on nothing that is run beside it."""

from collections.abc import Callable

import numpy as np
import pytest
from qiskit import QuantumCircuit
from qiskit.circuit import Parameter
from qiskit_aer.noise import NoiseModel, depolarizing_error, thermal_relaxation_error
from scipy.stats import kstest

from kit.quantum.custatevec_emulated import library
from kit.quantum.dynamic_circuits import while_loop_around_some_qubits_of_a_larger_state
from qiskit_runtime_server.executors.base import SampleTask
from qiskit_runtime_server.executors.custatevec.device_states import DeviceStates
from qiskit_runtime_server.executors.custatevec.executor import CuStateVecExecutor
from qiskit_runtime_server.executors.custatevec.options import Options
from qiskit_runtime_server.simulation.statevector.numpy_states import NumPyStates
from qiskit_runtime_server.simulation.statevector.random_streams import RandomStreams

ROWS = np.linspace(0, 3, 7)[:, None]


def rotated() -> QuantumCircuit:
    angle = Parameter("angle")
    circuit = QuantumCircuit(3, 3)
    circuit.h(0)
    for one, other in ((0, 1), (1, 2)):
        circuit.cx(one, other)
        circuit.ry(angle, other)
        circuit.sx(one)
    circuit.measure([0, 1, 2], [0, 1, 2])
    return circuit


def decided() -> QuantumCircuit:
    circuit, _ = while_loop_around_some_qubits_of_a_larger_state()
    angle = Parameter("angle")
    begun = QuantumCircuit(3, 3)
    begun.ry(angle, 1)
    return begun.compose(circuit)


def noise() -> NoiseModel:
    model = NoiseModel()
    model.add_all_qubit_quantum_error(depolarizing_error(0.1, 2), "cx")
    model.add_all_qubit_quantum_error(thermal_relaxation_error(50e3, 70e3, 10e3), ["sx", "h"])
    return model


def states_with_room(states: int) -> NumPyStates:
    """Return a memory for batches of so many states of three qubits."""
    return NumPyStates(memory_bytes=states * 16 * 8)


CIRCUITS = pytest.mark.parametrize("make", [rotated, decided])
MODELS = pytest.mark.parametrize("model", [None, noise()], ids=["ideal", "noisy"])


@CIRCUITS
@MODELS
@pytest.mark.parametrize("room", [1, 2, 5, 64, 5000])
def test_the_size_of_batches_changes_no_bit(
    task: Callable[..., SampleTask], make: Callable[[], QuantumCircuit], model: NoiseModel | None, room: int
) -> None:
    whole = CuStateVecExecutor(states=NumPyStates(memory_bytes=2**28), precision="double")
    pieces = CuStateVecExecutor(states=states_with_room(room), precision="double")
    given = task(make(), values=ROWS, shots=60, noise=model)
    assert (whole.sample(given) == pieces.sample(given)).all()


@CIRCUITS
@MODELS
def test_rows_give_the_same_bits_alone_and_together(
    executor: Callable[..., CuStateVecExecutor],
    task: Callable[..., SampleTask],
    make: Callable[[], QuantumCircuit],
    model: NoiseModel | None,
) -> None:
    for batched_qubits in (20, 0):
        simulator = executor(batched_qubits=batched_qubits)
        given = task(make(), values=ROWS, shots=40, noise=model)
        together = simulator.sample(given)
        assert (simulator.sample(given) == together).all()
        for row in (0, 3, 6):
            alone = SampleTask(
                circuit=given.circuit,
                parameter_values=given.parameter_values[row : row + 1],
                shots=40,
                noise=model,
                seeds=given.seeds[row : row + 1],
            )
            assert (simulator.sample(alone) == together[row]).all()


@CIRCUITS
@MODELS
@pytest.mark.parametrize("batched_qubits", [20, 0])
def test_the_code_for_gpus_gives_the_bits_of_its_twin(
    task: Callable[..., SampleTask],
    make: Callable[[], QuantumCircuit],
    model: NoiseModel | None,
    batched_qubits: int,
) -> None:
    """On an emulated library, which draws like NumPy's states; a real one is free to draw otherwise."""
    gpu = DeviceStates(Options(precision="double"), library(single=False))
    given = task(make(), values=ROWS, shots=20, noise=model)
    one, other = (
        CuStateVecExecutor(states=states, precision="double", batched_qubits=batched_qubits).sample(given)
        for states in (gpu, NumPyStates(memory_bytes=2**28))
    )
    assert (one == other).all()


@CIRCUITS
def test_more_shots_begin_with_the_same_ones(
    executor: Callable[..., CuStateVecExecutor], task: Callable[..., SampleTask], make: Callable[[], QuantumCircuit]
) -> None:
    few, many = (executor().sample(task(make(), values=ROWS, shots=shots, noise=noise())) for shots in (30, 100))
    assert (many[:, :30] == few).all()


def test_other_seeds_give_other_bits(
    executor: Callable[..., CuStateVecExecutor], task: Callable[..., SampleTask]
) -> None:
    one, other = (executor().sample(task(rotated(), values=ROWS, shots=50, seed=seed)) for seed in (1, 2))
    assert (one != other).any()


def test_draws_are_even_and_independent() -> None:
    """Kolmogorov-Smirnov and correlation tests of a million numbers along each axis, at one false alarm in 10^6."""
    seeds = np.repeat(np.arange(100, dtype=np.uint64), 100)
    places = np.tile(np.arange(100, dtype=np.uint64), 100)
    draws = RandomStreams(seeds, places)
    table = np.stack([draws.take() for _ in range(100)])
    assert kstest(table.ravel(), "uniform").pvalue > 1e-6
    cube = table.reshape(100, 100, 100)
    for axis in range(3):
        moved = np.moveaxis(cube, axis, 0)
        correlation = np.corrcoef(moved[1:].ravel(), moved[:-1].ravel())[0, 1]
        # The standard deviation of a correlation of n pairs is 1/sqrt(n); 4.9 of them are one in 10^6.
        assert abs(correlation) < 4.9 / np.sqrt(moved[1:].size)
    assert len(np.unique(table)) == table.size
    assert table.min() >= 0
    assert table.max() < 1


def test_numbers_are_the_same_taken_one_by_one_and_together() -> None:
    seeds, places = np.array([5, 5], dtype=np.uint64), np.array([0, 1], dtype=np.uint64)
    one, other = RandomStreams(seeds, places), RandomStreams(seeds, places)
    numbers = [one.take()[1] for _ in range(6)]
    assert other.of(1).take_many(0, 6).tolist() == numbers
    assert [*other.take_many(1, 4), other.take(np.array([1]))[0]] == numbers[:5]
