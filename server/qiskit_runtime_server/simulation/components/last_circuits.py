"""What was worked out of the last circuits: tasks are first planned, then run, and many jobs repeat the one before.

Where there is no room for all, what was used longest ago goes: no other rule that does not know what is to come has
fewer misses in the worst case (Sleator, Tarjan, 1985, https://doi.org/10.1145/2786.2793).
"""

from collections.abc import Callable
from typing import Final, Generic, TypeVar

from qiskit.circuit import QuantumCircuit

ResultT = TypeVar("ResultT")

MOST_INSTRUCTIONS: Final = 10_000


class LastCircuits(Generic[ResultT]):
    """Keeps something of circuits and of what belongs to them, as their noise; what was asked for last stays longest.

    Circuits, and what belongs to them, are told apart by identity, so nobody may change them meanwhile.
    """

    def __init__(self, most_instructions: int = 0) -> None:
        """Begin with nothing.

        Args:
            most_instructions: That all circuits together may have; the last one is kept whatever it has.
        """
        self._most = most_instructions
        self._size = 0
        self._known: dict[tuple[int, int], tuple[QuantumCircuit, object, ResultT]] = {}

    def of(self, circuit: QuantumCircuit, other: object, make: Callable[[], ResultT]) -> ResultT:
        """Return what `make` returns, or has returned, for a circuit and what belongs to it."""
        # The objects are kept as well, so that no other one gets their ids.
        key = (id(circuit), id(other))
        known = self._known.pop(key, None)
        if known is None:
            known = (circuit, other, make())
            self._size += len(circuit.data)
        self._known[key] = known
        while self._size > self._most and len(self._known) > 1:
            first, *_ = self._known.pop(next(iter(self._known)))
            self._size -= len(first.data)
        return known[2]
