"""Random noisy circuits whose parities have known expectation values, found by Aer's density matrices."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from qiskit import QuantumCircuit
from qiskit.circuit import Parameter
from qiskit.circuit.library import RXGate
from qiskit_aer import AerSimulator
from qiskit_aer.noise import (
    NoiseModel,
    ReadoutError,
    amplitude_damping_error,
    coherent_unitary_error,
    depolarizing_error,
    pauli_error,
    phase_amplitude_damping_error,
    reset_error,
    thermal_relaxation_error,
)

_ONE = ("h", "sx", "x", "s", "tdg")
_TURNS = ("rx", "ry", "rz")
_TWO = ("cx", "cz", "ecr", "swap")


@dataclass(frozen=True, kw_only=True)
class ParityCase:
    """A circuit that measures all of its qubits at its end.

    Attributes:
        values: Of its parameters.
        model: Of its errors.
        parities: Some numbers of classical bits each.
    """

    circuit: QuantumCircuit
    values: NDArray[np.float64]
    model: NoiseModel
    parities: list[tuple[int, ...]]

    def expectation_values(self) -> NDArray[np.float64]:
        """Return those of the parities, by Aer."""
        circuit = self.circuit.assign_parameters(self.values)
        matrices = [np.eye(2)] * circuit.num_qubits
        for qubit in range(circuit.num_qubits):
            error = self.model._local_readout_errors.get((qubit,))
            if error is not None:
                matrices[qubit] = np.asarray(error.probabilities)
        circuit = circuit.remove_final_measurements(inplace=False)
        circuit.save_probabilities(list(range(circuit.num_qubits)))
        simulator = AerSimulator(method="density_matrix", noise_model=self.model, max_parallel_threads=1)
        chances = simulator.run(circuit, shots=1).result().data()["probabilities"]
        table = np.asarray(chances).reshape([2] * circuit.num_qubits)
        for qubit, matrix in enumerate(matrices):
            axis = circuit.num_qubits - 1 - qubit
            table = np.moveaxis(np.tensordot(table, matrix, axes=(axis, 0)), -1, axis)
        outcomes = np.arange(2**circuit.num_qubits)
        masks = [sum(1 << bit for bit in parity) for parity in self.parities]
        signs = [1.0 - 2.0 * (np.bitwise_count(outcomes & mask) & 1) for mask in masks]
        return np.array([sign @ table.ravel() for sign in signs])


def parity_case(rng: np.random.Generator, *, most: int = 10, depth: int = 4) -> ParityCase:
    """Return a random case of 2 to `most` qubits."""
    width = int(rng.integers(2, most + 1))
    circuit = QuantumCircuit(width, width)
    angles: list[float] = []
    for _ in range(depth):
        for qubit in range(width):
            _turn(rng, circuit, qubit, angles)
        for qubit in range(int(rng.integers(2)), width - 1, 2):
            pair = (qubit, qubit + 1) if rng.random() < 0.5 else (qubit + 1, qubit)
            getattr(circuit, str(rng.choice(_TWO)))(*pair)
    if width > 2 and rng.random() < 0.3:
        circuit.ccx(0, 1, 2)
    circuit.measure(range(width), range(width))
    sizes = rng.integers(1, width + 1, size=6)
    parities = [tuple(sorted(rng.choice(width, size=int(size), replace=False).tolist())) for size in sizes]
    # The values are in the order of the circuit's parameters, which are sorted by their names.
    return ParityCase(circuit=circuit, values=np.array(angles), model=_model(rng, width), parities=parities)


def _turn(rng: np.random.Generator, circuit: QuantumCircuit, qubit: int, angles: list[float]) -> None:
    kind = rng.random()
    if kind < 0.4:
        getattr(circuit, str(rng.choice(_ONE)))(qubit)
    elif kind < 0.7:
        getattr(circuit, str(rng.choice(_TURNS)))(float(rng.uniform(-3, 3)), qubit)
    elif kind < 0.9:
        angles.append(float(rng.uniform(-3, 3)))
        getattr(circuit, str(rng.choice(_TURNS)))(Parameter(f"a{len(angles):04}"), qubit)
    elif kind < 0.95:
        circuit.reset(qubit)


def _model(rng: np.random.Generator, width: int) -> NoiseModel:
    model = NoiseModel()
    strength = float(rng.uniform(0, 0.1))
    one = [
        amplitude_damping_error(strength),
        phase_amplitude_damping_error(strength, strength / 2, 0.1),
        thermal_relaxation_error(50.0, 60.0, 100 * strength),
        pauli_error([("X", strength), ("Z", strength / 2), ("I", 1 - 1.5 * strength)]),
        coherent_unitary_error(RXGate(strength)),
        reset_error(strength, strength / 3),
    ]
    for name in (*_ONE, *_TURNS):
        if rng.random() < 0.5:
            model.add_all_qubit_quantum_error(one[int(rng.integers(len(one)))], [name])
    for name in _TWO:
        first, second = (one[int(number)] for number in rng.integers(len(one), size=2))
        error = depolarizing_error(strength, 2) if rng.random() < 0.5 else first.tensor(second)
        model.add_all_qubit_quantum_error(error, [name])
    for qubit in range(width):
        if rng.random() < 0.5:
            zero, one_ = rng.uniform(0, 0.1, size=2)
            model.add_readout_error(ReadoutError([[1 - zero, zero], [one_, 1 - one_]]), [qubit])
    return model
