"""Splits a circuit as wide as a device into small circuits that know nothing of each other.

What cannot influence any classical bit is left out: of a circuit, only the light cone of its measurements matters
(Bravyi, Gosset, Koenig, 2018, https://arxiv.org/abs/1704.00690). The rest falls apart where nothing joins it, found by
union and find (Tarjan, 1975, https://doi.org/10.1145/321879.321884): the state of independent parts is a product, and
so is the distribution of their outcomes.

    h q0; cx q0, q1; x q2; h q3; measure q0, q1, q2      two components, (0, 1) and (2,); q3 is not measured
"""

from collections.abc import Sequence

from qiskit.circuit import QuantumCircuit, Reset

from qiskit_runtime_server.errors import InvalidInputError
from qiskit_runtime_server.simulation.components.component import Component, Step
from qiskit_runtime_server.simulation.components.reading import Reader
from qiskit_runtime_server.simulation.components.writing import Writer


def split(circuit: QuantumCircuit, labels: frozenset[str] = frozenset()) -> list[Component]:
    """Return the components of `circuit` that write classical bits, in the order of their first qubits.

    Args:
        circuit: Its qubits are the first ones of the device.
        labels: Those that mean something to the noise, which instructions keep; all others are names for drawings.

    Raises:
        InvalidInputError: If it has more than `MAX_INSTRUCTIONS`, or a construct that cannot be simulated.
    """
    if circuit.num_stretches or circuit.num_input_vars:
        raise InvalidInputError(
            "Circuits with stretches or input variables cannot be simulated: give all of them values first."
        )
    steps = Reader().steps(circuit, range(circuit.num_qubits), range(circuit.num_clbits))
    groups = _groups(_effective(steps))
    written = [group for group in groups if any(bit >= 0 for step in group for bit in step.writes)]
    return [Writer(circuit, group, labels).component() for group in written]


def _effective(steps: Sequence[Step]) -> list[Step]:
    """Return the steps that can influence a classical bit."""
    live: set[int] = set()
    kept: list[Step] = []
    for step in reversed(steps):
        if not step.writes and live.isdisjoint(step.qubits):
            continue
        kept.append(step)
        if isinstance(step.operation, Reset):
            live.difference_update(step.qubits)
        else:
            live.update(step.qubits)
    return kept[::-1]


def _groups(steps: Sequence[Step]) -> list[list[Step]]:
    """Return the steps, those together that are connected, each group in order."""
    parents: dict[tuple[str, int], tuple[str, int]] = {}

    def root(node: tuple[str, int]) -> tuple[str, int]:
        while parents.setdefault(node, node) != node:
            parents[node] = parents[parents[node]]
            node = parents[node]
        return node

    for step in steps:
        first, *others = _nodes(step)
        for node in others:
            parents[root(node)] = root(first)
    groups: dict[tuple[str, int], list[Step]] = {}
    for step in steps:
        groups.setdefault(root(_nodes(step)[0]), []).append(step)
    return sorted(groups.values(), key=lambda group: min((q for step in group for q in step.qubits), default=-1))


def _nodes(step: Step) -> list[tuple[str, int]]:
    qubits = [("qubit", number) for number in step.qubits]
    return qubits + [("clbit", number) for number in sorted({*step.writes, *step.reads})]
