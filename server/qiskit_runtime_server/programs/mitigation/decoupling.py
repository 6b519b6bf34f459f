"""Fills the times in which qubits of a circuit wait with pulses, as the client library does.

A detuned qubit turns by as much before a pulse about X as it turns back after it (Viola, Knill, Lloyd, 1999,
https://doi.org/10.1103/PhysRevLett.82.2417):

    XX in a wait of 400 dt     delay 100, x, delay 200, x, delay 100
    detuned by d               phase d * (100 - 200 + 100) = 0
    relaxing with T1           as without pulses: it has no memory
"""

from qiskit.circuit import QuantumCircuit, QuantumRegister
from qiskit.transpiler.exceptions import TranspilerError
from qiskit_ibm_runtime.executor.dynamical_decoupling import generate_dd_pass_manager

from qiskit_runtime_server.errors import UnsupportedOptionError
from qiskit_runtime_server.programs.device.device import Device
from qiskit_runtime_server.programs.options.mitigation import Decoupling


def decoupled(circuit: QuantumCircuit, device: Device, decoupling: Decoupling, where: str) -> QuantumCircuit:
    """Return `circuit` scheduled on `device`, with delays and pulses where its qubits wait.

    Raises:
        UnsupportedOptionError: If it cannot be scheduled: it has control flow, or the device no durations.
    """
    option = "Option dynamical_decoupling.enable is not supported"
    if circuit.has_control_flow_op():
        raise UnsupportedOptionError(f"{option} for circuits with control flow ({where}).")
    try:
        scheduled: QuantumCircuit = generate_dd_pass_manager(device, decoupling).run(_on_one_register(circuit))
    except TranspilerError as error:
        raise UnsupportedOptionError(
            f"{option} here: {where} cannot be scheduled on {device.name}: {error.message}"
        ) from error
    return scheduled


def _on_one_register(circuit: QuantumCircuit) -> QuantumCircuit:
    """Return `circuit` with its qubits in a register "q": by that, Qiskit's passes know those of a device."""
    if [register.name for register in circuit.qregs] == ["q"] and circuit.qregs[0].size == circuit.num_qubits:
        return circuit
    physical = QuantumCircuit(QuantumRegister(circuit.num_qubits, "q"), circuit.clbits, *circuit.cregs)
    physical.compose(circuit, clbits=circuit.clbits, inplace=True)
    physical.metadata = circuit.metadata
    return physical
