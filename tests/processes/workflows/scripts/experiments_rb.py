"""Measure errors per Clifford by randomized benchmarking, of one qubit and of two, with qiskit-experiments.

First: eval "$(qiskit-runtime-server connect http://localhost:8000)"
"""

import json

from qiskit_experiments.framework import ExperimentData
from qiskit_experiments.library import StandardRB
from qiskit_ibm_runtime import QiskitRuntimeService

PAIR = (0, 1)

backend = QiskitRuntimeService().backend("fake_quito@aer")


def benchmarked(experiment: StandardRB) -> ExperimentData:
    return experiment.run(backend=backend, shots=4000, seed_simulator=5).block_for_results()


def summary(data: ExperimentData) -> dict[str, object]:
    """Return the errors per Clifford and per gate, their standard deviations, and the ids of the jobs."""
    results = data.analysis_results(dataframe=True).set_index("name")["value"]
    errors = {name: [value.n, value.s] for name, value in results.items() if name.startswith(("EPC", "EPG"))}
    return {**errors, "jobs": data.job_ids}


one = benchmarked(StandardRB(PAIR[1:], [1, 40, 80, 130, 180, 240, 300], num_samples=4, seed=1))
two = StandardRB(PAIR, [1, 5, 10, 15, 20, 30, 40], num_samples=6, seed=2)
two.analysis.set_options(epg_1_qubit=one.analysis_results(dataframe=True))

print(json.dumps({"one qubit": summary(one), "two qubits": summary(benchmarked(two))}))
