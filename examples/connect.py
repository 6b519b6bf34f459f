"""Connect with nothing but environment variables and list the backends.

First: eval "$(qiskit-runtime-server connect http://localhost:8000)"
"""

from qiskit_ibm_runtime import QiskitRuntimeService

service = QiskitRuntimeService()

for backend in service.backends():
    print(f"{backend.name:30} {backend.num_qubits:4} qubits")
