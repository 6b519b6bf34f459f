"""What the twirl of a device's errors over the Pauli operators moves, in exact distributions of layered circuits."""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from qiskit import QuantumCircuit
from qiskit_aer.noise import NoiseModel, pauli_error

from qiskit_runtime_server.programs.device.device import Device
from qiskit_runtime_server.simulation.clifford.pauli_noise import pauli_channel
from qiskit_runtime_server.simulation.components import Component, split
from qiskit_runtime_server.simulation.density import Evolution
from qiskit_runtime_server.simulation.measurements import terminal_measurements

PATH = (0, 1, 2, 3, 4, 5, 15, 22)
"""A line of fake_sherbrooke without broken couplers."""


def layered(device: Device, depth: int, seed: int) -> Component:
    rng = np.random.default_rng(seed)
    circuit = QuantumCircuit(device.num_qubits, len(PATH))
    for layer in range(depth):
        for qubit in PATH:
            circuit.rz(np.pi / 2 * int(rng.integers(4)), qubit)
            circuit.sx(qubit)
        for pair in list(pairwise(PATH))[layer % 2 :: 2]:
            circuit.ecr(*(pair if pair in device.target["ecr"] else pair[::-1]))
    circuit.measure(PATH, range(len(PATH)))
    return max(split(circuit), key=lambda component: len(component.qubits))


def twirled(model: NoiseModel) -> NoiseModel:
    """Return the same readout errors, and the Pauli channels that frames have for the others."""
    found = NoiseModel(basis_gates=model.basis_gates)
    for name, errors in model._local_quantum_errors.items():
        for qubits, error in errors.items():
            channel = pauli_channel([error])
            assert channel is not None
            products = range(4 ** len(qubits))
            labels = ["".join("IXYZ"[code >> 2 * j & 3] for j in reversed(range(len(qubits)))) for code in products]
            found.add_quantum_error(
                pauli_error([*zip(labels, channel.chances.tolist(), strict=True)]), name, list(qubits), warnings=False
            )
    found._local_readout_errors = dict(model._local_readout_errors)
    return found


def chances(component: Component, model: NoiseModel | None) -> NDArray[np.float64]:
    evolution = Evolution.of(component.circuit, list(terminal_measurements(component.circuit) or ()), model)
    assert evolution is not None
    ((_, _, table),) = evolution.probabilities(np.empty((1, 0)))
    row: NDArray[np.float64] = table[0] / table[0].sum()
    return row


@dataclass(frozen=True, kw_only=True)
class Moved:
    """Total variation distances from the distribution of the outcomes with a device's noise.

    Attributes:
        twirl: Of the distribution with the errors twirled.
        noise: Of the one without noise.
    """

    twirl: float
    noise: float


def moved(device: Device, depth: int, seed: int) -> Moved:
    """Return what twirling moves in a circuit of `PATH` with layers of random Clifford gates."""
    component = layered(device, depth, seed)
    assert device.noise is not None
    model = device.noise.restricted_to(component.qubits, component.uses)
    assert model is not None
    noisy = chances(component, model)
    with_twirl, ideal = chances(component, twirled(model)), chances(component, None)
    return Moved(
        twirl=float(np.abs(noisy - with_twirl).sum() / 2),
        noise=float(np.abs(noisy - ideal).sum() / 2),
    )
