"""Pauli propagation: follows observables from the end of a circuit to its start, as sums of Pauli operators.

In the Heisenberg picture a Clifford gate takes a Pauli operator to another one, a rotation splits it in two, and noise
makes its coefficient smaller (Rall, Liang, Cook, Kretschmer, 2019, https://doi.org/10.1103/PhysRevA.99.062337). So what
matters is how many rotations an observable meets, not how many qubits are entangled. `terms` holds the sums, `lowering`
reads circuits, `values` decides how small a coefficient may be, and `parities` makes bits of the values.
"""
