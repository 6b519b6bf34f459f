"""How far the twirl of a device's errors is from the errors themselves, in exact distributions."""

from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest
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


@pytest.mark.parametrize("depth", [2, 5, 10])
def test_the_twirl_moves_a_distribution_by_little_of_what_the_noise_does(
    device: Callable[[str], Device], depth: int
) -> None:
    sherbrooke = device("fake_sherbrooke")
    assert sherbrooke.noise is not None
    moved, noise = [], []
    for seed in range(4):
        component = layered(sherbrooke, depth, seed)
        model = sherbrooke.noise.restricted_to(component.qubits, component.uses)
        assert model is not None
        noisy = chances(component, model)
        moved.append(np.abs(noisy - chances(component, twirled(model))).sum() / 2)
        noise.append(np.abs(noisy - chances(component, None)).sum() / 2)
    assert min(moved) > 0
    assert max(moved) < 0.005
    # Not for each circuit: if all outcomes are as likely without noise, what the twirl drops is all that noise does.
    assert sum(moved) < sum(noise) / 10
