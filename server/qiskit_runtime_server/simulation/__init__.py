"""What programs and executors share: circuits taken apart, their errors, and what can be said of them exactly.

A circuit as wide as a device falls into components that know nothing of each other (`components`). Each gets its part
of the noise (`noise`), and is simulated alone (`engine`): single qubits as a product of small matrices
(`single_qubits`), small noisy components by evolving density matrices (`density`), the rest by whatever simulator there
is (`contract`). A Bell pair on a device of 156 qubits, all of them measured, is one component of two qubits and 154 of
one.
"""
