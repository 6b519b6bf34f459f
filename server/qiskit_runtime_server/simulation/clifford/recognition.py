"""Which gates are Clifford gates, angles included, and what they do to Pauli operators.

A unitary U is a Clifford gate if U P U^dagger is a product of Pauli operators, but for its sign, for each such product
P. The bits of X and Z of these images are a matrix over two elements (Aaronson, Gottesman, 2004,
https://doi.org/10.1103/PhysRevA.70.052328):

    rz(pi/2)        S: X becomes Y, Z stays
    rzz(-pi/2)      XI becomes YZ, and so on
    rz(0.3)         none
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

import numpy as np
import stim
from numpy.typing import NDArray
from qiskit.circuit import Gate, Instruction, ParameterExpression, QuantumCircuit
from qiskit.exceptions import QiskitError
from qiskit.quantum_info import Clifford

from qiskit_runtime_server.simulation.channels import of_unitary

MOST_QUBITS: Final = 2
"""Gates of more are not looked at: no device has them."""

NOT_GATES: Final = frozenset({"measure", "reset", "delay", "barrier", "break_loop", "continue_loop"})

_TURNS: Final = frozenset({"rx", "ry", "rz", "p", "u1", "rxx", "ryy", "rzz", "rzx", "crx", "cry", "crz", "cp", "cu1"})
# Those that can be Clifford gates at multiples of pi / 2 only; whoever is no nearer to one needs no look at its matrix.
_NEAR: Final = 1e-3

_STANDARD: Final = "qiskit.circuit.library.standard_gates"
_KEPT: Final = 4096
_CLOSE: Final = 1e-7


@dataclass(frozen=True, slots=True, eq=False)
class CliffordGate:
    """A Clifford gate of k qubits.

    Attributes:
        action: Shape ``(2k, 2k)``, what it does to the column of bits ``(x0, x1, ..., z0, z1, ...)`` of a product.
        stim: Its gates as lines for Stim, where ``{0}``, ``{1}`` stand for its qubits.
        keeps: Whether it keeps all products but for signs, as Pauli gates do.
    """

    action: NDArray[np.bool_]
    stim: str
    keeps: bool


def clifford_gate(operation: Instruction) -> CliffordGate | None:
    """Return a gate with numbers for angles as a Clifford gate, but for a phase; None if it is none.

    Angles may be off by some 1e-7.
    """
    key = standard_key(operation)
    if key is None:
        return _of(operation)
    if key not in _known:
        while len(_known) >= _KEPT:
            del _known[next(iter(_known))]
        _known[key] = _of(operation)
    return _known[key]


_known: dict[tuple[Any, ...], CliffordGate | None] = {}


def standard_key(operation: Instruction) -> tuple[Any, ...] | None:
    """Return what tells a gate of Qiskit's own from all others; None for other gates, whose matrix must be seen."""
    kind = operation.base_class
    if not kind.__module__.startswith(_STANDARD):
        return None
    return (kind, getattr(operation, "ctrl_state", None), *operation.params)


def clifford_rows(
    circuit_gates: Sequence[Instruction],
    circuit: QuantumCircuit,
    values: NDArray[np.float64],
    is_clifford: Callable[[Instruction], bool] = lambda gate: clifford_gate(gate) is not None,
) -> NDArray[np.bool_]:
    """Return for each row of parameter values whether all gates are Clifford gates, shape ``(n,)``.

    Args:
        circuit_gates: The gates of `circuit`, also those in blocks.
        circuit: Its angles are numbers or bare parameters; loops may have parameters of their own.
        values: Shape ``(n, k)``, columns in the order of ``circuit.parameters``.
        is_clifford: Whether a gate with numbers for angles is one.
    """
    columns = {parameter: column for column, parameter in enumerate(circuit.parameters)}
    varying: dict[tuple[str, tuple[object, ...]], Instruction] = {}
    for operation in circuit_gates:
        angles = tuple(operation.params) if operation.name not in NOT_GATES else ()
        used = [angle for angle in angles if isinstance(angle, ParameterExpression)]
        if used and columns.keys() >= set(used):
            varying[operation.name, angles] = operation
        elif used or not (operation.name in NOT_GATES or is_clifford(operation)):
            return np.zeros(len(values), dtype=np.bool_)
    possible = np.ones(len(values), dtype=np.bool_)
    for (_, angles), operation in varying.items():
        left = np.flatnonzero(possible)
        if not len(left):
            break
        table = np.column_stack(
            [values[left, columns[a]] if a in columns else np.full(len(left), float(a)) for a in angles]  # type: ignore[arg-type]
        )
        if operation.name in _TURNS and standard_key(operation) is not None:
            quarters = table[:, 0] / (np.pi / 2)
            near = np.abs(quarters - np.rint(quarters)) < _NEAR
            possible[left[~near]] = False
            left, table = left[near], table[near]
        rows, places = np.unique(table, axis=0, return_inverse=True)
        known = np.array([is_clifford(with_angles(operation, row)) for row in rows.tolist()], np.bool_)
        possible[left] = known[places.ravel()]
    return possible


def with_angles(operation: Instruction, angles: Sequence[float]) -> Instruction:
    """Return a gate with these numbers as its angles."""
    bound = operation.to_mutable()
    bound.params = list(angles)
    return bound


def with_values(operation: Instruction, columns: Mapping[object, int], values: Sequence[float]) -> Instruction:
    """Return a gate with numbers as its angles, which are numbers or bare parameters; `columns` says which value is."""
    bare = (values[columns[a]] if isinstance(a, ParameterExpression) else a for a in operation.params)
    return with_angles(operation, list(bare))


def _of(operation: Instruction) -> CliffordGate | None:
    if not isinstance(operation, Gate) or not 1 <= operation.num_qubits <= MOST_QUBITS:
        return None
    try:
        matrix = np.asarray(operation.to_matrix(), dtype=np.complex128)
    except (QiskitError, TypeError):
        return None
    return _of_matrix(matrix.tobytes(), operation.num_qubits)


def clifford_of(matrix: NDArray[np.complex128]) -> Clifford | None:
    """Return a unitary matrix as a Clifford gate, but for a phase; None if it is none.

    The Pauli transfer matrix of one has no numbers but 1, 0 and -1. Qiskit's own look rounds images to six decimals: it
    takes an rx by 0.001 for the identity.
    """
    images = of_unitary(matrix)
    if np.abs(images - np.rint(images)).max() > _CLOSE:
        return None
    try:
        return Clifford.from_matrix(matrix)
    except QiskitError:
        return None


@lru_cache(maxsize=_KEPT)
def _of_matrix(elements: bytes, num_qubits: int) -> CliffordGate | None:
    found = clifford_of(np.frombuffer(elements, dtype=np.complex128).reshape(2**num_qubits, -1))
    if found is None:
        return None
    # Qiskit's rows are the images of X and Z of each qubit; its labels begin with the last qubit.
    images = found.to_dict()
    xs, zs = (
        [stim.PauliString(label[0] + label[:0:-1]) for label in images[kind]] for kind in ("destabilizer", "stabilizer")
    )
    gates = stim.Tableau.from_conjugated_generators(xs=xs, zs=zs).to_circuit()
    lines = [f"{part.name} " + " ".join(f"{{{target.value}}}" for target in part.targets_copy()) for part in gates]
    action = np.asarray(found.symplectic_matrix.T, dtype=np.bool_)
    keeps = bool((action == np.eye(len(action), dtype=np.bool_)).all())
    return CliffordGate(action=action, stim="\n".join(lines), keeps=keeps)
