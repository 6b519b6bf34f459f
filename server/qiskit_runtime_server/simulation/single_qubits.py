"""Simulates single qubits exactly, for many parameter values at once, without any simulator.

Most qubits of a wide circuit are alone: idle ones that are measured all the same, or ones that only delays act on.
A qubit's state is its Bloch vector, which a channel maps to another (Nielsen, Chuang, Quantum Computation and Quantum
Information, section 8.3.2, https://doi.org/10.1017/CBO9780511976667), and ``p(1) = (1 - <Z>) / 2``:

    |0>           (<I>, <X>, <Y>, <Z>) = (1, 0, 0, 1)
    ry(theta)     (1, sin theta, 0, cos theta)
    measure       p(1) = (1 - cos theta) / 2 = sin(theta / 2)^2
"""

import numpy as np
from numpy.typing import NDArray
from qiskit.circuit import QuantumCircuit
from qiskit_aer.noise import NoiseModel

from qiskit_runtime_server.simulation.channels import GROUND, acts, channels, readout
from qiskit_runtime_server.simulation.measurements import terminal_measurements


def chance_of_one(
    circuit: QuantumCircuit, values: NDArray[np.float64], model: NoiseModel | None
) -> NDArray[np.float64] | None:
    """Return the probability that the measured bit is 1, shape ``(n,)``; None if there is more to it than that.

    Args:
        circuit: Its angles are numbers or bare parameters.
        values: Shape ``(n, k)``, columns in the order of ``circuit.parameters``.
        model: The qubit's errors, or None.
    """
    if circuit.num_qubits != 1 or not terminal_measurements(circuit):
        return None
    found = acts(circuit)
    if found is None:
        return None
    states = np.tile(GROUND, (len(values), 1))
    for act in found:
        states = np.einsum("...ij,...j->...i", channels(act, values, model), states)
    ones: NDArray[np.float64] = np.clip(states @ readout(model, 0)[1], 0.0, 1.0)
    return ones
