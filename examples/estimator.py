"""Estimate energies of an Ising chain for several parameter sets, and compare with those of an ideal device.

First: eval "$(qiskit-runtime-server connect http://localhost:8000)"
"""

import numpy as np
from qiskit.circuit.library import efficient_su2
from qiskit.primitives import StatevectorEstimator
from qiskit.quantum_info import SparsePauliOp
from qiskit.transpiler import generate_preset_pass_manager
from qiskit_ibm_runtime import QiskitRuntimeService
from qiskit_ibm_runtime.executor_estimator import Estimator

service = QiskitRuntimeService()
backend = service.backend("fake_sherbrooke@aer")

ansatz = efficient_su2(4, reps=1)
energy = SparsePauliOp.from_sparse_list(
    [*(("ZZ", [qubit, qubit + 1], -1.0) for qubit in range(3)), *(("X", [qubit], -0.5) for qubit in range(4))],
    num_qubits=4,
)
parameters = np.random.default_rng(1).uniform(-np.pi, np.pi, (5, ansatz.num_parameters))

manager = generate_preset_pass_manager(optimization_level=1, backend=backend)
isa_ansatz = manager.run(ansatz)
# Which qubits of the device stand for those of the circuit, the observable learns from the layout.
isa_energy = energy.apply_layout(isa_ansatz.layout)

estimator = Estimator(mode=backend, options={"resilience_level": 0})
result = estimator.run([(isa_ansatz, isa_energy, parameters)], precision=0.02).result()[0]
ideal = StatevectorEstimator().run([(ansatz, energy, parameters)]).result()[0]

for noisy, error, exact in zip(result.data.evs, result.data.stds, ideal.data.evs, strict=True):
    print(f"energy {noisy:7.3f} +- {error:.3f}, without noise {exact:7.3f}")
