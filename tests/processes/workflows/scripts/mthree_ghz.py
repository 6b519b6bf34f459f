"""Correct the readout errors in the counts of a GHZ state with mthree.

First: eval "$(qiskit-runtime-server connect http://localhost:8000)"
"""

import json

import mthree
from qiskit import QuantumCircuit
from qiskit.transpiler import generate_preset_pass_manager
from qiskit_ibm_runtime import QiskitRuntimeService, SamplerV2

SHOTS = 20_000

backend = QiskitRuntimeService().backend("fake_kolkata@aer")

ghz = QuantumCircuit(5)
ghz.h(0)
for qubit in range(4):
    ghz.cx(qubit, qubit + 1)
ghz.measure_all()
isa = generate_preset_pass_manager(optimization_level=1, backend=backend, seed_transpiler=1).run(ghz)
mapping = mthree.utils.final_measurement_mapping(isa)

mitigation = mthree.M3Mitigation(backend)
mitigation.system.set_execution_options(simulator={"seed_simulator": 13})
mitigation.cals_from_system(mapping, shots=SHOTS)

sampler = SamplerV2(mode=backend, options={"simulator": {"seed_simulator": 17}})
job = sampler.run([isa], shots=SHOTS)
counts = job.result()[0].data.meas.get_counts()
quasi = mitigation.apply_correction(counts, mapping, return_mitigation_overhead=True)

print(
    json.dumps(
        {
            "counts": counts,
            "mitigated": {bits: float(value) for bits, value in quasi.items()},
            "std": quasi.stddev(),
            "calibrations": {qubit: mitigation.single_qubit_cals[qubit].tolist() for qubit in mapping.values()},
            "shots": SHOTS,
            "jobs": [job.job_id()],
        }
    )
)
