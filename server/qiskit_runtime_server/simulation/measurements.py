"""Which measurements are the last thing that happens to their qubits.

If all of them are, a circuit's shots are independent draws from one distribution, which can be computed first (the
principle of deferred measurement: Nielsen, Chuang, Quantum Computation and Quantum Information, section 4.4,
https://doi.org/10.1017/CBO9780511976667):

    h q0; cx q0, q1; measure q0 -> c0; measure q1 -> c1      {0: 0, 1: 1}
    measure q0 -> c0; h q0; measure q0 -> c1                 None
"""

from qiskit.circuit import QuantumCircuit, Qubit


def terminal_measurements(circuit: QuantumCircuit) -> dict[int, int] | None:
    """Return the clbit that each measured qubit ends in; None if the measurements are not all at the end."""
    qubits = {qubit: i for i, qubit in enumerate(circuit.qubits)}
    clbits = {clbit: i for i, clbit in enumerate(circuit.clbits)}
    ended: dict[Qubit, int] = {}
    for instruction in circuit.data:
        if instruction.is_control_flow() or instruction.name == "store":
            return None
        # Most come before the first measurement, and jobs with few shots take little longer than to look at them.
        if ended and not ended.keys().isdisjoint(instruction.qubits):
            return None
        if instruction.name == "measure":
            ended[instruction.qubits[0]] = clbits[instruction.clbits[0]]
    found = {qubits[qubit]: clbit for qubit, clbit in ended.items()}
    return found if len(set(found.values())) == len(found) else None
