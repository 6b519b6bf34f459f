"""The independent parts of a circuit: read (`reading`), taken apart (`split`), and written as circuits (`writing`).

Two qubits belong together if a gate joins them, or if one's instructions depend on what was measured of the other. The
outcomes of a shallow circuit depend on few qubits each (Bravyi, Gosset, Koenig, 2018, https://arxiv.org/abs/1704.00690),
so wide circuits often fall apart.
"""

from qiskit_runtime_server.simulation.components.component import Component
from qiskit_runtime_server.simulation.components.reading import MAX_INSTRUCTIONS
from qiskit_runtime_server.simulation.components.split import split

__all__ = ["MAX_INSTRUCTIONS", "Component", "split"]
