"""Circuits without chance give the state that Qiskit gives, evolved one by one and in batches."""

from collections.abc import Callable
from contextlib import ExitStack

import numpy as np
import pytest
from numpy.typing import NDArray
from qiskit import QuantumCircuit
from qiskit.circuit import Instruction, Parameter
from qiskit.circuit.library import UnitaryGate, get_standard_gate_name_mapping
from qiskit.quantum_info import Statevector, random_unitary

from qiskit_runtime_server.backends.catalog import Catalog
from qiskit_runtime_server.errors import InvalidInputError
from qiskit_runtime_server.simulation.statevector import gates, lowering
from qiskit_runtime_server.simulation.statevector.lanes import Lanes
from qiskit_runtime_server.simulation.statevector.one_state import OneState
from qiskit_runtime_server.simulation.statevector.random_streams import RandomStreams
from qiskit_runtime_server.simulation.statevector.state_port import States

StatesOf = Callable[[str], States]

BOUNDS = {"single": 1e-5, "double": 1e-12}
"""Of the relative norm."""

ROWS = 3
STANDARD = {
    name: gate
    for name, gate in get_standard_gate_name_mapping().items()
    if gate.name not in {"measure", "reset", "delay"}
}


def in_a_batch(
    states: States, circuit: QuantumCircuit, values: NDArray[np.float64], fusion: int
) -> NDArray[np.complex128]:
    program = lowering.program(circuit, None)
    shots = np.zeros(len(values), dtype=np.uint64)
    with states.batch(circuit.num_qubits, len(values)) as batch:
        lanes = Lanes(batch, fusion, np.arange(len(values)), values, RandomStreams(shots, shots))
        lane_of = lanes.evolve(program)
        return batch.amplitudes()[lane_of]


def one_by_one(states: States, circuit: QuantumCircuit, values: NDArray[np.float64]) -> NDArray[np.complex128]:
    program = lowering.program(circuit, None)
    found = []
    with states.state(circuit.num_qubits) as state:
        for row in values:
            with ExitStack() as stack:
                OneState(states, state, row[None], stack).sample(program, 1, 1)
                found.append(state.amplitudes())
    return np.array(found)


def check(states: States, circuit: QuantumCircuit, values: NDArray[np.float64], bound: float, fusion: int = 4) -> None:
    wanted = np.array([Statevector(circuit.assign_parameters(row)).data for row in values])
    for got in (in_a_batch(states, circuit, values, fusion), one_by_one(states, circuit, values)):
        assert np.linalg.norm(got - wanted) / np.linalg.norm(wanted) < bound


def scrambled(num_qubits: int, rng: np.random.Generator) -> QuantumCircuit:
    """Return a circuit that leaves no symmetry that a wrong matrix could hide behind."""
    circuit = QuantumCircuit(num_qubits)
    for qubit in range(num_qubits):
        circuit.append(UnitaryGate(random_unitary(2, rng)), [qubit])
    for qubit in range(num_qubits - 1):
        circuit.append(UnitaryGate(random_unitary(4, rng)), [qubit + 1, qubit])
    return circuit


@pytest.mark.parametrize("name", sorted(STANDARD))
def test_every_gate_of_qiskit_does_what_it_does_there(states_of: StatesOf, rng: np.random.Generator, name: str) -> None:
    gate = STANDARD[name].to_mutable()
    circuit = scrambled(gate.num_qubits + 1, rng)
    gate.params = [Parameter(f"p{place}") for place in range(len(gate.params))]
    # Neither the lowest qubits nor in their order.
    qubits = list(range(1, gate.num_qubits + 1))[::-1]
    circuit.append(gate, qubits)
    check(states_of("double"), circuit, rng.uniform(-7, 7, (ROWS, circuit.num_parameters)), BOUNDS["double"])


def test_every_gate_of_the_devices_is_among_them() -> None:
    catalog = Catalog()
    names: set[str] = set()
    for metadata in catalog.names():
        names.update(catalog.get(metadata, ideal_qubits=20).configuration["basis_gates"])
    others = {"delay", "measure", "measure_2", "reset", "reset_2", "if_else", "for_loop", "while_loop", "switch_case"}
    assert names - others <= STANDARD.keys()
    assert len(names) > 20


@pytest.mark.parametrize("name", ["rx", "ry", "rz", "p", "u", "u1", "u2", "u3", "cp", "cu1", "crx", "cry", "crz"])
def test_tables_of_matrices_are_those_of_the_gates(rng: np.random.Generator, name: str) -> None:
    gate = STANDARD[name]
    angles = rng.uniform(-7, 7, (5, len(gate.params)))
    wanted = [type(gate)(*row).to_matrix() for row in angles.tolist()]
    assert gates.matrices(gate, angles) == pytest.approx(np.array(wanted), abs=1e-15)


@pytest.mark.parametrize("precision", list(BOUNDS))
@pytest.mark.parametrize("fusion", [1, 2, 4, 6])
@pytest.mark.parametrize("num_qubits", [1, 2, 5, 12])
def test_random_circuits_give_the_same_state(
    states_of: StatesOf, rng: np.random.Generator, precision: str, fusion: int, num_qubits: int
) -> None:
    circuit = random_circuit(num_qubits, 6, rng)
    values = rng.uniform(-7, 7, (ROWS, circuit.num_parameters))
    check(states_of(precision), circuit, values, BOUNDS[precision], fusion)


def random_circuit(num_qubits: int, depth: int, rng: np.random.Generator) -> QuantumCircuit:
    """Return layers of gates of all kinds on random qubits, with fixed and free angles."""
    circuit = scrambled(num_qubits, rng)
    theta = [Parameter(f"theta{place}") for place in range(3)]
    usable = [gate for gate in STANDARD.values() if 0 < gate.num_qubits <= num_qubits]
    for _ in range(depth * num_qubits // 2 + 1):
        gate = usable[rng.integers(len(usable))].to_mutable()
        gate.params = [theta[rng.integers(3)] if rng.random() < 0.5 else rng.uniform(-7, 7) for _ in gate.params]
        circuit.append(gate, rng.permutation(num_qubits)[: gate.num_qubits].tolist())
    for angle in theta:
        circuit.rz(angle, 0)
    return circuit


def test_an_unknown_gate_acts_by_its_matrix(states_of: StatesOf, rng: np.random.Generator) -> None:
    inner = QuantumCircuit(2, name="mine")
    inner.h(0)
    inner.cx(0, 1)
    inner.rz(0.3, 1)
    circuit = scrambled(3, rng)
    circuit.append(inner.to_gate(), [2, 0])
    circuit.append(inner.to_gate().control(1), [1, 0, 2])
    check(states_of("double"), circuit, np.empty((1, 0)), BOUNDS["double"])


def test_what_has_no_matrix_is_refused() -> None:
    circuit = QuantumCircuit(1)
    circuit.append(Instruction("mystery", 1, 0, []), [0])
    with pytest.raises(InvalidInputError, match="mystery"):
        lowering.program(circuit, None)
