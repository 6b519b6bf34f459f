"""Near-Clifford circuits: Clifford gates but for a few, on any number of qubits.

The Clifford gates are taken out of the circuit, so that what is left of it are rotations about products of Pauli
operators. A rotation about a product that commutes with all that the state is known to be does nothing but turn a
phase; any other doubles the state that has to be held, until a measurement halves it again. So a state has 2^k
amplitudes, where k is at most the number of rotations, whatever the number of qubits (Chase, Labib, 2026,
https://arxiv.org/abs/2604.27058). The package clifft does that; `library` calls it, and `lowering` writes circuits for
it. Errors are Pauli channels, as for Clifford frames.
"""
