"""What an estimator does with the measurements that a circuit ends in: it leaves them out, as IBM's does.

An expectation value is that of the state before them. The client library says so of its estimator ("the final
measurement layer of the given circuit is removed and a new measurement layer with a dedicated classical register is
added", `qiskit_mitigation.MitigationTask.prepare`), and Qiskit says which they are
(`QuantumCircuit.remove_final_measurements`): those that nothing follows on their qubit but measurements and barriers
that are final themselves. Left in, they would make every X and Y on their qubits 0, and misread Z twice.

A measurement whose bit the circuit reads later is not final here, although no gate follows on its own qubit. An
outcome that nobody reads changes no expectation value of other qubits (deferred and implicit measurement: Nielsen,
Chuang, Quantum Computation and Quantum Information, section 4.4, https://doi.org/10.1017/CBO9780511976667).

    h 0; measure 0 -> c0                    h 0: <X> = 1, not 0
    h 0; measure 0 -> c0; x 0               as it is: the measurement collapses the state
    h 0; measure 0 -> c0; if c0: x 1        as it is
"""

from qiskit.circuit import CircuitInstruction, ClassicalRegister, Clbit, QuantumCircuit, Qubit, Store
from qiskit.circuit.classical import expr


def without_final_measurements(circuit: QuantumCircuit) -> QuantumCircuit:
    """Return `circuit` without its final measurements and barriers; without classical bits if nothing else uses them.

    The circuit itself is returned if it ends in no measurement.
    """
    final = _final(circuit)
    if not any(circuit.data[index].name == "measure" for index in final):
        return circuit
    kept = [instruction for index, instruction in enumerate(circuit.data) if index not in final]
    if circuit.num_identifiers or any(_classical(instruction) for instruction in kept):
        bare = circuit.copy_empty_like()
    else:
        bare = QuantumCircuit(name=circuit.name, global_phase=circuit.global_phase, metadata=circuit.metadata)
        bare.add_bits(circuit.qubits)
        for register in circuit.qregs:
            bare.add_register(register)
    for instruction in kept:
        bare.append(instruction)
    return bare


def _final(circuit: QuantumCircuit) -> set[int]:
    """Return the numbers of the final measurements and barriers."""
    found: set[int] = set()
    followed: set[Qubit] = set()
    read: set[Clbit] = set()
    for index in reversed(range(len(circuit.data))):
        instruction = circuit.data[index]
        ends = instruction.name in {"measure", "barrier"} and followed.isdisjoint(instruction.qubits)
        if ends and read.isdisjoint(instruction.clbits):
            found.add(index)
            continue
        followed.update(instruction.qubits)
        if instruction.name != "measure":
            read |= _classical(instruction)
    return found


def _classical(instruction: CircuitInstruction) -> set[Clbit]:
    """Return the bits that an instruction reads or writes."""
    bits = set(instruction.clbits)
    if isinstance(instruction.operation, Store):
        # Its bits are in its expressions alone.
        sides = (instruction.operation.lvalue, instruction.operation.rvalue)
        for target in (var.var for side in sides for var in expr.iter_vars(side)):
            if isinstance(target, ClassicalRegister):
                bits.update(target)
            elif isinstance(target, Clbit):
                bits.add(target)
    return bits
