"""What was worked out of the last circuits: tasks are first planned, then run, and many jobs repeat the one before.

Where there is no room for all, what was used longest ago goes: no other rule that does not know what is to come has
fewer misses in the worst case (Sleator, Tarjan, 1985, https://doi.org/10.1145/2786.2793).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Generic, TypeVar
from weakref import ref

from qiskit.circuit import QuantumCircuit

ResultT = TypeVar("ResultT")

MOST_KEPT: Final = 10_000
"""Instructions and bits of the circuits that one thing is kept of."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Known(Generic[ResultT]):
    circuit: ref[QuantumCircuit]
    other: object
    size: int
    result: ResultT


class LastCircuits(Generic[ResultT]):
    """Keeps something of circuits and of what belongs to them, as their noise, for as long as there are these circuits.

    What was asked for last stays longest. Circuits, and what belongs to them, are told apart by identity, so nobody may
    change them meanwhile.
    """

    def __init__(self, most: int = 0) -> None:
        """Begin with nothing.

        Args:
            most: What all circuits together may have, as `size_of` counts; the last one is kept whatever it has.
        """
        self._most = most
        self._known: dict[tuple[int, int], _Known[ResultT]] = {}

    def of(self, circuit: QuantumCircuit, other: object, make: Callable[[], ResultT]) -> ResultT:
        """Return what `make` returns, or has returned, for a circuit and what belongs to it."""
        key = (id(circuit), id(other))
        known = self._known.pop(key, None)
        if known is None:
            # A circuit is forgotten before another one can get its id; what belongs to it is kept.
            gone = ref(circuit, lambda _: self._known.pop(key, None))
            known = _Known(circuit=gone, other=other, size=size_of(circuit), result=make())
        self._known[key] = known
        size = sum(each.size for each in self._known.values())
        while size > self._most and len(self._known) > 1:
            size -= self._known.pop(next(iter(self._known))).size
        return known.result


def size_of(circuit: QuantumCircuit) -> int:
    """Return how many instructions and bits a circuit has: bits take memory even where nothing happens on them."""
    bits: int = circuit.num_qubits + circuit.num_clbits + sum(map(len, (*circuit.qregs, *circuit.cregs)))
    return len(circuit.data) + bits
