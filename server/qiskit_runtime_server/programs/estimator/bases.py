"""Measurement bases of the estimator: terms of observables that commute qubit by qubit are measured at once.

Two terms share a basis if they have the same Pauli letter on every qubit that both act on (Verteletskyi, Yen,
Izmaylov, https://doi.org/10.1063/1.5141458); projectors are read in the basis that they project on.

    ZZI, ZIX, IZX     one basis: Z on the two qubits on the left, X on the right one
    XZI               another one

Where shots are drawn of parities alone, a basis has no more terms than can be drawn together (`parities.check`).
"""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray
from qiskit.circuit import ClassicalRegister, QuantumCircuit
from qiskit.primitives.containers.estimator_pub import EstimatorPub

from qiskit_runtime_server.errors import NotIsaError
from qiskit_runtime_server.programs.device.device import Device
from qiskit_runtime_server.simulation.pauli_propagation.parities import TooManyParitiesError, check

# The basis that shows each letter of an observable: bit 0 for X, bit 1 for Z, both for Y.
_BASIS: Final = {"X": 1, "+": 1, "-": 1, "Y": 3, "r": 3, "l": 3, "Z": 2, "0": 2, "1": 2}

_SPELLED_OUT: Final = 6

# Gates that turn a basis into Z, for the instruction sets there are; the first that the qubit has is taken.
_ROTATIONS: Final[Mapping[int, Sequence[Sequence[tuple[str, Sequence[float]]]]]] = {
    1: (
        (("rz", (math.pi / 2,)), ("sx", ())),
        (("h", ()),),
        (("ry", (-math.pi / 2,)),),
        (("u", (math.pi / 2, 0.0, math.pi)),),
        (("u3", (math.pi / 2, 0.0, math.pi)),),
    ),
    3: (
        (("sx", ()),),
        (("sdg", ()), ("h", ())),
        (("rx", (math.pi / 2,)),),
        (("u", (math.pi / 2, 0.0, math.pi / 2)),),
        (("u3", (math.pi / 2, 0.0, math.pi / 2)),),
    ),
    2: ((),),
}


@dataclass(frozen=True, slots=True)
class Basis:
    """A letter for each of some qubits, as bit masks over all qubits: X is in `x`, Z in `z`, Y in both.

    Attributes:
        number: Tells bases of the same letters apart.
    """

    x: int = 0
    z: int = 0
    number: int = 0

    @property
    def support(self) -> int:
        """The bit mask of all of its qubits."""
        return self.x | self.z

    def agrees(self, other: Self) -> bool:
        """Whether one measurement can show both."""
        return not ((self.x ^ other.x) | (self.z ^ other.z)) & self.support & other.support

    def merged(self, other: Self) -> Self:
        """Return the basis that shows both."""
        return replace(self, x=self.x | other.x, z=self.z | other.z)

    def qubits(self) -> list[int]:
        """Return its qubits, rising."""
        support = self.support
        return [qubit for qubit in range(support.bit_length()) if support >> qubit & 1]

    def letter(self, qubit: int) -> int:
        """Return the letter of a qubit: bit 0 for X, bit 1 for Z, both for Y."""
        return (self.x >> qubit & 1) | (self.z >> qubit & 1) << 1


@dataclass(frozen=True, slots=True)
class Term:
    """A product of Pauli matrices and projectors: a letter for each of its qubits."""

    letters: str
    qubits: tuple[int, ...]

    @property
    def basis(self) -> Basis:
        """The smallest basis that shows it."""
        kinds = [(_BASIS[letter], 1 << qubit) for letter, qubit in zip(self.letters, self.qubits, strict=True)]
        return Basis(sum(bit for kind, bit in kinds if kind & 1), sum(bit for kind, bit in kinds if kind & 2))


Observable = tuple[tuple[Term, float], ...]
"""Terms of Pauli matrices and projectors, and their coefficients."""


