"""Search for a minimum in a session, where each job depends on the one before, and run independent jobs as a batch.

First: eval "$(qiskit-runtime-server connect http://localhost:8000)"
"""

import numpy as np
from qiskit import QuantumCircuit
from qiskit.circuit import Parameter
from qiskit.quantum_info import SparsePauliOp
from qiskit.transpiler import generate_preset_pass_manager
from qiskit_ibm_runtime import Batch, QiskitRuntimeService, Session
from qiskit_ibm_runtime.executor_estimator import Estimator
from qiskit_ibm_runtime.executor_sampler import Sampler

service = QiskitRuntimeService()
backend = service.backend("fake_manila@aer")
manager = generate_preset_pass_manager(optimization_level=1, backend=backend)

circuit = QuantumCircuit(1)
circuit.ry(Parameter("angle"), 0)
isa_circuit = manager.run(circuit)
observable = SparsePauliOp("Z").apply_layout(isa_circuit.layout)

with Session(backend=backend) as session:
    estimator = Estimator(mode=session, options={"resilience_level": 0})
    angle = 0.5
    for step in range(5):
        # The gradient of a rotation is half the difference of the values a quarter turn away.
        shifted = [[angle + np.pi / 2], [angle - np.pi / 2], [angle]]
        forward, backward, value = estimator.run([(isa_circuit, observable, shifted)]).result()[0].data.evs
        print(f"step {step}: angle {angle:.3f}, <Z> {value:.3f}")
        angle -= 0.6 * (forward - backward)
print("session", session.session_id, session.status())

isa_measured = manager.run(circuit.measure_all(inplace=False))
with Batch(backend=backend) as batch:
    sampler = Sampler(mode=batch)
    jobs = {angle: sampler.run([(isa_measured, [angle])], shots=1000) for angle in (0.0, 1.0, 2.0, 3.0)}
for angle, job in jobs.items():
    print(f"angle {angle}: {job.result()[0].data.meas.get_counts()}")
print("batch", batch.session_id, batch.status())
