"""Takes the qubits out of circuits that nothing happens on.

Samplexes take time for every qubit of a circuit, and circuits are as wide as a device. A qubit that nothing acts on is
in a product with all others, which have the same state without it (Nielsen, Chuang, Quantum Computation and Quantum
Information, section 2.2.8, https://doi.org/10.1017/CBO9780511976667).

    cx 5, 7 on 127 qubits, observable Z on 9     qubits [5, 7, 9]
    its circuit on these                         cx 0, 1 on 3 qubits
    strategy "all"                               all 127 qubits, as they are twirled
"""

from collections.abc import Iterable, Sequence

from qiskit.circuit import ClassicalRegister, QuantumCircuit
from qiskit.primitives.containers.bindings_array import BindingsArray


def used_qubits(circuits: Iterable[QuantumCircuit], strategy: str, others: Iterable[int] = ()) -> list[int]:
    """Return the qubits that a twirled circuit needs, rising; barriers alone do not use one.

    Args:
        circuits: Without control flow.
        strategy: For twirling; "all" needs all qubits.
        others: To be kept beside those of the circuits.
    """
    circuits = list(circuits)
    if strategy == "all":
        return list(range(max(circuit.num_qubits for circuit in circuits)))
    found = set(others)
    for circuit in circuits:
        places = {qubit: place for place, qubit in enumerate(circuit.qubits)}
        found.update(places[q] for part in circuit.data if part.name != "barrier" for q in part.qubits)
    return sorted(found)


def narrowed(circuit: QuantumCircuit, qubits: Sequence[int]) -> QuantumCircuit:
    """Return `circuit` with nothing but `qubits`, in this order; nothing but barriers may act on others.

    Each of its classical bits is in a register. Its global phase, which nobody sees, is 0: samplexes know no parameters
    that are nowhere else; `values_of` leaves out theirs.
    """
    kept = {circuit.qubits[qubit]: place for place, qubit in enumerate(qubits) if qubit < circuit.num_qubits}
    result = QuantumCircuit(len(qubits), metadata=circuit.metadata)
    result.add_bits(circuit.clbits)
    for register in (*circuit.cregs, *unregistered(circuit)):
        result.add_register(register)
    for instruction in circuit.data:
        places = [kept[qubit] for qubit in instruction.qubits if qubit in kept]
        if instruction.name != "barrier":
            result.append(instruction.operation, places, instruction.clbits)
        elif places:
            result.barrier(places)
    return result


def values_of(circuit: QuantumCircuit, values: BindingsArray) -> BindingsArray:
    """Return the values of those parameters that `circuit` has, in the same shape."""
    kept = {parameter.name for parameter in circuit.parameters}
    table = {}
    for names, columns in values.data.items():
        own = [place for place, name in enumerate(names) if name in kept]
        if own:
            table[tuple(names[place] for place in own)] = columns[..., own]
    return BindingsArray(table, shape=values.shape)


def unregistered(circuit: QuantumCircuit) -> list[ClassicalRegister]:
    """Return a register of the classical bits that are in none, if there are some: Qiskit's passes lose them."""
    bits = [bit for bit in circuit.clbits if not circuit.find_bit(bit).registers]
    # Longer than any other name.
    name = "unregistered" + "".join(register.name for register in circuit.cregs)
    return [ClassicalRegister(name=name, bits=bits)] if bits else []
