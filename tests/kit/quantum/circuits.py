"""Small circuits that many tests and benchmarks run, and how they are written for a device and as QPY."""

import io
import math

from ibm_quantum_schemas.common.annotation_serializer import AnnotationSerializer
from qiskit import QuantumCircuit, qpy
from qiskit.providers import BackendV2
from qiskit.transpiler import generate_preset_pass_manager


def bell(num_qubits: int = 5, num_clbits: int = 0) -> QuantumCircuit:
    """Return a Bell pair of qubits 0 and 1, made of gates that fake_manila has, and not measured."""
    circuit = QuantumCircuit(num_qubits, num_clbits)
    circuit.rz(math.pi / 2, 0)
    circuit.sx(0)
    circuit.rz(math.pi / 2, 0)
    circuit.cx(0, 1)
    return circuit


def idling(num_gates: int = 3) -> QuantumCircuit:
    """Return a circuit for fake_manila in which qubit 0 is excited, and waits for cx gates on two others."""
    circuit = QuantumCircuit(5)
    circuit.x(0)
    circuit.barrier()
    for _ in range(num_gates):
        circuit.cx(1, 2)
    circuit.barrier()
    circuit.cx(0, 1)
    return circuit


def ghz(num_qubits: int, *, measured: bool = True) -> QuantumCircuit:
    circuit = QuantumCircuit(num_qubits)
    circuit.h(0)
    for qubit in range(num_qubits - 1):
        circuit.cx(qubit, qubit + 1)
    if measured:
        circuit.measure_all()
    return circuit


def isa_circuit(circuit: QuantumCircuit, backend: BackendV2) -> QuantumCircuit:
    """Return the circuit as the backend can run it, the same at each call."""
    return generate_preset_pass_manager(backend=backend, optimization_level=1, seed_transpiler=1).run(circuit)


def isa_bell(backend: BackendV2) -> QuantumCircuit:
    """Return a measured Bell circuit for a device."""
    return isa_circuit(ghz(2), backend)


def in_qpy(*circuits: QuantumCircuit, version: int = 17) -> bytes:
    """Return circuits as the client writes them, annotations of boxes included."""
    stream = io.BytesIO()
    factories = {"samplomatic": AnnotationSerializer}
    qpy.dump(list(circuits), stream, version=version, annotation_factories=factories)
    return stream.getvalue()
