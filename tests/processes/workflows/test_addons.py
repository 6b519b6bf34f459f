"""The add-ons of Qiskit: circuit cutting, sample-based diagonalization, operator backpropagation."""

from collections.abc import Callable
from functools import reduce
from itertools import product
from typing import Any

import numpy as np
import pytest
from qiskit import QuantumCircuit
from qiskit.circuit.library import efficient_su2
from qiskit.quantum_info import SparsePauliOp, Statevector
from qiskit_ibm_runtime import QiskitRuntimeService
from qiskit_ibm_runtime.fake_provider import FakeGuadalupeV2

from kit.quantum.exact_device import ExactDevice
from kit.server.ran_circuits import FIVE_SIGMA, distribution_p_value, ran_circuits

Run = Callable[[str], dict[str, Any]]


@pytest.mark.thorough
def test_cutting_reconstructs_the_values_of_the_uncut_circuit(run: Run) -> None:
    found = run("cutting")
    circuit = efficient_su2(4, entanglement="linear", reps=1)
    state = Statevector(circuit.assign_parameters(np.linspace(0.9, -0.9, circuit.num_parameters)))
    # Each of the products is of means of `shots` numbers between -1 and 1, one for each partition.
    variance = sum(c**2 for c in found["coefficients"]) * ((1 + 1 / found["shots"]) ** found["partitions"] - 1)
    assert len(found["values"]) == 6
    for pauli, value in found["values"].items():
        exact = state.expectation_value(SparsePauliOp(pauli)).real
        assert abs(value - exact) < 5 * np.sqrt(variance), (pauli, value, exact)


@pytest.mark.slow
@pytest.mark.thorough
def test_sqd_finds_the_ground_energy(run: Run, service: QiskitRuntimeService) -> None:
    found = run("sqd")
    (ran,) = ran_circuits(service, found["jobs"])
    assert distribution_p_value([ran], [ExactDevice(FakeGuadalupeV2()).probabilities(ran.circuit)]) > FIVE_SIGMA
    one_body, two_body = np.array(found["one body"]), np.array(found["two body"])
    assert found["dimension"] == [6, 6], "not every way to place two electrons in four orbitals was sampled"
    assert abs(found["energy"] - _ground_energy(one_body, two_body, electrons=2)) < 1e-8


def _ground_energy(one_body: np.ndarray, two_body: np.ndarray, *, electrons: int) -> float:
    """Return the least eigenvalue of a molecule's Hamiltonian with so many electrons of each spin.

    H = sum h_pq a+_p a_q + 1/2 sum (pq|rs) a+_p a+_r a_s a_q, over orbitals and spins, of Jordan-Wigner matrices.
    """
    orbitals = len(one_body)
    z, lowering = np.diag([1.0, -1.0]), np.array([[0.0, 1.0], [0.0, 0.0]])
    modes = 2 * orbitals
    annihilators = [
        reduce(np.kron, [z] * mode + [lowering] + [np.eye(2)] * (modes - mode - 1)) for mode in range(modes)
    ]
    spins = [annihilators[:orbitals], annihilators[orbitals:]]
    hops = {
        (p, q): sum(spin[p].T @ spin[q] for spin in spins) for p, q in product(range(orbitals), repeat=2)
    }  # E_pq, with which a+_p a+_r a_s a_q, summed over spins, is E_pq E_rs - delta_qr E_ps
    hamiltonian = sum(one_body[p, q] * hop for (p, q), hop in hops.items())
    for (p, q), first in hops.items():
        dressed = sum(two_body[p, q, r, s] * second for (r, s), second in hops.items())
        hamiltonian = hamiltonian + first @ dressed / 2
        hamiltonian = hamiltonian - sum(two_body[p, q, q, s] * hops[p, s] for s in range(orbitals)) / 2
    numbers = [sum(a.T @ a for a in spin).diagonal() for spin in spins]
    sector = np.flatnonzero((numbers[0] == electrons) & (numbers[1] == electrons))
    return float(np.linalg.eigvalsh(hamiltonian[np.ix_(sector, sector)])[0])


def test_a_backpropagated_observable_has_the_value_of_the_whole_circuit(run: Run) -> None:
    found = run("obp")
    step = QuantumCircuit(6)
    for qubit in range(5):
        step.rzz(0.4, qubit, qubit + 1)
    step.rx(0.7, range(6))
    step.rz(0.3, range(6))
    state = Statevector.from_label("000000")
    for _ in range(4):
        state = state.evolve(step)
    exact = np.mean(
        [state.expectation_value(SparsePauliOp.from_sparse_list([("Z", [q], 1)], 6)).real for q in range(6)]
    )
    assert 0 < found["steps left"] < 4
    assert found["terms"] > 6
    assert 0 < found["std"] <= found["precision"]
    assert abs(found["value"] - exact) < 5 * found["precision"]
