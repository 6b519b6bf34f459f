"""Estimate six observables of a four-qubit circuit from circuits of two qubits, with qiskit-addon-cutting.

First: eval "$(qiskit-runtime-server connect http://localhost:8000)"
"""

import json

import numpy as np
from qiskit.circuit.library import efficient_su2
from qiskit.quantum_info import SparsePauliOp
from qiskit.transpiler import generate_preset_pass_manager
from qiskit_addon_cutting import generate_cutting_experiments, partition_problem, reconstruct_expectation_values
from qiskit_ibm_runtime import Batch, QiskitRuntimeService, SamplerV2

SHOTS = 20_000
PAULIS = ["ZZII", "IZZI", "IIZZ", "XIXI", "ZIZZ", "IXIX"]

circuit = efficient_su2(4, entanglement="linear", reps=1)
circuit = circuit.assign_parameters(np.linspace(0.9, -0.9, circuit.num_parameters)).decompose()
observable = SparsePauliOp(PAULIS)

problem = partition_problem(circuit=circuit, partition_labels="AABB", observables=observable.paulis)
experiments, coefficients = generate_cutting_experiments(
    circuits=problem.subcircuits, observables=problem.subobservables, num_samples=np.inf
)

backend = QiskitRuntimeService().backend("fake_quantum_sim@aer")
manager = generate_preset_pass_manager(optimization_level=1, backend=backend)
isa = {label: manager.run(circuits) for label, circuits in experiments.items()}
with Batch(backend=backend) as batch:
    sampler = SamplerV2(mode=batch, options={"simulator": {"seed_simulator": 19}})
    jobs = {label: sampler.run(circuits, shots=SHOTS) for label, circuits in isa.items()}
results = {label: job.result() for label, job in jobs.items()}
values = reconstruct_expectation_values(results, coefficients, problem.subobservables)

print(
    json.dumps(
        {
            "values": dict(zip(PAULIS, map(float, values), strict=True)),
            "coefficients": [float(coefficient) for coefficient, _ in coefficients],
            "partitions": len(experiments),
            "shots": SHOTS,
        }
    )
)
