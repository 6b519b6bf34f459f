"""Sample a Bell circuit and, in the same job, a circuit with a parameter, for eight of its values.

First: eval "$(qiskit-runtime-server connect http://localhost:8000)"
"""

import numpy as np
from qiskit import QuantumCircuit
from qiskit.circuit import Parameter
from qiskit.transpiler import generate_preset_pass_manager
from qiskit_ibm_runtime import QiskitRuntimeService
from qiskit_ibm_runtime.executor_sampler import Sampler

service = QiskitRuntimeService()
backend = service.backend("fake_marrakesh@aer")

bell = QuantumCircuit(2)
bell.h(0)
bell.cx(0, 1)
bell.measure_all()

rotation = QuantumCircuit(1)
rotation.ry(Parameter("angle"), 0)
rotation.measure_all()
angles = np.linspace(0, np.pi, 8)

# Circuits must use the backend's gates and couplings before they are submitted.
manager = generate_preset_pass_manager(optimization_level=1, backend=backend)
isa_bell, isa_rotation = manager.run([bell, rotation])

sampler = Sampler(mode=backend)
job = sampler.run([(isa_bell,), (isa_rotation, angles[:, np.newaxis])], shots=4096)
print("job", job.job_id())
bell_result, rotation_result = job.result()

print("Bell", bell_result.data.meas.get_counts())
for index, angle in enumerate(angles):
    ones = rotation_result.data.meas.get_counts(index).get("1", 0) / 4096
    print(f"angle {angle:.2f}: 1 in {ones:.3f} of the shots, without noise {np.sin(angle / 2) ** 2:.3f}")
