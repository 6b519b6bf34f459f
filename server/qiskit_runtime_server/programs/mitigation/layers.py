"""The layers of two-qubit gates in circuits, whose errors can be learned, and what is known of these errors.

Gates that are done at once have errors of their own as a layer, spectators included (van den Berg et al., 2023,
https://doi.org/10.1038/s41567-023-02042-2), so models belong to layers and not to gates:

    cx 0, 1; cx 2, 3; barrier; cx 0, 1; cx 2, 3     one layer, {cx (0, 1), cx (2, 3)}, which occurs twice
    cz 1, 0                                         the same layer as cz 0, 1: cz is symmetric
    cx 1, 0                                         another layer than cx 0, 1
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Self

from qiskit.circuit import CircuitInstruction, QuantumCircuit, QuantumRegister
from qiskit.quantum_info import PauliLindbladMap, PauliList
from qiskit_ibm_runtime.results import LayerError, PauliLindbladError
from samplomatic.annotations import InjectNoise
from samplomatic.utils import find_unique_box_instructions, get_annotation

from qiskit_runtime_server.programs.mitigation.built import BUILT
from qiskit_runtime_server.programs.private_names import boxed_layers
from qiskit_runtime_server.programs.wire.reading import damage

Gates = frozenset[tuple[str, tuple[int, ...]]]
"""Gates by their names and qubits of the device."""

# The order of their qubits means nothing.
_SYMMETRIC: Final = frozenset({"cz", "rzz", "swap", "iswap"})


LayerKey = tuple[Gates, tuple[int, ...]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """A set of two-qubit gates that are done at once, and the qubits that are twirled along.

    Attributes:
        box: Of the circuit it was found in, without the random gates.
        places: Of the box's qubits in that circuit, whose qubits rise with those of the device.
        ref: What the box calls its noise.
        qubits: Of the device, rising.
        gates: On qubits of the device.
        occurrences: In all circuits together.
    """

    box: CircuitInstruction
    places: tuple[int, ...]
    ref: str
    qubits: tuple[int, ...]
    gates: Gates
    occurrences: int

    @classmethod
    def of(cls, box: CircuitInstruction, places: Sequence[int], qubits: Sequence[int], occurrences: int) -> Self:
        """Return the layer in a box that acts on `places` of a circuit, whose qubits are `qubits` of the device."""
        own = [qubits[place] for place in places]
        return cls(
            box=box,
            places=tuple(places),
            ref=get_annotation(box.operation, InjectNoise).ref,
            qubits=tuple(sorted(own)),
            gates=_gates(box.operation.body, own),
            occurrences=occurrences,
        )

    @property
    def _ranks(self) -> list[int]:
        """Which of the layer's qubits each qubit of the box is."""
        return [sorted(self.places).index(place) for place in self.places]

    @property
    def key(self) -> LayerKey:
        """What tells it from other layers: its gates, and the qubits that are twirled along."""
        return self.gates, self.qubits

    def instruction(self, num_qubits: int) -> CircuitInstruction:
        """Return the box on a device of `num_qubits` qubits."""
        device = QuantumRegister(num_qubits, "q")
        return CircuitInstruction(self.box.operation, [device[self.qubits[rank]] for rank in self._ranks])

    def circuit(self) -> QuantumCircuit:
        """Return the gates on as many qubits as the layer has, in their order."""
        circuit = QuantumCircuit(len(self.qubits))
        body = self.box.operation.body
        where = dict(zip(body.qubits, self._ranks, strict=True))
        for instruction in body.data:
            if instruction.name != "barrier":
                circuit.append(instruction.operation, [where[qubit] for qubit in instruction.qubits])
        return circuit


def found_layers(circuits: Iterable[QuantumCircuit], strategy: str, qubits: Sequence[int]) -> list[Layer]:
    """Return the distinct layers of `circuits`, the most frequent first, then those of the most gates.

    Args:
        circuits: All of the same qubits.
        strategy: Which qubits are twirled along, as in the twirling options.
        qubits: Of the device, rising, for those of the circuits.

    Raises:
        InvalidInputError: If a circuit cannot be twirled.
    """
    boxing = {"enable_gates": True, "enable_measures": True, "twirling_strategy": strategy.replace("-", "_")}
    boxes: list[CircuitInstruction] = []
    places: dict[object, int] = {}
    for circuit in circuits:
        with damage("a circuit cannot be twirled"), BUILT.kept():
            boxed = boxed_layers(circuit, {**boxing, "measure_annotations": "all"})
        places.update({qubit: place for place, qubit in enumerate(boxed.qubits)})
        boxes += [box for box in boxed if box.name == "box" and get_annotation(box.operation, InjectNoise) is not None]
    counts = Counter(get_annotation(box.operation, InjectNoise).ref for box in boxes)
    unique = find_unique_box_instructions(boxes, normalize_annotations=None, undress_boxes=True)
    layers = [
        Layer.of(box, [places[q] for q in box.qubits], qubits, counts[get_annotation(box.operation, InjectNoise).ref])
        for box in unique
    ]
    return sorted(layers, key=lambda layer: (-layer.occurrences, -len(layer.gates)))


def known_errors(layer: Layer, known: Iterable[LayerError]) -> PauliLindbladMap | None:
    """Return what `known` says of the errors of `layer`, for the layer's qubits in rising order; None if nothing.

    It is about this layer if it has the same two-qubit gates, and no error on other qubits than the layer's. Of several
    the one for just the layer's qubits holds, else the one for the most: the same gates are other layers with other
    qubits that are twirled along.
    """
    candidates = [one for one in known if one.error is not None and _gates(one.circuit, one.qubits) == layer.gates]
    candidates.sort(key=lambda one: (tuple(sorted(one.qubits)) != layer.qubits, -len(one.qubits)))
    placed = (_placed_errors(one, layer.qubits) for one in candidates)
    return next((errors for errors in placed if errors is not None), None)


def layer_error(layer: Layer, errors: PauliLindbladMap | None) -> LayerError:
    """Return what is known of a layer, for its qubits in rising order, in the form of the legacy noise learner."""
    if errors is None:
        return LayerError(layer.circuit(), list(layer.qubits), None)
    labels, rates = [], []
    for letters, places, rate in errors.to_sparse_list():
        label = dict(zip(places, letters, strict=True))
        labels.append("".join(label.get(place, "I") for place in reversed(range(errors.num_qubits))))
        rates.append(rate)
    error = PauliLindbladError(PauliList(labels), rates)
    return LayerError(layer.circuit(), list(layer.qubits), error)


def _gates(circuit: QuantumCircuit, qubits: Sequence[int]) -> Gates:
    where = dict(zip(circuit.qubits, qubits, strict=True))
    found = set()
    for instruction in circuit.data:
        own = tuple(where[qubit] for qubit in instruction.qubits)
        if len(own) > 1 and instruction.name != "barrier":
            found.add((instruction.name, tuple(sorted(own)) if instruction.name in _SYMMETRIC else own))
    return frozenset(found)


def _placed_errors(known: LayerError, qubits: Sequence[int]) -> PauliLindbladMap | None:
    places = {qubit: place for place, qubit in enumerate(qubits)}
    terms = []
    for pauli, rate in zip(known.error.generators.to_labels(), known.error.rates.tolist(), strict=True):
        support = [(letter, known.qubits[i]) for i, letter in enumerate(reversed(pauli)) if letter != "I"]
        if any(qubit not in places for _, qubit in support):
            return None
        terms.append(("".join(letter for letter, _ in support), [places[qubit] for _, qubit in support], rate))
    return PauliLindbladMap.from_sparse_list(terms, num_qubits=len(qubits))
