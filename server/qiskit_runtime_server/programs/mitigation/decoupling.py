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
from qiskit_runtime_server.programs.mitigation.narrowing import unregistered
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
    return _with_bits_of(circuit, scheduled)


def _on_one_register(circuit: QuantumCircuit) -> QuantumCircuit:
    """Return `circuit` with its qubits in a register "q", and each classical bit in some register.

    Qiskit's passes know the qubits of a device by that, and lose bits that are in no register.
    """
    loose = unregistered(circuit)
    of_device = [register.name for register in circuit.qregs] == ["q"] and circuit.qregs[0].size == circuit.num_qubits
    if of_device and not loose:
        return circuit
    physical = QuantumCircuit(QuantumRegister(circuit.num_qubits, "q"), circuit.clbits, *circuit.cregs, *loose)
    physical.compose(circuit, clbits=circuit.clbits, inplace=True)
    physical.metadata = circuit.metadata
    return physical


def _with_bits_of(circuit: QuantumCircuit, scheduled: QuantumCircuit) -> QuantumCircuit:
    """Return `scheduled` with the classical bits of `circuit`: passes put these in the order of the registers."""
    if (scheduled.clbits, scheduled.cregs) == (circuit.clbits, circuit.cregs):
        return scheduled
    ordered = QuantumCircuit(*scheduled.qregs, circuit.clbits, *circuit.cregs, metadata=circuit.metadata)
    ordered.compose(scheduled, clbits=scheduled.clbits, inplace=True)
    return ordered
