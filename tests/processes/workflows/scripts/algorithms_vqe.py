"""Find the ground energy of H2 with the VQE of qiskit-algorithms, in a session.

First: eval "$(qiskit-runtime-server connect http://localhost:8000)"
"""

import json

import numpy as np
from qiskit.circuit.library import efficient_su2
from qiskit.quantum_info import SparsePauliOp
from qiskit.transpiler import generate_preset_pass_manager
from qiskit_algorithms import VQE
from qiskit_algorithms.optimizers import SPSA
from qiskit_algorithms.utils import algorithm_globals
from qiskit_ibm_runtime import EstimatorV2, QiskitRuntimeService, Session

# H2 at 0.735 Angstrom: the electronic part, in the parity mapping.
HYDROGEN = {"II": -1.052373, "IZ": 0.39793, "ZI": -0.39793, "ZZ": -0.01128, "XX": 0.18093}
PRECISION = 0.002

algorithm_globals.random_seed = 3
ansatz = efficient_su2(2, su2_gates=["ry"], entanglement="linear", reps=1)
hamiltonian = SparsePauliOp.from_list(list(HYDROGEN.items()))

backend = QiskitRuntimeService().backend("fake_quantum_sim@aer")
with Session(backend=backend) as session:
    estimator = EstimatorV2(mode=session, options={"default_precision": PRECISION, "simulator": {"seed_simulator": 31}})
    vqe = VQE(
        estimator,
        ansatz,
        SPSA(maxiter=60, learning_rate=0.4, perturbation=0.1),
        initial_point=np.full(ansatz.num_parameters, 0.2),
        transpiler=generate_preset_pass_manager(optimization_level=1, backend=backend),
    )
    result = vqe.compute_minimum_eigenvalue(hamiltonian)

print(
    json.dumps(
        {
            "energy": float(np.real(result.eigenvalue)),
            "precision": PRECISION,
            "point": {parameter.name: value for parameter, value in result.optimal_parameters.items()},
            "evaluations": result.cost_function_evals,
            "session": session.session_id,
        }
    )
)
