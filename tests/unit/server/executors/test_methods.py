"""All methods of the Aer executor sample the same distribution."""

from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest
from qiskit import QuantumCircuit
from qiskit_aer.noise import NoiseModel, ReadoutError, amplitude_damping_error, depolarizing_error

from qiskit_runtime_server.executors.aer import AerExecutor, costs, executor
from qiskit_runtime_server.executors.base import BitTensor, SampleTask
from qiskit_runtime_server.programs.device.device import Device
from qiskit_runtime_server.simulation.components import split
from qiskit_runtime_server.simulation.density import Evolution

DeviceOf = Callable[[str], Device]


def chain(device: Device, num_qubits: int) -> QuantumCircuit:
    """Return a chain of gates along a path of the device, with some angles and delays."""
    coupling = device.target.build_coupling_map()
    coupling.make_symmetric()
    path = [0]
    while len(path) < num_qubits:
        path.append(min(qubit for qubit in coupling.neighbors(path[-1]) if qubit not in path))
    circuit = QuantumCircuit(device.num_qubits, num_qubits)
    circuit.sx(path[0])
    for one, other in pairwise(path):
        pair = (one, other) if device.target.instruction_supported("ecr", (one, other)) else (other, one)
        circuit.ecr(*pair)
        circuit.rz(0.4, other)
        circuit.sx(other)
        circuit.delay(4000, one)
    circuit.measure(path, range(num_qubits))
    return circuit


def chain_task(device: Device, num_qubits: int, *, shots: int) -> SampleTask:
    (component,) = split(chain(device, num_qubits))
    assert device.noise is not None
    return SampleTask(
        circuit=component.circuit,
        parameter_values=np.empty((1, 0)),
        shots=shots,
        noise=device.noise.restricted_to(component.qubits, component.uses),
        seeds=np.array([5], dtype=np.uint64),
    )


def ladder(num_qubits: int) -> QuantumCircuit:
    """Return pairs of entangled qubits, joined by measurements between them and by what these decide."""
    circuit = QuantumCircuit(num_qubits, num_qubits)
    for qubit in range(0, num_qubits - 1, 2):
        circuit.sx(qubit)
        circuit.cz(qubit, qubit + 1)
        circuit.sx(qubit + 1)
    for qubit in range(1, num_qubits - 1, 2):
        circuit.cz(qubit, qubit + 1)
        circuit.measure(qubit, qubit)
        with circuit.if_test((circuit.clbits[qubit], 1)) as otherwise:
            circuit.x(qubit + 1)
        with otherwise:
            circuit.sx(qubit + 1)
    circuit.measure(range(num_qubits), range(num_qubits))
    return circuit


def test_matrix_product_states_agree_with_the_interpreter_where_measurements_decide(
    agree: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = NoiseModel()
    model.add_all_qubit_quantum_error(depolarizing_error(0.05, 2), "cz")
    model.add_all_qubit_quantum_error(amplitude_damping_error(0.1), ["x", "sx"])
    model.add_all_qubit_readout_error(ReadoutError([[0.95, 0.05], [0.1, 0.9]]))
    task = SampleTask(
        circuit=ladder(6),
        parameter_values=np.empty((1, 0)),
        shots=4000,
        noise=model,
        seeds=np.array([5], dtype=np.uint64),
    )
    interpreted = weights(task, AerExecutor(threads=1))
    monkeypatch.setattr(executor, "_INTERPRETED_QUBITS", 0)
    monkeypatch.setattr(executor, "_MPS_QUBITS", 0)
    monkeypatch.setattr(executor, "SMALL_BOND", 64)
    chosen: list[str] = []
    sampled = AerExecutor._sampled

    def noted(self: AerExecutor, task: SampleTask, method: str, seconds: float) -> BitTensor:
        chosen.append(method)
        return sampled(self, task, method, seconds)

    monkeypatch.setattr(AerExecutor, "_sampled", noted)
    agree(weights(task, AerExecutor(threads=1)), interpreted)
    assert chosen == ["matrix_product_state"]


def weights(task: SampleTask, executor: AerExecutor) -> np.ndarray:
    """Return for each shot how many bits are one, and whether neighbours are equal: few values for many qubits."""
    bits = executor.sample(task).reshape(-1, task.circuit.num_clbits)
    found: np.ndarray = bits.sum(axis=1) * 100 + (bits[:, 1:] == bits[:, :-1]).sum(axis=1)
    return found


def test_drawn_shots_and_taken_shots_agree(device: DeviceOf, agree: Callable[..., None]) -> None:
    task = chain_task(device("fake_sherbrooke"), 5, shots=8000)
    # There is no room for a density matrix of five qubits.
    small = AerExecutor(memory_bytes=2**13, threads=1)
    agree(weights(task, AerExecutor(threads=1)), weights(task, small))


@pytest.mark.parametrize(("num_qubits", "shots"), [(12, 800), (5, 4000)])
def test_matrix_product_states_agree_with_the_other_methods(
    device: DeviceOf,
    agree: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
    num_qubits: int,
    shots: int,
) -> None:
    task = chain_task(device("fake_sherbrooke"), num_qubits, shots=shots)
    monkeypatch.setattr(executor, "_INTERPRETED_QUBITS", 0)
    monkeypatch.setattr(executor, "SMALL_BOND", 0)
    other = weights(task, AerExecutor(threads=1))
    monkeypatch.setattr(executor, "SMALL_BOND", 2**num_qubits)
    monkeypatch.setattr(executor, "_MPS_QUBITS", 0)
    monkeypatch.setattr(Evolution, "of", lambda *_: None)
    agree(weights(task, AerExecutor(threads=1)), other)


def test_the_time_of_a_circuit_with_loops_is_not_bounded_by_an_estimate() -> None:
    """How often they run is known to the job's own limit of time only."""
    circuit = QuantumCircuit(1, 1)
    circuit.x(0)
    with circuit.if_test((circuit.clbits[0], 1)) as otherwise:
        circuit.x(0)
        circuit.x(0)
    with otherwise:
        circuit.x(0)
    assert costs.length_of(circuit) == 5
    with circuit.if_test((circuit.clbits[0], 1)), circuit.while_loop((circuit.clbits[0], 1)):
        circuit.x(0)
    assert costs.length_of(circuit) == np.inf
