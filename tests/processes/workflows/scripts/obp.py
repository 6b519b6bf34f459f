"""Estimate a magnetization with a shorter circuit and a longer observable, with qiskit-addon-obp.

First: eval "$(qiskit-runtime-server connect http://localhost:8000)"
"""

import json

from qiskit import QuantumCircuit
from qiskit.quantum_info import SparsePauliOp
from qiskit.transpiler import generate_preset_pass_manager
from qiskit_addon_obp import backpropagate
from qiskit_addon_obp.utils.simplify import OperatorBudget
from qiskit_ibm_runtime import EstimatorV2, QiskitRuntimeService

QUBITS = 6
STEPS = 4
PRECISION = 0.01

# One Trotter step of an Ising chain in a tilted field.
step = QuantumCircuit(QUBITS)
for first in (0, 1):
    for qubit in range(first, QUBITS - 1, 2):
        step.rzz(0.4, qubit, qubit + 1)
step.rx(0.7, range(QUBITS))
step.rz(0.3, range(QUBITS))

observable = SparsePauliOp.from_sparse_list([("Z", [qubit], 1 / QUBITS) for qubit in range(QUBITS)], num_qubits=QUBITS)
slices = [step] * STEPS
propagated, remaining, _ = backpropagate(observable, slices, operator_budget=OperatorBudget(max_qwc_groups=12))

shorter = QuantumCircuit(QUBITS)
for part in remaining:
    shorter.compose(part, inplace=True)

backend = QiskitRuntimeService().backend("fake_quantum_sim@aer")
isa = generate_preset_pass_manager(optimization_level=1, backend=backend).run(shorter)
estimator = EstimatorV2(mode=backend, options={"simulator": {"seed_simulator": 29}})
data = estimator.run([(isa, propagated.apply_layout(isa.layout))], precision=PRECISION).result()[0].data

print(
    json.dumps(
        {
            "value": float(data.evs),
            "std": float(data.stds),
            "precision": PRECISION,
            "steps left": len(remaining),
            "terms": len(propagated),
        }
    )
)
