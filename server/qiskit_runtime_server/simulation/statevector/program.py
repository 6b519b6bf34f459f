"""What a circuit becomes before it runs: gates and channels on numbered qubits, and decisions on numbered bits.

Its steps mean what OpenQASM 3 says (Cross et al., 2022, https://doi.org/10.1145/3505636), errors added:

    if (c[0]) { x q[1]; }                     Choice(arm=bit 0, arms=(Run(x on 1),))
    while (c[0]) { c[0] = measure q[0]; }     While(bit 0, (Measure(0 into 0),))
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from qiskit.circuit import Instruction, Parameter, ParameterExpression

from qiskit_runtime_server.simulation.angles import evaluated
from qiskit_runtime_server.simulation.statevector import gates
from qiskit_runtime_server.simulation.statevector.channels import Channel
from qiskit_runtime_server.simulation.statevector.classical import Bits, Expression
from qiskit_runtime_server.simulation.statevector.state_port import Floats, Integers, Matrices


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    """A unitary operation.

    Attributes:
        fixed: Its matrix, shape ``(1, d, d)``; None if rows of parameter values have matrices of their own.
        parameters: Those of the circuit, which name the columns of parameter values.
    """

    qubits: tuple[int, ...]
    operation: Instruction
    fixed: Matrices | None
    parameters: Sequence[Parameter] = ()

    @classmethod
    def of(cls, operation: Instruction, qubits: tuple[int, ...], parameters: Sequence[Parameter]) -> "Gate":
        """Return an operation of a circuit with these parameters.

        Raises:
            InvalidInputError: If it has no matrix.
        """
        varies = any(isinstance(angle, ParameterExpression) and angle.parameters for angle in operation.params)
        fixed = None if varies else gates.fixed_matrix(operation)[None]
        return cls(qubits=qubits, operation=operation, fixed=fixed, parameters=parameters)

    def matrices(self, values: Floats) -> Matrices:
        """Return a matrix for each row of `values`, or one for all if they do not matter; shape ``(rows, d, d)``."""
        if self.fixed is not None:
            return self.fixed
        angles = np.empty((len(values), len(self.operation.params)))
        for column, angle in enumerate(self.operation.params):
            if isinstance(angle, ParameterExpression):
                angles[:, column] = evaluated((angle,), self.parameters, values)[:, 0]
            else:
                angles[:, column] = angle
        return gates.matrices(self.operation, angles)


@dataclass(frozen=True, slots=True, kw_only=True)
class Noise:
    """An error that may happen."""

    qubits: tuple[int, ...]
    channel: Channel


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """Gates and channels without any decision between them."""

    steps: tuple[Gate | Noise, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class BitMap:
    """Something that happens to classical bits by chance: a reading error, or an error just before a measurement.

    Attributes:
        bits: Their numbers; the first is the lowest bit of a row and a column of `chances`.
        chances: Of the row's value to come from the column's, shape ``(d, d)``; columns sum to 1.
    """

    bits: tuple[int, ...]
    chances: Floats


@dataclass(frozen=True, slots=True, kw_only=True)
class Measure:
    """A measurement after which the state goes on."""

    qubit: int
    clbit: int
    misread: BitMap | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Reset:
    """A qubit that becomes |0>."""

    qubit: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Assign:
    """Bits that get the value of an expression.

    Attributes:
        clbits: Of what is written to, the first its lowest bit.
        place: Which one of them alone is written, if not all are.
    """

    clbits: tuple[int, ...]
    value: Expression
    place: Expression | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """Arms of which one is taken, or none.

    Attributes:
        arm: Returns the number of the arm for each shot's bits, -1 for none.
    """

    arm: Callable[[Bits], Integers]
    arms: tuple["Block", ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class While:
    """A block that is repeated as long as a condition holds."""

    condition: Expression
    body: "Block"


@dataclass(frozen=True, slots=True, kw_only=True)
class For:
    """Blocks of a loop, one after the other; the loop can be left."""

    bodies: tuple["Block", ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Jump:
    """The end of a loop's round, and of the loop if `leaves`."""

    leaves: bool


Step = Run | Measure | Reset | Assign | Choice | While | For | Jump
Block = tuple[Step, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """A circuit, ready to run.

    Attributes:
        steps: All but the measurements at the end.
        ends: The qubits that are measured at the end, whatever is read of them, the lowest bit of an outcome first.
        clbits: The bit that each of the first ones of `ends` is read into.
        maps: What happens to an outcome before it is read.
    """

    num_qubits: int
    num_clbits: int
    steps: Block
    ends: tuple[int, ...]
    clbits: tuple[int, ...]
    maps: tuple[BitMap, ...]

    @property
    def branches(self) -> bool:
        """Whether shots of one row can have different states."""
        return any(not isinstance(step, Run) or any(map(_is_noise, step.steps)) for step in self.steps)


def _is_noise(step: Gate | Noise) -> bool:
    return isinstance(step, Noise)


def mapped(bits: Bits, maps: Sequence[BitMap], draw: Callable[[], Floats]) -> None:
    """Let chance act on bits, shape ``(shots, bits)``, in place; `draw` returns a number for each shot."""
    for bit_map in maps:
        places = list(bit_map.bits)
        before = bits[:, places] @ (1 << np.arange(len(places)))
        cumulative = np.cumsum(bit_map.chances, axis=0)[:-1]
        after = (draw() >= cumulative[:, before]).sum(axis=0)
        bits[:, places] = gates.bits_of(after, len(places))
