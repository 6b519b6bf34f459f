"""Seeds, batches, single qubits, and what an executor gets to see."""

import pickle
from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray
from qiskit import QuantumCircuit
from qiskit.circuit import Parameter

from qiskit_runtime_server.backends.catalog import Catalog
from qiskit_runtime_server.errors import CircuitTooLargeError, InvalidInputError
from qiskit_runtime_server.executors.aer import AerExecutor
from qiskit_runtime_server.executors.base import BaseExecutor, BitTensor, SampleTask
from qiskit_runtime_server.messages.messages import Capabilities
from qiskit_runtime_server.programs.device.device import Device
from qiskit_runtime_server.simulation import engine
from qiskit_runtime_server.simulation.seeds import SeedPath

DeviceOf = Callable[[str], Device]


class Recorder(BaseExecutor):
    """Answers with zeros and remembers its tasks."""

    def __init__(self) -> None:
        self.tasks: list[SampleTask] = []

    def capabilities(self) -> Capabilities:
        return Capabilities(num_qubits=10)

    def sample(self, task: SampleTask) -> BitTensor:
        self.tasks.append(task)
        return np.zeros((len(task.seeds), task.shots, task.circuit.num_clbits), dtype=np.bool_)


def sample(
    circuit: QuantumCircuit,
    values: NDArray[np.float64] | None = None,
    *,
    shots: int = 100,
    seed: int = 1,
    executor: BaseExecutor | None = None,
    device: Device | None = None,
) -> BitTensor:
    return engine.sample(
        executor or AerExecutor(threads=1),
        circuit,
        np.empty((1, 0)) if values is None else values,
        shots,
        noise=None if device is None else device.noise,
        seeds=SeedPath((seed,)),
    )


def mixed() -> tuple[QuantumCircuit, NDArray[np.float64]]:
    """Return a circuit with a pair, a qubit that is used again, and single ones; and values for ten rows."""
    a, b = Parameter("a"), Parameter("b")
    circuit = QuantumCircuit(5, 6)
    circuit.sx(0)
    circuit.rz(a, 0)
    circuit.sx(0)
    circuit.cx(0, 1)
    circuit.sx(2)
    circuit.measure(2, 2)
    circuit.rz(a + b, 2)
    circuit.sx(2)
    circuit.measure(2, 5)
    circuit.rz(b, 3)
    circuit.sx(3)
    circuit.measure([0, 1, 3, 4], [0, 1, 3, 4])
    return circuit, np.random.default_rng(3).uniform(0, 6, (10, 2))


def test_the_same_seed_gives_the_same_bits_and_another_does_not(device: DeviceOf) -> None:
    circuit, values = mixed()
    manila = device("fake_manila")
    one = sample(circuit, values, device=manila)
    np.testing.assert_array_equal(one, sample(circuit, values, device=manila))
    other = sample(circuit, values, device=manila, seed=2)
    assert all((one[..., bit] != other[..., bit]).any() for bit in range(6))


def test_a_row_does_not_depend_on_the_rows_beside_it(device: DeviceOf) -> None:
    circuit, values = mixed()
    manila = device("fake_manila")
    together = sample(circuit, values, device=manila)
    np.testing.assert_array_equal(together[:4], sample(circuit, values[:4], device=manila))
    changed = np.vstack([values[:4], values[:6]])
    np.testing.assert_array_equal(together[:4], sample(circuit, changed, device=manila)[:4])


@pytest.mark.parametrize("shots", [3, 500], ids=["shots taken by Aer", "shots drawn"])
def test_an_executor_gives_a_row_by_itself_the_same_bits(device: DeviceOf, shots: int) -> None:
    circuit, values = mixed()
    recorder = Recorder()
    sample(circuit, values, executor=recorder, device=device("fake_manila"), shots=shots)
    for task in recorder.tasks:
        together = AerExecutor(threads=1).sample(task)
        for row in range(len(values)):
            alone = SampleTask(
                circuit=task.circuit,
                parameter_values=task.parameter_values[row : row + 1],
                shots=task.shots,
                noise=task.noise,
                seeds=task.seeds[row : row + 1],
            )
            np.testing.assert_array_equal(AerExecutor(threads=2).sample(alone)[0], together[row])


