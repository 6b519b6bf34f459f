"""Blocks do what their circuit does, and are no more than its gates of two qubits, whatever errors there are."""

import numpy as np
import pytest
from numpy.typing import NDArray
from qiskit import QuantumCircuit
from qiskit.circuit.library import UnitaryGate
from qiskit.quantum_info import Operator, random_unitary
from qiskit_aer.noise import NoiseModel, depolarizing_error

from qiskit_runtime_server.executors.qsim.blocks import Block, blocks, product
from qiskit_runtime_server.executors.qsim.sites import Site
from qiskit_runtime_server.simulation.statevector import lowering
from qiskit_runtime_server.simulation.statevector.gates import embedded
from qiskit_runtime_server.simulation.statevector.program import Gate, Measure


def of(circuit: QuantumCircuit, noise: NoiseModel | None = None) -> list[Block]:
    return blocks(lowering.program(circuit, noise))


def unitary(found: list[Block], num_qubits: int) -> NDArray[np.complex128]:
    """Return what blocks of gates do together."""
    whole = np.eye(2**num_qubits, dtype=np.complex128)
    for block in found:
        gates = [
            (item.qubits, item.fixed[0]) for item in block.items if isinstance(item, Gate) and item.fixed is not None
        ]
        matrix = product(block.qubits, gates)
        assert matrix is not None
        whole = embedded(matrix[None], block.qubits, num_qubits)[0] @ whole
    return whole


@pytest.mark.parametrize("seed", range(8))
def test_blocks_do_what_the_circuit_does(seed: int) -> None:
    rng = np.random.default_rng(seed)
    circuit = QuantumCircuit(5)
    for _ in range(40):
        width = int(rng.choice([1, 1, 2, 2, 3]))
        circuit.append(UnitaryGate(random_unitary(2**width, rng)), rng.permutation(5)[:width].tolist())
    found = of(circuit)
    assert len(found) < len(circuit.data)
    assert unitary(found, 5) == pytest.approx(Operator(circuit).data, abs=1e-10)


def brickwork(num_qubits: int, depth: int) -> QuantumCircuit:
    circuit = QuantumCircuit(num_qubits)
    for layer in range(depth):
        for qubit in range(num_qubits):
            circuit.sx(qubit)
            circuit.rz(0.1 + qubit, qubit)
        for qubit in range(layer % 2, num_qubits - 1, 2):
            circuit.cz(qubit + 1, qubit)
    return circuit


def test_there_are_as_many_as_gates_of_two_qubits() -> None:
    noise = NoiseModel()
    noise.add_all_qubit_quantum_error(depolarizing_error(0.01, 1), "sx")
    noise.add_all_qubit_quantum_error(depolarizing_error(0.01, 2), "cz")
    circuit = brickwork(6, 8)
    circuit.measure_all()
    found = of(circuit, noise)
    assert len(found) == circuit.count_ops()["cz"]
    assert sum(isinstance(item, Site) for block in found for item in block.items) > 3 * len(found)


def test_nothing_goes_from_one_side_of_a_measurement_to_the_other() -> None:
    circuit = QuantumCircuit(3, 4)
    for step in range(4):
        circuit.append(UnitaryGate(random_unitary(4, seed=step)), [0, 1])
        circuit.append(UnitaryGate(random_unitary(2, seed=step)), [2])
        circuit.measure(1, step)
    circuit.h(1)
    circuit.measure_all()
    kinds = ["measure" if isinstance(block.items[0], Measure) else len(block.qubits) for block in of(circuit)]
    assert kinds == [2, 1, "measure"] * 4 + [1]
