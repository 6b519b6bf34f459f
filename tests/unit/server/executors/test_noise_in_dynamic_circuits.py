"""Small circuits that random ones led to, each on all executors against the exact reference."""

from collections.abc import Callable

import numpy as np
import pytest
from qiskit.circuit import QuantumCircuit
from qiskit.primitives.containers.sampler_pub import SamplerPub
from qiskit_aer.noise import NoiseModel, ReadoutError, amplitude_damping_error, pauli_error, reset_error

from kit.quantum.case_runs import EXECUTORS, FALSE_ALARM, executor
from kit.quantum.exact_noise import Errors
from kit.quantum.exact_reference import distribution
from kit.quantum.goodness_of_fit import impossible, p_value

SHOTS = 8000
Case = tuple[QuantumCircuit, NoiseModel | None]


def errors_in_a_while_loop(error: str) -> Case:
    """Draw an error in each round: an X that comes twice is gone again."""
    circuit = QuantumCircuit(2, 2)
    with circuit.while_loop((circuit.clbits[0], 0)):
        circuit.h(0)
        circuit.measure(0, 0)
        circuit.reset(0)
        circuit.id(1)
    circuit.measure(1, 1)
    errors = {
        "Pauli": pauli_error([("X", 0.3), ("I", 0.7)]),
        "reset": reset_error(0.0, 0.3),
        "damping": amplitude_damping_error(0.3, 1.0),
    }
    model = NoiseModel()
    model.add_all_qubit_quantum_error(errors[error], "id")
    return circuit, model


def misread() -> NoiseModel:
    model = NoiseModel()
    model.add_all_qubit_readout_error(ReadoutError([[0.9, 0.1], [0.2, 0.8]]))
    return model


def measured_twice_into_one_bit() -> Case:
    """Misread the bit that stays, not the one that it takes the place of."""
    circuit = QuantumCircuit(1, 1)
    circuit.measure(0, 0)
    circuit.measure(0, 0)
    return circuit, misread()


def two_qubits_into_one_bit() -> Case:
    circuit = QuantumCircuit(2, 1)
    circuit.x(0)
    circuit.measure(0, 0)
    circuit.measure(1, 0)
    return circuit, misread()


def equal_indices_and_a_jump() -> Case:
    circuit = QuantumCircuit(1, 1)
    with circuit.for_loop((3, 3, 1)):
        circuit.h(0)
        circuit.measure(0, 0)
        with circuit.if_test((circuit.clbits[0], 1)):
            circuit.break_loop()
    return circuit, None


CASES: dict[str, Callable[[], Case]] = {
    "Pauli error in a while loop": lambda: errors_in_a_while_loop("Pauli"),
    "reset error in a while loop": lambda: errors_in_a_while_loop("reset"),
    "amplitude damping in a while loop": lambda: errors_in_a_while_loop("damping"),
    "one qubit twice into one bit": measured_twice_into_one_bit,
    "two qubits into one bit": two_qubits_into_one_bit,
    "a for loop with equal indices and a jump": equal_indices_and_a_jump,
}


@pytest.mark.parametrize("name", EXECUTORS)
@pytest.mark.parametrize("case", CASES)
def test_a_small_circuit_has_its_exact_distribution(case: str, name: str) -> None:
    circuit, model = CASES[case]()
    exact = distribution(circuit, None if model is None else Errors.of_model(model))
    simulator = {"seed_simulator": 1} | ({} if model is None else {"noise_model": model})
    pub = SamplerPub.coerce(circuit, shots=SHOTS)
    (result,) = executor(name).execute_sampler([pub], {"simulator": simulator}, "statevector_simulator")
    outcomes, numbers = np.unique(result.data.c.array[..., -1].ravel(), return_counts=True)
    counts = dict(zip(outcomes.tolist(), numbers.tolist(), strict=True))
    assert impossible(counts, exact) == {}
    value = p_value(counts, exact)
    assert value is not None
    assert value > FALSE_ALARM, f"seen {counts}, exact {exact}"
