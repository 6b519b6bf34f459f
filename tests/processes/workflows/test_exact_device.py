"""The reference of these tests agrees with Aer's simulator of density matrices."""

import numpy as np
import pytest
from qiskit import ClassicalRegister, transpile
from qiskit.circuit.random import random_circuit
from qiskit_aer import AerSimulator
from qiskit_aer.noise import NoiseModel
from qiskit_ibm_runtime.fake_provider import FakeManilaV2

from kit.quantum.exact_device import ExactDevice

QUBITS_OF_BITS = (2, 0, 3)


@pytest.mark.parametrize("seed", range(4))
def test_the_reference_agrees_with_aer(seed: int) -> None:
    backend = FakeManilaV2()
    circuit = random_circuit(4, 4, max_operands=2, seed=seed)
    circuit.delay(20_000, 1)
    circuit.add_register(ClassicalRegister(3))
    circuit.measure(QUBITS_OF_BITS, range(3))
    isa = transpile(circuit, backend, initial_layout=[0, 1, 2, 3], optimization_level=1, seed_transpiler=seed)
    qubits = [isa.find_bit(measurement.qubits[0]).index for measurement in isa.get_instructions("measure")]
    bits = [isa.find_bit(measurement.clbits[0]).index for measurement in isa.get_instructions("measure")]
    saving = isa.copy_empty_like()
    for instruction in isa:
        if instruction.operation.name != "measure":
            saving.append(instruction)
    saving.save_probabilities([qubits[bits.index(bit)] for bit in range(3)])
    simulator = AerSimulator(method="density_matrix", noise_model=NoiseModel.from_backend(backend))
    expected = simulator.run(saving).result().data(0)["probabilities"]
    np.testing.assert_allclose(ExactDevice(backend).probabilities(isa, readout=False), expected, atol=1e-12)
