"""Show what a backend is made of, how good it is, and how busy.

First: eval "$(qiskit-runtime-server connect http://localhost:8000)"
"""

from statistics import median

from qiskit_ibm_runtime import QiskitRuntimeService

service = QiskitRuntimeService()
print("least busy, 100 qubits or more:", service.least_busy(min_num_qubits=100).name)

for name in ("fake_manila@aer", "fake_marrakesh@aer", "fake_quantum_sim@aer"):
    backend = service.backend(name)
    status = backend.status()
    print(f"\n{name}: {status.status_msg}, {status.pending_jobs} jobs waiting")
    print("  qubits", backend.num_qubits)
    print("  gates ", ", ".join(sorted(backend.operation_names)))
    if (properties := backend.properties()) is None:
        print("  no noise, all qubits coupled")
        continue
    qubits = range(backend.num_qubits)
    print("  calibrated", properties.last_update_date)
    print(f"  median T1 {median(map(properties.t1, qubits)) * 1e6:.0f} us")
    print(f"  median readout error {median(map(properties.readout_error, qubits)):.2%}")
