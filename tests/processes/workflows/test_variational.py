"""Optimized circuits: the VQE of qiskit-algorithms in a session, the EstimatorQNN of qiskit-machine-learning."""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
from qiskit import QuantumCircuit
from qiskit.circuit.library import efficient_su2, real_amplitudes, z_feature_map
from qiskit.quantum_info import SparsePauliOp, Statevector
from qiskit_ibm_runtime import QiskitRuntimeService

Run = Callable[[str], dict[str, Any]]
HYDROGEN = SparsePauliOp.from_list(
    [("II", -1.052373), ("IZ", 0.39793), ("ZI", -0.39793), ("ZZ", -0.01128), ("XX", 0.18093)]
)


@pytest.mark.thorough
def test_vqe_finds_the_ground_energy_of_hydrogen_in_a_session(run: Run, service: QiskitRuntimeService) -> None:
    found = run("algorithms_vqe")
    ground = np.linalg.eigvalsh(HYDROGEN.to_matrix())[0]
    ansatz = efficient_su2(2, su2_gates=["ry"], entanglement="linear", reps=1)
    point = {parameter: found["point"][parameter.name] for parameter in ansatz.parameters}
    exact = Statevector(ansatz.assign_parameters(point)).expectation_value(HYDROGEN).real
    assert abs(found["energy"] - exact) < 5 * found["precision"]
    # SPSA stops near the minimum, where the energy is quadratic in the distance.
    assert exact - ground < 2 * found["precision"]
    jobs = service.jobs(session_id=found["session"], limit=None)
    assert len(jobs) >= found["evaluations"] / 2
    assert {job.status() for job in jobs} == {"DONE"}


def test_a_neural_network_has_exact_values_and_gradients(run: Run) -> None:
    found = run("machine_learning_qnn")
    forward, precision = np.array(found["forward"]), found["precision"]
    inputs, weights = np.array([[0.2, -0.7], [1.1, 0.4]]), np.array([0.5, -0.3, 0.9, 1.2])
    exact = np.array([_network(one, weights) for one in inputs])
    assert forward.shape == (2, 2)
    assert (np.abs(forward - exact) < 5 * precision).all()
    # A derivative is half the difference of two estimates, whatever their correlation; inputs are doubled into angles.
    by_input = np.array(found["input gradients"])
    by_weight = np.array(found["weight gradients"])
    assert by_input.shape == (2, 2, 2)
    assert by_weight.shape == (2, 2, 4)
    for sample, one in enumerate(inputs):
        exact_by_input = _derivatives(lambda values: _network(values, weights), one)
        exact_by_weight = _derivatives(partial(_network, one), weights)
        assert (np.abs(by_input[sample] - exact_by_input) < 5 * 2 * precision).all()
        assert (np.abs(by_weight[sample] - exact_by_weight) < 5 * precision).all()


def _network(inputs: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return the exact values of both observables."""
    circuit = QuantumCircuit(2)
    circuit.compose(z_feature_map(2, reps=1).assign_parameters(inputs), inplace=True)
    circuit.compose(real_amplitudes(2, reps=1).assign_parameters(weights), inplace=True)
    state = Statevector(circuit)
    return np.array([state.expectation_value(SparsePauliOp(pauli)).real for pauli in ("ZZ", "XI")])


def _derivatives(function: Callable[[np.ndarray], np.ndarray], point: np.ndarray) -> np.ndarray:
    """Return the derivatives of each value [0] by each argument [1], to eight digits."""
    step = 1e-4
    columns = [(function(point + e) - function(point - e)) / (2 * step) for e in step * np.eye(len(point))]
    return np.transpose(columns)
