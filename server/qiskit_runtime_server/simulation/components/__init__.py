"""The independent parts of a circuit: read (`reading`), taken apart (`split`), and written as circuits (`writing`).

Two qubits belong together if a gate joins them, or if one's instructions depend on what was measured of the other.
"""

from qiskit_runtime_server.simulation.components.component import Component
from qiskit_runtime_server.simulation.components.reading import MAX_INSTRUCTIONS
from qiskit_runtime_server.simulation.components.split import split

__all__ = ["MAX_INSTRUCTIONS", "Component", "split"]
