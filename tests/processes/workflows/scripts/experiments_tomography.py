"""Reconstruct a Bell state, with and without mitigated readout, and the process of a cx with qiskit-experiments.

First: eval "$(qiskit-runtime-server connect http://localhost:8000)"
"""

import json

import numpy as np
from qiskit import QuantumCircuit
from qiskit_experiments.framework import BaseExperiment
from qiskit_experiments.library import MitigatedStateTomography, ProcessTomography, StateTomography
from qiskit_ibm_runtime import QiskitRuntimeService

PAIR = (0, 1)

backend = QiskitRuntimeService().backend("fake_manila@aer")

bell = QuantumCircuit(2)
bell.h(0)
bell.cx(0, 1)

cx = QuantumCircuit(2)
cx.cx(0, 1)


def reconstructed(experiment: BaseExperiment, quantity: str) -> dict[str, object]:
    """Return the fidelity, the reconstructed matrix (its real part, its imaginary part) and the ids of the jobs."""
    # Linear inversion alone has no bias: to make the matrix positive would bias a fidelity.
    experiment.analysis.set_options(rescale_positive=False)
    data = experiment.run(backend=backend, shots=10_000, seed_simulator=3).block_for_results()
    results = data.analysis_results(dataframe=True).set_index("name")["value"]
    matrix = np.asarray(results["state"].data)
    return {
        "fidelity": float(results[quantity]),
        "matrix": [matrix.real.tolist(), matrix.imag.tolist()],
        "jobs": data.job_ids,
    }


state = reconstructed(StateTomography(bell, physical_qubits=PAIR), "state_fidelity")
mitigated = reconstructed(MitigatedStateTomography(bell, physical_qubits=PAIR), "state_fidelity")
process = reconstructed(ProcessTomography(cx, physical_qubits=PAIR), "process_fidelity")

print(json.dumps({"state": state, "mitigated state": mitigated, "process": process}))
