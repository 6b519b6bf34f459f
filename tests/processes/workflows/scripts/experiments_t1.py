"""Measure the relaxation time T1 of a qubit with qiskit-experiments.

First: eval "$(qiskit-runtime-server connect http://localhost:8000)"
"""

import json

import numpy as np
from qiskit_experiments.library import T1
from qiskit_ibm_runtime import QiskitRuntimeService

QUBIT = 1

backend = QiskitRuntimeService().backend("fake_manila@aer")
delays = np.linspace(1e-6, 3 * backend.qubit_properties(QUBIT).t1, 21)

data = T1((QUBIT,), delays, backend=backend).run(shots=10_000, seed_simulator=11).block_for_results()
t1 = data.analysis_results("T1", dataframe=True).iloc[0]

print(json.dumps({"t1": t1.value.n, "std": t1.value.s, "chisq": t1.chisq, "jobs": data.job_ids}))
