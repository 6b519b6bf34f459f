"""Evaluate a quantum neural network and its gradients, with qiskit-machine-learning.

First: eval "$(qiskit-runtime-server connect http://localhost:8000)"
"""

import json

import numpy as np
from qiskit import QuantumCircuit
from qiskit.circuit.library import real_amplitudes, z_feature_map
from qiskit.quantum_info import SparsePauliOp
from qiskit.transpiler import generate_preset_pass_manager
from qiskit_ibm_runtime import EstimatorV2, QiskitRuntimeService
from qiskit_machine_learning.neural_networks import EstimatorQNN

PRECISION = 0.01
INPUTS = [[0.2, -0.7], [1.1, 0.4]]
WEIGHTS = [0.5, -0.3, 0.9, 1.2]

features = z_feature_map(2, reps=1)
ansatz = real_amplitudes(2, reps=1)
network = QuantumCircuit(2)
network.compose(features, inplace=True)
network.compose(ansatz, inplace=True)

backend = QiskitRuntimeService().backend("fake_quantum_sim@aer")
manager = generate_preset_pass_manager(optimization_level=1, backend=backend)
isa = manager.run(network)
observables = [SparsePauliOp(pauli).apply_layout(isa.layout) for pauli in ("ZZ", "XI")]
options = {"default_precision": PRECISION, "simulator": {"seed_simulator": 37}}
qnn = EstimatorQNN(
    circuit=isa,
    estimator=EstimatorV2(mode=backend, options=options),
    observables=observables,
    input_params=features.parameters,
    weight_params=ansatz.parameters,
    input_gradients=True,
    default_precision=PRECISION,
    pass_manager=manager,
)
forward = qnn.forward(INPUTS, WEIGHTS)
input_gradients, weight_gradients = qnn.backward(INPUTS, WEIGHTS)

print(
    json.dumps(
        {
            "forward": np.asarray(forward).tolist(),
            "input gradients": np.asarray(input_gradients).tolist(),
            "weight gradients": np.asarray(weight_gradients).tolist(),
            "precision": PRECISION,
        }
    )
)