def test_rows_with_equal_values_have_shots_of_their_own(device: DeviceOf) -> None:
    circuit, values = mixed()
    bits = sample(circuit, np.repeat(values[:1], 2, axis=0), device=device("fake_manila"))
    assert all((bits[0, :, bit] != bits[1, :, bit]).any() for bit in range(6))


def test_parts_are_independent_of_each_other() -> None:
    circuit = QuantumCircuit(7, 7)
    circuit.h([0, 2, 4, 5, 6])
    circuit.cx([0, 2], [1, 3])
    circuit.measure(range(7), range(7))
    bits = sample(circuit, shots=20_000)[0]
    np.testing.assert_array_equal(bits[:, 0], bits[:, 1])
    correlations = np.corrcoef(bits[:, [0, 2, 4, 5, 6]].T) - np.eye(5)
    # Five standard deviations; ten pairs: a false alarm for 6e-6 of all seeds.
    assert np.abs(correlations).max() < 5 / np.sqrt(20_000)


def test_order_of_shots_is_random_for_each_part() -> None:
    circuit = QuantumCircuit(4, 6)
    for qubit in (0, 2):
        circuit.h(qubit)
        circuit.measure(qubit, qubit)
        circuit.h(qubit)
        circuit.cx(qubit, qubit + 1)
        circuit.measure([qubit, qubit + 1], [4 + qubit // 2, qubit + 1])
    bits = sample(circuit, shots=20_000)[0]
    assert np.abs(np.corrcoef(bits[:, 0], bits[:, 2])[0, 1]) < 5 / np.sqrt(20_000)
    assert np.abs(np.corrcoef(bits[:-1, 0], bits[1:, 0])[0, 1]) < 5 / np.sqrt(20_000)


def test_bits_that_nothing_is_measured_into_are_false() -> None:
    circuit = QuantumCircuit(3, 70)
    circuit.x([0, 1])
    circuit.cx(0, 2)
    circuit.measure([0, 2, 1], [69, 1, 40])
    bits = sample(circuit, shots=5)[0]
    assert set(np.flatnonzero(bits.all(axis=0))) == {1, 40, 69}
    assert set(np.flatnonzero(bits.any(axis=0))) == {1, 40, 69}


def test_a_circuit_without_measurements_gives_false() -> None:
    circuit = QuantumCircuit(2, 3)
    circuit.cx(0, 1)
    assert not sample(circuit, shots=5).any()
    assert sample(QuantumCircuit(2), shots=5).shape == (1, 5, 0)


def test_no_rows_give_no_bits() -> None:
    circuit, _ = mixed()
    assert sample(circuit, np.empty((0, 2)), shots=5).shape == (0, 5, 6)


def test_an_executor_sees_small_circuits_with_bare_angles(device: DeviceOf) -> None:
    sherbrooke = device("fake_sherbrooke")
    circuit = QuantumCircuit(127, 127)
    a = Parameter("a")
    circuit.sx(1)
    circuit.rz(a / 2 + 1, 1)
    circuit.ecr(1, 0)
    circuit.ecr(93, 87)
    circuit.measure(range(127), range(127))
    recorder = Recorder()
    bits = sample(circuit, np.array([[0.5], [1.5]]), executor=recorder, device=sherbrooke)
    assert [task.circuit.num_qubits for task in recorder.tasks] == [2, 2]
    first = recorder.tasks[0]
    np.testing.assert_allclose(first.parameter_values, [[1.25], [1.75]])
    assert first.noise is not None
    assert set(first.noise.noise_instructions) == {"sx", "ecr", "measure"}
    assert set(first.noise.noise_qubits) == {0, 1}
    # The other qubits are idle: only reading them goes wrong, and needs no executor.
    readouts = [sherbrooke.target["measure"][(qubit,)].error for qubit in range(2, 80)]
    assert bits[:, :, 2:80].mean() == pytest.approx(np.mean(readouts), abs=5 * np.sqrt(np.mean(readouts) / 15_600))


@pytest.mark.parametrize("name", ["fake_manila", "fake_quantum_sim"])
def test_single_qubits_are_as_an_executor_would_have_them(
    device: DeviceOf, shots_of: Callable[..., np.ndarray], agree: Callable[..., None], name: str
) -> None:
    a, b = Parameter("a"), Parameter("b")
    lonely = QuantumCircuit(2, 1)
    lonely.reset(1)
    lonely.sx(1)
    lonely.rz(a, 1)
    lonely.delay(40, 1, unit="us")
    lonely.rx(b, 1)
    lonely.reset(1)
    lonely.u(a, 0.3, b, 1)
    lonely.delay(20, 1, unit="us")
    lonely.x(1)
    joined = lonely.copy()
    lonely.measure(1, 0)
    # When a qubit is measured twice, the executor takes over; the second reading goes wrong as often as the first.
    joined.measure([1, 1], [0, 0])
    noise = device(name).noise
    one, other = (shots_of(circuit, noise=noise, values=(0.7, 2.1), shots=20_000) for circuit in (lonely, joined))
    agree(one, other)


def dense(num_qubits: int) -> QuantumCircuit:
    circuit = QuantumCircuit(num_qubits, num_qubits)
    circuit.h(range(num_qubits))
    for layer in range(1, num_qubits):
        for qubit in range(num_qubits - layer):
            circuit.cp(0.3, qubit, qubit + layer)
    circuit.measure(range(num_qubits), range(num_qubits))
    return circuit


def test_a_circuit_that_cannot_fit_is_refused_before_it_starts_with_both_numbers() -> None:
    executor = AerExecutor(memory_bytes=2**30)
    assert executor.capabilities().num_qubits == 25
    with pytest.raises(CircuitTooLargeError, match=r"30 qubits.*16 GiB.*922 MiB.*25"):
        sample(dense(30), executor=executor)


def test_a_density_matrix_that_does_not_fit_is_not_used(device: DeviceOf) -> None:
    circuit = QuantumCircuit(5, 5)
    circuit.sx(0)
    circuit.cx(0, 1)
    circuit.cx([1, 1, 3], [2, 3, 4])
    circuit.measure(range(5), range(5))
    tight = AerExecutor(memory_bytes=2**13)
    assert tight.capabilities().num_qubits == 8
    assert sample(circuit, executor=tight, device=device("fake_manila")).any()


def test_large_circuits_run_where_their_kind_allows_it() -> None:
    small = AerExecutor(memory_bytes=2**20)
    chain = QuantumCircuit(60, 60)
    chain.h(0)
    for qubit in range(59):
        chain.cx(qubit, qubit + 1)
    chain.measure(range(60), range(60))
    tilted = chain.copy_empty_like()
    tilted.ry(0.4, 0)
    tilted.compose(chain, inplace=True)
    for circuit in (chain, tilted):
        bits = sample(circuit, executor=small, shots=50)[0]
        assert (bits.all(axis=1) | ~bits.any(axis=1)).all()
        assert 0 < bits[:, 0].mean() < 1


def test_instructions_that_aer_does_not_know_are_refused_by_name() -> None:
    circuit = QuantumCircuit(2, 2)
    unknown = QuantumCircuit(2, name="mystery")
    unknown.cx(0, 1)
    circuit.append(unknown.to_gate(), [0, 1])
    circuit.measure([0, 1], [0, 1])
    with pytest.raises(InvalidInputError, match="mystery"):
        sample(circuit)


class Short(BaseExecutor):
    def sample(self, task: SampleTask) -> BitTensor:
        return np.zeros((3, 3), dtype=bool)


def test_bits_of_a_wrong_shape_are_named() -> None:
    circuit = QuantumCircuit(2, 2)
    circuit.rx(0.3, 0)
    circuit.cx(0, 1)
    circuit.measure([0, 1], [0, 1])
    with pytest.raises(ValueError, match=r"Short.sample\(\) returned bits of shape \(3, 3\), wanted \(1, 100, 2\)"):
        sample(circuit, executor=Short(), shots=100)


def test_an_executor_can_be_sent_to_another_process() -> None:
    executor = AerExecutor(memory_bytes=2**28, threads=2)
    copy = pickle.loads(pickle.dumps(executor))  # noqa: S301 - our own bytes
    assert copy.capabilities() == executor.capabilities()
    circuit, values = mixed()
    np.testing.assert_array_equal(sample(circuit, values, executor=copy), sample(circuit, values, executor=executor))


def test_the_ideal_device_is_as_large_as_the_memory_allows() -> None:
    qubits = AerExecutor().fitted(memory_bytes=2**34, threads=1).capabilities().num_qubits
    assert qubits == 29
    assert Catalog().get("fake_quantum_sim", ideal_qubits=qubits).num_qubits == 29
    assert AerExecutor().fitted(memory_bytes=None, threads=1).capabilities().num_qubits >= 20