def distinct_observables(pub: EstimatorPub) -> tuple[list[Observable], NDArray[np.intp]]:
    """Return the pub's different observables, and which one each element asks for in which row.

    Returns:
        The observables, and ``row * len(observables) + observable`` for each of the pub's elements in C order.
    """
    numbers: dict[Observable, int] = {}
    array = pub.observables.sparse_observables_array()
    which = np.empty(array.shape, dtype=np.intp)
    for place, observable in np.ndenumerate(array):
        terms = tuple((Term(letters, tuple(qubits)), c.real) for letters, qubits, c in observable.to_sparse_list())
        which[place] = numbers.setdefault(terms, len(numbers))
    rows = np.arange(pub.parameter_values.size).reshape(pub.parameter_values.shape)
    elements = np.broadcast_to(rows, pub.shape) * len(numbers) + np.broadcast_to(which, pub.shape)
    return list(numbers), elements.ravel()


def bases_of(terms: Iterable[Term], apart: Iterator[int] | None = None) -> dict[Term, Basis]:
    """Return a basis for each term; those of many qubits first, each into the first basis that it agrees with.

    Args:
        terms: All different.
        apart: Numbers of bases that have only terms whose parities can be drawn together, as far as that can be; None
            if any may share one.
    """
    bases: list[Basis] = []
    members: list[list[Term]] = []
    for term in sorted(terms, key=lambda term: len(term.qubits), reverse=True):
        own = term.basis
        places = (i for i, basis in enumerate(bases) if basis.agrees(own))
        place = next((i for i in places if apart is None or _is_drawn([*members[i], term])), len(bases))
        if place == len(bases):
            bases.append(Basis() if apart is None else Basis(number=next(apart)))
            members.append([])
        bases[place] = bases[place].merged(own)
        members[place].append(term)
    return {term: basis for basis, held in zip(bases, members, strict=True) for term in held}


def _is_drawn(terms: Iterable[Term]) -> bool:
    """Return whether the parities of terms can be drawn together."""
    try:
        check(parities_of(terms))
    except TooManyParitiesError:
        return False
    return True


def parities_of(terms: Iterable[Term]) -> list[tuple[int, ...]]:
    """Return the qubits of all parities that terms are made of: that of a Pauli operator is the one of its qubits.

    A projector is ``(1 + Z) / 2`` or ``(1 - Z) / 2`` in its basis, so a product of p of them has 2^p parities. Of more
    than `_SPELLED_OUT` of them, those of single qubits stand for all.
    """
    found: dict[tuple[int, ...], None] = {}
    for term in terms:
        pairs = list(zip(term.letters, term.qubits, strict=True))
        fixed = [qubit for letter, qubit in pairs if letter not in "XYZ"]
        others = tuple(qubit for letter, qubit in pairs if letter in "XYZ")
        sizes = range(len(fixed) + 1) if len(fixed) <= _SPELLED_OUT else (0, 1, len(fixed))
        for size in sizes:
            for chosen in combinations(fixed, size):
                found[tuple(sorted((*others, *chosen)))] = None
                found[chosen] = None
    return [qubits for qubits in found if qubits]


def measured_in(circuit: QuantumCircuit, basis: Basis, device: Device) -> tuple[QuantumCircuit, list[int]]:
    """Return `circuit` with a measurement of `basis` at its end, and the classical bits of the basis' qubits."""
    measured = circuit.copy()
    qubits = basis.qubits()
    register = ClassicalRegister(len(qubits), _free_name(circuit))
    measured.add_register(register)
    for qubit in qubits:
        for name, angles in _rotation(basis.letter(qubit), qubit, device):
            getattr(measured, name)(*angles, qubit)
    measured.measure(qubits, register)
    return measured, [measured.find_bit(bit).index for bit in register]


def _free_name(circuit: QuantumCircuit) -> str:
    name = "observable"
    while any(register.name == name for register in circuit.cregs):
        name += "_"
    return name


def _rotation(letter: int, qubit: int, device: Device) -> Sequence[tuple[str, Sequence[float]]]:
    for gates in _ROTATIONS[letter]:
        names = [*(name for name, _ in gates), "measure"]
        if all(device.target.instruction_supported(name, (qubit,)) for name in names):
            return gates
    raise NotIsaError(f"{device.name} has no gates to measure {'.XZY'[letter]} on qubit {qubit}.")
