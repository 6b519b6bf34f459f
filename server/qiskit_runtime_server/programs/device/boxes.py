"""Opens boxes: their contents are run in their place.

A box groups instructions and, as Qiskit defines it, holds other instructions back at both of its ends like a barrier. A
duration, and annotations that only a samplex follows, say more than that. Such a box is refused: its contents alone
would be another circuit.
"""

from collections.abc import Sequence
from typing import Any

from qiskit.circuit import BoxOp, Clbit, QuantumCircuit, Qubit
from samplomatic.annotations import Tag

from qiskit_runtime_server.errors import InvalidInputError


def check_box(box: BoxOp, where: str) -> None:
    """Check that to run the contents of `box` is all that it asks for.

    Raises:
        InvalidInputError: If it has a duration, or an annotation other than a tag.
    """
    if box.duration is not None:
        raise InvalidInputError(f"{where}: boxes with a duration cannot be simulated: give them delays instead.")
    # Of the annotations that there are, a tag is the only one that asks for nothing.
    asked = [type(annotation).__name__ for annotation in box.annotations if not isinstance(annotation, Tag)]
    if asked:
        raise InvalidInputError(
            f"{where}: a box has the annotation {asked[0]}, which only a samplex follows: build one with"
            " samplomatic.build and run it with Executor, or take the annotations off with"
            " samplomatic.utils.strip_annotations."
        )


def opened(circuit: QuantumCircuit) -> QuantumCircuit:
    """Return `circuit` with the contents of its boxes in their place, also of those in boxes.

    Barriers mark where boxes of several qubits began and ended. A circuit with other control flow or stores, or with
    variables that belong to a box, is returned as it is: the engine opens its boxes, and knows what expressions speak
    of.
    """
    if not any(part.name == "box" for part in circuit.data) or not _is_flat(circuit):
        return circuit
    result = circuit.copy_empty_like()
    _Opener(result).add(circuit, circuit.qubits, circuit.clbits)
    return result


def _is_flat(circuit: QuantumCircuit) -> bool:
    """Whether `circuit` has no stores and no control flow but boxes, and these have no variables of their own."""
    for part in circuit.data:
        if part.name == "box":
            body = part.operation.body
            if body.num_declared_vars or body.num_declared_stretches or not _is_flat(body):
                return False
        elif part.is_control_flow() or part.name == "store":
            return False
    return True


class _Opener:
    """Writes instructions into a circuit, those of boxes among them."""

    def __init__(self, result: QuantumCircuit) -> None:
        self._result = result
        # An end is marked when something follows it, so that last measurements stay the last instructions.
        self._ends: list[Sequence[Qubit]] = []

    def add(self, circuit: QuantumCircuit, qubits: Sequence[Qubit], clbits: Sequence[Clbit]) -> None:
        """Write `circuit`, whose bits are called `qubits` and `clbits` in the result."""
        names: dict[Any, Any] = dict(zip(circuit.qubits, qubits, strict=True))
        names |= zip(circuit.clbits, clbits, strict=True)
        for part in circuit.data:
            on = [names[qubit] for qubit in part.qubits]
            into = [names[clbit] for clbit in part.clbits]
            self._mark_ends(on)
            if part.name == "box":
                self._add_box(part.operation, on, into)
            else:
                self._result.append(part.operation, on, into, copy=False)

    def _add_box(self, box: BoxOp, qubits: Sequence[Qubit], clbits: Sequence[Clbit]) -> None:
        marked = len(qubits) > 1
        if marked:
            self._result.barrier(qubits)
        self._result.global_phase += box.body.global_phase
        self.add(box.body, qubits, clbits)
        if marked:
            self._ends.append(qubits)

    def _mark_ends(self, qubits: Sequence[Qubit]) -> None:
        due = [end for end in self._ends if not set(end).isdisjoint(qubits)]
        self._ends = [end for end in self._ends if set(end).isdisjoint(qubits)]
        for end in due:
            self._result.barrier(end)
