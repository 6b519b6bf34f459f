"""A part of a circuit that is independent of all others, and what it is read from and written as.

It keeps everything that its classical bits depend on: the light cone of their measurements (Bravyi, Gosset, Koenig,
2018, https://arxiv.org/abs/1704.00690).

    cx q5, q7; measure q7 -> c3      Component(qubits=(5, 7), clbits=(3,), circuit=cx 0, 1; measure 1 -> 0)
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from qiskit.circuit import Clbit, Instruction, ParameterExpression, QuantumCircuit

from qiskit_runtime_server.simulation.noise import Use

VARIABLES: Final = -1
"""Stands for all real-time variables together among the numbers of classical bits."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Component:
    """A part of a circuit that is independent of all others.

    Attributes:
        qubits: Their numbers in the whole circuit, in the order of `circuit.qubits`.
        clbits: Their numbers in the whole circuit, in the order of `circuit.clbits`, which may have further bits at
            its end.
        circuit: Has no barriers, no boxes, no for loops without jumps; control flow covers all of its bits. Angles are
            numbers or bare parameters.
        angles: What the parameters stand for, in the order of `circuit.parameters`, in parameters of the whole circuit.
        uses: The instructions in `circuit`, control flow looked into.
    """

    qubits: tuple[int, ...]
    clbits: tuple[int, ...]
    circuit: QuantumCircuit
    angles: tuple[ParameterExpression, ...]
    uses: frozenset[Use]


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """An instruction with the numbers of its bits in the whole circuit.

    Attributes:
        qubits: Those that it acts on, itself or in its bodies.
        writes: Classical bits that may be changed.
        reads: Classical bits that decide what happens.
        bodies: The blocks of control flow.
        scope: The numbers of the classical bits that a condition may speak of.
    """

    operation: Instruction
    qubits: tuple[int, ...] = ()
    writes: tuple[int, ...] = ()
    reads: frozenset[int] = frozenset()
    bodies: tuple[tuple["Step", ...], ...] = ()
    scope: Mapping[Clbit, int] = field(default_factory=dict)
