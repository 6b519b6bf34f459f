"""Boxes circuits and builds their samplexes once for equal circuits and options, in all jobs of a worker.

Gates are twirled box by box, as a samplex draws it (Wallman, Emerson, 2016,
https://doi.org/10.1103/PhysRevA.94.052325).
The client's libraries make both while they prepare a program, and take longer than the simulation of a small circuit:

    ZNE at factors 1, 3, 5 in two pubs      three samplexes, and one more for the calibration of TREX
    the same circuit with other values      no new one, if its angles are parameters
    another strategy of twirling            others

What is kept follows from the circuit, without its name and metadata, and the options of boxing, and nothing else: a job
has the same bits with it as without it. Where accounts share workers, one job learns no more of another than that it
takes less time because an equal circuit was there before.
"""

import hashlib
import io
from collections.abc import Callable, Hashable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

from qiskit import qpy
from qiskit.circuit import QuantumCircuit
from samplomatic import build
from samplomatic.samplex import Samplex
from samplomatic.transpiler import generate_boxing_pass_manager

from qiskit_runtime_server.programs.private_names import building_by, preparing_by
from qiskit_runtime_server.simulation.components.last_circuits import MOST_KEPT, LastCircuits, size_of

# Of QPY, about.
_INSTRUCTION_BYTES: Final = 64

_PLAIN: Final = frozenset({"barrier", "delay", "measure", "reset"})

Key = tuple[bytes, tuple[tuple[str, Any], ...]]
Pair = tuple[QuantumCircuit, Samplex]


@dataclass(slots=True)
class _Built:
    """A circuit in boxes and, once it has been asked for, the template and the samplex that follow from it."""

    boxed: QuantumCircuit
    length: int
    pair: Pair | None = None

    @property
    def size(self) -> int:
        """How many instructions and bits it has, its expressions counted by the `length` of its QPY."""
        return size_of(self.boxed if self.pair is None else self.pair[0]) + self.length // _INSTRUCTION_BYTES


class BuiltCircuits:
    """Keeps circuits in boxes, their templates and samplexes; what was used last stays longest.

    All jobs get the same objects, so nobody may change them.
    """

    def __init__(self, most: int = MOST_KEPT) -> None:
        """Begin with nothing; `most` is what all templates may have together, as `size_of` counts."""
        self._most = most
        self._known: dict[Key, _Built] = {}
        self._circuits: dict[bytes, QuantumCircuit] = {}
        self._asked = LastCircuits[dict[Hashable, Key]](most)

    @contextmanager
    def kept(self) -> Iterator[None]:
        """Let the libraries take what is kept, and keep what they make."""
        with building_by(self._box, self._build), preparing_by(self._boxed):
            yield

    def same(self, circuit: QuantumCircuit) -> QuantumCircuit:
        """Return `circuit`, or one that is equal and was here before; without what people call it, if it is kept.

        What follows from a circuit that is the same object is found without reading it again.
        """
        if not _is_plain(circuit):
            return circuit
        circuit = _bare(circuit)
        digest = hashlib.sha256(_qpy(circuit)).digest()
        circuit = self._circuits[digest] = self._circuits.pop(digest, circuit)
        total = sum(map(size_of, self._circuits.values()))
        while total > self._most and self._circuits:
            total -= size_of(self._circuits.pop(next(iter(self._circuits))))
        return circuit

    def _boxed(
        self, circuit: QuantumCircuit, how: Hashable, make: Callable[[], tuple[QuantumCircuit, bool]]
    ) -> QuantumCircuit:
        """Return what `make` returns first for a circuit and `how`, or has returned, unless it says it may change."""
        keys = self._asked.of(circuit, None, dict)
        key = keys.get(how)
        if key in self._known:
            self._known[key] = self._known.pop(key)
            return self._known[key].boxed
        boxed, changes = make()
        key = None if changes else next((key for key, each in self._known.items() if each.boxed is boxed), None)
        if key is not None:
            keys[how] = key
        return boxed

    def _box(self, circuit: QuantumCircuit, options: Mapping[str, Any]) -> QuantumCircuit:
        """Return `circuit` in boxes; `options` are those of the pass manager."""
        passes = generate_boxing_pass_manager(**options)
        if not _is_plain(circuit):
            return passes.run(circuit)
        circuit = _bare(circuit)
        text = _qpy(circuit)
        key = (hashlib.sha256(text).digest(), tuple(sorted(options.items())))
        # Taken out and put back, so that the one used longest ago comes first.
        built = self._known.pop(key, None) or _Built(passes.run(circuit), len(text))
        self._known[key] = built
        self._forget()
        return built.boxed

    def _build(self, boxed: QuantumCircuit) -> Pair:
        """Return the template and the samplex of a circuit in boxes."""
        built = next((each for each in self._known.values() if each.boxed is boxed), None)
        template, samplex = build(boxed) if built is None or built.pair is None else built.pair
        if built is not None:
            built.pair = template, samplex
            self._forget()
        return template, samplex

    def _forget(self) -> None:
        sizes = {key: built.size for key, built in self._known.items()}
        total = sum(sizes.values())
        for key, size in sizes.items():
            if total <= self._most:
                return
            del self._known[key]
            total -= size


def _is_plain(circuit: QuantumCircuit) -> bool:
    """Whether all of a circuit is in its QPY: it has no gates of its own, whose names say nothing of what they do."""
    return all(part.is_standard_gate() or part.name in _PLAIN for part in circuit.data)


def _bare(circuit: QuantumCircuit) -> QuantumCircuit:
    """Return `circuit` without what people call it."""
    bare = circuit.copy(name="circuit")
    bare.metadata = {}
    return bare


def _qpy(circuit: QuantumCircuit) -> bytes:
    """Return what tells a circuit from others: its registers, instructions and angles, to the last bit."""
    file = io.BytesIO()
    qpy.dump(circuit, file)
    return file.getvalue()


# For the life of a worker process.
BUILT: Final = BuiltCircuits()
