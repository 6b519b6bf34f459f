"""What was worked out of the last circuit: a task is first offered to a simulator, then run, perhaps in pieces."""

from collections.abc import Callable
from typing import Generic, TypeVar

from qiskit.circuit import QuantumCircuit
from qiskit_aer.noise import NoiseModel

ResultT = TypeVar("ResultT")


class LastCircuit(Generic[ResultT]):
    """Keeps something of one circuit with its noise, until it is asked for that of another one.

    Circuits and noise are told apart by identity, so nobody may change them meanwhile.
    """

    def __init__(self) -> None:
        """Begin with nothing."""
        self._known: tuple[QuantumCircuit, NoiseModel | None, ResultT] | None = None

    def of(self, circuit: QuantumCircuit, noise: NoiseModel | None, make: Callable[[], ResultT]) -> ResultT:
        """Return what `make` has returned for a circuit and its noise."""
        known = self._known
        if known is None or known[0] is not circuit or known[1] is not noise:
            known = self._known = (circuit, noise, make())
        return known[2]
